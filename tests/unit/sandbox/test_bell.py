"""Waking those who wait."""

from __future__ import annotations

import asyncio

import pytest

from nanobatch.sandbox.bell import Bell

pytestmark = pytest.mark.anyio


async def test_it_wakes_everybody_who_waits_and_nobody_later() -> None:
    """Two sleepers wake at one ring; who comes afterwards waits for the next, or for the end of its time."""
    bell = Bell()
    async with asyncio.TaskGroup() as group:
        sleepers = [group.create_task(bell.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        bell.ring()
    assert all(sleeper.done() for sleeper in sleepers)
    await bell.wait(0.001)
