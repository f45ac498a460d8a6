"""What displays have in common: the counts of a run as its events tell them, and an honest time left."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from nanobatch.clock import Clock
from nanobatch.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    JobFinished,
    LaneChanged,
    RunStarted,
    Stopping,
    Warned,
)
from nanobatch.model import Status

RATE_SECONDS = 60.0
LAST_ERRORS = 3
DISTINCT_ERRORS = 50  # kinds that are remembered; one that has not come again for longest is forgotten


@dataclass(slots=True)
class LaneTally:
    """One provider's line."""

    done: int = 0
    in_flight: int = 0
    state: str = "open"
    message: str = ""
    until: float | None = None  # wall-clock seconds
    since: float = 0.0  # monotonic seconds


@dataclass(slots=True)
class Tally:
    """An observer that counts for a display."""

    clock: Clock
    jobs: int = 0
    resumed: int = 0
    done: int = 0
    cached: int = 0  # images taken over from earlier runs elsewhere
    failed: int = 0
    cost_usd: float = 0.0
    maybe_usd: float = 0.0
    lanes: dict[str, LaneTally] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)  # how often each came, the latest last
    stopping: str = ""
    started: float = 0.0
    sandbox: bool = False
    _flights: dict[str, str] = field(default_factory=dict)  # job -> provider
    _landings: deque[float] = field(default_factory=deque)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        match event:
            case RunStarted():
                self.jobs, self.resumed, self.sandbox = event.jobs, event.already_done, event.sandbox
                self.started = self.clock.monotonic()
                self.lanes = {name: LaneTally() for name in event.providers}
            case AttemptStarted(job=job, provider=provider):
                self._depart(job, provider)
            case AttemptFailed():
                self._arrive(event.job)
                self._note(f"{event.provider}: {event.message}" if event.provider else event.message)
            case JobFinished():
                self._finish(event)
            case LaneChanged():
                self._change(event)
            case Warned(message=message):
                self._note(message)
            case Stopping(reason=reason):
                self.stopping = reason
            case _:
                pass

    @property
    def in_flight(self) -> int:
        """Requests on the wire."""
        return len(self._flights)

    @property
    def settled(self) -> int:
        """Jobs that need nothing more, earlier runs included."""
        return self.resumed + self.cached + self.done + self.failed

    @property
    def last_errors(self) -> list[tuple[str, int]]:
        """The latest kinds of error, each with how often it came."""
        return list(self.errors.items())[-LAST_ERRORS:]

    def per_minute(self) -> float | None:
        """Return the images per minute of the last minute; None until two have landed."""
        now = self.clock.monotonic()
        while self._landings and self._landings[0] < now - RATE_SECONDS:
            self._landings.popleft()
        elapsed = min(RATE_SECONDS, now - self.started)
        return len(self._landings) / elapsed * 60 if len(self._landings) > 1 and elapsed > 0 else None

    def seconds_left(self) -> float | None:
        """Return the time left at the rate of the last minute."""
        rate = self.per_minute()
        return (self.jobs - self.settled) / rate * 60 if rate else None

    def _finish(self, event: JobFinished) -> None:
        record = event.record
        self._arrive(record.job)
        if record.has_image and event.from_cache:
            self.cached += 1
        elif record.has_image:
            self.done += 1
            self._landings.append(self.clock.monotonic())
            self._lane(record.provider or "").done += 1
        elif record.status is not Status.UNFINISHED:
            self.failed += 1
        self.cost_usd += record.cost_usd
        self.maybe_usd += record.maybe_cost_usd

    def _change(self, event: LaneChanged) -> None:
        lane = self._lane(event.provider)
        if event.state == "shrunk" and lane.until is not None and lane.until > self.clock.wall():
            return  # the wait that is on says more
        lane.state, lane.message, lane.until = event.state, event.message, event.until
        lane.since = self.clock.monotonic()

    def _depart(self, job: str, provider: str) -> None:
        self._flights[job] = provider
        self._lane(provider).in_flight += 1

    def _arrive(self, job: str) -> None:
        provider = self._flights.pop(job, None)
        if provider is not None:
            self._lane(provider).in_flight -= 1

    def _lane(self, name: str) -> LaneTally:
        return self.lanes.setdefault(name, LaneTally())

    def _note(self, message: str) -> None:
        self.errors[message] = self.errors.pop(message, 0) + 1
        if len(self.errors) > DISTINCT_ERRORS:
            del self.errors[next(iter(self.errors))]
