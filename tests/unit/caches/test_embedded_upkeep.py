"""The cache in order: counted, pruned, cleared."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.caches.database import FILE
from nanobatch.caches.embedded import COPIES
from nanobatch.caches.embedded_upkeep import EmbeddedUpkeep
from nanobatch.errors import CacheError
from tests.unit.caches.test_embedded import NOW, WEEK, cache, image, job, refusal


def copies(root: Path) -> int:
    return len(list((root / "cache" / COPIES).rglob("*.png")))


def test_stats_tell_what_is_there(tmp_path: Path) -> None:
    """Images, refusals, what they are worth, and what the cache has saved so far."""
    one = cache(tmp_path, keep_bytes=1000)
    one.put([image(tmp_path, 1), image(tmp_path, 2, made_at=NOW - WEEK), refusal(3)], now=NOW)
    one.used(list(one.look_up([job(1)], now=NOW).values()), now=NOW)
    one.close()
    upkeep = EmbeddedUpkeep(tmp_path / "cache", keep_bytes=1000)
    assert upkeep.stats(now=NOW) == {
        "where": str(tmp_path / "cache" / "images.sqlite"), "images": 2, "refusals": 1, "expired": 1,
        "oldest": NOW - WEEK, "image_bytes": 200, "worth_usd": 0.2, "kept_images": 2, "kept_bytes": 200,
        "meanings": 0, "hits": 1, "saved_usd": 0.1,
    }  # fmt: skip
    upkeep.close()


def test_an_empty_cache_has_stats_too(tmp_path: Path) -> None:
    """Zeros, and no oldest."""
    upkeep = EmbeddedUpkeep(tmp_path / "cache")
    found = upkeep.stats(now=NOW)
    assert (found["images"], found["expired"], found["oldest"], found["saved_usd"]) == (0, 0, None, 0.0)
    upkeep.close()


def test_pruning_drops_what_is_of_no_use(tmp_path: Path) -> None:
    """What is too old, what is gone, and copies that nothing leads to; the rest stays."""
    one = cache(tmp_path, keep_bytes=1000)
    one.put([image(tmp_path, 1, made_at=NOW - WEEK), image(tmp_path, 2)], now=NOW)
    one.close()
    plain = cache(tmp_path)
    plain.put([image(tmp_path, 3), image(tmp_path, 4), refusal(5)], now=NOW)
    plain.close()
    (tmp_path / "2.png").unlink()
    (tmp_path / "3.png").unlink()
    upkeep = EmbeddedUpkeep(tmp_path / "cache", keep_bytes=1000)
    assert upkeep.prune(now=NOW) == {"expired": 1, "gone": 1, "freed_bytes": 100}
    assert copies(tmp_path) == 1
    left = upkeep.stats(now=NOW)
    assert (left["images"], left["refusals"]) == (2, 1)
    upkeep.close()


def test_pruning_by_age(tmp_path: Path) -> None:
    """Whoever wants to be rid of what is older than an hour says so."""
    one = cache(tmp_path)
    one.put([image(tmp_path, 1, made_at=NOW - 7200), image(tmp_path, 2)], now=NOW)
    one.close()
    upkeep = EmbeddedUpkeep(tmp_path / "cache")
    assert upkeep.prune(now=NOW, older_than_seconds=3600)["expired"] == 1
    assert upkeep.stats(now=NOW)["images"] == 1
    upkeep.close()


def test_pruning_keeps_copies_within_the_limit(tmp_path: Path) -> None:
    """A limit that was lowered holds from the next pruning on."""
    one = cache(tmp_path, keep_bytes=1000)
    one.put([image(tmp_path, number) for number in range(1, 6)], now=NOW)
    one.close()
    upkeep = EmbeddedUpkeep(tmp_path / "cache", keep_bytes=250)
    assert upkeep.prune(now=NOW)["freed_bytes"] == 300
    assert copies(tmp_path) == 2
    upkeep.close()


def test_clearing_leaves_the_users_images_alone(tmp_path: Path) -> None:
    """Everything that the cache has is gone, and nothing else."""
    one = cache(tmp_path, keep_bytes=1000)
    one.put([image(tmp_path, 1), refusal(2)], now=NOW)
    one.close()
    upkeep = EmbeddedUpkeep(tmp_path / "cache", keep_bytes=1000)
    assert upkeep.clear() == {"dropped": 2, "freed_bytes": 100}
    assert upkeep.stats(now=NOW)["images"] == 0
    assert copies(tmp_path) == 0
    assert (tmp_path / "1.png").exists()
    upkeep.close()


@pytest.mark.parametrize("keep", [0, 4096])
def test_clearing_makes_a_damaged_cache_a_new_one(tmp_path: Path, keep: int) -> None:
    """Whoever is told that it is damaged has one command for it, which is in the message."""
    one = cache(tmp_path)
    one.put([image(tmp_path, number) for number in range(1, 60)], now=NOW)
    one.close()
    path = tmp_path / "cache" / FILE
    path.write_bytes(path.read_bytes()[:keep] + b"no database at all" * 1000)
    with pytest.raises(CacheError, match="cache clear"):
        cache(tmp_path).look_up([job(number) for number in range(1, 60)], now=NOW)
    EmbeddedUpkeep(tmp_path / "cache").clear()
    again = cache(tmp_path)
    again.put([image(tmp_path, 1)], now=NOW)
    assert again.look_up([job(1)], now=NOW)


def test_clearing_does_not_take_a_busy_database_for_a_damaged_one(tmp_path: Path) -> None:
    """Nothing is deleted while somebody writes."""
    path = tmp_path / "cache" / FILE
    path.mkdir(parents=True)
    with pytest.raises(CacheError, match="unable to open"):
        EmbeddedUpkeep(tmp_path / "cache").clear()
    assert path.is_dir()
