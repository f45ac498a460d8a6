"""What is in a Redis under our prefix: counted, pruned, cleared; what is not ours is not touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nanobatch.caches.redis_cache import RedisDoor
from nanobatch.caches.redis_upkeep import RedisUpkeep
from nanobatch.errors import CacheError
from tests.redis_process import redis_process
from tests.unit.caches.test_embedded import NOW, image, job, refusal
from tests.unit.caches.test_redis_cache import cache


@pytest.fixture
def door() -> Iterator[RedisDoor]:
    with redis_process() as server:
        found = RedisDoor(server.url, where="the Redis", prefix="team[1]*")
        yield found
        found.close()


def test_everything_is_counted_and_cleared(tmp_path: Path, door: RedisDoor) -> None:
    """A prefix is taken as it is written; other people's keys stay."""
    one = cache(door)
    one.put([image(tmp_path, 1), image(tmp_path, 2, made_at=NOW - 7200), refusal(3)], now=NOW)
    one.used(list(one.look_up([job(1)], now=NOW).values()), now=NOW)
    door.quick.set("team1:image:x", b"of somebody else")
    upkeep = RedisUpkeep(door)
    assert upkeep.stats(now=NOW) == {
        "where": "the Redis", "images": 2, "refusals": 1, "expired": 0, "oldest": NOW - 7200, "image_bytes": 200,
        "worth_usd": 0.2, "kept_images": 2, "kept_bytes": 200, "meanings": None, "hits": 1, "saved_usd": 0.1,
    }  # fmt: skip
    assert upkeep.prune(now=NOW) == {"expired": 0, "gone": 0, "freed_bytes": 0}
    assert upkeep.prune(now=NOW, older_than_seconds=3600) == {"expired": 1, "gone": 0, "freed_bytes": 100}
    assert upkeep.stats(now=NOW)["images"] == 1
    assert upkeep.clear() == {"dropped": 2, "freed_bytes": 100}
    assert door.quick.keys("*") == [b"team1:image:x"]


def test_an_empty_server_has_stats_too(door: RedisDoor) -> None:
    """Zeros, and no oldest."""
    found = RedisUpkeep(door).stats(now=NOW)
    assert (found["images"], found["oldest"], found["saved_usd"]) == (0, None, 0.0)


def test_a_server_that_is_gone_is_told_in_a_sentence() -> None:
    """The command then fails; there is nothing to go on with."""
    upkeep = RedisUpkeep(RedisDoor("redis://127.0.0.1:1/0", where="the Redis at 127.0.0.1:1", prefix="p"))
    with pytest.raises(CacheError, match="cannot be used"):
        upkeep.stats(now=NOW)
    with pytest.raises(CacheError, match="cannot be used"):
        upkeep.clear()
    upkeep.close()
