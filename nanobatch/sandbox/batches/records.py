"""What the sandbox remembers of files and batches, as it is written to disk.

WAITING ──► RUNNING ──► SUCCEEDED | FAILED
   │           │
   └───────────┴──► CANCELLING ──► CANCELLED, or EXPIRED when the vendor's time is over
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import msgspec


class State(enum.StrEnum):
    """Where a batch stands."""

    WAITING = "waiting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_open(self) -> bool:
        """Whether something may still come."""
        return self in (State.WAITING, State.RUNNING, State.CANCELLING)


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file, uploaded or made of results.

    Args:
        name: As the vendor calls it.
        vendor: The dialect's name.
        title: As the client calls it.
        mime: Its media type.
        size: In bytes.
        sha256: Of its bytes, in hexadecimal digits.
        created: Seconds since 1970, by the sandbox's clock.
        expires: When it is deleted; None is never.
        purpose: OpenAI's word for what it is for.
        made: Whether it holds results.
    """

    name: str
    vendor: str
    title: str
    mime: str
    size: int
    sha256: str
    created: float
    expires: float | None
    purpose: str = "batch"
    made: bool = False


class Batch(msgspec.Struct, kw_only=True):
    """An order for all rows of a file.

    Args:
        name: As the vendor calls it.
        vendor: The dialect's name.
        title: As the client calls it.
        model: In formats where a batch has one.
        endpoint: In formats where each row is a request to it.
        source: The name of the file of rows; made up where they came with the order.
        is_inline: They did, so the results come with the batch.
        created: Seconds since 1970, by the sandbox's clock, as are all other times.
        wait: Seconds until it starts.
        run: Seconds that it runs at least.
        expires: When the vendor gives it up.
        rows: How many there are.
        tokens: What it takes from the limit on enqueued tokens.
        fate: The fault that ends it, or None.
        message: Why it failed.
        code: The vendor's word for that.
        metadata: The client's own.
        done: Rows that are drawn, or failed.
        good: Rows with an answer.
        bad: Rows with an error.
        sizes: Bytes of results and of errors that belong to rows which are done.
        outputs: The names of the files of results and of errors; empty for one that does not exist.
    """

    name: str
    vendor: str
    title: str
    model: str
    source: str
    created: float
    wait: float
    run: float
    expires: float
    endpoint: str = ""
    is_inline: bool = False
    rows: int = 0
    tokens: int = 0
    state: State = State.WAITING
    fate: str | None = None
    message: str = ""
    code: str = ""
    metadata: Mapping[str, Any] | None = None
    started: float | None = None
    cancelled: float | None = None
    ended: float | None = None
    done: int = 0
    good: int = 0
    bad: int = 0
    sizes: tuple[int, int] = (0, 0)
    outputs: tuple[str, str] = ("", "")

    @property
    def id(self) -> str:
        """The part of its name that no other batch has."""
        return self.name.rpartition("/")[2].removeprefix("batch_")
