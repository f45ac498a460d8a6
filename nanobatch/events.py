"""What happened in a run, as frozen dataclasses. Observers receive them in order; they never decide anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from nanobatch.model import Record


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The input is checked and the first request is about to be sent."""

    run_id: str
    output: str  # the output folder
    jobs: int  # all jobs of the input
    already_done: int  # found on disk by resume
    providers: tuple[str, ...]  # lanes, in priority order
    concurrency: Mapping[str, int] = field(default_factory=dict)
    sandbox: bool = False


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A request leaves for a provider."""

    job: str
    id: str
    provider: str
    attempt: int  # 1-based, over all providers, in this run


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt gave no image. `retry_in_seconds` is None when the job is not sent again."""

    job: str
    id: str
    provider: str
    attempt: int
    code: str
    message: str
    http_status: int | None = None
    retry_in_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class JobFinished:
    """A job ended; its record is on disk already."""

    record: Record
    from_cache: bool = False  # what an earlier run has met: its image, or its refusal
    saved_usd: float = 0.0  # what that image cost then


@dataclass(frozen=True, slots=True)
class LaneChanged:
    """A lane opened, was drained, shrank, was parked or closed."""

    provider: str
    state: str  # open | waiting | shrunk | parked | closed
    message: str
    until: float | None = None  # wall-clock seconds


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know that stops nothing."""

    message: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """No new jobs are taken; those on the wire may still finish."""

    reason: str
    in_flight: int
    grace_seconds: float | None  # None: they are waited for, however long they take


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over; everything is on disk. `summary` is what run.json holds."""

    summary: Mapping[str, Any]


Event: TypeAlias = (
    RunStarted | AttemptStarted | AttemptFailed | JobFinished | LaneChanged | Warned | Stopping | RunFinished
)
Observer: TypeAlias = Callable[[Event], None]
