"""How much of today's quota is left, where "today" is the provider's day, not ours.

Vendors count requests per calendar day of one time zone: Google's day ends at midnight Pacific. Twice a year such a
day has 23 or 25 hours, so the end of a day comes from the calendar and never from adding 86,400 seconds.

Nobody knows on which side of midnight a vendor counts a request of the last second, and two clocks never agree. What is
spent within a margin around midnight therefore counts on both days, and a spent day is over only after the margin:
whoever asks a moment too early is told that the day is spent, and would believe it of the wrong day.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nanobatch.errors import ConfigError

PACIFIC = "America/Los_Angeles"
"""Where Google's day ends."""


class DailyQuota:
    """Count what was spent on each day of the provider's zone.

    All times are wall-clock seconds since 1970 in UTC.

    Args:
        limit: Requests per day.
        zone: An IANA time zone, such as `America/Los_Angeles`.
        margin_seconds: How far the vendor's clock may be from ours.
    """

    def __init__(self, limit: int, zone: str = PACIFIC, *, margin_seconds: float = 10.0) -> None:
        if limit < 1:
            raise ConfigError(f"a daily limit of {limit} lets nothing through; it must be 1 or more")
        self.limit = limit
        self._zone = _zone(zone)
        self._margin = margin_seconds
        self._spent: dict[dt.date, int] = {}
        self._today = (0.0, 0.0, frozenset[dt.date]())  # from, until (wall seconds), and what `days` says in between

    def __repr__(self) -> str:
        days = ", ".join(f"{day}: {spent}" for day, spent in sorted(self._spent.items()))
        return f"<DailyQuota {self.limit} a day in {self._zone.key}; spent {days or 'nothing'}>"

    def left(self, wall: float) -> int:
        """Count what may still be spent on the day of `wall`."""
        return max(0, self.limit - max(self._spent.get(day, 0) for day in self.days(wall)))

    def spend(self, wall: float, n: int = 1) -> None:
        """Count `n` more on the day of `wall`.

        Raises:
            ValueError: So many are not left.
        """
        if n > self.left(wall):
            raise ValueError(f"{n} asked of {self!r}")
        self.remember(wall, n)

    def refund(self, wall: float, n: int = 1) -> None:
        """Take back `n` that were spent at `wall`, also when another day has begun since."""
        for day in self.days(wall) & self._spent.keys():
            self._spent[day] = max(0, self._spent[day] - n)

    def remember(self, wall: float, n: int = 1) -> None:
        """Count what was spent without asking, for example by an earlier run of the same day."""
        for day in self.days(wall):
            self._spent[day] = self._spent.get(day, 0) + n
        while len(self._spent) > 3:
            del self._spent[min(self._spent)]

    def correct(self, day: dt.date, spent: int) -> None:
        """Believe what all processes together have spent on a day."""
        self._spent[day] = max(0, spent)

    def mark_spent(self, wall: float) -> None:
        """Believe the vendor that the day of `wall` is spent, whatever was counted here."""
        day = self._day(wall - self._margin)  # around midnight the old one: the new one has hardly begun
        self._spent[day] = max(self.limit, self._spent.get(day, 0))

    def resets_at(self, wall: float) -> float:
        """Return the wall-clock time at which the next day can be used: the zone's midnight and the margin."""
        return self._midnight(_next(self._day(wall - self._margin))) + self._margin

    def days(self, wall: float) -> frozenset[dt.date]:
        """Return the days on which `wall` counts: two around midnight, one else; asked several times a request."""
        since, until, days = self._today
        if not since <= wall < until:
            days = frozenset((self._day(wall - self._margin), self._day(wall + self._margin)))
            if len(days) == 1:
                [day] = days
                self._today = (self._midnight(day) + self._margin, self._midnight(_next(day)) - self._margin, days)
        return days

    def _midnight(self, day: dt.date) -> float:
        return dt.datetime.combine(day, dt.time.min, self._zone).timestamp()

    def _day(self, wall: float) -> dt.date:
        return dt.datetime.fromtimestamp(wall, self._zone).date()


def _next(day: dt.date) -> dt.date:
    return day + dt.timedelta(days=1)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a folder of the database, "America"
        raise ConfigError(f"there is no time zone {name!r}; write it as America/Los_Angeles") from error
