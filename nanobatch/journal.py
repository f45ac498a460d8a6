"""Append-only files of JSON lines that survive a kill: a torn last line is dropped, a damaged middle is an error."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from nanobatch.errors import ConfigError, StoreError

T = TypeVar("T")
KEPT = "; everything finished so far is kept"
_encoder = msgspec.json.Encoder()


def as_store_error(error: OSError, path: Path) -> StoreError:
    """Say in one sentence why a file could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = "the disk is full"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = "there is no permission to write here"
    else:
        reason = (error.strerror or type(error).__name__).lower()
    return StoreError(f"cannot write {path}: {reason}{KEPT}")


class Journal:
    """One file to which whole lines are appended, each handed to the operating system at once.

    A line is therefore safe from the death of the process as soon as `append` returns. `sync` makes all lines
    safe from a power failure too; it blocks for milliseconds and belongs in a thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _end_at_whole_line(path)
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise as_store_error(error, path) from error
        self._dirty = False
        self._torn = False

    def append(self, line: Any) -> None:
        """Write one object as a line.

        Raises:
            StoreError: The line is not on disk; what stood there before is whole.
        """
        data = _encoded(line) + b"\n"
        if self._torn:  # an earlier write stopped in the middle: its remains must not join this line
            data = b"\n\n" + data
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise as_store_error(error, self.path) from error
        self._dirty = True
        self._torn = written != len(data)
        if self._torn:
            raise as_store_error(OSError(errno.ENOSPC, "short write"), self.path)

    def sync(self) -> None:
        """Flush all lines to the disk itself."""
        if self._dirty:
            self._dirty = False
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                raise as_store_error(error, self.path) from error

    def close(self) -> None:
        """Flush and close."""
        try:
            self.sync()
        finally:
            os.close(self._fd)


def _encoded(line: Any) -> bytes:
    """Encode a line; half a character, as a vendor's broken JSON may hold, becomes a question mark."""
    try:
        return _encoder.encode(line)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(line), ensure_ascii=False).encode("utf-8", "replace")


def read_lines(path: Path, decoder: msgspec.json.Decoder[T]) -> Iterator[tuple[int, T]]:
    """Yield each line's byte offset and content; nothing for a missing file.

    A last line without its newline was cut by a kill and was never reported to anybody, so it is skipped.
    Empty lines are skipped too: one follows the remains of a write that failed on a full disk.

    Raises:
        ConfigError: A line in the middle is damaged; the message names it.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        yield from lines_of(file, path, decoder)


def lines_of(file: BinaryIO, path: Path, decoder: msgspec.json.Decoder[T]) -> Iterator[tuple[int, T]]:
    """Yield the lines of an open file, from its beginning, as `read_lines` does; `path` is only for the message."""
    file.seek(0)
    offset = 0
    broken: str | None = None
    for number, line in enumerate(file, 1):
        if broken is not None and line.strip():
            raise ConfigError(broken)
        if line.endswith(b"\n") and line.strip():
            try:
                yield offset, decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                # Fatal only when another line follows directly: the remains of a failed write are followed by
                # an empty line or by the end.
                broken = f"{path}:{number}: this line is damaged; repair or remove it, then run again"
        elif not line.strip():
            broken = None
        offset += len(line)


def _end_at_whole_line(path: Path) -> None:
    """Cut off what a kill left of the last line, so that the next line begins on its own."""
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return
    with file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            file.truncate(end)
