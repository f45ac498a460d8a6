"""Counts what a vendor's account may do: requests and images in a strict rolling window, requests a day, and at once.

One sandbox is one account: its limits hold for everyone who asks it, with whatever key or dialect. Refused requests
take nothing from a limit. The arithmetic is pure: time comes in as a number.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from nanobatch.sandbox.plan import Plan

LimitKind = Literal["rpd", "rpm", "ipm", "concurrency"]


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that a request would break.

    Args:
        kind: The limit's name.
        limit: Its value.
        wait_seconds: When it will have room; for concurrency nobody knows, so a second.
    """

    kind: LimitKind
    limit: int
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time.

    Args:
        now: Monotonic seconds.
        day: The vendor's day; another value is another day.
        day_left: Seconds until the next one.
    """

    now: float
    day: int
    day_left: float


class Limits:
    """The counters of one account."""

    def __init__(self) -> None:
        self._window: deque[tuple[float, int]] = deque()  # when each passed, and for how many images
        self._images = 0  # in the window
        self._day: int | None = None
        self._today = 0
        self.in_flight = 0
        self.max_in_flight = 0

    def __repr__(self) -> str:
        return f"<Limits {len(self._window)} in the window, {self._today} today, {self.in_flight} in flight>"

    def enter(self, plan: Plan, moment: Moment, images: int) -> Excess | None:
        """Let a request for so many images pass and count it, or name the limit it would break.

        Whoever was let in calls `leave`, once.
        """
        if moment.day != self._day:
            self._day, self._today = moment.day, 0
        while self._window and moment.now - self._window[0][0] >= plan.window:
            self._images -= self._window.popleft()[1]
        excess = self._excess(plan, moment, images)
        if excess is None:
            self._window.append((moment.now, images))
            self._images += images
            self._today += 1
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return excess

    def leave(self) -> None:
        """Note that a request is over."""
        self.in_flight -= 1

    def _excess(self, plan: Plan, moment: Moment, images: int) -> Excess | None:
        if plan.rpd is not None and self._today >= plan.rpd:
            return Excess("rpd", plan.rpd, moment.day_left)
        if plan.rpm is not None and len(self._window) >= plan.rpm:
            leaver = self._window[len(self._window) - plan.rpm]
            return Excess("rpm", plan.rpm, plan.window - (moment.now - leaver[0]))
        if plan.ipm is not None and (surplus := self._images + images - plan.ipm) > 0:
            return Excess("ipm", plan.ipm, self._until_free(plan, moment, surplus))
        if plan.concurrency is not None and self.in_flight >= plan.concurrency:
            return Excess("concurrency", plan.concurrency, 1.0)
        return None

    def _until_free(self, plan: Plan, moment: Moment, surplus: int) -> float:
        """Return when so many images will have left the window; a whole window for what never fits."""
        for when, count in self._window:
            surplus -= count
            if surplus <= 0:
                return plan.window - (moment.now - when)
        return plan.window
