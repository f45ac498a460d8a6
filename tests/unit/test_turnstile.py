"""How much passes in one turn of the loop, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from nanobatch.turnstile import Turnstile

pytestmark = pytest.mark.anyio


async def test_the_turnstile_lets_a_few_through_per_turn() -> None:
    """In one turn of the loop at most so many pass, first come, first served."""
    turnstile, turn, passed = Turnstile(3), 0, list[tuple[int, int]]()

    async def worker(number: int) -> None:
        await turnstile.turn()
        passed.append((turn, number))

    tasks = [asyncio.ensure_future(worker(number)) for number in range(10)]
    while len(passed) < 10:
        await asyncio.sleep(0)
        turn += 1
    await asyncio.gather(*tasks)
    assert [number for _, number in passed] == list(range(10))
    assert all(sum(when == at for when, _ in passed) <= 3 for at in range(turn + 1))


async def test_who_is_cancelled_in_the_line_takes_nobodys_turn() -> None:
    """A cancelled waiter is passed over; the next one goes in the same turn."""
    turnstile = Turnstile(1)
    _, second, third = (asyncio.ensure_future(turnstile.turn()) for _ in range(3))
    await asyncio.sleep(0)
    assert turnstile.is_crowded
    second.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert second.cancelled()
    assert third.done()
