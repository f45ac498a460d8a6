"""The attempts ledger: every request that may cost money, written before it is sent and again when it ends.

Three kinds of line share `.nanobatch/attempts.jsonl`:

    intent   about to be sent: which job, to whom, at what worst price
    outcome  what became of it; for an image also where its bytes are, so that a kill between the last byte
             and the manifest loses nothing
    settled  a run ended and its manifest was written

An intent without an outcome was on the wire when a process died. Nobody can know whether it was billed, so the next
run closes it as possibly billed and counts its worst price.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

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

    kind: str  # intent | outcome | settled
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
    past = Past()
    open_intents: dict[str, Line] = {}
    recent: deque[Line] = deque()
    for _, line in read_lines(path, msgspec.json.Decoder(Line)):
        if line.kind == "settled":  # a run ended here and its manifest holds everything before
            past.landed.clear()
            continue
        tally = past.tallies.setdefault(line.job, Tally())
        if line.kind == "intent":
            open_intents[line.attempt] = line
            tally.attempts += 1
            recent.append(line)
            while recent and recent[0].at < now - RECENT_SECONDS:
                recent.popleft()
            continue
        open_intents.pop(line.attempt, None)
        tally.cost_usd += line.cost_usd
        tally.maybe_usd += line.maybe_usd
        if line.landed is not None:
            del past.tallies[line.job]
            if not recorded(line.job):
                past.landed[line.job] = (line.provider, line.landed)
    past.interrupted = list(open_intents.values())
    for line in recent:
        if line.at >= now - RECENT_SECONDS:
            cost = Cost(requests=line.requests, images=line.images, tokens=line.tokens)
            past.spends.setdefault(line.provider, []).append((line.at, cost))
    return past


class AttemptsLedger:
    """Writes the ledger of one run."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)

    def intend(self, job: str, provider: str, *, at: float, worst_usd: float, cost: Cost) -> str:
        """Record that a request is about to be sent and return the attempt's id.

        Raises:
            StoreError: The line could not be written, so the request must not be sent.
        """
        attempt = secrets.token_hex(8)
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
            )
        )
        return attempt

    def conclude(self, outcome: Line) -> None:
        """Record what became of an attempt."""
        self._journal.append(outcome)

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
