"""Drives the engines of a run: one by one, through batches, or both as a mix says; and no longer than the deadline."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from nanobatch.attempts import OpenTask
from nanobatch.batch_assembly import Batching
from nanobatch.batches.journal import TASK_PREFIX
from nanobatch.budget import Budget
from nanobatch.caching import Caching
from nanobatch.clock import Clock
from nanobatch.deadline import Deadline
from nanobatch.engines.local import LocalEngine
from nanobatch.estimation import ASSUMED_LATENCY_SECONDS
from nanobatch.events import Event, JobFinished, Observer
from nanobatch.examination import embedding
from nanobatch.folder import Folder
from nanobatch.lanes import reference_for
from nanobatch.mix_assembly import Mixing
from nanobatch.pipeline import Pipeline
from nanobatch.preparation import Prepared
from nanobatch.retry import RetryPolicy
from nanobatch.routing import Lane, Router
from nanobatch.settings import Settings
from nanobatch.stopping import Stop

MOST_WORKERS = 8192


@dataclass(slots=True)
class Generation:
    """What a run does between opening its lanes and writing its summary."""

    prepared: Prepared
    folder: Folder
    cache: Caching
    clock: Clock
    observe: Observer
    stop: Stop
    tick: Callable[[], None]
    rng: random.Random
    charge: Callable[[str, float, float], None]
    todo: int  # jobs that may have to be sent
    work: Batching | Mixing | None = None  # unless everything is simply sent
    deadline: Deadline | None = None

    @property
    def tasks(self) -> dict[str, OpenTask]:
        """What is ordered and not fetched, by job."""
        return self.folder.past.tasks

    def note(self, event: Event) -> None:
        """Hear of what happens."""
        if self.deadline is not None and not self._is_of_batch(event):
            self.deadline.note(event)
        if isinstance(self.work, Mixing):
            self.work.note(event)

    def _is_of_batch(self, event: Event) -> bool:
        """Tell whether something ended in a batch: how long that took says nothing of an answer."""
        if not isinstance(self.work, Mixing) or not isinstance(event, JobFinished):
            return False
        return not self.work.is_at_desk(event.record.job)

    async def go(self, budget: Budget, lanes: Sequence[Lane]) -> None:
        """Take every job to its end, or until the run is stopped."""
        seconds = self.prepared.request.deadline_seconds
        if seconds is not None and not isinstance(self.work, Batching):  # batches by themselves are cancelled in time
            self.deadline = Deadline(self.clock, seconds, assumed=_soonest(lanes))
        try:
            async with self._in_time():
                match self.work:
                    case Mixing():
                        await self._mixed(self.work, budget)
                    case Batching():
                        await self._through_batches(self.work, budget, lanes)
                    case None:
                        await self._one_by_one(budget, lanes)
        finally:
            for task in self.tasks.values():  # the pipeline has counted what it ordered itself
                if isinstance(self.work, Batching) or (task.task or "").startswith(TASK_PREFIX):
                    self.charge(task.provider, 0.0, task.worst_usd)

    @contextlib.asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """Stop what is going on at the deadline, if there is one."""
        if self.deadline is None:
            yield
            return
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self.deadline.stop(self.stop))
            try:
                yield
            finally:
                watch.cancel()

    async def _one_by_one(self, budget: Budget, lanes: Sequence[Lane]) -> None:
        settings = self.prepared.settings
        workers = min(self.todo, MOST_WORKERS, 2 * total(settings))  # some sleep before a retry while others work
        engine = self._engine(self._pipeline(budget, lanes, retries=settings.run.retries), workers)
        engine.sieve = self.cache
        await engine.run(self.folder.left(self.prepared.planner.jobs()))

    async def _through_batches(self, batching: Batching, budget: Budget, lanes: Sequence[Lane]) -> None:
        if batching.mode.orders:
            await self.cache.sweep(self.folder.left(batching.plan.jobs()))
        await batching.go(
            self._pipeline(budget, lanes, retries=0, of_rows=True),
            folder=self.folder,
            budget=budget,
            tallies=self.folder.past.tallies,
            clock=self.clock,
            observe=self.observe,
            stop=self.stop,
            rng=self.rng,
            tick=self.tick,
        )

    async def _mixed(self, mixing: Mixing, budget: Budget) -> None:
        assert self.deadline is not None
        await self.cache.sweep(self.folder.left(self.prepared.planner.jobs()))
        if self.stop.reason is not None or not await mixing.plan(self.folder, self.deadline):
            return
        pipeline = self._pipeline(budget, mixing.lanes_at_once, retries=self.prepared.settings.run.retries)
        pipeline.wait_for_quota = True  # the plan counts on the next day, and the deadline puts an end to it
        pipeline.router = Router(mixing.lanes_at_once, "cheapest", planned=mixing.lane_of)
        await mixing.go(
            self._engine(pipeline, 0),
            self._pipeline(budget, mixing.lanes_for_batches, retries=0, stop=mixing.batch_stop, of_rows=True),
            budget=budget,
            rng=self.rng,
        )

    def _engine(self, pipeline: Pipeline, workers: int) -> LocalEngine:
        return LocalEngine(
            pipeline=pipeline,
            clock=self.clock,
            observe=self.observe,
            stop=self.stop,
            workers=workers,
            grace_seconds=self.prepared.settings.run.grace_seconds,
            sync=self.folder.sync,
            tick=self.tick,
        )

    def _pipeline(
        self, budget: Budget, lanes: Sequence[Lane], *, retries: int, stop: Stop | None = None, of_rows: bool = False
    ) -> Pipeline:
        settings, folder = self.prepared.settings, self.folder
        return Pipeline(
            router=Router(lanes, settings.run.strategy),
            retry=RetryPolicy(retries, on_unknown=settings.run.on_unknown, rng=self.rng),
            budget=budget,
            store=folder.store,
            manifest=folder.manifest,
            ledger=folder.ledger,
            clock=self.clock,
            observe=self.observe,
            stop=stop or self.stop,
            rng=self.rng,
            past=folder.past.tallies,
            charge=self.charge,
            wait_for_quota=settings.run.on_quota == "wait",
            fallback_on_refusal=settings.run.fallback_on_refusal and not of_rows,  # no row is asked for by itself
            load_reference=lambda digest, lane, model: reference_for(
                self.prepared.references, digest, seller=lane.seller, model=model
            ),
            tasks=self.tasks,
            embed=embedding(settings.output.embed, folder.store.new_part),
            writes_off=not of_rows,  # else `go` does, when everything is over
        )


def total(settings: Settings) -> int:
    """Return how many requests may be on the wire at once."""
    return sum(provider.limits.concurrency for provider in settings.providers)


def _soonest(lanes: Sequence[Lane]) -> float:
    """Return the seconds of the quickest answer, as far as is known before the first."""
    offers = (offer for lane in lanes for offer in lane.seller.offers)
    return min((offer.latency_seconds(None) or ASSUMED_LATENCY_SECONDS for offer in offers), default=0.0)
