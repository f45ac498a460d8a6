"""What the parts of the batch engine share: the lanes, the books, and how a job ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from nanobatch.attempts import Line, OpenTask, Tally
from nanobatch.batches.chunks import MEGABYTE, Chunk, Lot, Weight, cut, weigh
from nanobatch.batches.journal import Batch, BatchJournal
from nanobatch.batches.plan import StoredPlan
from nanobatch.batches.rows import Arrival, RowDesk
from nanobatch.batches.talk import hold
from nanobatch.batches.wire import BatchWire, Talk
from nanobatch.budget import Budget, Reservation
from nanobatch.clock import Clock
from nanobatch.errors import NanobatchError, NotSent, RowFailed, StoreError
from nanobatch.events import JobFinished, LaneChanged, Observer, Warned
from nanobatch.folder import Folder
from nanobatch.manifest import fingerprint
from nanobatch.model import Job, Reference, Status
from nanobatch.pipeline import Pipeline
from nanobatch.records import record_without_image
from nanobatch.routing import Lane, Seller
from nanobatch.settings import BatchSettings
from nanobatch.stopping import Stop, Stopped, StopReason
from nanobatch.stores.local import STATE_FOLDER
from nanobatch.transport import HttpTransport

T = TypeVar("T")
FOLDER = f"{STATE_FOLDER}/batches"
ORDERED = "ordered in a batch that is not collected yet"
NO_LIMIT = 10**15
NO_IMAGE_REPEATS = 2  # of a row that came back with words alone
ASSUMED_TOKENS = 1700  # of an image of a model that nobody knows


@dataclass(slots=True)
class BatchLane:
    """One provider's batches."""

    lane: Lane  # its gate, and the provider that reads rows
    desk: RowDesk
    wire: BatchWire
    transport: HttpTransport
    settings: BatchSettings
    not_before: float = 0.0  # monotonic seconds: the vendor wants no new batch until then
    refusals: int = 0  # of new batches, in a row
    silences: int = 0  # questions without an answer, in a row

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.lane.name

    @property
    def seller(self) -> Seller:
        """What it sells."""
        return self.lane.seller

    def limit(self, lot: Lot) -> Weight:
        """Return what one batch may weigh."""
        own, bounds = self.settings, self.wire.bounds
        return Weight(
            output_bytes=own.output_mb * MEGABYTE,
            input_bytes=min(bounds.input_bytes, (own.input_mb or NO_LIMIT) * MEGABYTE),
            tokens=self.enqueued_limit(lot),
            rows=min(bounds.rows, own.rows or NO_LIMIT),
        )

    def enqueued_limit(self, lot: Lot) -> int:
        """Return how many tokens may be in all open batches of a model."""
        limits = self.settings.enqueued_tokens or {}
        known = self.seller.catalog.find(lot.model)
        return limits.get(known.id if known else lot.model, limits.get("*", NO_LIMIT))

    def weigh(self, job: Job) -> Weight:
        """Estimate what a job takes as a row."""
        offer = self.seller.offer(job.params.model)
        tokens = offer.known.image_tokens if offer.known else {}
        return weigh(
            job,
            image_tokens=tokens.get(job.params.size or "1K", ASSUMED_TOKENS),
            reference_bytes=offer.carries.references.bytes,
        )


@dataclass(slots=True)
class Office:
    """Everything that the parts of the engine need."""

    pipeline: Pipeline
    lanes: Mapping[str, BatchLane]  # by provider, in priority order
    folder: Folder
    journal: BatchJournal
    plan: StoredPlan
    budget: Budget
    clock: Clock
    observe: Observer
    stop: Stop
    rng: random.Random
    retries: int
    tallies: dict[str, Tally]  # by job: what was tried so far; the pipeline reads it too
    load_reference: Callable[[str, Lane, str], Reference]
    is_sandbox: bool = False  # whose batches end with it
    held: dict[str, Reservation] = field(default_factory=dict)  # by job: money for what is ordered
    again: list[Job] = field(default_factory=list)  # jobs that go into another batch of this run
    landed: set[str] = field(default_factory=set)  # jobs of which something came in this run, good or bad
    chosen_lane: Callable[[Job], str | None] | None = None  # whose batches take a job, where not all go through batches
    returned: list[Job] = field(default_factory=list)  # rows of the last results that came to nothing
    give_back: Callable[[list[Job]], None] | None = None  # takes rows that came to nothing, instead of another batch

    @property
    def root(self) -> Path:
        """Where files of rows and of results lie."""
        return self.folder.store.root / FOLDER

    def rows_file(self, batch: Batch) -> Path:
        """Return where the rows of a batch lie until it is created."""
        return self.root / f"{batch.title}.jsonl"

    def results_file(self, batch: Batch, number: int) -> Path:
        """Return where one of its files of results goes."""
        return self.root / f"{batch.title}.results-{number}.jsonl"

    async def hold(self, lane: BatchLane, talk: Talk[T]) -> T:
        """Hold a conversation with a lane's vendor."""
        return await hold(talk, lane.transport, clock=self.clock, rng=self.rng)

    def tell(self, lane: BatchLane, message: str) -> None:
        """Say what a lane is at."""
        self.observe(LaneChanged(lane.name, "waiting", message))

    def warn(self, message: str) -> None:
        """Say what a person should know."""
        self.observe(Warned(message))

    def ordered(self, batch: Batch) -> Iterator[tuple[str, OpenTask]]:
        """Yield the jobs of a batch that have no outcome yet, with what the ledger knows of their orders."""
        for job in batch.jobs:
            task = self.pipeline.tasks.get(job)
            if task is not None and task.task == batch.task:
                yield job, task

    def take_back(self, batch: Batch, why: str) -> None:
        """Close a batch that does not exist: its jobs cost nothing, were not tried, and may go into another one."""
        now = self.clock.wall()
        for job, task in list(self.ordered(batch)):
            self.folder.ledger.conclude(
                Line("outcome", now, task.attempt, job, task.provider, code=NotSent.code, billed=False)
            )
            del self.pipeline.tasks[job]
            tally = self.tallies.setdefault(job, Tally())
            tally.attempts = max(0, tally.attempts - 1)  # that was none
            if (reservation := self.held.pop(job, None)) is not None:
                self.budget.release(reservation)
        self.journal.close_batch(batch, why, at=now)
        self.rows_file(batch).unlink(missing_ok=True)

    async def land(self, lane: BatchLane, arrivals: Sequence[tuple[Job, Arrival]]) -> None:
        """Take jobs of one batch to their records, together, so that the disk is flushed for all of them in one go."""
        orders = {}
        for job, arrival in arrivals:
            orders[job.id] = self.pipeline.tasks[job.id]
            self.pipeline.tasks[job.id] = replace(orders[job.id], task=job.id)
            lane.desk.put(job.id, arrival)
            if (reservation := self.held.pop(job.id, None)) is not None:
                self.pipeline.keep_for(job.id, reservation)
        try:
            async with asyncio.TaskGroup() as group:
                for job, _ in arrivals:
                    group.create_task(self._land(job))
        finally:
            for job_id in orders.keys() & self.pipeline.tasks.keys():
                self.pipeline.tasks[job_id] = orders[job_id]
                if (reservation := self.pipeline.hand_back(job_id)) is not None:
                    self.held[job_id] = reservation
        if self.give_back is not None and self.returned:
            returned, self.returned = self.returned, []
            self.give_back(returned)

    async def _land(self, job: Job) -> None:
        try:
            record = await self.pipeline.run(job)
        except Stopped:
            return
        except StoreError as error:
            self.stop.ask(StopReason("store", error.message, error.exit_code))
            return
        self.landed.add(job.id)
        self.tallies[job.id] = Tally(record.attempts, record.cost_usd, record.maybe_cost_usd)
        if record.status is not Status.UNFINISHED:
            self.folder.done.add(fingerprint(job.id))
        elif record.error is None or record.error.code != RowFailed.code:
            pass
        elif self.give_back is not None:
            self.returned.append(job)
        elif record.attempts <= self.retries:
            self.again.append(job)

    def note_ordered(self, job: Job) -> None:
        """Record that a job is ordered, over whatever an earlier run has said of it."""
        tally, task = self.tallies.get(job.id, Tally()), self.pipeline.tasks[job.id]
        ordered = NotSent(ORDERED)
        self.folder.manifest.append(
            record_without_image(job, tally, ordered, finished_at=None, open_usd=task.worst_usd)
        )

    def fail(self, job: Job, error: NanobatchError) -> None:
        """Record a job that cannot be ordered."""
        record = record_without_image(job, self.tallies.get(job.id, Tally()), error, finished_at=None)
        self.folder.manifest.append(record)
        self.folder.done.add(fingerprint(job.id))
        self.observe(JobFinished(record))

    def chosen(self) -> Iterator[tuple[Lot, Job, Weight]]:
        """Yield the jobs that are to be ordered, with where and what they weigh."""
        return self.weighed(
            job
            for job in self.folder.left(self.plan.jobs())
            if job.id not in self.pipeline.tasks and job.id not in self.landed and self._is_ours(job)
        )

    def _is_ours(self, job: Job) -> bool:
        return self.chosen_lane is None or self.chosen_lane(job) is not None

    def weighed(self, jobs: Iterable[Job]) -> Iterator[tuple[Lot, Job, Weight]]:
        """Say for each job which lane takes it, and what it weighs there."""
        for job in jobs:
            lane = self.lane_for(job)
            order = lane.seller.order(job)
            group = lane.wire.group(with_references=bool(job.params.references))
            yield Lot(lane.name, order.model, group), job, lane.weigh(job)

    def cut(self, weighed: Iterable[tuple[Lot, Job, Weight]]) -> Iterator[Chunk]:
        """Cut jobs into batches."""
        return cut(weighed, lambda lot: self.lanes[lot.provider].limit(lot))

    def lane_for(self, job: Job) -> BatchLane:
        """Return the first lane that can honour a job; the preflight has seen to it that there is one."""
        if self.chosen_lane is not None and (name := self.chosen_lane(job)) is not None:
            return self.lanes[name]
        [chosen, *_] = self.pipeline.router.choose(job)
        return self.lanes[chosen.name]
