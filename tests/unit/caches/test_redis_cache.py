"""The cache of a team, on a real server: what one machine has drawn is found by another, bytes included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanobatch.caches.base import with_place
from nanobatch.caches.redis_cache import RedisCache, RedisDoor
from nanobatch.errors import CacheError
from tests.redis_process import RedisProcess, redis_process
from tests.unit.caches.test_embedded import NOW, WEEK, image, job, refusal


@pytest.fixture(scope="module")
def server() -> Iterator[RedisProcess]:
    with redis_process() as running:
        yield running


@pytest.fixture
def door(server: RedisProcess, request: pytest.FixtureRequest) -> Iterator[RedisDoor]:
    """Give each test keys of its own."""
    found = RedisDoor(server.url, where="the Redis", prefix=request.node.name)
    yield found
    found.close()


def cache(door: RedisDoor, *, ttl: float = WEEK, most_bytes: int = 1000, host: str = "") -> RedisCache:
    return RedisCache(door, ttl_seconds=ttl, most_bytes=most_bytes, host=host)


def test_what_was_put_is_found_by_others(tmp_path: Path, door: RedisDoor) -> None:
    """Images and refusals; what nobody put is not there."""
    entries = [image(tmp_path, 1), refusal(2)]
    cache(door).put(entries, now=NOW)
    found = cache(door).look_up([job(1), job(2), job(3)], now=NOW)
    assert found == {job(1): entries[0], job(2): entries[1]}
    assert cache(door).look_up([], now=NOW) == {}


def test_images_travel_up_to_a_size(tmp_path: Path, door: RedisDoor) -> None:
    """Small ones are there for every machine; large ones, refusals and those that are gone have no bytes."""
    small, large, gone = image(tmp_path, 1, size=400), image(tmp_path, 2, size=2000), image(tmp_path, 3)
    (tmp_path / "3.png").unlink()
    cache(door).put([small, large, gone, refusal(4)], now=NOW)
    found = cache(door)
    assert found.image(small) == (tmp_path / "1.png").read_bytes()
    assert [found.image(entry) for entry in (large, gone, refusal(4))] == [None, None, None]
    assert len(found.look_up([job(n) for n in (1, 2, 3, 4)], now=NOW)) == 4


def test_the_server_forgets_in_time(tmp_path: Path, door: RedisDoor) -> None:
    """Entries and bytes have the time to live; with 0 they have none. A reader may be stricter."""
    cache(door, ttl=3600).put([image(tmp_path, 1)], now=NOW)
    cache(door, ttl=0).put([image(tmp_path, 2)], now=NOW)
    names = {key: door.quick.ttl(key) for key in door.quick.keys(f"{door.prefix}:*")}
    assert sorted(names.values()) == [-1, -1, 3600, 3600]
    assert not cache(door, ttl=60).look_up([job(1)], now=NOW + 61)
    assert cache(door, ttl=0).look_up([job(1), job(2)], now=NOW + 61)


def test_use_keeps_nothing_alive(tmp_path: Path, door: RedisDoor) -> None:
    """A hit adds a place and counts; the time to live stays, and what has gone meanwhile does not come back."""
    one = cache(door, ttl=3600)
    entry = image(tmp_path, 1)
    one.put([entry], now=NOW)
    door.quick.expire(door.entry_key(job(1)), 100)
    one.used([with_place(entry, "/elsewhere.png"), refusal(9)], now=NOW)
    left: Any = door.quick.ttl(door.entry_key(job(1)))
    assert 0 < left <= 100
    found = one.look_up([job(1), job(9)], now=NOW)
    assert found[job(1)].places == ("/elsewhere.png", str(tmp_path / "1.png"))
    assert job(9) not in found
    counts: Any = door.quick.hgetall(door.counts_key)
    assert (counts[b"hits"], float(counts[b"saved_usd"])) == (b"2", 0.1)


def test_a_machine_forgets_only_what_was_its_own(tmp_path: Path, door: RedisDoor) -> None:
    """A file of another machine is not gone because it is not here."""
    entry = image(tmp_path, 1)  # of the host ""
    cache(door).put([entry], now=NOW)
    cache(door, host="elsewhere").forget([entry])
    assert cache(door).look_up([job(1)], now=NOW)
    cache(door).forget([entry])
    assert not cache(door).look_up([job(1)], now=NOW)


def test_rubbish_is_a_miss(door: RedisDoor) -> None:
    """What somebody else wrote under our name ends no run."""
    door.quick.set(door.entry_key(job(1)), b"\xffrubbish")
    assert cache(door).look_up([job(1)], now=NOW) == {}


def test_a_server_that_is_gone_is_told_in_a_sentence(tmp_path: Path) -> None:
    """Whatever is asked, the sentence names the server, not the password."""
    door = RedisDoor("redis://:hidden@127.0.0.1:1/0", where="the Redis at 127.0.0.1:1", prefix="p")
    one = cache(door)
    for ask in (
        lambda: one.look_up([job(1)], now=NOW),
        lambda: one.put([image(tmp_path, 1)], now=NOW),
        lambda: one.used([refusal(1)], now=NOW),
        lambda: one.forget([refusal(1)]),
        lambda: one.image(refusal(1)),
    ):
        with pytest.raises(CacheError, match=r"the Redis at 127\.0\.0\.1:1 cannot be used") as caught:
            ask()
        assert "hidden" not in caught.value.message
    one.close()
