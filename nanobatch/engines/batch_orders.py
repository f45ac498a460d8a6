"""Orders batches: a title, money, the file of rows, its upload, the intents, and only then the order itself.

The order is the one step that costs money and that no vendor lets us repeat safely. So the batch's title is on disk
before it, and when its reply is lost, the account is searched for that title until it is found or certainly not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from nanobatch.attempts import OpenTask, Tally
from nanobatch.batches.chunks import Chunk
from nanobatch.batches.journal import Batch
from nanobatch.batches.rows import Arrival
from nanobatch.batches.wire import BatchState, Phase
from nanobatch.engines.batch_office import BatchLane, Office
from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    DecodeError,
    ExchangeError,
    InputError,
    LimitReached,
    ModelGone,
    Overloaded,
    QuotaSpent,
    RateLimited,
    Rejected,
    ServerFault,
    Unsent,
)
from nanobatch.events import AttemptStarted
from nanobatch.journal import as_store_error
from nanobatch.model import FREE, Job, Order
from nanobatch.quests import worst_price
from nanobatch.stores.offload import Offload

LOOKS = 3  # for a batch whose reply was lost, before it counts as not there
ORDERS = 3  # of one batch, each after a search in vain
FIRST_PAUSE_SECONDS = 60.0  # after a 429; doubles up to an hour
LONGEST_PAUSE_SECONDS = 3600.0
_IN_VAIN = (Phase.CANCELLED, Phase.EXPIRED, Phase.FAILED)
_NOBODY_KNOWS = (Ambiguous, ServerFault, Overloaded, DecodeError)
_encode = msgspec.json.Encoder().encode


class Outcome(enum.Enum):
    """What became of an attempt to order a batch."""

    ORDERED = enum.auto()
    LATER = enum.auto()  # there is no room for it now
    DROPPED = enum.auto()  # none of its rows can be ordered


@dataclass(slots=True)
class Ready:
    """A batch that is uploaded and waits for room."""

    batch: Batch
    chunk: Chunk


@dataclass(slots=True)
class Orders:
    """Orders batches of one run."""

    office: Office
    offload: Offload = field(default_factory=Offload)

    async def recover(self) -> None:
        """Find out what became of batches that an earlier process was about to order."""
        office = self.office
        unknown: dict[str, list[Batch]] = {}
        for batch in office.journal.open:
            if batch.name is not None:
                continue
            if batch.creating_at is None:
                self._not_there(batch)
            else:
                unknown.setdefault(batch.provider, []).append(batch)
        for provider, batches in unknown.items():
            lane = office.lanes.get(provider)
            if lane is None:
                office.warn(f"{len(batches)} batches at {provider} may exist; use that provider again to find out")
                continue
            for batch in batches:
                state = await self._search(lane, batch)
                if state is None:
                    self._not_there(batch)
                else:
                    office.journal.saw(batch, state, at=office.clock.wall())

    def _not_there(self, batch: Batch) -> None:
        """Take back a batch that an earlier process did not come to order; its jobs are as free as all others."""
        office = self.office
        jobs = office.plan.pick(job for job, _ in office.ordered(batch))
        office.take_back(batch, "never ordered")
        if office.give_back is not None:
            office.give_back(list(jobs.values()))

    def has_room(self, lane: BatchLane, chunk: Chunk) -> bool:
        """Tell whether a lane's limits leave room for one more batch."""
        office = self.office
        if office.clock.monotonic() < lane.not_before:
            return False
        open_ = [batch for batch in office.journal.open if batch.provider == lane.name and not batch.phase.is_over]
        if lane.settings.jobs is not None and len(open_) >= lane.settings.jobs:
            return False
        enqueued = sum(batch.tokens for batch in open_ if batch.model == chunk.lot.model)
        limit = lane.enqueued_limit(chunk.lot)
        return not enqueued or enqueued + chunk.weight.tokens <= limit

    async def prepare(self, lane: BatchLane, chunk: Chunk) -> tuple[Ready | None, tuple[Job, ...]]:
        """Upload a chunk and write down what it is about to cost.

        Returns:
            The batch, and the jobs for which the budget has no room until others are settled.

        Raises:
            LimitReached: The budget is used up.
            ExchangeError: The vendor did not take the file.
            StoreError: Something could not be written.
        """
        chunk, left = self._afford(lane, chunk)
        if not chunk.jobs:
            return None, left
        with self._money_back(chunk):
            return await self._made_ready(lane, chunk), left

    @contextlib.contextmanager
    def _money_back(self, chunk: Chunk) -> Iterator[None]:
        """Set nothing aside any more for a chunk that cannot be made ready: it will not be ordered."""
        try:
            yield
        except BaseException:
            for job in chunk.jobs:
                if (reservation := self.office.held.pop(job.id, None)) is not None:
                    self.office.budget.release(reservation)
            raise

    async def _made_ready(self, lane: BatchLane, chunk: Chunk) -> Ready | None:
        office = self.office
        title = f"nanobatch-{secrets.token_hex(8)}"
        ids = tuple(job.id for job in chunk.jobs)
        lot = chunk.lot
        batch = Batch(
            title,
            lot.provider,
            lot.model,
            lot.group,
            ids,
            chunk.weight.tokens,
            office.clock.wall(),
            day=office.held[ids[-1]].day or "",
            run=office.budget.run,
        )
        office.journal.plan(batch)
        refused = await asyncio.to_thread(self._write_rows, lane, chunk, office.rows_file(batch))
        for job, error in refused:
            office.budget.release(office.held.pop(job.id))
            office.fail(job, error)
        if refused:
            bad = {job.id for job, _ in refused}
            chunk = replace(chunk, jobs=tuple(job for job in chunk.jobs if job.id not in bad))
        if not chunk.jobs:
            office.take_back(batch, "no row could be written")
            return None
        try:
            await self._upload(lane, batch)
        except ExchangeError:
            office.take_back(batch, "not uploaded")
            raise
        self._intend(lane, batch, chunk)
        await asyncio.to_thread(office.folder.ledger.sync)
        return Ready(batch, chunk)

    async def order(self, lane: BatchLane, ready: Ready) -> Outcome:
        """Order what is uploaded.

        Raises:
            AccountStopped: The account takes no orders.
            ExchangeError: The vendor does not answer; whether the batch exists is found out by the next run.
        """
        office, batch = self.office, ready.batch
        try:
            state = await self._create(lane, batch)
        except (RateLimited, QuotaSpent) as error:
            self._not_taken(batch)
            self.pause(lane, error)
            return Outcome.LATER
        except AccountStopped as error:
            self._not_taken(batch)
            if not isinstance(error, ModelGone):
                office.take_back(batch, "not taken")
                raise
            await self._reject(lane, ready, error)
            return Outcome.DROPPED
        except Unsent:
            self._not_taken(batch)
            raise
        except _NOBODY_KNOWS:
            raise
        except ExchangeError as error:
            self._not_taken(batch)
            await self._reject(lane, ready, error)
            return Outcome.DROPPED
        lane.refusals = 0
        office.journal.saw(batch, state, at=office.clock.wall())
        office.rows_file(batch).unlink(missing_ok=True)
        for job in ready.chunk.jobs:
            office.note_ordered(job)
        office.tell(lane, f"{len(ready.chunk.jobs)} images are ordered as {state.name}")
        return Outcome.ORDERED

    def _afford(self, lane: BatchLane, chunk: Chunk) -> tuple[Chunk, tuple[Job, ...]]:
        """Set money aside for as many jobs of a chunk as the budget has room for now."""
        for number, job in enumerate(chunk.jobs):
            try:
                reservation = self.office.budget.reserve_now(worst_price(lane.seller.offer(job.params.model), job))
            except LimitReached:
                if not number:
                    raise
                reservation = None  # what is set aside already is ordered first
            if reservation is None:
                return replace(chunk, jobs=chunk.jobs[:number]), chunk.jobs[number:]
            self.office.held[job.id] = reservation
        return chunk, ()

    def _write_rows(self, lane: BatchLane, chunk: Chunk, path: Path) -> list[tuple[Job, ExchangeError]]:
        """Write the file of rows; return the jobs that have none, with the reason. Blocks."""
        refused: list[tuple[Job, ExchangeError]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for job in chunk.jobs:
                    try:
                        order = self._order(lane, job)
                    except InputError as error:
                        refused.append((job, Rejected(f"a reference image cannot be sent: {error.message}")))
                        continue
                    file.write(_encode(lane.wire.line(job.id, order)) + b"\n")
        except OSError as error:
            raise as_store_error(error, path) from error
        return refused

    def _order(self, lane: BatchLane, job: Job) -> Order:
        order = lane.seller.order(job)
        load = self.office.load_reference
        references = tuple(load(digest, lane.lane, job.params.model) for digest in job.params.references)
        return replace(order, references=references)

    async def _upload(self, lane: BatchLane, batch: Batch) -> None:
        path = self.office.rows_file(batch)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            talk = lane.wire.upload(batch.title, size, lambda at, length: os.pread(fd, length, at))
            file = await self.office.hold(lane, talk)
        finally:
            os.close(fd)
        self.office.journal.uploaded(batch, file, at=self.office.clock.wall())

    def _intend(self, lane: BatchLane, batch: Batch, chunk: Chunk) -> None:
        """Write an intent for every row."""
        office, now = self.office, self.office.clock.wall()
        for job in chunk.jobs:
            worst = worst_price(lane.seller.offer(job.params.model), job)
            attempt = office.folder.ledger.intend(
                job.id, lane.name, at=now, worst_usd=worst, cost=FREE, task=batch.task
            )
            office.pipeline.tasks[job.id] = OpenTask(attempt, lane.name, batch.task, worst, now)
            tally = office.tallies.setdefault(job.id, Tally())
            tally.attempts += 1
            office.observe(AttemptStarted(job.id, job.prompt.id, lane.name, tally.attempts))

    async def _create(self, lane: BatchLane, batch: Batch) -> BatchState:
        """Create a batch, once. When a reply is lost, the batch is searched for before it is ordered again.

        Raises:
            ExchangeError: It was not taken; or, for what nobody knows, it cannot be found out now.
        """
        office = self.office
        assert batch.file is not None
        for number in range(ORDERS):
            office.journal.creating(batch, at=office.clock.wall())
            try:
                talk = lane.wire.create(batch.title, batch.file, model=batch.model, group=batch.group)
                state = await office.hold(lane, talk)
            except _NOBODY_KNOWS as error:
                office.warn(f"{lane.name}: the reply to an order was lost ({error.message}); looking for the batch")
                found = await self._search(lane, batch)
                if found is not None:
                    return found
                if number == ORDERS - 1:
                    raise
            else:
                if number:  # the one before may have been made, and come into the list by now
                    await self._cancel_doubles(lane, batch, state)
                return state
        raise AssertionError("unreachable")

    async def _cancel_doubles(self, lane: BatchLane, batch: Batch, kept: BatchState) -> None:
        """Cancel what has the title of a batch and is another one; what cannot be found out now is only told."""
        office = self.office
        try:
            for double in await office.hold(lane, lane.wire.find({batch.title})):
                if double.name != kept.name:
                    office.warn(f"{lane.name} has made {kept.name} twice; {double.name} is cancelled")
                    await office.hold(lane, lane.wire.cancel(double.name))
        except ExchangeError as error:
            office.warn(f"{lane.name} may have made {kept.name} twice, which cannot be found out: {error.message}")

    async def _search(self, lane: BatchLane, batch: Batch) -> BatchState | None:
        """Look for a batch by its title, several times: a list may lag behind. Cancel what is there twice."""
        office = self.office
        for number in range(LOOKS):
            found = await office.hold(lane, lane.wire.find({batch.title}))
            found.sort(key=lambda state: state.phase in _IN_VAIN)  # a double that was cancelled already comes last
            for double in found[1:]:
                office.warn(f"{lane.name} has made {double.name} twice; the second is cancelled")
                await office.hold(lane, lane.wire.cancel(double.name))
            if found:
                return found[0]
            if number < LOOKS - 1:
                await office.clock.sleep(lane.settings.poll_seconds * 3.0**number / 2)
        return None

    def _not_taken(self, batch: Batch) -> None:
        self.office.journal.not_taken(batch, at=self.office.clock.wall())

    def pause(self, lane: BatchLane, error: ExchangeError) -> None:
        """Wait before the next order: as long as the vendor wishes, and longer each time."""
        usual = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**lane.refusals)
        usual = min(usual, lane.settings.poll_seconds * 30 * 2.0**lane.refusals)
        lane.refusals += 1
        seconds = max(usual, error.retry_after_seconds or 0.0)
        lane.not_before = self.office.clock.monotonic() + seconds
        self.office.tell(lane, f"no room for another batch: {error.message}")

    async def _reject(self, lane: BatchLane, ready: Ready, error: ExchangeError) -> None:
        """End every job of a batch that the vendor will never take."""
        rejected = Rejected(f"the batch was not taken: {error.message}", http_status=error.http_status)
        await self.office.land(lane, [(job, Arrival(error=rejected)) for job in ready.chunk.jobs])
        self.office.journal.close_batch(ready.batch, "not taken", at=self.office.clock.wall())
        self.office.rows_file(ready.batch).unlink(missing_ok=True)
