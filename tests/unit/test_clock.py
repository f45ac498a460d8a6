"""Time comes from one place."""

from __future__ import annotations

import time

import pytest

from nanobatch.clock import SystemClock, iso

pytestmark = pytest.mark.anyio


async def test_the_system_clock_is_the_machines() -> None:
    """Monotonic time grows, wall time is the wall's, and a sleep of nothing returns."""
    clock = SystemClock()
    first = clock.monotonic()
    await clock.sleep(-5.0)
    assert clock.monotonic() >= first
    assert abs(clock.wall() - time.time()) < 5


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_795_384_883.5127, "2026-11-22T22:01:23.512Z"),
        (0.9996, "1970-01-01T00:00:00.999Z"),
    ],
)
def test_times_are_written_in_utc_to_the_millisecond(wall: float, text: str) -> None:
    """Every file has the same form of time, in UTC, cut and not rounded up into the next second."""
    assert iso(wall) == text
