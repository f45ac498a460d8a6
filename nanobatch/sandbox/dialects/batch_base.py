"""What the batch desk and a dialect say to each other, beside the words of `base` that both formats share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nanobatch.sandbox.batches.records import Batch, StoredFile
from nanobatch.sandbox.dialects.base import Answer, Asked, Dialect, Order


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """An order of a batch, as it was read.

    Args:
        title: What the client calls it.
        source: The file of rows.
        rows: The rows, where they came with the order; then there is no file.
        model: In formats where a batch has one.
        endpoint: In formats where each row is a request to it.
        metadata: The client's own.
    """

    title: str
    source: str = ""
    rows: Sequence[Mapping[str, Any]] | None = None
    model: str = ""
    endpoint: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: its key, and the request that it holds, for the dialect that answers such at once."""

    key: Any
    asked: Asked
    dialect: Dialect


@dataclass(frozen=True, slots=True)
class Line:
    """One line of results, and whether it is an error."""

    content: Mapping[str, Any]
    is_bad: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Batches of a list, newest first, and where the next ones begin, or None."""

    batches: Sequence[Batch]
    then: str | None


class RowError(ValueError):
    """A row that spoils the whole file; the text is the vendor's sentence.

    Args:
        message: The sentence.
        code: The vendor's word for it.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class BatchDialect(Protocol):
    """A vendor's way with batches; modules of this package are such dialects."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """The name in the books."""
        ...

    @property
    def BATCH_NAME(self) -> str:  # noqa: N802
        """The form of a batch's name."""
        ...

    @property
    def FILE_NAME(self) -> str:  # noqa: N802
        """The form of a file's name."""
        ...

    @property
    def RESULT_NAMES(self) -> tuple[str, str]:  # noqa: N802
        """The forms of the names of results and of errors; nothing where errors stand among the results."""
        ...

    @property
    def BATCHES(self) -> str:  # noqa: N802
        """What precedes the last part of a path in a batch's name."""
        ...

    @property
    def FILES(self) -> str:  # noqa: N802
        """What precedes the last part of a path in a file's name."""
        ...

    @property
    def LIFE_SECONDS(self) -> float:  # noqa: N802
        """When a batch that is not done is given up, from its creation."""
        ...

    @property
    def FILE_SECONDS(self) -> float | None:  # noqa: N802
        """How long a file is kept; None is for ever."""
        ...

    @property
    def MOST_ROWS(self) -> int | None:  # noqa: N802
        """Of one batch."""
        ...

    @property
    def MOST_BYTES(self) -> int:  # noqa: N802
        """Of one file of rows."""
        ...

    def door(self, asked: Asked) -> Answer | None:
        """Check the key."""
        ...

    def order(self, asked: Asked) -> BatchOrder | Answer:
        """Read an order."""
        ...

    def row(self, line: Any, order: BatchOrder | Batch) -> Row:
        """Read a row.

        Raises:
            RowError: The file is none that the vendor works with.
        """
        ...

    def tokens_of(self, order: Order) -> int:
        """Return what a row takes from the limit on enqueued tokens."""
        ...

    def shelf(self, *, is_bad: bool, number: int) -> int:
        """Return which of the two files of results a line goes into: the number-th, an error or not."""
        ...

    def line(self, key: Any, answer: Answer, number: int) -> Line:
        """Put the answer to a row into a line of results."""
        ...

    def described(self, batch: Batch, inlined: Sequence[Any] | None) -> Answer:
        """Describe a batch, with its results where they come with it."""
        ...

    def listed(self, page: Page, asked: Asked) -> Answer:
        """List batches."""
        ...

    def page(self, asked: Asked) -> tuple[str, int] | Answer:
        """Return after which batch a page of the list begins, and how long it is."""
        ...

    def cancelled(self, batch: Batch) -> Answer:
        """Answer a cancellation; of a batch that has ended, too."""
        ...

    def deleted(self, name: str) -> Answer:
        """Answer the deletion of a file or a batch."""
        ...

    def file(self, file: StoredFile, url: str) -> Answer:
        """Describe a file."""
        ...

    def files(self, files: Sequence[StoredFile], url: str) -> Answer:
        """List files."""
        ...

    def no_batch(self, name: str) -> Answer:
        """Answer for a batch that is not known."""
        ...

    def no_file(self, name: str) -> Answer:
        """Answer for a file that is not known, or not any more."""
        ...

    def no_download(self, file: StoredFile) -> Answer | None:
        """Refuse to send a file, in formats where uploaded ones stay where they are."""
        ...

    def too_many(self, order: BatchOrder, kind: str, limit: int) -> Answer | tuple[str, str]:
        """Refuse an order beyond a limit: at once, or as the message and code with which the batch fails."""
        ...

    def stumbled(self, fault: str, wish_seconds: float) -> Answer:
        """Answer a request that goes wrong by itself: 429, 500 or 503."""
        ...

    def wrong(self, message: str) -> Answer:
        """Refuse a request that makes no sense."""
        ...
