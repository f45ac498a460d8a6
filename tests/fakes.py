"""Fakes that tests share: time as a number, and an observer that remembers."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field

from nanobatch.events import Event


@dataclass
class ManualClock:
    """Time that stands still until a test moves it: `advance(3600)` is an hour in no time.

    Monotonic and wall time move together. Sleepers wake in the order of their deadlines.
    """

    now: float = 1000.0
    wall_offset: float = 1_790_000_000.0
    _sleepers: list[tuple[float, int, asyncio.Future[None]]] = field(default_factory=list)
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.wall_offset + self.now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._count), future))
        await future

    @property
    def next_deadline(self) -> float | None:
        """The monotonic time at which the first sleeper wakes, or None."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def settle(self, turns: int = 20) -> None:
        """Let every task run until it waits."""
        for _ in range(turns):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move time on, waking each sleeper at its own moment and letting its consequences happen."""
        target = self.now + seconds
        await self.settle()
        while (deadline := self.next_deadline) is not None and deadline <= target:
            self.now = max(self.now, deadline)
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self.now = target
        await self.settle()


@dataclass
class RecordingObserver:
    """An observer that keeps every event."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)
