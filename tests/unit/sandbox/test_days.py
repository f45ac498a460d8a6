"""Midnight Pacific, on ordinary days and on those with 23 or 25 hours."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nanobatch.sandbox.days import day


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("utc", "hours_left"),
    [
        ("2026-11-23T08:00:00", 24.0),  # midnight in winter
        ("2026-11-23T07:59:59", 1 / 3600),
        ("2026-07-01T07:00:00", 24.0),  # midnight in summer
        ("2026-03-08T08:00:00", 23.0),  # the clocks go forward
        ("2026-11-01T07:00:00", 25.0),  # and back
        ("2026-11-01T09:30:00", 22.5),  # within the hour that comes twice
    ],
)
def test_a_day_ends_at_midnight_pacific(utc: str, hours_left: float) -> None:
    """The time left is true with daylight saving, too."""
    assert day(seconds(utc))[1] == pytest.approx(hours_left * 3600)


def test_the_number_changes_at_midnight_only() -> None:
    """One number a day, and the next day the next."""
    before, at_midnight, later = (
        day(seconds(f"2026-11-23T{time}"))[0] for time in ("07:59:59", "08:00:00", "23:59:59")
    )
    assert at_midnight == before + 1
    assert later == at_midnight
