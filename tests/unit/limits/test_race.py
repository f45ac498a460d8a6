"""Waiting at several gates at once, on a clock that the tests own."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from nanobatch.errors import AccountStopped, ConfigError, ServerFault
from nanobatch.limits import Gate, LaneClosed, LaneDown, LaneParked
from nanobatch.limits.circuit_breaker import CircuitBreaker
from nanobatch.limits.race import first_to_admit
from nanobatch.model import Cost
from tests.fakes import ManualClock

pytestmark = pytest.mark.anyio

ONE = Cost()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def gate(clock: ManualClock, name: str, **limits: int | None) -> Gate:
    return Gate(clock, name=name, **({"concurrency": 1} | limits))  # type: ignore[arg-type]


def traces(*gates: Gate) -> list[tuple[int, int]]:
    return [(shot.in_flight, shot.waiting) for shot in (one.snapshot() for one in gates)]


async def test_the_first_in_order_wins_where_several_are_open(clock: ManualClock) -> None:
    """The user's order decides between gates that admit at once, and the others are not touched."""
    one, two = gate(clock, "a", rpm=1), gate(clock, "b", rpm=1)
    place, ticket = await first_to_admit([one, two], ONE)
    assert place == 0
    assert traces(one, two) == [(1, 0), (0, 0)]
    one.give_back(ticket)
    assert two.is_free(ONE)


async def test_whoever_opens_first_serves(clock: ManualClock) -> None:
    """Both are full: the one whose slot comes back first takes the job, and no place stays taken at the other."""
    one, two = gate(clock, "a"), gate(clock, "b")
    held = [await one.enter(ONE), await two.enter(ONE)]
    waiting = asyncio.ensure_future(first_to_admit([one, two], ONE))
    await clock.settle()
    assert traces(one, two) == [(1, 1), (1, 1)]
    two.give_back(held[1])
    place, ticket = await waiting
    assert place == 1
    await clock.settle()
    assert traces(one, two) == [(1, 0), (1, 0)]
    two.give_back(ticket)
    one.give_back(held[0])
    assert traces(one, two) == [(0, 0), (0, 0)]


async def test_what_two_grant_at_once_is_given_back_by_one(clock: ManualClock) -> None:
    """Two slots come back in the same moment: one is used, and the other gate has lost neither slot nor quota."""
    one, two = gate(clock, "a", rpm=2), gate(clock, "b", rpm=2)
    held = [await one.enter(ONE), await two.enter(ONE)]
    waiting = asyncio.ensure_future(first_to_admit([one, two], ONE))
    await clock.settle()
    for each, ticket in zip((one, two), held, strict=True):
        each.give_back(ticket)
    place, _ = await waiting
    other = (two, one)[place]
    await clock.settle()
    assert traces(other) == [(0, 0)]
    for _ in range(2):  # the whole quota of the other is still there
        assert other.is_free(ONE)
        async with other.inside(await other.enter(ONE)):
            pass
    assert not other.is_free(ONE)


async def test_a_wait_that_is_cancelled_leaves_no_trace(clock: ManualClock) -> None:
    """A stopping run takes its workers out of every line."""
    one, two = gate(clock, "a"), gate(clock, "b")
    held = [await one.enter(ONE), await two.enter(ONE)]
    waiting = asyncio.ensure_future(first_to_admit([one, two], ONE))
    await clock.settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await clock.settle()
    assert traces(one, two) == [(1, 0), (1, 0)]
    one.give_back(held[0])
    two.give_back(held[1])
    assert one.is_free(ONE)
    assert two.is_free(ONE)


async def test_a_gate_that_refuses_is_out_of_the_race(clock: ManualClock) -> None:
    """One lane is parked while the job waits at both: the job goes on waiting for the other."""
    one, two = gate(clock, "a"), gate(clock, "b")
    held = [await one.enter(ONE), await two.enter(ONE)]
    waiting = asyncio.ensure_future(first_to_admit([one, two], ONE))
    await clock.settle()
    one.park(clock.wall() + 3600, "the daily quota is spent")
    await clock.settle()
    assert not waiting.done()
    two.give_back(held[1])
    assert (await waiting)[0] == 1


@pytest.mark.parametrize("kind", [LaneParked, LaneClosed, LaneDown])
async def test_when_all_refuse_the_job_is_told(clock: ManualClock, kind: type[Exception]) -> None:
    """No gate is left: the router has to look again."""
    breakers = [CircuitBreaker(1), CircuitBreaker(1)]
    gates = [Gate(clock, name="ab"[n], concurrency=1, breaker=breakers[n], sends_away=True) for n in range(2)]
    held = [await each.enter(ONE) for each in gates]
    waiting = asyncio.ensure_future(first_to_admit(gates, ONE))
    await clock.settle()
    clock.now += 1
    for each, ticket in zip(gates, held, strict=True):
        if kind is LaneParked:
            each.park(clock.wall() + 60, "spent")
        elif kind is LaneClosed:
            each.close("no credit")
        else:
            with contextlib.suppress(ServerFault):
                async with each.inside(ticket):
                    raise ServerFault("HTTP 500")
    with pytest.raises(kind):
        await waiting


async def test_a_single_gate_needs_no_race(clock: ManualClock) -> None:
    """With one lane the wait is the gate's own, and so are its refusals."""
    one = gate(clock, "a")
    with contextlib.suppress(AccountStopped):
        async with one.inside((await first_to_admit([one], ONE))[1]):
            raise AccountStopped("no credit")
    with pytest.raises(LaneClosed, match="no credit"):
        await first_to_admit([one], ONE)


async def test_a_cost_that_no_minute_pays_is_an_error(clock: ManualClock) -> None:
    """It is told at once, instead of waiting for ever at a gate that never opens."""
    one, two = gate(clock, "a", tpm=10), gate(clock, "b", tpm=10)
    with pytest.raises(ConfigError):
        await first_to_admit([one, two], Cost(tokens=11))
    await clock.settle()
    assert traces(one, two) == [(0, 0), (0, 0)]


async def test_each_gate_works_at_its_own_rate(clock: ManualClock) -> None:
    """Ninety jobs, a fast and a slow lane, one queue: the quotas of both are used in full in every minute."""
    fast, slow = gate(clock, "fast", concurrency=50, rpm=20), gate(clock, "slow", concurrency=50, rpm=10)
    served: list[tuple[str, float]] = []

    async def job() -> None:
        place, ticket = await first_to_admit([fast, slow], ONE)
        lane = (fast, slow)[place]
        async with lane.inside(ticket):
            served.append((lane.name, clock.now))

    start = clock.now
    async with asyncio.TaskGroup() as group:
        for _ in range(90):
            group.create_task(job())
        for _ in range(150):
            await clock.advance(1)
            await clock.settle(100)
    assert [name for name, _ in served].count("slow") == 30
    assert max(at for _, at in served) - start == pytest.approx(122.0, abs=1.0)
