"""The day's money of many machines, on a real Redis."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from nanobatch.errors import StoreError
from nanobatch.spending import DayTotals
from nanobatch.spending_redis import RedisDaySpending
from tests.fakes import ManualClock
from tests.redis_process import RedisProcess, redis_process

DOLLAR = 1_000_000
NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC).timestamp()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisProcess]:
    with redis_process() as process:
        yield process


@pytest.fixture(autouse=True)
def empty(server: RedisProcess) -> None:
    with Redis.from_url(server.url) as redis:
        redis.flushall()


def door(server: RedisProcess, *, limit: int = DOLLAR, days: int = 0) -> RedisDaySpending:
    clock = ManualClock(now=0.0, wall_offset=NOON + days * 86_400)
    return RedisDaySpending(server.url, limit, where="the Redis", clock=clock)


def test_all_machines_share_one_day(server: RedisProcess) -> None:
    """What one has set aside another cannot have; what one gives back is there for the other."""
    one, two = door(server), door(server)
    day = one.take(700_000)
    assert day == "2026-11-24"
    assert two.take(400_000) is None
    assert two.take(300_000) == day
    one.settle(day, 700_000, spent=100_000, possible=50_000)
    assert two.totals() == DayTotals(100_000, 50_000, 300_000)
    assert two.take(550_000) == day
    assert one.take(1) is None
    one.close()
    two.close()


def test_the_next_day_begins_with_nothing(server: RedisProcess) -> None:
    """The day of UTC, for the machines may be anywhere; an old one goes by itself."""
    one, tomorrow = door(server), door(server, days=1)
    assert one.take(DOLLAR) == "2026-11-24"
    assert tomorrow.take(DOLLAR) == "2026-11-25"
    one.settle("2026-11-24", DOLLAR, spent=DOLLAR)
    assert tomorrow.totals("2026-11-24") == DayTotals(DOLLAR, 0, 0)
    with Redis.from_url(server.url) as redis:
        assert 0 < redis.ttl("nanobatch:spending:2026-11-24") <= 3 * 86_400
    one.close()
    tomorrow.close()


def test_many_at_once_never_exceed_the_day(server: RedisProcess) -> None:
    """Looking and setting aside are one thing."""

    def spend(_: int) -> int:
        one, taken = door(server), 0
        for _ in range(60):
            if (day := one.take(13_400)) is not None:
                one.settle(day, 13_400, spent=13_400)
                taken += 13_400
        one.close()
        return taken

    with ThreadPoolExecutor(8) as pool:
        total = sum(pool.map(spend, range(8)))
    assert total == DOLLAR // 13_400 * 13_400


def test_a_server_that_is_gone_stops_what_would_be_sent_and_not_what_was(caplog: pytest.LogCaptureFixture) -> None:
    """A limit that nobody can check is none; an image that is paid is not lost over its bookkeeping."""
    with redis_process(password="hush-hush") as process:
        url = f"redis://:hush-hush@127.0.0.1:{process.port}/0"
        one = RedisDaySpending(url, DOLLAR, where="the Redis", clock=ManualClock())
        day = one.take(100)
        assert day is not None
        process.kill()
        one.settle(day, 100, spent=100)
        assert "day_spending_not_settled" in caplog.text
        for call in (lambda: one.take(1), one.totals):
            with pytest.raises(StoreError, match="cannot be kept in the Redis") as caught:
                call()
            assert "hush" not in str(caught.value)
        one.close()


def test_what_was_ordered_in_advance_counts_once(server: RedisProcess) -> None:
    """All runs share one sum, so what another has set aside is there already, as long as it is there at all."""
    one, two = door(server), door(server)
    day = one.take(600_000)
    assert day is not None
    assert two.adopt(day, "another", 600_000)
    two.settle(day, 600_000, spent=500_000)
    assert two.totals() == DayTotals(500_000, 0, 0)
    assert not two.adopt(day, "another", 600_000)
    one.close()
    two.close()
