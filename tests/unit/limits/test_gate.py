"""The gate, on a clock that the tests own. Its laws under random traffic are in tests/property/test_gate.py."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import pytest

from nanobatch.errors import (
    AccountStopped,
    ConfigError,
    ExchangeError,
    Overloaded,
    QuotaSpent,
    RateLimited,
    Refused,
    ServerFault,
    StoreError,
    Unsent,
)
from nanobatch.events import LaneChanged
from nanobatch.limits import Gate, LaneClosed, LaneDown, LaneParked
from nanobatch.limits.circuit_breaker import CircuitBreaker
from nanobatch.model import FREE, Cost
from tests.fakes import ManualClock, RecordingObserver

pytestmark = pytest.mark.anyio

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=ZoneInfo("America/Los_Angeles")).timestamp()
MIDNIGHT = NOON + 12 * 3600
ONE = Cost()


def new_clock() -> ManualClock:
    return ManualClock(now=1000.0, wall_offset=NOON - 1000.0)


@dataclass
class Crowd:
    """People who go through a gate, and the diary of when they did."""

    clock: ManualClock
    gate: Gate
    group: asyncio.TaskGroup
    entered: list[tuple[str, float]] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    visits: list[asyncio.Task[None]] = field(default_factory=list)

    def send(
        self, name: str, *, seconds: float = 0.0, cost: Cost = ONE, error: Exception | None = None
    ) -> asyncio.Task[None]:
        """Let one person stay inside for some seconds, then leave, with an error where one is given."""
        self.visits.append(self.group.create_task(self._visit(name, seconds, cost, error)))
        return self.visits[-1]

    async def _visit(self, name: str, seconds: float, cost: Cost, error: Exception | None) -> None:
        try:
            async with self.gate.admit(cost):
                self.entered.append((name, self.clock.now - 1000.0))
                await self.clock.sleep(seconds)
                if error is not None:
                    raise error
        except (ExchangeError, StoreError, LaneParked, LaneClosed) as end:
            self.left.append((name, type(end).__name__))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.entered]

    @property
    def times(self) -> list[float]:
        return [when for _, when in self.entered]


@asynccontextmanager
async def crowd_at(gate: Gate, clock: ManualClock) -> AsyncIterator[Crowd]:
    """Open the gate to a crowd; in the end let time run until everybody has left."""
    async with asyncio.TaskGroup() as group:
        crowd = Crowd(clock, gate, group)
        yield crowd
        await run_to_the_end(clock, crowd.visits)


async def run_to_the_end(clock: ManualClock, tasks: list[asyncio.Task[None]]) -> None:
    """Move from one deadline to the next until all tasks are done."""
    idle = 0
    while not all(task.done() for task in tasks):
        await clock.settle()
        if clock.next_deadline is not None:
            idle = 0
            await clock.advance(max(0.0, clock.next_deadline - clock.now))
        else:
            idle += 1
            assert idle < 1000, "everybody waits and nobody will ever wake them"


async def until_granted(gate: Gate) -> None:
    """Let the loop turn until the grant is made, and not one turn longer: nobody has acted on it yet."""
    for _ in range(100):
        if not gate.snapshot().waiting:
            return
        await asyncio.sleep(0)
    raise AssertionError("nothing was granted")


# Slots and order


async def test_an_open_gate_does_not_wait() -> None:
    """With slots and tokens there, entering does not even yield to the event loop."""
    gate = Gate(new_clock(), name="google", concurrency=2, rpm=10)
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    async with gate.admit(Cost()):
        assert gate.snapshot().in_flight == 1
        assert turns == []
    assert gate.snapshot().in_flight == 0


async def test_never_more_at_once_than_the_concurrency() -> None:
    """The third of three waits until a slot is free, and enters at that moment."""
    clock = new_clock()
    async with crowd_at(Gate(clock, name="google", concurrency=2), clock) as crowd:
        for name, seconds in (("a", 10), ("b", 4), ("c", 1), ("d", 1)):
            crowd.send(name, seconds=seconds)
        await clock.advance(0)
        assert crowd.gate.snapshot().in_flight == 2
        assert crowd.gate.snapshot().waiting == 2
        await clock.advance(20)
        assert crowd.entered == [("a", 0.0), ("b", 0.0), ("c", 4.0), ("d", 5.0)]


async def test_tokens_are_granted_in_the_order_of_arrival() -> None:
    """First come, first served, in the rhythm of the quota."""
    clock = new_clock()
    async with crowd_at(Gate(clock, name="google", concurrency=50, rpm=5), clock) as crowd:
        for i in range(12):
            crowd.send(str(i))
        await clock.advance(200)
        assert crowd.names == [str(i) for i in range(12)]
        assert crowd.times == [0.0] * 5 + [61.0] * 5 + [122.0] * 2


async def test_a_light_request_does_not_overtake_a_heavy_one() -> None:
    """A cost of many tokens is not starved by small ones behind it."""
    clock = new_clock()
    async with crowd_at(Gate(clock, name="google", concurrency=50, tpm=100), clock) as crowd:
        crowd.send("first", cost=Cost(tokens=60))
        crowd.send("heavy", cost=Cost(tokens=80))
        crowd.send("light", cost=Cost(tokens=1))
        await clock.advance(200)
        assert crowd.entered == [("first", 0.0), ("heavy", 61.0), ("light", 61.0)]


async def test_no_token_is_spent_while_waiting_for_a_slot() -> None:
    """After a stall no more go out than the quota of that moment allows: the token comes last."""
    clock = new_clock()
    async with crowd_at(Gate(clock, name="google", concurrency=5, rpm=25), clock) as crowd:
        for i in range(5):
            crowd.send(f"stalled {i}", seconds=300)
        for i in range(60):
            crowd.send(str(i), seconds=0.01)
        await clock.advance(400)
        after_the_stall = [when for when in crowd.times if 300.0 <= when < 360.0]
        assert len(after_the_stall) == 25


async def test_a_cost_that_can_never_be_paid_is_an_error_at_once() -> None:
    """A request larger than the quota does not block the line for ever."""
    gate = Gate(new_clock(), name="google", concurrency=1, tpm=100)
    with pytest.raises(ConfigError, match="101 of a limit of 100"):
        async with gate.admit(Cost(tokens=101)):
            pass
    assert gate.snapshot().waiting == 0


# Cancellation


async def test_a_cancelled_head_passes_the_turn_on() -> None:
    """The one who sleeps for all may go; the next one wakes at the same moment."""
    clock = new_clock()
    async with crowd_at(Gate(clock, name="google", concurrency=9, rpm=1), clock) as crowd:
        crowd.send("first")
        await clock.settle()
        head = crowd.send("head")
        crowd.send("next")
        await clock.advance(30)
        head.cancel()
        await clock.advance(100)
        assert crowd.entered == [("first", 0.0), ("next", 61.0)]


async def test_a_cancelled_waiter_leaves_no_trace() -> None:
    """Whoever gives up in the middle of the line costs nobody a token or a slot."""
    clock = new_clock()
    async with crowd_at(Gate(clock, name="google", concurrency=1, rpm=3, rpd=3), clock) as crowd:
        crowd.send("first", seconds=5)
        lost = [crowd.send("lost") for _ in range(20)]
        crowd.send("second")
        crowd.send("third")
        await clock.advance(1)
        for task in lost:
            task.cancel()
        await clock.advance(10)
        assert crowd.entered == [("first", 0.0), ("second", 5.0), ("third", 5.0)]


async def test_cancelled_at_the_moment_of_the_grant() -> None:
    """A slot and a token that were granted to somebody who has just been cancelled come back at once."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=1, rpm=2, rpd=2)
    async with crowd_at(gate, clock) as crowd:
        release = asyncio.Event()

        async def hold() -> None:
            async with gate.admit(Cost()):
                await release.wait()

        crowd.group.create_task(hold())
        await clock.settle()
        unlucky = crowd.send("unlucky")
        await clock.settle()
        release.set()
        await until_granted(gate)
        unlucky.cancel()
        await clock.settle()
        assert gate.snapshot().in_flight == 0
        crowd.send("second")
        await clock.settle()
        assert crowd.entered == [("second", 0.0)]


async def test_cancelled_inside_gives_the_slot_back() -> None:
    """A request that is interrupted frees its slot and says nothing about the provider."""
    clock = new_clock()
    async with crowd_at(Gate(clock, name="google", concurrency=1), clock) as crowd:
        inside = crowd.send("inside", seconds=100)
        crowd.send("next")
        await clock.advance(3)
        inside.cancel()
        await clock.advance(0)
        assert crowd.entered == [("inside", 0.0), ("next", 3.0)]
        assert inside.cancelled()


# Verdicts


async def test_everybody_meets_the_limit_at_once() -> None:
    """Fifty 429s at once: one drain, one shrink, nobody wakes early, no slot is lost."""
    clock, observer = new_clock(), RecordingObserver()
    gate = Gate(clock, name="google", concurrency=50, observer=observer)
    async with crowd_at(gate, clock) as crowd:
        for i in range(50):
            crowd.send(str(i), seconds=1, error=RateLimited("slow down", retry_after_seconds=30))
        for i in range(50, 150):
            crowd.send(str(i), seconds=1)
        await clock.advance(30.9)
        assert len(crowd.entered) == 50
        assert gate.snapshot().in_flight == 0
        await clock.advance(0.1)
        assert len(crowd.entered) == 85
        assert gate.snapshot().in_flight == gate.snapshot().limit == 35
        await clock.advance(10)
        assert crowd.names == [str(i) for i in range(150)]
    assert gate.snapshot().in_flight == 0
    assert [event.state for event in observer.events if isinstance(event, LaneChanged)] == ["waiting", "shrunk"]


async def test_a_drain_holds_a_head_whose_alarm_was_set_before() -> None:
    """Who sleeps until a token comes back looks again when waking, and sleeps on."""
    clock = new_clock()
    async with crowd_at(Gate(clock, name="google", concurrency=5, rpm=2), clock) as crowd:
        crowd.send("first")
        crowd.send("limited", seconds=50, error=RateLimited("x", retry_after_seconds=100))
        crowd.send("waiting")
        await clock.advance(149.9)
        assert crowd.names == ["first", "limited"]
        await clock.advance(0.1)
        assert crowd.entered[-1] == ("waiting", 150.0)


async def test_overload_lets_fewer_in() -> None:
    """After a 503 seven of ten are allowed; those above the limit finish, nobody new comes in before."""
    clock = new_clock()
    async with crowd_at(Gate(clock, name="google", concurrency=10), clock) as crowd:
        crowd.send("overloaded", seconds=1, error=Overloaded("x"))
        for i in range(9):
            crowd.send(str(i), seconds=2 + i)
        crowd.send("waiting", seconds=1)
        await clock.advance(3.5)
        assert "waiting" not in crowd.names
        await clock.advance(0.5)
        assert crowd.entered[-1] == ("waiting", 4.0)


async def test_the_limit_grows_back_and_wakes_those_who_wait() -> None:
    """A round of successes at the limit lets one more in."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=4)
    async with crowd_at(gate, clock) as crowd:
        crowd.send("overloaded", seconds=1, error=Overloaded("x"))
        await clock.advance(1)
        assert gate.snapshot().limit == 2
        for i in range(40):
            crowd.send(str(i), seconds=1)
        await clock.advance(10)
        assert gate.snapshot().limit == gate.snapshot().in_flight == 4
        await clock.advance(20)


async def test_a_dead_provider_is_left_alone_and_probed() -> None:
    """After five faults nobody goes out for a minute; then exactly one, and its answer lets all others in."""
    clock, observer = new_clock(), RecordingObserver()
    gate = Gate(clock, name="google", concurrency=5, observer=observer)
    async with crowd_at(gate, clock) as crowd:
        for i in range(5):
            crowd.send(str(i), seconds=1, error=ServerFault("it is down"))
        await clock.advance(1)
        crowd.send("probe", seconds=3)
        crowd.send("other")
        await clock.advance(59.9)
        assert len(crowd.entered) == 5
        assert gate.state().kind == "waiting"
        assert gate.state().faulty
        await clock.advance(2)
        assert crowd.entered[5:] == [("probe", 61.0)]
        await clock.advance(2)
        assert crowd.entered[6:] == [("other", 64.0)]
    assert [(e.state, e.message) for e in observer.events if isinstance(e, LaneChanged)] == [
        ("waiting", "it is down"),
        ("open", "the provider answers again"),
    ]


async def test_a_failing_probe_makes_the_next_one_wait_longer() -> None:
    """The provider is still down: two minutes until the next single request."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=5)
    async with crowd_at(gate, clock) as crowd:
        for i in range(9):
            crowd.send(str(i), error=Unsent("no route"))
            await clock.settle()
        await clock.advance(60)
        assert crowd.times == [0.0] * 5 + [60.0]
        assert gate.snapshot().failed_probes == 1
        await clock.advance(120)
        assert crowd.times[6:] == [180.0]


async def test_a_probe_that_is_cancelled_passes_the_probing_on() -> None:
    """A probe without a verdict, cancelled or failed for a reason of ours, does not hold the lane for ever."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=5, breaker=CircuitBreaker(1, cooldown_seconds=10.0))
    async with crowd_at(gate, clock) as crowd:
        crowd.send("fault", error=ServerFault("x"))
        await clock.settle()
        probe = crowd.send("probe", seconds=100)
        crowd.send("second probe", seconds=1, error=StoreError("disk full"))
        crowd.send("third probe")
        await clock.advance(12)
        assert crowd.names == ["fault", "probe"]
        probe.cancel()
        await clock.advance(2)
        assert crowd.entered[2:] == [("second probe", 12.0), ("third probe", 13.0)]
    assert gate.state().kind == "open"


async def test_a_breaker_of_ones_own_is_used() -> None:
    """The caller may bring a breaker with other settings."""
    clock = new_clock()
    gate = Gate(clock, name="x", concurrency=1, breaker=CircuitBreaker(1, cooldown_seconds=7.0))
    async with crowd_at(gate, clock) as crowd:
        crowd.send("fault", error=ServerFault("x"))
        await clock.settle()
    assert gate.state().until == clock.wall() + 7.0


async def test_a_request_that_never_left_costs_no_quota() -> None:
    """The provider cannot have counted what never reached it: minute and day get it back."""
    clock = new_clock()
    async with crowd_at(Gate(clock, name="google", concurrency=1, rpm=1, rpd=1), clock) as crowd:
        crowd.send("unsent", error=Unsent("no route"))
        await clock.settle()
        crowd.send("sent")
        await clock.settle()
        assert crowd.entered == [("unsent", 0.0), ("sent", 0.0)]


# Parked and closed


async def test_a_spent_day_turns_everybody_away_at_once() -> None:
    """Those who wait in the line are told in the moment in which the provider says so."""
    clock, observer = new_clock(), RecordingObserver()
    gate = Gate(clock, name="google", concurrency=2, observer=observer)
    async with crowd_at(gate, clock) as crowd:
        crowd.send("inside", seconds=50)
        crowd.send("told", seconds=1, error=QuotaSpent("250 a day"))
        for i in range(100):
            crowd.send(str(i))
        await clock.advance(1)
        assert crowd.left == [("told", "QuotaSpent")] + [(str(i), "LaneParked") for i in range(100)]
        await clock.advance(60)
        with pytest.raises(LaneParked) as parked:
            async with gate.admit(Cost()):
                pass
        assert parked.value.until == MIDNIGHT + 10
        assert gate.state().kind == "parked"
        await clock.advance(13 * 3600)
        crowd.send("tomorrow")
    assert crowd.names == ["inside", "told", "tomorrow"]
    assert [e.until for e in observer.events if isinstance(e, LaneChanged) and e.state == "parked"] == [MIDNIGHT + 10]


async def test_our_own_count_of_the_day_stops_before_the_provider_does() -> None:
    """The last request of the day is sent; the next one is turned away without one, and that is told once."""
    clock, observer = new_clock(), RecordingObserver()
    gate = Gate(clock, name="google", concurrency=1, rpd=3, observer=observer)
    async with crowd_at(gate, clock) as crowd:
        for i in range(6):
            crowd.send(str(i), seconds=1)
        await clock.advance(10)
        assert crowd.names == ["0", "1", "2"]
        assert crowd.left == [("3", "LaneParked"), ("4", "LaneParked"), ("5", "LaneParked")]
        crowd.send("late")
    told = [event for event in observer.events if isinstance(event, LaneChanged)]
    assert told == [LaneChanged("google", "parked", "the daily quota is spent", MIDNIGHT + 10)]


async def test_a_stopped_account_turns_everybody_away_at_once() -> None:
    """Closed is closed, for those who wait and for those who come."""
    clock, observer = new_clock(), RecordingObserver()
    gate = Gate(clock, name="google", concurrency=1, rpm=1, observer=observer)
    async with crowd_at(gate, clock) as crowd:
        crowd.send("told", seconds=1, error=AccountStopped("no credit"))
        for i in range(3):
            crowd.send(str(i))
        await clock.advance(1)
        assert crowd.left == [("told", "AccountStopped")] + [(str(i), "LaneClosed") for i in range(3)]
        with pytest.raises(LaneClosed, match="no credit"):
            async with gate.admit(FREE):
                pass
    assert gate.state().reason == "no credit"
    assert [e.state for e in observer.events if isinstance(e, LaneChanged)] == ["closed"]


async def test_a_lane_can_be_parked_and_closed_from_outside() -> None:
    """A router that knows better tells the gate, and those who wait hear it."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=1, rpm=1)
    async with crowd_at(gate, clock) as crowd:
        crowd.send("first")
        crowd.send("second")
        await clock.advance(1)
        gate.park(clock.wall() + 100, "maintenance")
        await clock.advance(0)
        assert crowd.left == [("second", "LaneParked")]
        gate.close("retired")
        crowd.send("third")
        await clock.advance(0)
        assert crowd.left[1:] == [("third", "LaneClosed")]


async def test_a_lane_that_closes_between_grant_and_entry_is_not_entered() -> None:
    """Whoever was granted in the same moment in which the lane closed does not send any more."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=1)
    async with crowd_at(gate, clock) as crowd:
        inside = crowd.send("inside", seconds=1)
        crowd.send("next")
        await clock.settle()
        inside.cancel()
        await until_granted(gate)
        gate.close("no credit")
        await clock.settle()
        assert crowd.left == [("next", "LaneClosed")]
        assert gate.snapshot().in_flight == 0


async def test_a_parked_lane_still_hands_out_what_was_paid() -> None:
    """A task of an earlier run is polled and fetched although the day is spent."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=1)
    gate.park(clock.wall() + 1000, "the day is spent")
    async with gate.admit(FREE) as permit:
        await permit.spend(FREE)


# Memory of earlier runs, and what is shown


async def test_what_an_earlier_run_spent_counts() -> None:
    """Two runs within a minute share one quota."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=9, rpm=3)
    gate.remember([(clock.wall() - 41, Cost()), (clock.wall() - 11, Cost())])
    async with crowd_at(gate, clock) as crowd:
        for i in range(3):
            crowd.send(str(i))
        await clock.advance(100)
        assert crowd.times == [0.0, 20.0, 50.0]


async def test_a_drained_lane_says_until_when() -> None:
    """A router learns from the state, without waiting, that the lane will be back in a moment and is not faulty."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=1)
    with pytest.raises(RateLimited):
        async with gate.admit(Cost()):
            raise RateLimited("x", retry_after_seconds=9.0)
    assert (gate.state().kind, gate.state().until, gate.state().faulty) == ("waiting", clock.wall() + 9.0, False)


async def test_the_snapshot_and_the_repr_show_the_gate() -> None:
    """Display and debugger see name, state, requests in flight, limit and line."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=1)
    async with crowd_at(gate, clock) as crowd:
        crowd.send("inside", seconds=1)
        crowd.send("waiting")
        await clock.settle()
        assert repr(gate) == "<Gate google open: 1 of 1 in flight, 1 waiting>"
        seen = gate.snapshot()
        assert (seen.name, seen.limit, seen.maximum, seen.failed_probes) == ("google", 1, 1, 0)
        await clock.advance(2)


async def test_a_refused_prompt_does_not_slow_the_lane() -> None:
    """A thousand refusals leave concurrency, quota and breaker as they are."""
    clock, observer = new_clock(), RecordingObserver()
    gate = Gate(clock, name="google", concurrency=10, observer=observer)
    async with crowd_at(gate, clock) as crowd:
        for i in range(1000):
            crowd.send(str(i), error=Refused("no"))
    assert gate.snapshot().limit == 10
    assert observer.events == []


# Speed


@dataclass
class CountingClock(ManualClock):
    """A clock that counts how often it is read: a measure of work that does not depend on the machine."""

    reads: int = 0

    def monotonic(self) -> float:
        self.reads += 1
        return self.now


async def reads_per_grant(waiters: int) -> float:
    clock = CountingClock()
    gate = Gate(clock, name="google", concurrency=7, rpm=60_000)

    async def visit() -> None:
        async with gate.admit(Cost()):
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(waiters):
            group.create_task(visit())
    return clock.reads / waiters


async def test_a_long_line_costs_no_more_per_grant() -> None:
    """Two thousand who wait make a grant no dearer than twenty do."""
    assert await reads_per_grant(2000) <= 1.5 * await reads_per_grant(20)


@pytest.mark.parametrize(("rpm", "jobs"), [(5, 51), (60, 301), (600, 3001), (6000, 12_001), (60_000, 120_001)])
async def test_the_quota_is_used(rpm: int, jobs: int) -> None:
    """The work takes at most 3 % longer than the quota allows, and no rolling minute holds more than the quota."""
    clock = new_clock()
    gate = Gate(clock, name="google", concurrency=50, rpm=rpm)
    times: list[float] = []

    async def worker() -> None:
        while len(times) < jobs:
            async with gate.admit(Cost()):
                times.append(clock.now)

    async with asyncio.TaskGroup() as group:
        await run_to_the_end(clock, [group.create_task(worker()) for _ in range(3)])
    times = times[:jobs]
    optimum = math.floor((jobs - 1) / rpm) * 60
    assert optimum <= times[-1] - times[0] <= optimum * 1.03
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[rpm:], strict=False))


@pytest.mark.parametrize("sends_away", [True, False])
async def test_who_waits_for_a_dead_provider_may_be_sent_away(sends_away: bool) -> None:
    """Where others can serve them, those in line are told when the breaker opens; what is ordered stays."""
    clock = new_clock()
    gate = Gate(clock, name="g", concurrency=1, breaker=CircuitBreaker(1), sends_away=sends_away)
    inside = await gate.enter(ONE)
    newcomer, fetching = asyncio.ensure_future(gate.enter(ONE)), asyncio.ensure_future(gate.enter(FREE))
    await clock.settle()
    clock.now += 1
    with pytest.raises(ServerFault):
        async with gate.inside(inside):
            raise ServerFault("HTTP 500")
    await clock.settle()
    assert newcomer.done() is sends_away
    assert not fetching.done()
    if sends_away:
        assert isinstance(newcomer.exception(), LaneDown)
        assert gate.state().faulty
        later = asyncio.ensure_future(gate.enter(ONE))  # whoever comes now knows, and waits for the probe
        await clock.settle()
        assert not later.done()
        later.cancel()
    fetching.cancel()
    newcomer.cancel()
    await clock.settle()
    assert gate.snapshot().waiting == 0


async def test_a_free_gate_says_so_before_anybody_enters() -> None:
    """`is_free` promises that `enter` does not wait, and touches nothing."""
    clock = new_clock()
    gate = Gate(clock, name="g", concurrency=2, rpm=1)
    assert gate.is_free(ONE)
    assert gate.snapshot().in_flight == 0
    ticket = await gate.enter(ONE)
    assert not gate.is_free(ONE)  # the minute is spent
    assert gate.is_free(FREE)
    gate.give_back(ticket)
    assert gate.is_free(ONE)
    gate.close("no credit")
    assert not gate.is_free(ONE)
