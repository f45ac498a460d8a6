"""What an exchange can do while it is inside a gate."""

from __future__ import annotations

import asyncio

import pytest

from nanobatch.errors import Overloaded, RateLimited, ServerFault, Unsent
from nanobatch.limits import Gate, LaneClosed, LaneParked
from nanobatch.limits.circuit_breaker import CircuitBreaker
from nanobatch.model import FREE, Cost
from tests.fakes import ManualClock

pytestmark = pytest.mark.anyio


async def test_polls_and_downloads_never_wait() -> None:
    """What is free passes an empty, drained gate without yielding."""
    gate = Gate(ManualClock(), name="kie", concurrency=1, rpm=1)
    async with gate.admit(Cost()) as permit:
        permit.settle(RateLimited("x", retry_after_seconds=100.0))
        for _ in range(100):
            await permit.spend(FREE)
    assert gate.snapshot().in_flight == 0


async def test_a_further_paid_request_waits_for_its_token() -> None:
    """The second request of an exchange obeys the quota and keeps its slot meanwhile."""
    clock = ManualClock(now=0.0)
    gate, times = Gate(clock, name="kie", concurrency=1, rpm=1), []

    async def exchange() -> None:
        async with gate.admit(Cost()) as permit:
            await permit.spend(Cost())
            times.append(clock.now)

    async with asyncio.TaskGroup() as group:
        group.create_task(exchange())
        await clock.advance(60.9)
        assert gate.snapshot().in_flight == 1
        assert gate.snapshot().waiting == 1
        await clock.advance(0.2)
    assert times == [61.0]


async def test_what_was_begun_is_finished_first() -> None:
    """Exchanges that are inside go before newcomers, and a gate full of them does not lock up."""
    clock = ManualClock(now=0.0)
    gate, diary = Gate(clock, name="kie", concurrency=2, rpm=2), []

    async def exchange(name: str) -> None:
        async with gate.admit(Cost()) as permit:
            diary.append((f"{name} begins", clock.now))
            await clock.sleep(1)
            await permit.spend(Cost())
            diary.append((f"{name} ends", clock.now))

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(exchange(name))
        await clock.advance(300)
    assert diary == [
        ("a begins", 0.0),
        ("b begins", 0.0),
        ("a ends", 61.0),
        ("b ends", 61.0),
        ("c begins", 122.0),
        ("c ends", 123.0),
    ]


async def test_an_insider_who_gives_up_leaves_no_trace() -> None:
    """A cancelled wait for a second token spends none and frees the slot."""
    clock = ManualClock(now=0.0)
    gate, times = Gate(clock, name="kie", concurrency=1, rpm=1), []

    async def exchange() -> None:
        async with gate.admit(Cost()) as permit:
            await permit.spend(Cost())

    async def newcomer() -> None:
        async with gate.admit(Cost()):
            times.append(clock.now)

    async with asyncio.TaskGroup() as group:
        inside = group.create_task(exchange())
        await clock.settle()
        group.create_task(newcomer())
        await clock.advance(30)
        inside.cancel()
        await clock.advance(31)
    assert times == [61.0]


async def test_an_insider_is_told_when_the_lane_parks_or_closes() -> None:
    """Waiting for a second token ends at once when it can never come."""
    clock = ManualClock(now=0.0)
    for end, expected in (("park", LaneParked), ("close", LaneClosed)):
        gate = Gate(clock, name="kie", concurrency=1, rpm=1)
        caught: list[type[Exception]] = []

        async def exchange(gate: Gate = gate, caught: list[type[Exception]] = caught) -> None:
            try:
                async with gate.admit(Cost()) as permit:
                    await permit.spend(Cost())
            except (LaneParked, LaneClosed) as refusal:
                caught.append(type(refusal))

        async with asyncio.TaskGroup() as group:
            group.create_task(exchange())
            await clock.settle()
            if end == "park":
                gate.park(clock.wall() + 100, "x")
            else:
                gate.close("x")
            await clock.settle()
        assert caught == [expected]
        assert gate.snapshot().in_flight == 0


async def test_a_verdict_counts_once() -> None:
    """An error that was settled and then leaves the gate is not two faults."""
    gate = Gate(ManualClock(), name="kie", concurrency=1, breaker=CircuitBreaker(2))

    async def fail_aloud() -> None:
        async with gate.admit(Cost()) as permit:
            permit.settle(ServerFault("x"))
            permit.settle(ServerFault("x"))
            raise ServerFault("x")

    with pytest.raises(ServerFault):
        await fail_aloud()
    assert gate.state().kind == "open"


async def test_leaving_without_a_word_is_a_success() -> None:
    """An exchange that ends well ends the row of faults."""
    gate = Gate(ManualClock(), name="kie", concurrency=1, breaker=CircuitBreaker(2))
    for error in (ServerFault("x"), None, ServerFault("x")):
        async with gate.admit(Cost()) as permit:
            if error is not None:
                permit.settle(error)
    assert gate.state().kind == "open"


async def test_the_next_request_says_that_the_last_one_was_answered() -> None:
    """A probe whose exchange goes on for minutes opens the lane with its first answer."""
    clock = ManualClock()
    gate = Gate(clock, name="kie", concurrency=2, breaker=CircuitBreaker(1, cooldown_seconds=10.0))
    async with gate.admit(Cost()) as permit:
        permit.settle(ServerFault("x"))
    await clock.advance(10)
    async with gate.admit(Cost()) as permit:
        assert gate.state().until is None
        await permit.spend(FREE)
        assert gate.state().kind == "open"


async def test_each_request_of_an_exchange_has_its_own_verdict() -> None:
    """A poll that fails after the submission worked is a fault of its own."""
    gate = Gate(ManualClock(), name="kie", concurrency=2, breaker=CircuitBreaker(2))
    async with gate.admit(Cost()) as permit:
        for _ in range(2):
            await permit.spend(FREE)
            permit.settle(ServerFault("x"))
    assert gate.state().faulty


async def test_a_poll_that_was_not_sent_does_not_refund_the_submission() -> None:
    """Only the request that never left gets its token back."""
    clock = ManualClock()
    gate = Gate(clock, name="kie", concurrency=1, rpm=1, rpd=1)
    async with gate.admit(Cost()) as permit:
        await permit.spend(FREE)
        permit.settle(Unsent("x"))
    with pytest.raises(LaneParked):
        async with gate.admit(Cost()):
            pass


async def test_tokens_are_corrected_through_the_permit() -> None:
    """What the provider did not count is there for the next one, who is woken for it."""
    clock = ManualClock(now=0.0)
    gate, times = Gate(clock, name="google", concurrency=2, tpm=100), []

    async def second() -> None:
        async with gate.admit(Cost(tokens=60)):
            times.append(clock.now)

    async with asyncio.TaskGroup() as group, gate.admit(Cost(tokens=90)) as permit:
        group.create_task(second())
        await clock.advance(5)
        assert times == []
        permit.settle_tokens(40)
        await clock.settle()
        await permit.spend(FREE)
        permit.settle_tokens(10**6)  # a free request reserved nothing that could be corrected
    assert times == [5.0]


async def test_shrinking_looks_at_the_latest_request() -> None:
    """A poll that meets the overload counts from its own start, not from the submission's."""
    clock = ManualClock()
    gate = Gate(clock, name="kie", concurrency=10)
    async with gate.admit(Cost()) as permit:
        for _ in range(2):
            await clock.advance(1)
            await permit.spend(FREE)
            await clock.advance(1)
            permit.settle(Overloaded("x"))
    assert gate.snapshot().limit == 4


async def test_a_correction_that_shortens_a_wait_wakes_the_head() -> None:
    """The head's alarm was set for later; it is set anew when tokens come back sooner."""
    clock = ManualClock(now=0.0)
    gate, times = Gate(clock, name="google", concurrency=9, tpm=100), []

    async def late() -> None:
        async with gate.admit(Cost(tokens=100)):
            times.append(clock.now)

    async with asyncio.TaskGroup() as group:
        async with gate.admit(Cost(tokens=50)):
            await clock.advance(30)
        async with gate.admit(Cost(tokens=50)) as permit:
            group.create_task(late())
            await clock.advance(1)
            permit.settle_tokens(0)
        await clock.advance(100)
    assert times == [61.0]


async def test_an_old_probe_does_not_end_the_probing_of_another() -> None:
    """A probe that failed and stays inside takes nothing from the next probe when it leaves at last."""
    clock = ManualClock(now=0.0)
    gate, entered = Gate(clock, name="kie", concurrency=9, breaker=CircuitBreaker(1, cooldown_seconds=10.0)), []

    async def visit(name: str, seconds: float) -> None:
        async with gate.admit(Cost()) as permit:
            entered.append((name, clock.now))
            if name != "second probe":
                permit.settle(ServerFault("x"))
            await clock.sleep(seconds)

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("fault", 0.0), ("first probe", 25.0), ("second probe", 10.0), ("other", 0.0)):
            group.create_task(visit(name, seconds))
            await clock.settle()
        await clock.advance(100)
    assert entered == [("fault", 0.0), ("first probe", 10.0), ("second probe", 30.0), ("other", 40.0)]


async def test_a_head_whose_wait_changes_its_kind_still_wakes() -> None:
    """A wait that began for a token, went on for a slot and then for the end of a drain ends with the drain."""
    clock = ManualClock(now=0.0)
    gate, times = Gate(clock, name="kie", concurrency=2, rpm=2), []

    async def long_exchange() -> None:
        async with gate.admit(Cost()) as permit:
            await clock.sleep(5)
            permit.settle(Overloaded("x"))  # from now on one at a time
            await clock.sleep(75)
            await permit.spend(FREE)
            permit.settle(RateLimited("x", retry_after_seconds=10.0))

    async def visit() -> None:
        async with gate.admit(Cost()):
            times.append(clock.now)

    async with asyncio.TaskGroup() as group:
        group.create_task(long_exchange())
        group.create_task(visit())
        await clock.advance(2)
        group.create_task(visit())
        await clock.advance(200)
        assert times == [0.0, 90.0]
