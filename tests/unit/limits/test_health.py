"""What each class of failure does to a lane."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    DecodeError,
    ExchangeError,
    NoImage,
    Overloaded,
    QuotaSpent,
    RateLimited,
    Refused,
    Rejected,
    ServerFault,
    Unsent,
)
from nanobatch.limits.circuit_breaker import BreakerState
from nanobatch.limits.health import LaneClosed, LaneHealth, LaneParked, LaneState, Moment, Verdict
from nanobatch.limits.quota import Quota
from nanobatch.model import FREE, Cost

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=ZoneInfo("America/Los_Angeles")).timestamp()
MIDNIGHT = NOON + 12 * 3600


class Lane:
    """A lane's health with hands: time is a number, verdicts are one word."""

    def __init__(self, *, concurrency: int = 10) -> None:
        self.quota = Quota()
        self.health = LaneHealth(self.quota, concurrency=concurrency)

    def moment(self, now: float) -> Moment:
        return Moment(now, NOON + now)

    def end(
        self, error: ExchangeError | None, *, now: float, started_at: float, in_flight: int = 10
    ) -> list[LaneState]:
        return self.health.judge(self.moment(now), Verdict(error, started_at, in_flight, paid=True))

    def state(self, now: float) -> str:
        return self.health.state(self.moment(now)).kind


@pytest.mark.parametrize("error", [Unsent("x"), Ambiguous("x"), ServerFault("x"), Overloaded("x")])
def test_failures_of_the_provider_open_the_breaker(error: ExchangeError) -> None:
    """Five in a row leave the provider alone for a minute, and the fifth one says so."""
    lane = Lane()
    for i in range(4):
        changes = lane.end(error, now=i + 1.0, started_at=i + 0.5)
        assert all(change.kind != "waiting" for change in changes)
    changes = lane.end(error, now=5.0, started_at=4.5)
    assert LaneState("waiting", NOON + 65.0, "x", faulty=True) in changes
    assert lane.health.state(lane.moment(5.0)) == LaneState(
        "waiting", NOON + 65.0, "the provider does not answer", faulty=True
    )


@pytest.mark.parametrize("error", [Rejected("x"), Refused("x"), NoImage("x"), DecodeError("x")])
def test_a_bad_row_does_not_harm_the_lane(error: ExchangeError) -> None:
    """Failures of one prompt change nothing, and prove that the provider answers."""
    lane = Lane()
    for _ in range(4):
        lane.end(ServerFault("x"), now=1.0, started_at=0.5)
    for _ in range(50):
        assert lane.end(error, now=2.0, started_at=1.5) == []
    lane.end(ServerFault("x"), now=3.0, started_at=2.5)
    assert lane.state(3.0) == "open"


def test_a_429_drains_until_the_servers_wish() -> None:
    """Nothing is sent before the server's wish has passed, and fewer at once after it."""
    lane = Lane()
    changes = lane.end(RateLimited("slow down", retry_after_seconds=30.0), now=1.0, started_at=0.5)
    assert changes == [
        LaneState("waiting", NOON + 31.0, "slow down"),
        LaneState("shrunk", None, "at most 7 at once now, of 10"),
    ]
    assert lane.quota.delay(1.0, Cost()) == 30.0
    assert lane.health.state(lane.moment(2.0)) == LaneState("waiting", NOON + 31.0, "the provider asked to wait")
    assert lane.state(31.0) == "open"


def test_one_burst_of_429s_is_one_cascade() -> None:
    """Fifty requests that meet the same limit together drain once, shrink once, and tell once."""
    lane = Lane(concurrency=50)
    told = [lane.end(RateLimited("x"), now=1.0 + i / 100, started_at=0.5) for i in range(50)]
    assert [len(changes) for changes in told] == [2] + [0] * 49
    assert lane.quota.delay(2.0, Cost()) == 4.0
    assert lane.health.limit.current == 35


def test_the_latest_wish_of_a_burst_counts() -> None:
    """A longer wish within the same cascade prolongs the drain."""
    lane = Lane()
    lane.end(RateLimited("x", retry_after_seconds=5.0), now=1.0, started_at=0.5)
    lane.end(RateLimited("x", retry_after_seconds=50.0), now=1.1, started_at=0.5)
    lane.end(RateLimited("x", retry_after_seconds=1.0), now=1.2, started_at=0.5)
    assert lane.quota.drained_for(1.2) == pytest.approx(49.9)


def test_nothing_but_429s_is_a_lane_that_others_should_replace() -> None:
    """A quota per minute is back after a minute: who refuses four times in a row is faulty until it serves again."""
    lane, now, faulty = Lane(), 0.0, []
    for _ in range(7):
        changes = lane.end(RateLimited("slow down"), now=now + 2, started_at=now + 1)
        faulty.append(any(change.faulty for change in changes if change.kind == "waiting"))
        assert lane.health.state(lane.moment(now + 2)).faulty is faulty[-1]
        now += 2 + lane.quota.drained_for(now + 2)
    assert faulty == [False, False, False, True, True, True, True]
    assert lane.health.failed_probes == 3
    lane.end(None, now=now + 2, started_at=now + 1)
    assert lane.health.failed_probes == 0
    assert not lane.health.state(lane.moment(now + 2)).faulty


def test_without_a_wish_the_drain_grows_while_429s_repeat() -> None:
    """5, 10, 20, 40 seconds and so on, to four minutes: who refuses for so long is asked seldom."""
    lane, now, drains = Lane(), 0.0, []
    for _ in range(8):
        lane.end(RateLimited("x"), now=now + 2, started_at=now + 1)
        drains.append(lane.quota.drained_for(now + 2))
        now += 2 + drains[-1]
    assert drains == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 240.0, 240.0]


def test_a_wish_that_proves_wrong_is_only_a_floor() -> None:
    """A server that says "0 s" and refuses again is not asked in a tight loop."""
    lane, now, drains = Lane(), 0.0, []
    for _ in range(4):
        lane.end(RateLimited("x", retry_after_seconds=0.0), now=now + 2, started_at=now + 1)
        drains.append(lane.quota.drained_for(now + 2))
        now += 2 + drains[-1]
    assert drains == [0.0, 5.0, 10.0, 20.0]


def test_a_success_ends_the_growth() -> None:
    """After an answer the next 429 is the first again; a straggler's answer from before does not count."""
    lane = Lane()
    lane.end(RateLimited("x"), now=10.0, started_at=9.0)
    lane.end(RateLimited("x"), now=20.0, started_at=19.0)
    lane.end(None, now=21.0, started_at=19.5)
    lane.end(RateLimited("x"), now=40.0, started_at=39.0)
    assert lane.quota.drained_for(40.0) == 20.0
    lane.end(None, now=70.0, started_at=69.0)
    lane.end(RateLimited("x"), now=80.0, started_at=79.0)
    assert lane.quota.drained_for(80.0) == 5.0


def test_a_429_proves_that_the_provider_answers() -> None:
    """A full lane is not a dead one: the breaker's count starts again."""
    lane = Lane()
    for _ in range(4):
        lane.end(ServerFault("x"), now=1.0, started_at=0.5)
    lane.end(RateLimited("x", retry_after_seconds=1.0), now=2.0, started_at=1.5)
    lane.end(ServerFault("x"), now=3.0, started_at=2.5)
    assert lane.health.breaker.state is BreakerState.CLOSED


def test_a_spent_day_parks_until_the_next_one() -> None:
    """No paid request until the provider's midnight, but what was paid before may be fetched."""
    lane = Lane()
    changes = lane.end(QuotaSpent("250 a day", retry_after_seconds=4.0), now=1.0, started_at=0.5)
    assert changes == [LaneState("parked", MIDNIGHT + 10, "250 a day")]
    refusal = lane.health.stop(lane.moment(2.0), Cost())
    assert isinstance(refusal, LaneParked)
    assert (refusal.until, refusal.reason) == (MIDNIGHT + 10, "250 a day")
    assert lane.health.stop(lane.moment(2.0), FREE) is None
    assert lane.state(2.0) == "parked"
    assert lane.state(MIDNIGHT + 10 - NOON) == "open"


def test_a_longer_wish_than_midnight_is_honoured() -> None:
    """The server's wish is a floor for a parked lane as well."""
    lane = Lane()
    lane.end(QuotaSpent("x", retry_after_seconds=90_000.0), now=0.0, started_at=-1.0)
    refusal = lane.health.stop(lane.moment(13 * 3600.0), Cost())
    assert isinstance(refusal, LaneParked)
    assert refusal.until == NOON + 90_000.0


def test_an_answer_about_yesterday_does_not_cost_today() -> None:
    """A request sent before midnight and refused after it says nothing about the new day."""
    lane = Lane()
    after_midnight = 12 * 3600 + 20.0
    lane.end(QuotaSpent("x"), now=after_midnight, started_at=after_midnight - 60)
    assert lane.state(after_midnight) == "open"


def test_a_stopped_account_closes_the_lane_for_good() -> None:
    """Nothing more is sent, and the first reason stays."""
    lane = Lane()
    assert lane.end(AccountStopped("no credit"), now=1.0, started_at=0.5) == [LaneState("closed", None, "no credit")]
    assert lane.end(AccountStopped("again"), now=1.1, started_at=0.5) == []
    for cost in (Cost(), FREE):  # a wrong key fetches nothing either
        refusal = lane.health.stop(lane.moment(10**6), cost)
        assert isinstance(refusal, LaneClosed)
        assert refusal.reason == "no credit"
    assert lane.health.state(lane.moment(2.0)) == LaneState("closed", None, "no credit")


def test_parking_again_for_a_shorter_time_changes_nothing() -> None:
    """The later end of two counts, and is told once."""
    lane = Lane()
    assert lane.health.park(NOON + 100, "a") == [LaneState("parked", NOON + 100, "a")]
    assert lane.health.park(NOON + 50, "b") == []
    assert lane.state(60.0) == "parked"


def test_only_paid_successes_raise_the_limit() -> None:
    """A free poll says nothing about how much work the provider can bear, and an error is fast."""
    lane = Lane(concurrency=10)
    lane.end(Overloaded("x"), now=1.0, started_at=0.5)
    assert lane.health.limit.current == 7
    for _ in range(50):
        lane.health.judge(lane.moment(3.0), Verdict(None, 2.0, 7, paid=False))
        lane.end(Refused("x"), now=3.0, started_at=2.0, in_flight=7)
    assert lane.health.limit.current == 7
    for _ in range(7):
        lane.end(None, now=3.0, started_at=2.0, in_flight=7)
    assert lane.health.limit.current == 8


def test_a_provider_that_comes_back_is_told() -> None:
    """The probe's success opens the lane and says so."""
    lane = Lane()
    for _ in range(5):
        lane.end(ServerFault("x"), now=1.0, started_at=0.5)
    lane.health.breaker.on_probe_started(61.0)
    assert lane.health.state(lane.moment(62.0)) == LaneState(
        "waiting", None, "the provider does not answer", faulty=True
    )
    assert lane.end(None, now=63.0, started_at=61.0) == [LaneState("open", None, "the provider answers again")]
