"""What is written into an image file, and how a copy is described: what the original had, with a few bytes more."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from nanobatch.errors import StoreError

Span: TypeAlias = tuple[int, int]
"""A stretch of the original file: its first byte, and the one behind its last."""


class Unfit(Exception):
    """A file has no place for the words; it stays as it came. The text is the reason that the user sees."""


@dataclass(frozen=True, slots=True)
class Inscription:
    """The words for one image; what is not asked for is None."""

    prompt: str | None = None
    params: Mapping[str, Any] | None = None  # what JSON can hold

    @property
    def params_json(self) -> str | None:
        """The parameters as one line."""
        return None if self.params is None else json.dumps(self.params, ensure_ascii=False)

    @property
    def system(self) -> str | None:
        """The model that drew the image, as its provider calls it."""
        found = (self.params or {}).get("provider_model")
        return str(found) if found else None


@dataclass(frozen=True, slots=True)
class Copy:
    """How a file is to be copied: stretches of it, and new bytes between them."""

    pieces: tuple[Span | bytes, ...]
    warnings: tuple[str, ...] = ()


Planner: TypeAlias = Callable[["Original", Inscription], Copy]
"""Plans the copy of a file of one format; raises Unfit where the words have no place."""


class Original:
    """The file as the provider sent it, read at any place and never as a whole."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def read(self, at: int, count: int) -> bytes:
        """Return `count` bytes from a place.

        Raises:
            Unfit: The file ends before, or the disk fails.
        """
        try:
            found = os.pread(self._fd, count, at)
        except OSError as error:
            raise Unfit(f"it cannot be read: {error.strerror}") from error
        if len(found) < count:
            raise Unfit("the file ends in the middle")
        return found

    def stretch(self, span: Span, most: int) -> Iterator[bytes]:
        """Yield the bytes of a stretch, at most so many at a time."""
        at, end = span
        while at < end:
            piece = self.read(at, min(most, end - at))
            at += len(piece)
            yield piece


@contextmanager
def opened(path: Path) -> Iterator[Original]:
    """Open a file for reading.

    Raises:
        StoreError: It cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    try:
        yield Original(fd)
    finally:
        os.close(fd)
