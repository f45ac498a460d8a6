"""The cache of one machine: what is kept is found, for as long as it is good."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import msgspec
import pytest

from nanobatch.caches.base import Entry, with_place
from nanobatch.caches.database import FILE
from nanobatch.caches.embedded import COPIES, EmbeddedCache, peek
from nanobatch.caches.embedded_upkeep import EmbeddedUpkeep
from nanobatch.errors import CacheError

WEEK = 7 * 86_400.0
NOW = 1_795_521_600.0


def job(number: int) -> str:
    return f"{number:032x}"


def image(folder: Path, number: int = 1, *, size: int = 100, made_at: float = NOW) -> Entry:
    """Make an image and its entry."""
    data = number.to_bytes(4) * (size // 4)
    path = folder / f"{number}.png"
    path.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return Entry(job(number), made_at, places=(str(path),), sha256=sha256, bytes=size, extension=".png", cost_usd=0.1)


def refusal(number: int = 1) -> Entry:
    return Entry(job(number), NOW, "refused", provider="a", asked=("a",), message="no")


def cache(root: Path, *, ttl: float = WEEK, keep_bytes: int = 0) -> EmbeddedCache:
    return EmbeddedCache(root / "cache", ttl_seconds=ttl, keep_bytes=keep_bytes)


def test_what_was_put_is_found_by_others(tmp_path: Path) -> None:
    """Another process on the same folder finds images and refusals; what nobody put is not there."""
    one, other = cache(tmp_path), cache(tmp_path)
    entries = [image(tmp_path, 1), refusal(2)]
    one.put(entries, now=NOW)
    found = other.look_up([job(1), job(2), job(3)], now=NOW)
    assert found[job(2)] == entries[1]
    assert found[job(1)].places[1:] == entries[0].places
    assert msgspec.structs.replace(found[job(1)], places=entries[0].places) == entries[0]
    assert set(found) == {job(1), job(2)}
    one.close()
    other.close()


def test_thousands_are_looked_up_at_once(tmp_path: Path) -> None:
    """More ids than one question of the database may hold."""
    one = cache(tmp_path)
    one.put([refusal(number) for number in range(1, 1300)], now=NOW)
    assert len(one.look_up([job(number) for number in range(1, 3000)], now=NOW)) == 1299
    assert one.look_up([], now=NOW) == {}
    one.close()


def test_an_entry_lives_as_long_as_its_writer_and_its_reader_say(tmp_path: Path) -> None:
    """Seven days, and no second longer; whoever asks may be stricter; 0 is for ever."""
    one = cache(tmp_path)
    one.put([image(tmp_path)], now=NOW)
    assert one.look_up([job(1)], now=NOW + WEEK - 1)
    assert not one.look_up([job(1)], now=NOW + WEEK)
    strict, lenient, eternal = cache(tmp_path, ttl=60), cache(tmp_path, ttl=10 * WEEK), cache(tmp_path, ttl=0)
    assert not strict.look_up([job(1)], now=NOW + 61)
    assert not lenient.look_up([job(1)], now=NOW + 2 * WEEK)
    eternal.put([image(tmp_path)], now=NOW)
    assert eternal.look_up([job(1)], now=NOW + 1000 * WEEK)
    for each in (one, strict, lenient, eternal):
        each.close()


def test_use_keeps_nothing_alive(tmp_path: Path) -> None:
    """A hit adds a place; the time to live still counts from the day on which the image was drawn."""
    one = cache(tmp_path)
    one.put([image(tmp_path)], now=NOW)
    [entry] = one.look_up([job(1)], now=NOW + 1).values()
    one.used([with_place(entry, "/elsewhere/1.png")], now=NOW + WEEK / 2)
    [entry] = one.look_up([job(1)], now=NOW + WEEK / 2).values()
    assert "/elsewhere/1.png" in entry.places
    assert str(tmp_path / "1.png") in entry.places
    assert not one.look_up([job(1)], now=NOW + WEEK)
    one.close()


def test_a_newer_image_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    """What was drawn last is what is found."""
    one = cache(tmp_path)
    one.put([refusal(1)], now=NOW)
    one.put([image(tmp_path, 1, made_at=NOW + 5)], now=NOW + 5)
    [entry] = one.look_up([job(1)], now=NOW + 6).values()
    assert entry.has_image
    assert entry.made_at == NOW + 5
    one.close()


def test_what_another_process_has_replaced_meanwhile_stays(tmp_path: Path) -> None:
    """An image that was drawn afresh is neither forgotten nor overwritten by who has looked before."""
    one, other = cache(tmp_path), cache(tmp_path)
    one.put([image(tmp_path, 1)], now=NOW)
    [old] = one.look_up([job(1)], now=NOW).values()
    (tmp_path / "fresh").mkdir()
    new = image(tmp_path / "fresh", 1, size=40, made_at=NOW + 5)
    other.put([new], now=NOW + 5)
    one.used([old], now=NOW + 6)
    one.forget([old])
    assert one.look_up([job(1)], now=NOW + 6)[job(1)].sha256 == new.sha256


def test_a_damaged_entry_is_one_miss(tmp_path: Path) -> None:
    """The others are found, and pruning drops it."""
    one = cache(tmp_path)
    one.put([image(tmp_path, 1), refusal(2)], now=NOW)
    with sqlite3.connect(tmp_path / "cache" / FILE) as database:
        database.execute("UPDATE entries SET value = X'81a36a6f62a1ff' WHERE job = ?", (bytes.fromhex(job(2)),))
    assert set(one.look_up([job(1), job(2)], now=NOW)) == {job(1)}
    upkeep = EmbeddedUpkeep(tmp_path / "cache")
    assert upkeep.stats(now=NOW)["images"] == 1
    assert upkeep.prune(now=NOW)["gone"] == 1


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    """With the cache's own copy, which was not what it should have been."""
    one = cache(tmp_path, keep_bytes=1000)
    entry = image(tmp_path)
    one.put([entry], now=NOW)
    assert len(list((tmp_path / "cache" / COPIES).rglob("*.png"))) == 1
    one.forget([entry])
    assert one.look_up([job(1)], now=NOW) == {}
    assert list((tmp_path / "cache" / COPIES).rglob("*.png")) == []
    one.close()


def test_own_copies_outlive_the_folder(tmp_path: Path) -> None:
    """The first place that is named is the cache's own."""
    one = cache(tmp_path, keep_bytes=1000)
    one.put([image(tmp_path)], now=NOW)
    (tmp_path / "1.png").unlink()
    [entry] = one.look_up([job(1)], now=NOW).values()
    assert hashlib.sha256(Path(entry.places[0]).read_bytes()).hexdigest() == entry.sha256
    one.close()


def test_the_least_recently_used_copies_go_first(tmp_path: Path) -> None:
    """When the limit is reached there is room for some more; what was of use lately stays."""
    one = cache(tmp_path, keep_bytes=1000)
    for number in range(1, 11):
        one.put([image(tmp_path, number)], now=NOW + number)
    [first] = one.look_up([job(1)], now=NOW + 20).values()
    one.used([first], now=NOW + 20)
    one.put([image(tmp_path, 11)], now=NOW + 21)
    kept = {path.stem for path in (tmp_path / "cache" / COPIES).rglob("*.png")}
    assert len(kept) == 9
    digests = {number: image(tmp_path, number).sha256 for number in range(1, 12)}
    assert {number for number, digest in digests.items() if digest not in kept} == {2, 3}
    assert len(one.look_up([job(number) for number in range(1, 12)], now=NOW + 22)) == 11
    one.close()


def test_a_copy_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Whoever switched copies on hears that there are none."""
    one = cache(tmp_path, keep_bytes=1000)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / COPIES).write_text("a file")
    with pytest.raises(CacheError, match="cannot be written"):
        one.put([image(tmp_path)], now=NOW)
    one.close()


def test_it_carries_no_bytes(tmp_path: Path) -> None:
    """Files are where the images are."""
    assert cache(tmp_path).image(refusal()) is None


def test_a_peek_finds_what_a_run_would_use(tmp_path: Path) -> None:
    """Not what is too old, and not what seems to be gone; the database is as it was."""
    folder = tmp_path / "cache"
    assert peek(folder, [job(1)], now=NOW, ttl_seconds=WEEK) == {}
    assert not folder.exists()
    one = cache(tmp_path, keep_bytes=100)
    one.put([image(tmp_path, 1)], now=NOW)
    one.close()
    two = cache(tmp_path)
    two.put([image(tmp_path, 2), image(tmp_path, 3), refusal(4)], now=NOW)
    two.close()
    for number in (1, 2):
        (tmp_path / f"{number}.png").unlink()
    jobs = [job(number) for number in range(1, 6)]
    assert set(peek(folder, jobs, now=NOW, ttl_seconds=WEEK)) == {job(1), job(3), job(4)}
    assert peek(folder, jobs, now=NOW + WEEK, ttl_seconds=WEEK) == {}
