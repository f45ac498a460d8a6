"""Collects batches that are over: every row goes to the job that its key names, and a job without a row is told why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from nanobatch.batches.journal import Batch
from nanobatch.batches.results import ReadLine, fetch, read_results
from nanobatch.batches.rows import Arrival, discard_blobs
from nanobatch.batches.wire import Phase
from nanobatch.engines.batch_office import NO_IMAGE_REPEATS, BatchLane, Office
from nanobatch.errors import AccountStopped, ExchangeError, RowFailed, Undelivered
from nanobatch.model import Job

LANDING_TOGETHER = 32  # rows whose images are flushed to the disk in one go
KEPT = "vendors keep results for two days or so; collect within that time"


@dataclass(slots=True)
class _Pass:
    """One reading of the results of a batch."""

    jobs: Mapping[str, Job]  # that have no outcome yet
    seen: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Collection:
    """Collects batches of one run."""

    office: Office

    async def collect(self, lane: BatchLane, batch: Batch) -> None:
        """Take every job of a batch that is over to its record.

        Raises:
            ExchangeError: The results cannot be fetched now; a later call goes on where this one stopped.
            StoreError: Something could not be written.
        """
        office = self.office
        reading = _Pass(office.plan.pick(job for job, _ in office.ordered(batch)))
        gone: ExchangeError | None = None
        for number, file in enumerate(batch.files):
            missing = await self._fetch(lane, batch, number, file)
            gone = gone or missing
            if missing is None:
                office.tell(lane, f"reading the results of {batch.name}")
                await self._read(lane, batch, reading, number)
        if gone is not None:
            await self._make_sure(lane, batch)
        office.stop.check()
        await self._tell_missing(lane, batch, reading, gone)
        office.stop.check()
        office.journal.close_batch(batch, _closing(batch, reading, gone), at=office.clock.wall())
        for number in range(len(batch.files)):
            office.results_file(batch, number).unlink(missing_ok=True)
        await self._tidy(lane, batch)

    async def _fetch(self, lane: BatchLane, batch: Batch, number: int, file: str) -> ExchangeError | None:
        """Fetch a file of results; return the vendor's answer where it is gone from all its addresses."""
        office = self.office
        target = office.results_file(batch, number)
        gone: ExchangeError | None = None
        for request in lane.wire.downloads(file):
            try:
                await fetch(
                    request, target, streamer=lane.transport, wire=lane.wire, clock=office.clock, rng=office.rng
                )
            except AccountStopped as error:
                if error.http_status not in lane.wire.gone:
                    raise
                gone = error
            else:
                return None
        return gone

    async def _make_sure(self, lane: BatchLane, batch: Batch) -> None:
        """Ask for a batch whose results are gone: to the key of another account both look like that, and are not.

        Raises:
            ExchangeError: The vendor does not know the batch either.
        """
        assert batch.name is not None
        await self.office.hold(lane, lane.wire.poll(batch.name))

    async def forget(self, lane: BatchLane, batch: Batch, error: ExchangeError) -> None:
        """End the jobs of a batch that the vendor does not know any more; whether they were drawn nobody can say."""
        lost = Undelivered(f"the vendor does not know {batch.name} any more: {error.message}; {KEPT}")
        lost.billed = None
        jobs = self.office.plan.pick(job for job, _ in self.office.ordered(batch))
        await self.office.land(lane, [(job, Arrival(error=lost)) for job in jobs.values()])
        self.office.journal.close_batch(batch, "lost", at=self.office.clock.wall())

    async def _read(self, lane: BatchLane, batch: Batch, reading: _Pass, number: int) -> None:
        """Read a file, some rows at a time."""
        office = self.office
        store, echo = office.folder.store, lane.wire.echo
        lines = read_results(office.results_file(batch, number), store.new_part, echo=echo)
        while True:
            some = await asyncio.to_thread(_take, lines)
            arrivals = [found for line in some if (found := self._arrival(lane, batch, reading, line)) is not None]
            await office.land(lane, arrivals)
            if len(some) < LANDING_TOGETHER:
                return
            office.stop.check()

    def _arrival(self, lane: BatchLane, batch: Batch, reading: _Pass, line: ReadLine) -> tuple[Job, Arrival] | None:
        """Say whose row a line is. A key decides, and nothing else: not the place of the line, not its words."""
        office, place = self.office, f"line {line.number} of the results of {batch.name}"
        if line.flaw is not None:
            office.warn(f"{place} cannot be read: {line.flaw}")
            return None
        row = lane.wire.row(line.content)
        job = reading.jobs.get(row.key or "")
        if job is None or job.id in reading.seen:
            discard_blobs(line.content)
            if job is not None:
                office.warn(f"{place} is a second answer for {job.prompt.id}; the first is kept")
            elif row.key not in batch.jobs:
                office.warn(f"{place} belongs to no job of it; its image is not used")
            return None  # else an earlier process has collected it
        reading.seen.add(job.id)
        tally = office.tallies.get(job.id)
        is_last = tally is not None and tally.attempts > min(NO_IMAGE_REPEATS, office.retries)
        return job, Arrival(row.response, is_last=is_last)

    async def _tell_missing(self, lane: BatchLane, batch: Batch, reading: _Pass, gone: ExchangeError | None) -> None:
        """Give an outcome to the jobs for which no row came."""
        missing = [
            (job, Arrival(error=_why(batch, gone))) for key, job in reading.jobs.items() if key not in reading.seen
        ]
        for start in range(0, len(missing), LANDING_TOGETHER):
            self.office.stop.check()
            await self.office.land(lane, missing[start : start + LANDING_TOGETHER])

    async def _tidy(self, lane: BatchLane, batch: Batch) -> None:
        """Delete files at the vendor's that would stay there, and count against the account's storage."""
        if batch.file is None:
            return
        for file in lane.wire.litter(batch.file, batch.files):
            try:
                await self.office.hold(lane, lane.wire.delete(file))
            except ExchangeError as error:
                self.office.warn(f"{lane.name}: {file} could not be deleted: {error.message}")


def _take(lines: Iterator[ReadLine]) -> list[ReadLine]:
    return list(islice(lines, LANDING_TOGETHER))


def _closing(batch: Batch, reading: _Pass, gone: ExchangeError | None) -> str:
    """Say in a word how a batch ended: as the vendor ended it, unless it has gone its usual way."""
    if gone is not None and not reading.seen:
        return "undelivered"
    return "collected" if batch.phase is Phase.SUCCEEDED else batch.phase.value


def _why(batch: Batch, gone: ExchangeError | None) -> ExchangeError:
    """Say why a job has no row."""
    more = f": {batch.message}" if batch.message else ""
    if gone is not None:
        return Undelivered(f"the results of {batch.name} are gone; {KEPT}", http_status=gone.http_status)
    match batch.phase:
        case Phase.SUCCEEDED:
            return RowFailed(f"the results of {batch.name} have no row for this job", billed=None)
        case Phase.EXPIRED:
            return RowFailed(f"{batch.name} expired before it came to this job{more}")
        case Phase.CANCELLED:
            return RowFailed(f"{batch.name} was cancelled before it came to this job{more}")
        case _:
            return RowFailed(f"{batch.name} failed{more}")
