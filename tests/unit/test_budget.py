"""The user's limit on money."""

from __future__ import annotations

import asyncio
import random

import pytest

from nanobatch.budget import Budget, Reservation
from nanobatch.errors import LimitReached

pytestmark = pytest.mark.anyio


async def test_without_a_limit_everything_is_granted() -> None:
    """No budget is no limit, and spending is still counted."""
    budget = Budget(None)
    reservation = await budget.reserve(1000.0)
    budget.settle(reservation, spent_usd=999.5)
    assert budget.spent_usd == 999.5


async def test_seven_images_fit_into_a_dollar() -> None:
    """At $0.134 an image, $1.00 buys seven; the eighth is refused before it is sent."""
    budget = Budget(1.0)
    for _ in range(7):
        budget.settle(await budget.reserve(0.134), spent_usd=0.134)
    assert budget.spent_usd == pytest.approx(0.938)
    with pytest.raises(LimitReached, match=r"budget of \$1\.00 is used up: \$0\.938 spent.*\$0\.134"):
        await budget.reserve(0.134)


async def test_amounts_are_exact_over_thousands_of_additions() -> None:
    """Ten thousand times $0.0001 is a dollar, not a dollar and a rounding error."""
    budget = Budget(1.0)
    for _ in range(10_000):
        budget.settle(await budget.reserve(0.0001), spent_usd=0.0001)
    assert budget.spent_usd == 1.0
    with pytest.raises(LimitReached):
        await budget.reserve(0.0001)


async def test_possibly_billed_counts_as_spent() -> None:
    """A request that nobody knows the end of stays in the account."""
    budget = Budget(0.2)
    budget.settle(await budget.reserve(0.15), possible_usd=0.15)
    assert budget.possible_usd == 0.15
    with pytest.raises(LimitReached, match="possibly billed"):
        await budget.reserve(0.15)


async def test_a_waiter_is_served_when_a_request_costs_less_than_its_worst() -> None:
    """While a request on the wire may still turn out cheaper, the next one waits instead of giving up."""
    budget = Budget(0.30)
    first = await budget.reserve(0.20)
    waiting = asyncio.ensure_future(budget.reserve(0.20))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.settle(first, spent_usd=0.05)
    assert isinstance(await waiting, Reservation)


async def test_a_waiter_gives_up_when_nothing_can_help_any_more() -> None:
    """When those on the wire cost all that was left, the waiter learns it."""
    budget = Budget(0.30)
    first = await budget.reserve(0.20)
    waiting = asyncio.ensure_future(budget.reserve(0.20))
    await asyncio.sleep(0)
    budget.settle(first, spent_usd=0.20)
    with pytest.raises(LimitReached):
        await waiting


async def test_releasing_a_settled_reservation_changes_nothing() -> None:
    """The cleanup after an attempt is harmless when the attempt was settled."""
    budget = Budget(0.5)
    reservation = await budget.reserve(0.5)
    budget.settle(reservation, spent_usd=0.1)
    budget.release(reservation)
    assert budget.spent_usd == 0.1
    await budget.reserve(0.4)


@pytest.mark.parametrize("seed", range(20))
async def test_never_over_under_any_order_of_events(seed: int) -> None:
    """Sixty-four workers with random prices, failures and unknown ends never take more than the limit."""
    rng = random.Random(seed)
    budget = Budget(1.0)
    worst, total = 0.134, 0.0

    async def worker() -> None:
        nonlocal total
        while True:
            try:
                reservation = await budget.reserve(worst)
            except LimitReached:
                return
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            spent = rng.choice([0.0, worst, worst / 2])
            possible = worst if spent == 0.0 and rng.random() < 0.5 else 0.0
            total += spent + possible
            budget.settle(reservation, spent_usd=spent, possible_usd=possible)
            assert budget.spent_usd + budget.possible_usd <= 1.0

    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(worker())
    assert budget.spent_usd + budget.possible_usd == pytest.approx(total)
    assert total > 1.0 - worst


async def test_what_turns_out_cheaper_is_there_for_others() -> None:
    """The reservation shrinks to the provider that took the job, and whoever waited for money goes on."""
    budget = Budget(1.0)
    dear = await budget.reserve(0.9)
    waiting = asyncio.ensure_future(budget.reserve(0.5))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.shrink(dear, 0.4)
    budget.shrink(dear, 0.8)  # never grows again
    assert dear.amount == 400_000
    assert (await waiting).amount == 500_000


def test_reserving_without_waiting() -> None:
    """Room now, room perhaps later, no room at all: three answers."""
    budget = Budget(1.0)
    first = budget.reserve_now(0.6)
    assert first is not None
    assert budget.reserve_now(0.6) is None
    budget.settle(first, spent_usd=0.5)
    with pytest.raises(LimitReached):
        budget.reserve_now(0.6)
    assert budget.reserve_now(0.5) is not None
