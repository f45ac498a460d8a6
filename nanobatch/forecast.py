"""Foretells how long a run takes: its jobs pass the limits on paper, in the order in which they will pass the gates.

Dividing what is wanted by what the limits allow is off by a tenth and more as soon as providers share a queue, a burst
meets few slots, a day is spent, or the last answers count. Passing every job takes two microseconds, and is right by
construction, as it follows the rules of `limits/`:

* A slot is held for one answer.
* A request comes back one window after it was sent, with the margins of `limits/quota.py` and of the leases of the
  ledger that runs share: so 60 a minute are 59. What a window allows leaves at once, as far as there are slots.
* A day that is spent ends at the provider's midnight. Meanwhile others take the work, as far as they can draw it.
* Nobody fails. Overload, faults and retries take time that nobody knows beforehand.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf

from nanobatch.limits.account import LEASE_SECONDS
from nanobatch.limits.daily_quota import DailyQuota
from nanobatch.limits.quota import margin_of
from nanobatch.providers.polling import DELAYS_SECONDS
from nanobatch.settings import Limits

SPREAD = 0.25  # of answers around the typical one, to both sides: recorded are 16.7 to 29.2 s where 22 are typical
_GOLDEN = 0.6180339887498949  # steps of this part of a circle cover it evenly, wherever one stops
_POLLS = tuple(accumulate(DELAYS_SECONDS))  # seconds after the order
_MINUTE = 60.0
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers take.

    Args:
        seconds: A typical one.
        varies: Others differ. With few slots the slowest of a round counts, with few rounds the slowest of the last.
        polled: The image is seen by who asks for it, now and then.
    """

    seconds: float
    varies: bool = False
    polled: bool = False


@dataclass(slots=True)
class Window:
    """So many within a time: each comes back one period after it was taken."""

    capacity: int
    period_seconds: float
    _taken: deque[float] = field(default_factory=deque)

    def opens(self) -> float:
        """Return when the next one can be taken."""
        return self._taken[0] + self.period_seconds if len(self._taken) >= self.capacity else 0.0

    def take(self, at: float) -> None:
        """Take one, not before it opens."""
        if len(self._taken) >= self.capacity:
            self._taken.popleft()
        self._taken.append(at)


class Track:
    """One provider's limits, and when each of them has room again. Times are seconds since the start of the run.

    Args:
        limits: What it allows.
        shared: Its quota is leased from the ledger that all runs share.
        zone: Where its day ends.
        start: Of the run, in seconds since 1970; None: days are counted from the start.
        spent: What other runs have sent on the day of the start.
    """

    def __init__(
        self, limits: Limits, *, shared: bool, zone: str = "UTC", start: float | None = None, spent: int = 0
    ) -> None:
        lease = LEASE_SECONDS if shared else 0.0
        self._slots: list[float] = []  # when each that was ever taken is free
        self._concurrency = limits.concurrency
        self._windows: list[Window] = []
        if limits.rpm is not None:
            seconds = float(limits.window_seconds)
            capacity = max(1, int(limits.rpm * seconds / _MINUTE))
            self._windows.append(Window(capacity, seconds + margin_of(seconds) + lease))
        if limits.ipm is not None:
            self._windows.append(Window(limits.ipm, _MINUTE + margin_of(_MINUTE) + lease))
        self._zone, self._start = zone, start
        self._per_day, self._today, self._day_ends = limits.rpd, spent, self._midnight_after(0.0)
        self._entered = 0
        self.spent_at = 0.0  # when the last request of a day was sent
        self.ends = 0.0  # when its last answer is there
        self.has_rested = False  # while a day was spent

    @property
    def rests_until(self) -> float:
        """When the day ends that is spent; 0 where none is."""
        return self._day_ends if self._per_day is not None and self._today >= self._per_day else 0.0

    def opens(self, now: float) -> float:
        """Return when the next request can be sent, not before `now`."""
        at = max(now, self.rests_until)
        if len(self._slots) >= self._concurrency and self._slots[0] > at:
            at = self._slots[0]
        for window in self._windows:
            at = max(at, window.opens())
        return at

    def take(self, at: float, latency: Latency) -> None:
        """Send a request at a moment that `opens` has told."""
        end = at + self._lasts(latency)
        if len(self._slots) >= self._concurrency:
            heapq.heapreplace(self._slots, end)
        else:
            heapq.heappush(self._slots, end)
        for window in self._windows:
            window.take(at)
        if self._per_day is not None:
            self._count(at, self._per_day)
        self.ends = max(self.ends, end)

    def _lasts(self, latency: Latency) -> float:
        place = (0.5 + self._entered * _GOLDEN) % 1.0
        self._entered += 1
        seconds = latency.seconds * (1 + SPREAD * (2 * place - 1)) if latency.varies else latency.seconds
        return seen_after(seconds) if latency.polled else seconds

    def _count(self, at: float, per_day: int) -> None:
        if at >= self._day_ends:
            self.has_rested = self.has_rested or self._today >= per_day
            self._today, self._day_ends = 0, self._midnight_after(at)
        self._today += 1
        if self._today == per_day:
            self.spent_at = at

    def _midnight_after(self, at: float) -> float:
        if self._start is None:
            return (at // _DAY + 1) * _DAY
        return DailyQuota(1, self._zone).resets_at(self._start + at) - self._start


class Forecast:
    """A run on paper.

    Args:
        tracks: By provider.
        together: All that can draw a job are asked, and whoever is free first takes it; else the first that is at work.

    Example:
        forecast = Forecast({"google": Track(Limits(rpm=60, concurrency=10), shared=True)}, together=False)
        forecast.place([("google", Latency(22.0))])
        forecast.seconds  # 22.0
    """

    def __init__(self, tracks: Mapping[str, Track], *, together: bool) -> None:
        self._tracks, self._together = tracks, together

    def place(self, able: Sequence[tuple[str, Latency]]) -> str:
        """Let the next job enter, and return who takes it.

        Args:
            able: Who can draw it and how long the answer takes, in the order in which they are asked.
        """
        place, at = self._first_free(able) if self._together else self._first_at_work(able)
        name, latency = able[place]
        self._tracks[name].take(at, latency)
        return name

    def _first_free(self, able: Sequence[tuple[str, Latency]]) -> tuple[int, float]:
        best, best_at = 0, inf
        for place, (name, _) in enumerate(able):
            if (at := self._tracks[name].opens(0.0)) < best_at:
                best, best_at = place, at
        return best, best_at

    def _first_at_work(self, able: Sequence[tuple[str, Latency]]) -> tuple[int, float]:
        """Return the first provider whose day is not spent. Whoever comes after one that rests had waited for it."""
        now, awakes, awakes_at = 0.0, 0, inf
        for place, (name, _) in enumerate(able):
            track = self._tracks[name]
            if not (rest := track.rests_until):
                at = track.opens(now)
                return (place, at) if at < awakes_at else (awakes, self._tracks[able[awakes][0]].opens(now))
            now = max(now, track.spent_at)
            if rest < awakes_at:
                awakes, awakes_at = place, rest
        return awakes, self._tracks[able[awakes][0]].opens(now)

    @property
    def seconds(self) -> float:
        """When the last answer is there."""
        return max((track.ends for track in self._tracks.values()), default=0.0)

    @property
    def last(self) -> str | None:
        """Who gives the last answer."""
        return max(self._tracks, key=lambda name: self._tracks[name].ends, default=None)

    @property
    def ends_after_a_rest(self) -> bool:
        """Whether whoever gives the last answer has waited for midnight."""
        return self.last is not None and self._tracks[self.last].has_rested


def seen_after(seconds: float) -> float:
    """Return when the image of a task that takes so long is seen: at the first poll after its end."""
    for polled in _POLLS:
        if polled >= seconds:
            return polled
    return _POLLS[-1] + math.ceil((seconds - _POLLS[-1]) / DELAYS_SECONDS[-1]) * DELAYS_SECONDS[-1]
