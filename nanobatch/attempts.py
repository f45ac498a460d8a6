"""The attempts ledger: every request that may cost money, written before it is sent and again when it ends.

Four kinds of line share `.nanobatch/attempts.jsonl`:

    intent   about to be sent: which job, to whom, at what worst price
    task     ordered: what the provider calls the task, so that whoever comes next can fetch its image
    outcome  what became of it; for an image also where its bytes are, so that a kill between the last byte
             and the manifest loses nothing
    settled  a run ended and its manifest was written

An intent without an outcome was on the wire when a process died. With a task, the next run fetches what it ordered.
Without one nobody can know whether it was billed, so the next run closes it as possibly billed and counts its worst
price.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from nanobatch.errors import NotSent
from nanobatch.journal import Journal, read_lines
from nanobatch.model import Cost

RECENT_SECONDS = 26 * 3600.0  # the longest provider day, with a change of clocks and some room


class Landed(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image that is whole on disk: as a part until it is renamed, at `file` afterwards."""

    part: str  # name inside the parts folder
    file: str  # where it goes, below the output folder
    sha256: str
    bytes: int
    mime: str
    width: int
    height: int
    provider_model: str | None = None
    cost_usd: float = 0.0
    cost_basis: str = "none"
    maybe_cost_usd: float = 0.0
    attempts: int = 1
    warnings: tuple[str, ...] = ()
    started_at: str | None = None
    latency_seconds: float | None = None


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the ledger, of any kind."""

    kind: str  # intent | task | outcome | settled
    at: float  # wall-clock seconds
    attempt: str = ""
    job: str = ""
    provider: str = ""
    worst_usd: float = 0.0  # intent: the most it may cost
    requests: int = 0  # intent: what it takes from the quota
    images: int = 0
    tokens: int = 0
    code: str | None = None  # outcome: ok, or the code of the failure
    billed: bool | None = None  # outcome: null where nobody can know
    cost_usd: float = 0.0  # outcome: settled price of this attempt
    maybe_usd: float = 0.0  # outcome: possibly billed
    http_status: int | None = None
    landed: Landed | None = None
    task: str | None = None  # task: what the provider's `resume` needs; intent: where it is known before the order


@dataclass(frozen=True, slots=True)
class OpenTask:
    """An order that is paid, or will be, and whose image is still to be fetched."""

    attempt: str
    provider: str
    task: str
    worst_usd: float
    ordered_at: float  # wall-clock seconds


@dataclass(slots=True)
class Tally:
    """What is known of one job's attempts so far, over all runs."""

    attempts: int = 0
    cost_usd: float = 0.0
    maybe_usd: float = 0.0


@dataclass(slots=True)
class Past:
    """What the ledger tells a new run."""

    tallies: dict[str, Tally] = field(default_factory=dict)  # jobs that were tried and have no image yet
    interrupted: list[Line] = field(default_factory=list)  # intents that never ended
    landed: dict[str, tuple[str, Landed]] = field(default_factory=dict)  # job -> provider and image
    tasks: dict[str, OpenTask] = field(default_factory=dict)  # by job
    spends: dict[str, list[tuple[float, Cost]]] = field(default_factory=dict)  # provider -> recent use of its quota


def read_past(path: Path, *, now: float, recorded: Callable[[str], bool]) -> Past:
    """Read the ledger of earlier runs.

    Args:
        path: The ledger; a missing file is an empty past.
        now: Wall-clock seconds; only quota used within the last provider day before it is kept.
        recorded: Whether the manifest knows a job's image already.

    Raises:
        ConfigError: A line in the middle of the file is damaged.
    """
    reading = _Reading(now, recorded)
    for _, line in read_lines(path, msgspec.json.Decoder(Line)):
        reading.take(line)
    return reading.past()


class _Reading:
    """What is known after some lines of the ledger."""

    def __init__(self, now: float, recorded: Callable[[str], bool]) -> None:
        self._now = now
        self._recorded = recorded
        self._past = Past()
        self._intents: dict[str, Line] = {}  # by attempt, as long as they have no outcome
        self._tasks: dict[str, str] = {}
        self._recent: deque[Line] = deque()

    def take(self, line: Line) -> None:
        """Take one more line."""
        match line.kind:
            case "settled":  # a run ended here and its manifest holds everything before
                self._past.landed.clear()
            case "intent":
                self._intend(line)
            case "task":
                self._tasks[line.attempt] = line.task or ""
            case _:
                self._conclude(line)

    def _intend(self, line: Line) -> None:
        self._intents[line.attempt] = line
        if line.task is not None:
            self._tasks[line.attempt] = line.task
        self._past.tallies.setdefault(line.job, Tally()).attempts += 1
        self._recent.append(line)
        while self._recent and self._recent[0].at < self._now - RECENT_SECONDS:
            self._recent.popleft()

    def _conclude(self, line: Line) -> None:
        self._intents.pop(line.attempt, None)
        self._tasks.pop(line.attempt, None)
        tally = self._past.tallies.setdefault(line.job, Tally())
        if line.code == NotSent.code:  # a batch that its vendor never had: that was no attempt
            tally.attempts = max(0, tally.attempts - 1)
        tally.cost_usd += line.cost_usd
        tally.maybe_usd += line.maybe_usd
        if line.landed is not None:
            del self._past.tallies[line.job]
            if not self._recorded(line.job):
                self._past.landed[line.job] = (line.provider, line.landed)

    def past(self) -> Past:
        """Sort what is left open, and return everything."""
        past = self._past
        for intent in self._intents.values():
            task = self._tasks.get(intent.attempt)
            if task is None or self._recorded(intent.job):
                past.interrupted.append(intent)
            else:
                past.tasks[intent.job] = OpenTask(intent.attempt, intent.provider, task, intent.worst_usd, intent.at)
        for line in self._recent:
            if line.at >= self._now - RECENT_SECONDS:
                cost = Cost(requests=line.requests, images=line.images, tokens=line.tokens)
                past.spends.setdefault(line.provider, []).append((line.at, cost))
        return past


class AttemptsLedger:
    """Writes the ledger of one run."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._run = secrets.token_hex(6)  # tells the attempts of this process from all others
        self._count = 0

    def intend(
        self, job: str, provider: str, *, at: float, worst_usd: float, cost: Cost, task: str | None = None
    ) -> str:
        """Record that a request is about to be sent and return the attempt's id.

        A `task` that is known before the order is sent is written in the same line.

        Raises:
            StoreError: The line could not be written, so the request must not be sent.
        """
        self._count += 1
        attempt = f"{self._run}-{self._count:x}"
        self._journal.append(
            Line(
                kind="intent",
                attempt=attempt,
                job=job,
                provider=provider,
                at=at,
                worst_usd=worst_usd,
                requests=cost.requests,
                images=cost.images,
                tokens=cost.tokens,
                task=task,
            )
        )
        return attempt

    def note_task(self, attempt: str, job: str, provider: str, *, task: str, at: float) -> None:
        """Record what the provider calls an order, before anything else happens to it.

        Raises:
            StoreError: The line could not be written.
        """
        self._journal.append(Line(kind="task", attempt=attempt, job=job, provider=provider, at=at, task=task))

    def conclude(self, outcome: Line) -> None:
        """Record what became of an attempt."""
        self._journal.append(outcome)

    def give_up_tasks(self, past: Past, keep: Callable[[str, OpenTask], bool]) -> int:
        """Count the open tasks that nobody will fetch as interrupted; return how many.

        Args:
            past: What the ledger tells.
            keep: Whether a job's task can still be fetched, and is wanted.
        """
        lost = [job for job, task in past.tasks.items() if not keep(job, task)]
        for job in lost:
            task = past.tasks.pop(job)
            past.interrupted.append(
                Line("intent", task.ordered_at, task.attempt, job, task.provider, worst_usd=task.worst_usd)
            )
        return len(lost)

    def close_interrupted(self, past: Past, *, at: float) -> Mapping[str, float]:
        """Close what an earlier process left on the wire; return the possible cost by job."""
        maybe: dict[str, float] = {}
        for line in past.interrupted:
            self._journal.append(
                Line(
                    kind="outcome",
                    attempt=line.attempt,
                    job=line.job,
                    provider=line.provider,
                    at=at,
                    code="interrupted",
                    maybe_usd=line.worst_usd,
                )
            )
            maybe[line.job] = maybe.get(line.job, 0.0) + line.worst_usd
            past.tallies.setdefault(line.job, Tally()).maybe_usd += line.worst_usd
        return maybe

    def settle(self, *, at: float) -> None:
        """Record that the manifest holds everything up to here."""
        self._journal.append(Line(kind="settled", at=at))

    def sync(self) -> None:
        """Flush to the disk itself; blocks."""
        self._journal.sync()

    def close(self) -> None:
        """Flush and close."""
        self._journal.close()
