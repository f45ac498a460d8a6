"""Where a vendor's day ends: at midnight Pacific, as Google's daily quotas do, with daylight saving."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

PACIFIC = ZoneInfo("America/Los_Angeles")


def day(wall: float) -> tuple[int, float]:
    """Return the number of the day and the seconds left of it, at a time in seconds since 1970."""
    today = datetime.fromtimestamp(wall, PACIFIC)
    midnight = datetime.combine(today.date() + timedelta(days=1), datetime.min.time(), PACIFIC)
    return today.toordinal(), midnight.timestamp() - wall
