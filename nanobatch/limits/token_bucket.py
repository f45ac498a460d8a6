"""A token bucket that never lets a rolling window hold more than its capacity.

The usual bucket refills drop by drop, so a full one plus a window's refill lets almost twice the capacity through a
rolling window. Here every token comes back one whole window after it was spent, plus a margin for the jitter between
our sending and the vendor's counting. The first `capacity` tokens are there at once; long-run use is
window / (window + margin), 98.4 % of the quota by default.

Pure arithmetic: time is an argument, nothing ticks.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from math import inf

from nanobatch.errors import ConfigError

UNLIMITED = sys.maxsize
"""A capacity that is never reached: such a bucket can still be drained."""

CELLS_PER_WINDOW = 6000  # spends closer than 10 ms share a cell: bounded memory, at most 0.02 % of the quota lost


@dataclass(slots=True, eq=False)
class Cell:
    """Tokens that come back together, one period after the last of them was spent."""

    first: float  # seconds: when the first of them was spent; decides what may join
    last: float  # seconds: when the last of them was spent; decides when they come back
    tokens: int


@dataclass(slots=True, eq=False)
class Grant:
    """Tokens that somebody spent; what is left of them can be refunded."""

    cell: Cell
    tokens: int


class TokenBucket:
    """Grant at most `capacity` tokens in any rolling window.

    Args:
        capacity: Tokens per window.
        window_seconds: The vendor's window.
        margin_seconds: Added to the window; at least the jitter of the way to the vendor.

    Example:
        >>> bucket = TokenBucket(2)
        >>> bucket.spend(0.0).tokens, bucket.spend(0.5).tokens
        (1, 1)
        >>> bucket.delay(1.0)
        60.0
    """

    def __init__(self, capacity: int, *, window_seconds: float = 60.0, margin_seconds: float = 1.0) -> None:
        if capacity < 1:
            raise ConfigError(f"a limit of {capacity} lets nothing through; it must be 1 or more")
        if window_seconds <= 0 or margin_seconds < 0:
            raise ConfigError(f"a window of {window_seconds} s with a margin of {margin_seconds} s is not possible")
        self.capacity = capacity
        self.period_seconds = window_seconds + margin_seconds
        self._resolution = window_seconds / CELLS_PER_WINDOW
        self._cells: deque[Cell] = deque()  # by time, oldest first
        self._spent = 0  # the sum over the cells
        self._drained_until = -inf
        self._now = -inf  # the latest time ever seen: a clock that steps back must not bring tokens early

    def __repr__(self) -> str:
        left = max(0, self.capacity - self._spent)
        drained = f", drained until {self._drained_until:.3f}" if self._drained_until > self._now else ""
        return f"<TokenBucket {left} of {self.capacity} left at {self._now:.3f}{drained}>"

    def left(self, now: float) -> int:
        """Count the tokens that could be spent now, were the bucket not drained."""
        self._expire(now)
        return max(0, self.capacity - self._spent)

    def check(self, tokens: int) -> None:
        """Refuse what could never be granted, now instead of waiting for ever.

        Raises:
            ConfigError: More tokens than the bucket holds.
        """
        if tokens > self.capacity:
            raise ConfigError(f"one request needs {tokens} of a limit of {self.capacity}; it could never be sent")
        if tokens < 0:
            raise ValueError(f"cannot spend {tokens} tokens")

    def delay(self, now: float, tokens: int = 1) -> float:
        """Return the seconds until so many tokens can be spent; 0.0 means now."""
        self.check(tokens)
        self._expire(now)
        if tokens == 0:
            return 0.0
        return max(0.0, self._drained_until - now, self._back_at(tokens) - now)

    def spend(self, now: float, tokens: int = 1) -> Grant:
        """Take tokens that `delay` says are there.

        Raises:
            ValueError: They are not there yet.
        """
        if (early := self.delay(now, tokens)) > 0:
            raise ValueError(f"{tokens} tokens asked {early:.3f} s too early of {self!r}")
        return Grant(self._put(self._now, tokens), tokens)

    def refund(self, grant: Grant, tokens: int | None = None) -> None:
        """Give back what was not used: all of a grant, or so many of its tokens. Nothing comes back twice."""
        back = grant.tokens if tokens is None else min(max(0, tokens), grant.tokens)
        grant.tokens -= back
        returned = min(back, grant.cell.tokens)  # an expired cell holds none: its tokens came back by themselves
        grant.cell.tokens -= returned
        self._spent -= returned

    def drain(self, now: float, until: float) -> None:
        """Grant nothing before `until`. This only ever delays: an earlier moment changes nothing."""
        self._expire(now)
        self._drained_until = max(self._drained_until, until)

    def drained_for(self, now: float) -> float:
        """Return for how many seconds from now the drain lasts."""
        return max(0.0, self._drained_until - now)

    def remember(self, when: float, tokens: int) -> Grant:
        """Count tokens that were spent without asking: by an earlier run, or more than was reserved."""
        grant = Grant(self._put(when, tokens), tokens)
        self._expire(self._now)
        return grant

    def _back_at(self, tokens: int) -> float:
        missing = self._spent + tokens - self.capacity
        back_at = -inf
        for cell in self._cells:
            if missing <= 0:
                break
            missing -= cell.tokens
            back_at = cell.last + self.period_seconds
        return back_at

    def _expire(self, now: float) -> None:
        self._now = max(self._now, now)
        while self._cells and self._cells[0].last + self.period_seconds <= self._now:
            cell = self._cells.popleft()
            self._spent -= cell.tokens
            cell.tokens = 0

    def _put(self, when: float, tokens: int) -> Cell:
        """Add tokens to a cell of about this time. A cell carries the later time: never too early."""
        self._spent += tokens
        cells = self._cells
        place = len(cells) if not cells or cells[-1].first <= when else bisect_right(cells, when, key=_first)
        if place > 0 and when - (before := cells[place - 1]).first <= self._resolution:
            before.last = max(before.last, when)
            before.tokens += tokens
            return before
        if place < len(cells) and (after := cells[place]).last - when <= self._resolution:
            after.first = when
            after.tokens += tokens
            return after
        cell = Cell(when, when, tokens)
        cells.insert(place, cell)
        return cell


def _first(cell: Cell) -> float:
    return cell.first
