"""Standard output carries data only: a record as each job ends, a path as each image lands, or the final summary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import msgspec

from nanobatch.events import Event, JobFinished, RunFinished, RunStarted
from nanobatch.reporters.summary import render_json, render_text

_encode = msgspec.json.Encoder().encode


class DataStream:
    """Writes the format of `-O`. A reader that went away, or a full disk, ends the run in order, without a complaint.

    JSON is UTF-8 and a path is the bytes of its name, whatever the locale of the terminal says.

    Args:
        stream: Standard output.
        format: text, json, jsonl or paths.
        on_broken: Called once when nothing can be written any more.
    """

    def __init__(self, stream: TextIO, format: str, *, on_broken: Callable[[], None]) -> None:  # noqa: A002
        self._stream = stream
        self._format = format
        self._on_broken = on_broken
        self._root = Path()
        self.broken = False

    def __call__(self, event: Event) -> None:
        """Write what the format asks for."""
        match event:
            case RunStarted(output=output):
                self._root = Path(output)
            case JobFinished(record=record) if self._format == "jsonl":
                self._write(_encode(record).decode())
            case JobFinished(record=record) if self._format == "paths" and record.has_image and record.file:
                self._write(str(self._root / record.file))
            case RunFinished(summary=summary) if self._format == "text":
                self._write(render_text(summary), for_people=True)
            case RunFinished(summary=summary) if self._format == "json":
                self._write(render_json(summary))
            case _:
                pass

    def _write(self, line: str, *, for_people: bool = False) -> None:
        if self.broken:
            return
        try:
            raw = getattr(self._stream, "buffer", None)
            if raw is None:
                self._stream.write(line + "\n")
            elif for_people:
                raw.write(f"{line}\n".encode(self._stream.encoding, "replace"))
            else:
                raw.write(f"{line}\n".encode("utf-8", "surrogateescape"))
            self._stream.flush()
        except OSError:  # a broken pipe, mostly
            self.broken = True
            self._on_broken()
