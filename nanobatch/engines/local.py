"""The asyncio worker pool: a fixed number of workers pulls jobs from a bounded queue, however large the input is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

from nanobatch.clock import Clock
from nanobatch.errors import StoreError
from nanobatch.events import Observer, Stopping
from nanobatch.model import Job
from nanobatch.pipeline import Pipeline
from nanobatch.stopping import Stop, Stopped, StopReason

FEED_AT_ONCE = 256  # rows read before the loop gets a turn
SIFT_AT_ONCE = 2048  # jobs that are looked up together
SYNC_EVERY_SECONDS = 1.0
Take = Callable[[], Awaitable[Job | None]]  # gives the next job; None when there are no more
MOST_ASIDE = 10_000  # jobs, of about 2 kB each


class Sieve(Protocol):
    """Knows jobs that need not be sent."""

    async def sift(self, jobs: Sequence[Job]) -> tuple[list[Job], Any]:
        """Part the jobs that must be sent from those that `deliver` can take to their records."""
        ...

    async def deliver(self, hits: Any) -> list[Job]:
        """Take some of them to their records; return the jobs that must be sent after all."""
        ...


@dataclass(slots=True)
class LocalEngine:
    """Run jobs in this process.

    When the run is asked to stop, workers without a request on the wire are cancelled at once. The others finish
    theirs, because those images are paid; only a person or a system that wants the process gone puts an end to that,
    after the grace period. What is on the wire then counts as possibly billed.
    """

    pipeline: Pipeline
    clock: Clock
    observe: Observer
    stop: Stop
    workers: int
    grace_seconds: float
    sync: Callable[[], None]  # flushes journals to the disk; called in a thread about every second
    tick: Callable[[], None]  # lets observers act on time, about every second
    sieve: Sieve | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _aside: dict[str | None, deque[Job]] = field(default_factory=dict)  # jobs of crowded lanes, by the provider named

    async def run(self, jobs: Iterable[Job]) -> None:
        """Take every job to its end, or until the run is stopped.

        Raises:
            ExceptionGroup: A bug; everything finished before it is recorded.
        """
        queue: asyncio.Queue[Job | None] = asyncio.Queue(maxsize=max(1, self.workers))
        await self._go([partial(self._next, queue)] * self.workers, self._feed(jobs, queue))

    async def pull(self, takes: Iterable[Take]) -> None:
        """Let one worker for each of some sources take jobs from it until it has none.

        Raises:
            ExceptionGroup: A bug; everything finished before it is recorded.
        """
        await self._go(takes)

    async def _go(self, takes: Iterable[Take], *others: Coroutine[Any, Any, None]) -> None:
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self._keep_house())
            warden = group.create_task(self._watch())
            self._tasks = {group.create_task(self._work(take)) for take in takes}
            self._tasks |= {group.create_task(other) for other in others}
            await asyncio.wait(self._tasks)
            warden.cancel()
            keeper.cancel()

    async def _feed(self, jobs: Iterable[Job], queue: asyncio.Queue[Job | None]) -> None:
        if self.sieve is None:
            await self._put(jobs, queue)
        else:
            await self._put_sifted(iter(jobs), queue, self.sieve)
        for _ in range(self.workers):
            await queue.put(None)

    async def _put_sifted(self, jobs: Iterator[Job], queue: asyncio.Queue[Job | None], sieve: Sieve) -> None:
        """Put what must be sent in line, some thousand jobs after the other."""
        while self.stop.reason is None and (some := await _some(jobs)):
            misses, hits = await sieve.sift(some)
            async with asyncio.TaskGroup() as group:  # hits need not wait until the queue has room for misses
                delivery = group.create_task(sieve.deliver(hits))
                await self._put(misses, queue)
            await self._put(delivery.result(), queue)

    async def _put(self, jobs: Iterable[Job], queue: asyncio.Queue[Job | None]) -> None:
        for number, job in enumerate(jobs):
            await queue.put(job)
            if number % FEED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if self.stop.reason is not None:
                return

    async def _work(self, take: Take) -> None:
        while (job := await take()) is not None:
            if self.stop.reason is not None:
                return
            try:
                await self.pipeline.run(job)
            except Stopped:
                return
            except StoreError as error:
                self.stop.ask(StopReason("store", error.message, error.exit_code))
                return

    async def _next(self, queue: asyncio.Queue[Job | None]) -> Job | None:
        """Take a job that finds work for this worker. Lanes are bulkheads: a full one must not take everybody.

        A job whose lanes have a long line already is put aside, and taken up by whoever comes by when the line is
        shorter, or at the end.
        """
        for jobs in self._aside.values():
            if jobs and not self.pipeline.is_crowded(jobs[0]):
                return jobs.popleft()
        while (job := await queue.get()) is not None:
            if sum(map(len, self._aside.values())) >= MOST_ASIDE or not self.pipeline.is_crowded(job):
                return job
            self._aside.setdefault(job.prompt.provider, deque()).append(job)
        left = max(self._aside.values(), key=len, default=None)
        if not left:
            return None
        await queue.put(None)  # this worker will ask again
        return left.popleft()

    async def _watch(self) -> None:
        """Wait until the run is asked to stop, then see to it that it does."""
        await self.stop.asked.wait()
        on_wire = self.pipeline.on_wire
        for task in self._tasks - on_wire:
            task.cancel()
        reason = self.stop.reason
        assert reason is not None
        patient = reason.kind != "interrupted"
        self.observe(Stopping(reason.message, len(on_wire), None if patient else self.grace_seconds))
        async with asyncio.TaskGroup() as group:
            hurry = None if patient else group.create_task(self._hurry())
            await self.stop.at_once.wait()
            if hurry is not None:
                hurry.cancel()
        for task in self._tasks:
            task.cancel()

    async def _hurry(self) -> None:
        await self.clock.sleep(self.grace_seconds)
        self.stop.at_once.set()

    async def _keep_house(self) -> None:
        while True:
            await self.clock.sleep(SYNC_EVERY_SECONDS)
            self.tick()
            try:
                await asyncio.to_thread(self.sync)
            except StoreError as error:
                self.stop.ask(StopReason("store", error.message, error.exit_code))
                return


async def _some(jobs: Iterator[Job]) -> list[Job]:
    """Read the next jobs, giving the loop a turn now and then."""
    found: list[Job] = []
    while len(found) < SIFT_AT_ONCE and (more := list(islice(jobs, FEED_AT_ONCE))):
        found += more
        await asyncio.sleep(0)
    return found
