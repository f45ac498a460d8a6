"""`--events FILE`: every event as one JSON line, for programs that follow a run."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from nanobatch.clock import Clock, iso
from nanobatch.events import Event
from nanobatch.journal import Journal


class EventsFile:
    """Appends `{"event": "job_finished", "time": "...", ...}` with all fields of the event."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._journal = Journal(path)
        self._clock = clock

    def __call__(self, event: Event) -> None:
        """Write one line."""
        self._journal.append({"event": event_name(event), "time": iso(self._clock.wall()), **_fields(event)})

    def close(self) -> None:
        """Flush and close."""
        self._journal.close()


def event_name(event: Event) -> str:
    """Return the name of an event in files: JobFinished is job_finished."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", type(event).__name__).lower()


def _fields(event: Event) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
