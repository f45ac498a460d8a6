"""The books: what a vendor would have billed, and everything else worth counting.

With a file, every billed image is one line of JSON in it, handed to the system before the answer is sent, so that it
outlives a kill of either side. A file that exists is read first: totals go on where they stopped.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

LOG_LENGTH = 10_000  # requests; older ones leave the log, never the totals


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One billed image, as a line of the books.

    Args:
        time: Seconds since 1970 when it was billed.
        request: The number of the request that ordered it; several images may share it.
        dialect: The wire format.
        model: As the client named it.
        prompt: The whole prompt.
        sha256: Of the image's bytes.
        connection_open: Whether the client was still there when the image was ready.
        fault: What went wrong afterwards, or null.
        references: The SHA-256 of each image that the request came with, in its order.
        task: The vendor's name for it, in formats with tasks, or for the batch that it was a row of; null elsewhere.
        factor: What it costs, as a part of the usual price: 0.5 in batches.
    """

    time: float
    request: int
    dialect: str
    model: str
    prompt: str
    sha256: str
    connection_open: bool
    fault: str | None = None
    references: tuple[str, ...] = ()
    task: str | None = None
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Served:
    """One request in the log, billed or not.

    Args:
        time: Seconds since 1970 when it arrived.
        request: Its number.
        dialect: The wire format.
        outcome: `ok`, a fault, a limit, or `refused`.
        status: Of the answer; None when there was none.
        images: How many were billed.
    """

    time: float
    request: int
    dialect: str
    outcome: str
    status: int | None
    images: int


class BooksError(Exception):
    """The file cannot be read or written; the text says why, in one sentence."""


class Books:
    """Totals in memory, bills in a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.images = 0
        self.undelivered = 0
        self.keys_in_query = 0
        self.polls = 0
        self.uploads = 0
        self.downloads = 0
        self.half_price = 0  # images
        self.most_enqueued = 0  # tokens in open batches of one model, ever
        self._ordered: Counter[str] = Counter()  # batches, by what their clients call them
        self.violations: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._times_billed: Counter[str] = Counter()  # by prompt, in requests
        self._log: deque[Served] = deque(maxlen=LOG_LENGTH)
        self._last = 0  # the highest number of a request so far
        self._fd: int | None = None
        if path is not None:
            self._open(path)

    def number(self) -> int:
        """Count a request and give it its number, which no other one has in this file."""
        self._last += 1
        return self._last

    def bill(self, entries: Iterable[Entry]) -> None:
        """Write down the images of one request."""
        entries = list(entries)
        self._count(entries, set())
        if self._fd is not None:
            lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
            while lines:
                lines = lines[os.write(self._fd, lines) :]

    def order(self, title: str) -> None:
        """Count a batch."""
        self._ordered[title] += 1

    def note(self, served: Served) -> None:
        """Keep a request in the log."""
        self._log.append(served)

    def totals(self) -> dict[str, Any]:
        """Return what was counted. `twice` are prompts that more than one billed request asked for.

        A row of a batch counts as a request. `batches_twice` are titles under which more than one batch was ordered.

        Of earlier sandboxes the file knows the bills and the number of the last billed request, nothing else.
        """
        return {
            "requests": self._last,
            "images": self.images,
            "creations": self._times_billed.total(),
            "prompts": len(self._times_billed),
            "twice": sum(times > 1 for times in self._times_billed.values()),
            "undelivered": self.undelivered,
            "violations": dict(self.violations),
            "refusals": dict(self.refusals),
            "faults": dict(self.faults),
            "keys_in_query": self.keys_in_query,
            "polls": self.polls,
            "uploads": self.uploads,
            "downloads": self.downloads,
            "half_price": self.half_price,
            "batches": self._ordered.total(),
            "batches_twice": sum(times > 1 for times in self._ordered.values()),
            "most_enqueued": self.most_enqueued,
        }

    def full(self) -> dict[str, Any]:
        """Return the totals, how often each prompt was billed, and the last requests."""
        return self.totals() | {"by_prompt": dict(self._times_billed), "log": msgspec.to_builtins(list(self._log))}

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            torn = self._read(path)
        except OSError as error:
            self.close()
            raise BooksError(f"cannot keep books in {path}: {error.strerror}") from error
        if torn:
            os.write(self._fd, b"\n")

    def _read(self, path: Path) -> bool:
        """Count what an earlier sandbox billed; tell whether its last line was torn off."""
        seen: set[int] = set()
        line = b"\n"
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    entry = msgspec.json.decode(line, type=Entry)
                except ValueError as error:
                    if line.endswith(b"\n") and line.strip() and not _torn(line):
                        self.close()
                        raise BooksError(f"{path}, line {number}: not a line of a sandbox's books ({error})") from error
                    continue
                self._count([entry], seen)
        return not line.endswith(b"\n")

    def _count(self, entries: Iterable[Entry], seen: set[int]) -> None:
        for entry in entries:
            self.images += 1
            self.undelivered += not entry.connection_open
            self.half_price += entry.factor < 1
            self._last = max(self._last, entry.request)
            if entry.request not in seen:
                seen.add(entry.request)
                self._times_billed[entry.prompt] += 1


def _torn(line: bytes) -> bool:
    """Tell a line that a kill cut off, and a later sandbox ended, from a file of another kind."""
    return line.startswith(b'{"time":')
