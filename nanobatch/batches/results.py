"""Fetches a file of results to the disk, going on where a break left off, and reads it row by row with flat memory.

A file may have gigabytes and one row thirty megabytes, so neither is ever held: what arrives is written, and what is
read passes through the same extraction of images as any other answer (`nanobatch.blobs`), a piece at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from nanobatch.batches.wire import BatchWire
from nanobatch.blobs import BlobScanner
from nanobatch.bodies import Consumer
from nanobatch.clock import Clock
from nanobatch.errors import Ambiguous, DecodeError, ExchangeError, ServerFault, Unsent
from nanobatch.journal import as_store_error
from nanobatch.model import Request, Response
from nanobatch.parts import WHITESPACE, discard
from nanobatch.roads import Begin
from nanobatch.stores.local import size_of

STALL_SECONDS = 120.0  # the longest silence of a download
TRIES = 8  # in a row without a byte of progress
CAP_SECONDS = 60.0
READ_BYTES = 256 * 1024
_MOST_ERROR_BYTES = 64 * 1024
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 522, 524, 529})


class Streamer(Protocol):
    """What streams an answer: the transport."""

    async def stream(self, request: Request, begin: Begin, *, stall_seconds: float) -> None:
        """Hand on status, headers and body of an answer, or raise `Unsent` or `Ambiguous`."""
        ...


async def fetch(
    request: Request, target: Path, *, streamer: Streamer, wire: BatchWire, clock: Clock, rng: random.Random
) -> None:
    """Fetch a file, also the rest of one that an earlier process began.

    Raises:
        ExchangeError: It is not there, or kept failing. What has come stays for the next time.
        StoreError: The disk is full.
    """
    if size_of(target) is not None:
        return
    part = target.with_name(target.name + ".part")
    failures = 0
    while True:
        before = size_of(part) or 0
        piece = _Piece(part, wire)
        try:
            await streamer.stream(replace(request, headers=piece.headers()), piece.begin, stall_seconds=STALL_SECONDS)
            if piece.is_whole():
                piece.adopt(target)
                return
            trouble = piece.trouble()
            if trouble.http_status is not None and trouble.http_status not in _PASSING:
                raise trouble
        except (Unsent, Ambiguous) as error:
            trouble = error
        finally:
            piece.close()
        failures = 0 if (size_of(part) or 0) > before else failures + 1
        if failures >= TRIES:
            raise trouble
        await clock.sleep(rng.uniform(0, min(CAP_SECONDS, 2.0**failures)))


class _Piece:
    """One answer to a download: it goes on where an earlier one stopped, or begins anew when the file is another."""

    def __init__(self, part: Path, wire: BatchWire) -> None:
        self._part = part
        self._mark_file = part.with_name(part.name + ".mark")  # which file it is a part of
        self._wire = wire
        self._have = size_of(part) or 0
        self._mark = _read_mark(self._mark_file) if self._have else {}
        self._total: int | None = None
        self._fd = -1
        self._status = 0
        self._refusal = bytearray()

    def headers(self) -> dict[str, str]:
        """Ask for what is missing, of the same file."""
        if not self._have:
            return {}
        found = {"range": f"bytes={self._have}-"}
        if etag := self._mark.get("etag"):
            found["if-match"] = etag
        return found

    def begin(self, status: int, headers: dict[str, str]) -> Consumer | None:
        """Decide from an answer's head where its body belongs."""
        self._status = status
        if status == 200:
            length = headers.get("content-length", "")
            self._total = int(length) if length.isdecimal() else None
            self._write_mark({"etag": headers.get("etag", ""), "total": self._total})
            return self._open(0)
        if status == 206 and (place := _RANGE.fullmatch(headers.get("content-range", ""))):
            self._total = int(place[2]) if place[2] != "*" else self._mark.get("total")
            if int(place[1]) == self._have and self._total == self._mark.get("total", self._total):
                return self._open(self._have)
        if status in (206, 412, 416):  # it is another file by now, or ours is longer than it
            self._total = _total_of(headers) if status == 416 else None
            if status != 416 or self._total != self._have:
                self._forget()
            return None
        return self._take_refusal

    def is_whole(self) -> bool:
        """Tell whether everything is here; the end of a body without a known length is its end."""
        if self._status == 416:
            return self._total is not None and self._total == self._have
        return self._fd >= 0 and self._total in (None, size_of(self._part))

    def adopt(self, target: Path) -> None:
        """Give the file its name."""
        try:
            self._part.replace(target)
        except OSError as error:
            raise as_store_error(error, target) from error
        discard(self._mark_file)

    def trouble(self) -> ExchangeError:
        """Say why the file is not here."""
        if self._status in (200, 206, 412, 416):
            return ServerFault("the result did not come whole")
        body: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(self._refusal)
        text = None if isinstance(body, dict | list) else self._refusal.decode("utf-8", "replace")
        response = Response(self._status, {}, json=body if text is None else None, text=text)
        return self._wire.fault(response) or ServerFault("no result came", http_status=self._status)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _open(self, at: int) -> Consumer:
        try:
            self._fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            os.ftruncate(self._fd, at)
            os.lseek(self._fd, at, os.SEEK_SET)
        except OSError as error:
            raise as_store_error(error, self._part) from error
        return self._write

    def _write(self, data: bytes | bytearray, start: int, end: int) -> None:
        view = memoryview(data)[start:end]
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise as_store_error(error, self._part) from error

    def _take_refusal(self, data: bytes | bytearray, start: int, end: int) -> bool:
        self._refusal += data[start : min(end, start + _MOST_ERROR_BYTES - len(self._refusal))]
        return len(self._refusal) >= _MOST_ERROR_BYTES

    def _forget(self) -> None:
        discard(self._part)
        discard(self._mark_file)

    def _write_mark(self, mark: dict[str, Any]) -> None:
        try:
            self._mark_file.write_text(json.dumps(mark), "utf-8")
        except OSError as error:
            raise as_store_error(error, self._mark_file) from error


def _read_mark(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in found.items() if value} if isinstance(found, dict) else {}


def _total_of(headers: dict[str, str]) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", headers.get("content-range", ""))
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class ReadLine:
    """One line of a file: what it holds, or why it cannot be read."""

    number: int  # from 1
    content: Any = None
    flaw: str | None = None


def read_results(path: Path, new_part: Callable[[], Path], *, echo: str | None = None) -> Iterator[ReadLine]:
    """Read a file line by line; images are in parts when their line is yielded. Blocks.

    Args:
        path: The file.
        new_part: Names a fresh file for each image found.
        echo: The key below which each line repeats its request, whose images nobody wants.

    Raises:
        StoreError: The file cannot be read, or an image not written.
    """
    line = _Line(new_part, echo)
    number = 0
    buffer = bytearray(READ_BYTES)
    try:
        with path.open("rb", buffering=0) as file:
            while size := file.readinto(buffer):
                start = 0
                while (end := buffer.find(b"\n", start, size)) >= 0:
                    line.feed(buffer, start, end)
                    start = end + 1
                    number += 1
                    if line.is_blank:
                        continue
                    whole, line = line, _Line(new_part, echo)  # its images belong to the reader from here on
                    yield whole.ended(number)
                line.feed(buffer, start, size)
        if not line.is_blank:
            whole, line = line, _Line(new_part, echo)
            yield whole.ended(number + 1)
    except OSError as error:
        raise as_store_error(error, path) from error
    finally:
        line.abort()


class _Line:
    """One line while it is read."""

    def __init__(self, new_part: Callable[[], Path], echo: str | None) -> None:
        self._scanner = BlobScanner(new_part, unwanted=echo)
        self._flaw: str | None = None
        self.is_blank = True

    def feed(self, buffer: bytearray, start: int, end: int) -> None:
        if end <= start or self._flaw is not None:
            return
        if self.is_blank:
            self.is_blank = not buffer[start : min(end, start + 4096)].strip(WHITESPACE)
        try:
            self._scanner.feed(buffer, start, end)
        except DecodeError as error:
            self._scanner.abort()
            self._flaw = error.message

    def ended(self, number: int) -> ReadLine:
        if self._flaw is not None:
            return ReadLine(number, flaw=self._flaw)
        try:
            content = self._scanner.finish()
        except DecodeError as error:
            return ReadLine(number, flaw=error.message)
        if content is None:
            return ReadLine(number, flaw="the line is not JSON")
        return ReadLine(number, content)

    def abort(self) -> None:
        self._scanner.abort()
