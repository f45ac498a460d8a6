"""What a vendor's batch interface is to us: conversations about files and batches, as generators of requests.

They are free of async, retries, HTTP libraries and files, like the providers'. A request that is `repeatable` buys
nothing and is sent again when it fails; when another one fails, the failure is thrown into the generator.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from nanobatch.errors import ConfigError, ExchangeError
from nanobatch.model import Order, Request, Response
from nanobatch.settings import BatchSettings

T = TypeVar("T")
Talk: TypeAlias = Generator[Request, Response, T]
Read: TypeAlias = Callable[[int, int], bytes]  # offset and length: a piece of the file that is uploaded
MEGABYTE = 2**20


class Phase(enum.StrEnum):
    """Where a batch stands, whatever the vendor calls it."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self not in (Phase.WAITING, Phase.RUNNING)


@dataclass(frozen=True, slots=True)
class BatchState:
    """A batch as its vendor describes it."""

    name: str  # the vendor's own
    title: str  # the name that we gave it
    phase: Phase
    rows: int | None = None
    done: int | None = None  # rows with an answer, good or bad
    failed: int | None = None
    files: tuple[str, ...] = ()  # of results
    message: str = ""
    no_room: bool = False  # it has failed only because the account's queue was full; nothing was begun


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file of results."""

    key: str | None  # None: the line names none
    response: Response  # as if the row had been asked by itself; may hold blobs


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the vendor takes in one batch."""

    input_bytes: int
    rows: int


class BatchWire(Protocol):
    """One vendor's way with batches."""

    bounds: Bounds
    gone: frozenset[int]  # what the vendor answers where a file of results is not there any more

    echo: str | None  # the key below which a line of results repeats its request

    def homes(self) -> tuple[str, ...]:
        """Return what precedes the addresses of its files, beside the provider's base_url."""
        ...

    def group(self, *, with_references: bool) -> str:
        """Return what all orders of one batch must have in common, beside their model."""
        ...

    def line(self, key: str, order: Order) -> Mapping[str, Any]:
        """Return an order as a line of the file; bytes inside it are written as base64."""
        ...

    def upload(self, title: str, size: int, read: Read) -> Talk[str]:
        """Upload a file of `size` bytes; return what the vendor calls it."""
        ...

    def create(self, title: str, file: str, *, model: str, group: str) -> Talk[BatchState]:
        """Order a batch. Not repeatable: the same order twice is two paid batches."""
        ...

    def find(self, titles: Collection[str]) -> Talk[list[BatchState]]:
        """Search the account's batches for those that we named so."""
        ...

    def poll(self, name: str) -> Talk[BatchState]:
        """Ask how a batch stands."""
        ...

    def cancel(self, name: str) -> Talk[None]:
        """Ask to end a batch; one that has ended already is no error."""
        ...

    def delete(self, file: str) -> Talk[None]:
        """Delete a file; one that is gone already is no error."""
        ...

    def downloads(self, file: str) -> tuple[Request, ...]:
        """Return the requests that a file of results may answer; the next is tried where one finds nothing."""
        ...

    def litter(self, file: str, results: Collection[str]) -> tuple[str, ...]:
        """Return which of a batch's files are deleted once it is collected: those that would stay, and cost, for ever.

        Args:
            file: The file of rows.
            results: The files of results.
        """
        ...

    def row(self, line: Any) -> Row:
        """Read a line of a file of results."""
        ...

    def answered(self, order: Order, response: Response) -> Generator[Request, Response, Any]:
        """Read a row's answer as the provider reads it that answers at once."""
        ...

    def fault(self, response: Response) -> ExchangeError | None:
        """Classify an answer; None for a success."""
        ...


def beside(base_url: str, service: str) -> str:
    """Place a service before the version that ends a base URL, as Google does.

    >>> beside("https://generativelanguage.googleapis.com/v1beta", "upload")
    'https://generativelanguage.googleapis.com/upload/v1beta'
    """
    root, _, version = base_url.rstrip("/").rpartition("/")
    return f"{root}/{service}/{version}"


def wire_for(protocol: str, base_url: str, batch: BatchSettings) -> BatchWire:
    """Return the batch interface that belongs to a wire format.

    Raises:
        ConfigError: There is none, or it needs a bucket and none is named.
    """
    from nanobatch.batches.wire_gemini import GeminiBatches  # noqa: PLC0415 - they need what stands above
    from nanobatch.batches.wire_openai import OpenAIBatches  # noqa: PLC0415
    from nanobatch.batches.wire_vertex import VertexBatches  # noqa: PLC0415

    match protocol:
        case "gemini":
            return GeminiBatches(base_url)
        case "openai":
            return OpenAIBatches()
        case "vertex":
            if batch.bucket is None or batch.storage_url is None:
                raise ConfigError("batches of Vertex AI are staged in Cloud Storage: batch.bucket is missing")
            return VertexBatches(batch.bucket, batch.storage_url)
        case _:
            raise ConfigError(f"batches cannot be ordered in the format {protocol!r}, only in {', '.join(PROTOCOLS)}")


PROTOCOLS = ("gemini", "openai", "vertex")
NEED_BUCKETS = frozenset({"vertex"})
