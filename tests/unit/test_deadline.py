"""A run stops so early that nothing is begun that would be late."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from nanobatch.attempts import Tally
from nanobatch.deadline import REASON, Deadline
from nanobatch.errors import NotSent
from nanobatch.events import JobFinished
from nanobatch.model import Record, Status
from nanobatch.records import record_without_image
from nanobatch.stopping import Stop
from tests.fakes import ManualClock
from tests.harness import make_job

pytestmark = pytest.mark.anyio


def drawn(seconds: float) -> JobFinished:
    record: Record = record_without_image(make_job(), Tally(), NotSent("x"), finished_at=None)
    return JobFinished(replace(record, status=Status.OK, file="a.png", latency_seconds=seconds))


async def asked_after(deadline: Deadline, clock: ManualClock, stop: Stop, seconds: float) -> bool:
    task = asyncio.create_task(deadline.stop(stop))
    await clock.advance(seconds)
    task.cancel()
    return stop.reason is not None


@pytest.mark.parametrize(("seconds", "is_asked"), [(78, False), (81, True)])
async def test_the_last_answer_is_in_time(seconds: float, is_asked: bool) -> None:
    """With answers of 20 s a run of 100 s begins nothing after 80 s; exit 4."""
    clock, stop = ManualClock(), Stop()
    assert await asked_after(Deadline(clock, 100, assumed=20), clock, stop, seconds) is is_asked
    if stop.reason is not None:
        assert (stop.reason.kind, stop.reason.message, stop.reason.exit_code) == ("limit", REASON, 4)


async def test_what_is_seen_counts_more_than_what_was_assumed() -> None:
    """Five answers of 2 s: now the last one may begin 2 s before the end."""
    clock, stop = ManualClock(), Stop()
    deadline = Deadline(clock, 100, assumed=20)
    await clock.advance(2)
    for _ in range(5):
        deadline.note(drawn(2.0))
    assert deadline.usual_seconds == 2
    assert not await asked_after(deadline, clock, stop, 95)
    assert await asked_after(deadline, clock, stop, 2)


async def test_what_an_earlier_run_has_ordered_says_nothing_of_an_answer() -> None:
    """Its images were hours at their vendor's; that must not end this run hours before its deadline."""
    clock = ManualClock()
    deadline = Deadline(clock, 100, assumed=20)
    await clock.advance(50)
    for _ in range(5):
        deadline.note(drawn(3600.0))
    assert deadline.usual_seconds == 20


async def test_a_plan_at_the_start_has_the_time_that_the_user_gave() -> None:
    """What took a moment must not make 24 hours too short for a batch of 24; later there is what is left."""
    clock = ManualClock()
    deadline = Deadline(clock, 100)
    await clock.advance(4)
    assert deadline.to_plan_for == 100
    await clock.advance(4)
    assert deadline.to_plan_for == 92


async def test_whoever_insists_gets_a_try() -> None:
    """Nobody knows yet that answers take longer than all the time there is; the catalog may be wrong."""
    clock, stop = ManualClock(), Stop()
    deadline = Deadline(clock, 10, assumed=20)
    assert deadline.usual_seconds == 0
    assert not await asked_after(deadline, clock, stop, 9)
    assert deadline.left == 1
    assert await asked_after(deadline, clock, stop, 2)
