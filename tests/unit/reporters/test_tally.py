"""The counts behind every display."""

from __future__ import annotations

import sys

import pytest

from nanobatch.events import JobFinished, LaneChanged, Stopping, Warned
from nanobatch.model import Status
from nanobatch.reporters.tally import DISTINCT_ERRORS, LAST_ERRORS, Tally
from tests.fakes import ManualClock
from tests.moments import bad, every_event, missed, ok, sent, started


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tally(clock: ManualClock) -> Tally:
    found = Tally(clock)
    found(started(10))
    return found


def land(tally: Tally, clock: ManualClock, number: int, *, every: float) -> None:
    for index in range(number):
        clock.now += every
        tally(JobFinished(ok(index)))


def test_jobs_are_done_failed_or_in_flight(tally: Tally) -> None:
    """A request counts as in flight from its start to its end, whatever the end."""
    for number in (1, 2, 3, 4):
        tally(sent(number))
    assert (tally.in_flight, tally.lanes["first"].in_flight) == (4, 4)
    tally(JobFinished(ok(1, maybe_cost_usd=0.5)))
    tally(JobFinished(bad(2)))
    tally(missed(3))
    assert (tally.done, tally.failed, tally.in_flight, tally.settled) == (1, 1, 1, 2)
    assert (tally.lanes["first"].done, tally.lanes["first"].in_flight) == (1, 1)
    assert (tally.cost_usd, tally.maybe_usd) == (0.134, 0.5)


def test_a_repeat_elsewhere_moves_the_flight(tally: Tally) -> None:
    """A job that failed on one lane and left on another is in flight there alone."""
    tally(sent(1))
    tally(missed(1))
    tally(sent(1, "second"))
    assert (tally.lanes["first"].in_flight, tally.lanes["second"].in_flight, tally.in_flight) == (0, 1, 1)
    tally(JobFinished(ok(1, provider="second")))
    assert (tally.lanes["second"].done, tally.lanes["second"].in_flight) == (1, 0)


def test_an_end_without_a_start_is_no_flight(tally: Tally) -> None:
    """A job that ended before anything was sent leaves the count of flights at zero."""
    tally(JobFinished(bad(1)))
    tally(missed(2))
    assert (tally.in_flight, tally.lanes["first"].in_flight) == (0, 0)


def test_what_the_next_run_takes_up_has_not_failed(tally: Tally) -> None:
    """An unfinished job is neither done nor failed."""
    tally(JobFinished(bad(1, Status.UNFINISHED)))
    assert (tally.done, tally.failed, tally.settled) == (0, 0, 0)


def test_jobs_of_earlier_runs_are_settled_but_not_new(clock: ManualClock) -> None:
    """What resume found counts towards the end and not towards the rate."""
    tally = Tally(clock)
    tally(started(10, already_done=7))
    assert (tally.settled, tally.done, tally.per_minute()) == (7, 0, None)


def test_the_time_left_is_unknown_until_two_images_have_landed(tally: Tally, clock: ManualClock) -> None:
    """One image tells nothing about a rate; two do."""
    assert tally.seconds_left() is None
    land(tally, clock, 1, every=10)
    assert tally.seconds_left() is None
    land(tally, clock, 1, every=10)
    assert tally.per_minute() == pytest.approx(6)
    assert tally.seconds_left() == pytest.approx(80)


def test_the_rate_is_that_of_the_last_minute(clock: ManualClock) -> None:
    """A fast beginning does not promise a fast end."""
    tally = Tally(clock)
    tally(started(1000))
    land(tally, clock, 100, every=0.1)
    land(tally, clock, 10, every=10)
    assert tally.per_minute() == pytest.approx(7, abs=1)


def test_when_nothing_lands_for_a_minute_nobody_knows_the_time_left(tally: Tally, clock: ManualClock) -> None:
    """A stalled run shows no time left instead of an old one."""
    land(tally, clock, 5, every=1)
    assert tally.seconds_left() is not None
    clock.now += 61
    assert (tally.per_minute(), tally.seconds_left()) == (None, None)


def test_at_the_end_nothing_is_left(tally: Tally, clock: ManualClock) -> None:
    """When all are settled the time left is zero."""
    land(tally, clock, 10, every=1)
    assert tally.seconds_left() == 0


def test_the_last_errors_come_with_their_counts(tally: Tally) -> None:
    """The latest kinds are shown, each once, with how often it came; warnings are among them."""
    for message in ("one", "two", "one", "three", "four", "one"):
        tally(missed(message=message))
    tally(Warned("five"))
    assert tally.last_errors == [("first: four", 1), ("first: one", 3), ("five", 1)]


def test_thousands_of_kinds_of_error_stay_few_in_memory(tally: Tally) -> None:
    """Texts that differ in every prompt neither fill the memory nor hide what happens now."""
    for number in range(5000):
        tally(missed(number, f"prompt {number} was blocked"))
        tally(missed(number, "the usual one"))
    assert len(tally.errors) == DISTINCT_ERRORS
    assert len(tally.last_errors) == LAST_ERRORS
    assert tally.last_errors[-1] == ("first: the usual one", 5000)
    assert tally.last_errors[-2] == ("first: prompt 4999 was blocked", 1)


def test_a_long_run_keeps_only_the_last_minute(clock: ManualClock) -> None:
    """The memory for the rate follows the rate, not the length of the run."""
    tally = Tally(clock)
    tally(started(100_000))
    for _ in range(50):
        land(tally, clock, 100, every=1)
        tally.per_minute()
    assert sys.getsizeof(tally._landings) < 5000
    assert tally.in_flight == 0


def test_lanes_and_the_stop_are_remembered(tally: Tally) -> None:
    """The state of a provider and the reason for stopping are there to be shown, a provider of surprise too."""
    tally(LaneChanged("first", "parked", "quota", until=5.0))
    tally(LaneChanged("other", "closed", "key"))
    tally(Stopping("budget", 2, None))
    assert (tally.lanes["first"].state, tally.lanes["first"].until) == ("parked", 5.0)
    assert (tally.lanes["other"].state, tally.stopping) == ("closed", "budget")


def test_every_event_is_understood(clock: ManualClock) -> None:
    """No event of a run is a surprise."""
    tally = Tally(clock)
    for event in every_event():
        tally(event)
    assert (tally.jobs, tally.done) == (10, 1)


def test_fewer_at_once_does_not_hide_a_wait(tally: Tally, clock: ManualClock) -> None:
    """A 429 drains a lane and shrinks it; how long it waits is what a person wants to know."""
    tally(LaneChanged("first", "waiting", "429", until=clock.wall() + 34))
    tally(LaneChanged("first", "shrunk", "at most 2 at once now, of 4"))
    assert tally.lanes["first"].state == "waiting"
    clock.now += 35
    tally(LaneChanged("first", "shrunk", "at most 1 at once now, of 4"))
    assert (tally.lanes["first"].state, tally.lanes["first"].until) == ("shrunk", None)
