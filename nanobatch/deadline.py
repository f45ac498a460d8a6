"""Stops a run at its deadline: early enough that nothing is begun that cannot be done in time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from nanobatch.clock import Clock
from nanobatch.errors import LimitReached
from nanobatch.events import Event, JobFinished
from nanobatch.stopping import Stop, StopReason

LOOK_SECONDS = 1.0  # between two looks, when the end is near
REMEMBERED = 50  # answers, of which the usual time is known
SOONEST = 5  # answers, before which the time of one says little
START = 0.05  # of the time, which a start may take without a word: batches of 24 hours are in time within 24 hours
REASON = "the deadline has passed; what is on disk stays, and the same command goes on with the rest"


@dataclass(slots=True)
class Deadline:
    """When a run has to be done.

    Args:
        clock: Time and sleep.
        seconds: From now.
        assumed: Seconds of an answer, until some have come.
    """

    clock: Clock
    seconds: float
    assumed: float = 0.0
    at: float = field(init=False)  # monotonic seconds
    _answers: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def __post_init__(self) -> None:
        self.at = self.clock.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """Seconds from now."""
        return self.at - self.clock.monotonic()

    @property
    def to_plan_for(self) -> float:
        """Seconds that a plan has which is made now: at the start all that the user has given, as before it."""
        return self.seconds if self.left >= self.seconds * (1 - START) else self.left

    @property
    def usual_seconds(self) -> float:
        """Of an answer. Whoever has insisted on too short a time gets a try at least."""
        if len(self._answers) >= SOONEST:
            return sorted(self._answers)[len(self._answers) // 2]
        return self.assumed if self.assumed <= self.seconds / 2 else 0.0

    def note(self, event: Event) -> None:
        """Learn from an answer how long one takes."""
        match event:
            case JobFinished(record=record, from_cache=False) if record.has_image and record.latency_seconds:
                if record.latency_seconds > self.seconds - self.left:
                    return  # an earlier run has ordered it
                self._answers.append(record.latency_seconds)
            case _:
                pass

    async def stop(self, stop: Stop) -> None:
        """Ask the run to stop when what would be begun now could not be done in time."""
        while (spare := self.left - self.usual_seconds) > 0:
            await self.clock.sleep(max(LOOK_SECONDS, spare / 2) if spare > LOOK_SECONDS else spare)
        stop.ask(StopReason("limit", REASON, LimitReached.exit_code))
