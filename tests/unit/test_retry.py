"""When a failed request is sent again, and after how long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Literal

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
    StoreError,
    Unsent,
)
from nanobatch.limits import LaneParked
from nanobatch.retry import Decision, RetryPolicy
from tests.fakes import ManualClock


class Highest(random.Random):
    """Chance that always draws the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


def policy(retries: int = 4, *, on_unknown: Literal["retry", "hold"] = "retry") -> RetryPolicy:
    return RetryPolicy(retries, on_unknown=on_unknown, rng=Highest())


def waits_of(error: ExchangeError, *, retries: int) -> list[float]:
    """Fail with the same error until the policy gives up."""
    waits, history = [], list[ExchangeError]()
    while (decision := policy(retries).decide(error, history)).again:
        waits.append(decision.wait_seconds)
        history.append(error)
    return waits


@pytest.mark.parametrize("error", [Unsent("x"), ServerFault("x")])
def test_what_was_not_billed_is_repeated_within_the_retries(error: ExchangeError) -> None:
    """The wait's upper bound doubles from one second to a minute; after `retries` repeats it ends."""
    assert waits_of(error, retries=8) == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_an_overloaded_provider_is_given_more_time() -> None:
    """High demand lasts: from five seconds up to two minutes."""
    assert waits_of(Overloaded("x"), retries=7) == [5.0, 10.0, 20.0, 40.0, 80.0, 120.0, 120.0]


def test_rate_limits_are_free_of_charge() -> None:
    """429s do not use up the retries, but thirty of them end a job."""
    assert len(waits_of(RateLimited("x"), retries=0)) == 30
    history: list[ExchangeError] = [RateLimited("x")] * 10
    assert policy(1).decide(ServerFault("x"), history).wait_seconds == 1.0


@pytest.mark.parametrize("error", [Ambiguous("x"), DecodeError("x")])
def test_what_may_be_paid_twice_is_repeated_once(error: ExchangeError) -> None:
    """A request that may have been billed is sent once more, however many retries are left."""
    assert len(waits_of(error, retries=9)) == 1


def test_once_per_job_means_over_all_failures() -> None:
    """Other failures in between do not renew the one repeat; each of the two kinds has its own."""
    history: list[ExchangeError] = [Ambiguous("x"), ServerFault("x"), RateLimited("x")]
    assert not policy(9).decide(Ambiguous("x"), history).again
    assert policy(9).decide(DecodeError("x"), history).again
    assert not policy(9).decide(DecodeError("x"), [*history, DecodeError("x")]).again


def test_the_user_may_hold_what_nobody_knows() -> None:
    """With on_unknown = hold an ambiguous end is final; a paid, broken image is still fetched once more."""
    holding = policy(9, on_unknown="hold")
    decision = holding.decide(Ambiguous("x"), [])
    assert not decision.again
    assert "hold" in decision.why
    assert holding.decide(DecodeError("x"), []).again


@pytest.mark.parametrize(("retries", "repeats"), [(9, 3), (2, 2), (0, 0)])
def test_an_answer_without_an_image_is_repeated_a_few_times(retries: int, repeats: int) -> None:
    """Three times at most, and never more than the retries."""
    assert len(waits_of(NoImage("x"), retries=retries)) == repeats


@pytest.mark.parametrize("error", [Rejected("x"), Refused("x"), QuotaSpent("x"), AccountStopped("x")])
def test_what_would_not_help_is_not_repeated(error: ExchangeError) -> None:
    """Refusals, wrong requests and stopped accounts end the job on this lane at once."""
    decision = policy(9).decide(error, [])
    assert (decision.again, decision.wait_seconds) == (False, 0.0)


@pytest.mark.parametrize("error", [Unsent("x"), Ambiguous("x"), Overloaded("x"), NoImage("x"), DecodeError("x")])
def test_no_retries_means_none(error: ExchangeError) -> None:
    """`--retries 0` repeats nothing; a negative number is the same."""
    assert not policy(0).decide(error, []).again
    assert not policy(-1).decide(error, []).again


def test_the_retries_are_shared_by_all_kinds_of_failure() -> None:
    """Four different failures use up four retries."""
    history: list[ExchangeError] = [Unsent("x"), NoImage("x"), Ambiguous("x"), Overloaded("x")]
    assert not policy(4).decide(ServerFault("x"), history).again
    assert policy(5).decide(ServerFault("x"), history).wait_seconds == 16.0


@pytest.mark.parametrize("error_class", [RateLimited, Overloaded, ServerFault, Unsent, NoImage])
def test_the_servers_wish_is_a_floor(error_class: type[ExchangeError]) -> None:
    """We never come back before the server said, also when that is above every cap."""
    assert policy().decide(error_class("x", retry_after_seconds=500.0), []).wait_seconds == 500.0
    assert policy().decide(error_class("x", retry_after_seconds=0.0), []).wait_seconds > 0


def test_the_reason_is_a_sentence_for_people() -> None:
    """Each decision says why, with numbers where there are some."""
    assert policy(4).decide(ServerFault("x"), [Unsent("x")]).why == "retry 2 of 4"
    assert policy(1).decide(ServerFault("x"), [Unsent("x")]).why == "all 1 retries are used"
    assert policy(4).decide(RateLimited("x"), []).why == "rate limited, 1 of 30"
    assert policy(4).decide(Refused("x"), []).why == "sending it again would not help"


# The loop


def fails_with(*errors: BaseException) -> Callable[[int], Awaitable[str]]:
    """Raise these one after the other, then return an image."""
    remaining = iter(errors)

    async def attempt(number: int) -> str:
        if (error := next(remaining, None)) is not None:
            raise error
        return f"image of attempt {number}"

    return attempt


async def finish(clock: ManualClock, work: Awaitable[str]) -> str:
    """Await work while time runs."""

    async def as_coroutine() -> str:
        return await work

    async with asyncio.TaskGroup() as group:
        task = group.create_task(as_coroutine())
        while not task.done():
            await clock.settle()
            if clock.next_deadline is not None:
                await clock.advance(clock.next_deadline - clock.now)
    return task.result()


@pytest.mark.anyio
async def test_success_needs_no_wait() -> None:
    """What works at once is returned at once."""
    assert await policy().run(fails_with(), clock=ManualClock()) == "image of attempt 1"


@pytest.mark.anyio
async def test_the_loop_waits_as_decided_and_tells_before_each_wait() -> None:
    """Each failure is told with its decision, then slept, then sent again."""
    clock, told = ManualClock(now=0.0), list[tuple[str, float, float]]()

    def tell(error: ExchangeError, decision: Decision) -> None:
        told.append((error.code, decision.wait_seconds, clock.now))

    attempt = fails_with(ServerFault("x"), RateLimited("x", retry_after_seconds=30.0), Unsent("x"))
    image = await finish(clock, policy().run(attempt, clock=clock, on_retry=tell))
    assert image == "image of attempt 4"
    assert told == [("server_fault", 1.0, 0.0), ("rate_limited", 30.0, 1.0), ("unsent", 2.0, 31.0)]
    assert clock.now == 33.0


@pytest.mark.anyio
async def test_the_last_error_is_raised_as_it_is() -> None:
    """When the retries are used up, the caller gets the last failure itself, not a wrapper."""
    clock, last = ManualClock(), ServerFault("the last")
    told: list[str] = []

    async def exhausted() -> str:
        with pytest.raises(ServerFault) as raised:
            await policy(1).run(
                fails_with(ServerFault("the first"), last),
                clock=clock,
                on_retry=lambda error, _: told.append(error.message),
            )
        assert raised.value is last
        return "done"

    await finish(clock, exhausted())
    assert told == ["the first"]


@pytest.mark.anyio
async def test_the_history_goes_from_lane_to_lane() -> None:
    """A job that changes its lane takes its failures with it: once per job stays once per job."""
    clock, history = ManualClock(), list[ExchangeError]()
    with pytest.raises(QuotaSpent):
        await policy().run(fails_with(QuotaSpent("x")), clock=clock, history=history)
    history.append(Ambiguous("an earlier run was killed on the wire"))
    seen: list[int] = []

    async def attempt(number: int) -> str:
        seen.append(number)
        raise Ambiguous("again")

    with pytest.raises(Ambiguous, match="again"):
        await policy().run(attempt, clock=clock, history=history)
    assert [error.code for error in history] == ["quota_spent", "ambiguous", "ambiguous"]
    assert seen == [3]


@pytest.mark.anyio
@pytest.mark.parametrize("error", [StoreError("disk full"), LaneParked(1.0, "x"), ValueError("a bug")])
async def test_what_is_not_the_providers_failure_passes_through(error: Exception) -> None:
    """A full disk, a parked lane and a bug are not repeated."""
    attempts: list[int] = []

    async def attempt(number: int) -> str:
        attempts.append(number)
        raise error

    with pytest.raises(type(error)):
        await policy().run(attempt, clock=ManualClock())
    assert attempts == [1]


@pytest.mark.anyio
async def test_cancelling_an_attempt_cancels_the_loop() -> None:
    """A cancelled request is never sent again."""
    clock, attempts = ManualClock(), list[int]()

    async def attempt(number: int) -> str:
        attempts.append(number)
        await clock.sleep(100)
        return "too late"

    task = asyncio.ensure_future(policy().run(attempt, clock=clock))
    await clock.settle()
    task.cancel()
    await clock.advance(1000)
    assert task.cancelled()
    assert attempts == [1]


@pytest.mark.anyio
async def test_cancelling_a_wait_cancels_the_loop() -> None:
    """A job that sleeps between two attempts ends at once."""
    clock = ManualClock()
    task = asyncio.ensure_future(policy().run(fails_with(ServerFault("x")), clock=clock))
    await clock.settle()
    task.cancel()
    await clock.settle()
    assert task.cancelled()


@pytest.mark.anyio
async def test_an_observer_may_end_the_loop() -> None:
    """A run that is stopping raises while it is told, and nothing is slept or sent any more."""
    clock = ManualClock()

    def stop(_: ExchangeError, __: Decision) -> None:
        raise StoreError("the run stops")

    with pytest.raises(StoreError, match="the run stops"):
        await policy().run(fails_with(ServerFault("x")), clock=clock, on_retry=stop)
    assert clock.next_deadline is None


@pytest.mark.anyio
async def test_jobs_do_not_share_their_retries() -> None:
    """One policy serves all jobs at once, and each has its own count and its own answers."""
    clock, shared = ManualClock(now=0.0), policy(3)

    async def job(name: str, failures: int) -> str:
        image = await shared.run(fails_with(*[ServerFault(name)] * failures), clock=clock)
        return f"{name}: {image}"

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job(str(i), i % 4)) for i in range(40)]
        await clock.advance(10)
    assert [task.result() for task in tasks] == [f"{i}: image of attempt {i % 4 + 1}" for i in range(40)]
