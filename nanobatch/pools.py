"""What bounds the lanes of a mix, as pure arithmetic: slots, quotas per window, and what may be in open batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

DAY = 86_400.0
MINUTE = 61.0  # with the second that the gate adds to every window
CLOSE = 1e-6  # of one: what sums of many numbers are off by


class Pool(Protocol):
    """Something that bounds what lanes can do; equal pools are one."""

    def capacity(self, seconds: float) -> float:
        """Return how much of it there is within a time."""
        ...

    def needs(self, amount: float) -> float:
        """Return the seconds that an amount of it takes."""
        ...


@dataclass(frozen=True, slots=True)
class Slots:
    """Requests at once; an image takes as many seconds of a slot as its answer takes."""

    account: str
    count: float
    taken: float = 0.0  # seconds of slots that are spoken for already

    def capacity(self, seconds: float) -> float:
        """Slots times seconds, without what is taken."""
        return max(0.0, self.count * seconds - self.taken)

    def needs(self, amount: float) -> float:
        """Seconds of all slots."""
        return (amount + self.taken) / self.count if self.count else math.inf if amount else 0.0


@dataclass(frozen=True, slots=True)
class Windows:
    """So many in each window of time: per minute, or per day. The first window is there at once."""

    account: str
    name: str  # rpm | ipm | rpd
    limit: int
    window: float  # seconds
    lag: float = 0.0  # seconds from the last request to its answer

    def capacity(self, seconds: float) -> float:
        """Count the windows that have begun in time for an answer."""
        return self.limit * (1 + math.floor(max(0.0, seconds - self.lag) / self.window))

    def needs(self, amount: float) -> float:
        """Seconds until the last window has begun, and its answer."""
        return self.lag + max(0, math.ceil(amount - CLOSE) - 1) // self.limit * self.window if amount > CLOSE else 0.0


@dataclass(frozen=True, slots=True)
class Rounds:
    """What may be in open batches at once: so much in every round of some hours."""

    account: str
    name: str  # batches | tokens of a model
    limit: float
    seconds: float  # of a round

    def capacity(self, seconds: float) -> float:
        """Count whole rounds."""
        return self.limit * math.floor(seconds / self.seconds + CLOSE)

    def needs(self, amount: float) -> float:
        """Seconds of all rounds."""
        return math.ceil(amount / self.limit - CLOSE) * self.seconds if self.limit else math.inf
