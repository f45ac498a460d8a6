"""`--events FILE`: every event as one JSON line, for programs that follow a run."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import msgspec

from nanobatch.clock import Clock, iso
from nanobatch.events import Event
from nanobatch.journal import as_store_error

_encode = msgspec.json.Encoder().encode


class EventsFile:
    """Appends `{"event": "job_finished", "time": "...", ...}` with all fields of the event.

    The file may be a pipe: `--events >(jq ...)`. Each line is handed to the operating system at once.

    Raises:
        StoreError: The file cannot be opened. Later failures are OSErrors, which switch this observer off: requests
            that are paid must not be lost because nobody reads about them.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        try:
            self._torn = _is_torn(path)
            # Unbuffered, so that a line that failed is not tried again at the end.
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise as_store_error(error, path) from error

    def __call__(self, event: Event) -> None:
        """Write one line."""
        line = _encode({"event": event_name(event), "time": iso(self._clock.wall()), **_fields(event)}) + b"\n"
        if self._torn:  # an earlier run's disk was full in the middle of a line: its remains must not join this one
            line, self._torn = b"\n" + line, False
        while line:
            line = line[os.write(self._fd, line) :]

    def close(self) -> None:
        """Close the file; what was told is written already."""
        with contextlib.suppress(OSError):
            os.close(self._fd)


def event_name(event: Event) -> str:
    """Return the name of an event in files: JobFinished is job_finished."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", type(event).__name__).lower()


def _is_torn(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def _fields(event: Event) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
