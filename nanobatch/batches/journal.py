"""What is known of every batch of a folder: `.nanobatch/batches.jsonl`, one line for each thing that happened.

    planned    a batch has a title of its own and its jobs; nothing is sent
    uploaded   its file of rows is with the vendor
    creating   it is about to be ordered: from here on it may exist
    not_taken  the vendor said no, so it does not exist
    created    the vendor has named it
    seen       how it stood when somebody looked
    closed     all its jobs have an outcome in the attempts ledger
    finished   a process wrote the manifest after all lines before

A batch between `creating` and `created` may or may not exist. Whoever comes next searches the account for its title
before anything else is ordered. The truth about money is in the attempts ledger; this file says where the rows are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nanobatch.batches.wire import BatchState, Phase
from nanobatch.journal import Journal, read_lines

BATCHES = "batches.jsonl"  # in the folder for state
TASK_PREFIX = "batch:"  # of a task in the attempts ledger; the batch's title follows


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line, of any kind."""

    kind: str
    at: float  # wall-clock seconds
    batch: str = ""  # its title
    provider: str = ""
    model: str = ""
    group: str = ""
    jobs: tuple[str, ...] = ()
    tokens: int = 0
    day: str = ""
    run: str = ""
    file: str | None = None  # the vendor's name for what was uploaded
    name: str | None = None  # the vendor's name for the batch
    phase: str = ""
    rows: int | None = None
    done: int | None = None
    failed: int | None = None
    files: tuple[str, ...] = ()
    message: str = ""


@dataclass(slots=True)
class Batch:
    """One batch, as far as it is known."""

    title: str
    provider: str
    model: str
    group: str
    jobs: tuple[str, ...]  # ids
    tokens: int  # that it is expected to take from the enqueued limit
    planned_at: float
    day: str = ""  # on which its money was set aside, where days have a limit
    run: str = ""  # which has done so
    file: str | None = None
    creating_at: float | None = None  # it may exist since then
    name: str | None = None
    created_at: float | None = None
    phase: Phase = Phase.WAITING
    rows: int | None = None
    done: int | None = None
    failed: int | None = None
    files: tuple[str, ...] = ()
    message: str = ""
    closed: str | None = None  # why
    looked_at: float | None = None

    @property
    def task(self) -> str:
        """What the attempts ledger calls the order."""
        return TASK_PREFIX + self.title

    @property
    def standing(self) -> str:
        """Say in a word how it stands."""
        if self.closed is not None:
            return self.closed
        if self.name is not None:
            return self.phase.value
        return "unknown" if self.creating_at is not None else "planned"

    def take(self, line: Line) -> None:
        """Learn what a line tells."""
        match line.kind:
            case "uploaded":
                self.file = line.file
            case "creating":
                self.creating_at = line.at
            case "not_taken":
                self.creating_at = None
            case "created":
                self.name, self.created_at = line.name, line.at
                self._see(line)
            case "seen":
                self._see(line)
            case "closed":
                self.closed = line.message or "closed"
            case _:
                pass

    def _see(self, line: Line) -> None:
        self.phase = Phase(line.phase) if line.phase in set(Phase) else Phase.RUNNING
        self.rows, self.done, self.failed = line.rows, line.done, line.failed
        self.files, self.message, self.looked_at = line.files, line.message, line.at


class BatchJournal:
    """Reads what earlier processes wrote, and writes on.

    Raises:
        ConfigError: A line in the middle is damaged.
        StoreError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.batches, self.is_finished = read_batches(path)
        self._path = path
        self._journal: Journal | None = None

    def __repr__(self) -> str:
        return f"<BatchJournal {self._path}: {len(self.open)} of {len(self.batches)} open>"

    @property
    def open(self) -> list[Batch]:
        """Batches with jobs that have no outcome yet, in the order in which they were planned."""
        return [batch for batch in self.batches.values() if batch.closed is None]

    def plan(self, batch: Batch) -> None:
        """Write down a batch before anything is sent."""
        self.batches[batch.title] = batch
        self._append(
            Line(
                kind="planned",
                at=batch.planned_at,
                batch=batch.title,
                provider=batch.provider,
                model=batch.model,
                group=batch.group,
                jobs=batch.jobs,
                tokens=batch.tokens,
                day=batch.day,
                run=batch.run,
            )
        )

    def uploaded(self, batch: Batch, file: str, *, at: float) -> None:
        """Write down what the vendor calls the file."""
        self._tell(batch, Line("uploaded", at, batch.title, file=file))

    def creating(self, batch: Batch, *, at: float) -> None:
        """Write down that the batch is about to be ordered, safe from a power failure."""
        self._tell(batch, Line("creating", at, batch.title))
        self.sync()

    def not_taken(self, batch: Batch, *, at: float) -> None:
        """Write down that the vendor said no."""
        self._tell(batch, Line("not_taken", at, batch.title))

    def saw(self, batch: Batch, state: BatchState, *, at: float) -> None:
        """Write down how a batch stands, where that is news."""
        kind = "created" if batch.name is None else "seen"
        line = Line(
            kind,
            at,
            batch.title,
            name=state.name if kind == "created" else None,
            phase=state.phase.value,
            rows=state.rows,
            done=state.done,
            failed=state.failed,
            files=state.files,
            message=state.message,
        )
        known = (batch.phase, batch.done, batch.failed, batch.files)
        if kind == "created" or known != (state.phase, state.done, state.failed, state.files):
            self._tell(batch, line)
        batch.looked_at = at

    def close_batch(self, batch: Batch, why: str, *, at: float) -> None:
        """Write down that every job of a batch has its outcome."""
        self._tell(batch, Line("closed", at, batch.title, message=why))

    def finish(self, *, at: float) -> None:
        """Write down that the manifest holds everything up to here."""
        if not self.is_finished:
            self._append(Line("finished", at))
            self.is_finished = True

    def sync(self) -> None:
        """Flush to the disk itself; blocks."""
        if self._journal is not None:
            self._journal.sync()

    def close(self) -> None:
        """Flush and close."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _tell(self, batch: Batch, line: Line) -> None:
        self._append(line)
        batch.take(line)

    def _append(self, line: Line) -> None:
        if self._journal is None:
            self._journal = Journal(self._path)
        self._journal.append(line)
        self.is_finished = False


def read_batches(path: Path) -> tuple[dict[str, Batch], bool]:
    """Read all batches by their titles, and whether the manifest holds everything. Changes nothing.

    Raises:
        ConfigError: A line in the middle is damaged.
    """
    batches: dict[str, Batch] = {}
    is_finished = True
    for _, line in read_lines(path, msgspec.json.Decoder(Line)):
        is_finished = line.kind == "finished"
        if line.kind == "planned":
            batches[line.batch] = Batch(
                line.batch,
                line.provider,
                line.model,
                line.group,
                line.jobs,
                line.tokens,
                line.at,
                day=line.day,
                run=line.run,
            )
        elif line.batch in batches:
            batches[line.batch].take(line)
    return batches, is_finished


def count_images(batches: Iterable[Batch]) -> int:
    """Return how many images were ordered."""
    return sum(len(batch.jobs) for batch in batches)


def ordered_jobs(path: Path) -> set[str]:
    """Return the ids of the jobs that are in open batches. Changes nothing.

    Raises:
        ConfigError: The journal is damaged.
    """
    return {job for batch in read_batches(path)[0].values() if batch.closed is None for job in batch.jobs}
