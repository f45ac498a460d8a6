"""The laws of the gate, under any traffic with cancellations and failures."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from nanobatch.errors import ExchangeError, Overloaded, RateLimited, Refused, ServerFault, Unsent
from nanobatch.limits import Gate
from nanobatch.limits.circuit_breaker import CircuitBreaker
from nanobatch.model import Cost
from tests.fakes import ManualClock


@dataclass(frozen=True)
class Visit:
    """One request, as hypothesis draws it."""

    arrives: float
    stays: float
    tokens: int
    gives_up_after: float | None
    error: ExchangeError | None


ERRORS = st.sampled_from(
    [
        None,
        None,
        None,
        RateLimited("x"),
        RateLimited("x", retry_after_seconds=7.0),
        Overloaded("x"),
        ServerFault("x"),
        Unsent("x"),
        Refused("x"),
    ]
)
SECONDS = st.integers(0, 40).map(float)  # whole seconds make many things happen at the same moment
VISITS = st.lists(
    st.builds(Visit, SECONDS, SECONDS, st.integers(0, 50), st.none() | SECONDS, ERRORS), min_size=1, max_size=25
)
PEACEFUL = st.lists(
    st.builds(Visit, SECONDS, SECONDS, st.integers(0, 50), st.none() | SECONDS, st.none()), min_size=1, max_size=25
)


@dataclass
class Diary:
    """What was seen while the visits took place."""

    arrived: list[int] = field(default_factory=list)
    entered: list[tuple[int, float]] = field(default_factory=list)
    sent: list[tuple[float, int, bool]] = field(default_factory=list)  # when, tokens, whether it really left
    inside: int = 0
    most_inside: int = 0


async def live(visits: list[Visit], *, concurrency: int, rpm: int, tpm: int) -> tuple[Diary, Gate]:
    """Let all visits happen on virtual time; fail if anybody waits for ever."""
    clock, diary = ManualClock(now=0.0), Diary()
    breaker = CircuitBreaker(3, cooldown_seconds=20.0)
    gate = Gate(clock, name="x", concurrency=concurrency, rpm=rpm, tpm=tpm, margin_seconds=0.0, breaker=breaker)

    async def visit(number: int, plan: Visit) -> None:
        diary.arrived.append(number)
        try:
            async with gate.admit(Cost(tokens=plan.tokens)):
                diary.entered.append((number, clock.now))
                diary.sent.append((clock.now, plan.tokens, not isinstance(plan.error, Unsent)))
                diary.inside += 1
                diary.most_inside = max(diary.most_inside, diary.inside)
                try:
                    await clock.sleep(plan.stays)
                    if plan.error is not None:
                        raise plan.error
                finally:
                    diary.inside -= 1
        except ExchangeError:
            pass

    async def arrive(number: int, plan: Visit, group: asyncio.TaskGroup) -> None:
        await clock.sleep(plan.arrives)
        task = group.create_task(visit(number, plan))
        if plan.gives_up_after is not None:
            await clock.sleep(plan.gives_up_after)
            task.cancel()

    async with asyncio.TaskGroup() as group:
        for number, plan in enumerate(visits):
            group.create_task(arrive(number, plan, group))
        idle = 0
        while clock.next_deadline is not None or idle < 5:
            await clock.settle()
            if clock.next_deadline is None:
                idle += 1
            else:
                idle = 0
                await clock.advance(max(0.0, clock.next_deadline - clock.now))
        waiting = gate.snapshot().waiting
        assert waiting == 0, f"{waiting} wait and nobody will ever wake them"
    return diary, gate


def fullest_minute(sent: list[tuple[float, int]]) -> int:
    return max((sum(n for when, n in sent if start <= when < start + 60.0) for start, _ in sent), default=0)


@settings(max_examples=60, deadline=None)
@given(VISITS, st.integers(1, 6), st.integers(1, 6))
def test_no_limit_is_ever_exceeded_and_nothing_leaks(visits: list[Visit], concurrency: int, rpm: int) -> None:
    """Any traffic ends; slots, requests and tokens stay within their limits; nothing is held afterwards."""
    diary, gate = asyncio.run(live(visits, concurrency=concurrency, rpm=rpm, tpm=60))
    assert diary.most_inside <= concurrency
    assert fullest_minute([(when, 1) for when, _, left in diary.sent if left]) <= rpm
    assert fullest_minute([(when, tokens) for when, tokens, left in diary.sent if left]) <= 60
    assert gate.snapshot().in_flight == 0


@settings(max_examples=60, deadline=None)
@given(VISITS, st.integers(1, 6), st.integers(1, 6))
def test_first_come_first_served(visits: list[Visit], concurrency: int, rpm: int) -> None:
    """Nobody enters before somebody who came earlier, whatever they cost and whoever gives up."""
    diary, _ = asyncio.run(live(visits, concurrency=concurrency, rpm=rpm, tpm=60))
    entered = dict(diary.entered)
    times = [entered[number] for number in diary.arrived if number in entered]
    assert times == sorted(times)


@settings(max_examples=60, deadline=None)
@given(PEACEFUL, st.integers(1, 6), st.integers(1, 6))
def test_who_gives_up_delays_nobody(visits: list[Visit], concurrency: int, rpm: int) -> None:
    """Everybody who enters does so at the latest when they would have entered had nobody given up."""
    diary, _ = asyncio.run(live(visits, concurrency=concurrency, rpm=rpm, tpm=60))
    patient = [replace(visit, gives_up_after=None) for visit in visits]
    unhurried, _ = asyncio.run(live(patient, concurrency=concurrency, rpm=rpm, tpm=60))
    at_the_latest = dict(unhurried.entered)
    assert len(at_the_latest) == len(visits)
    assert all(when <= at_the_latest[number] + 0.1 for number, when in diary.entered)
