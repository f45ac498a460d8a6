"""What a cache promises, whatever is behind it, and what it knows of a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import msgspec

from nanobatch.model import Job, Record, Status

MOST_PLACES = 3  # where the same image is known to lie; the newest first
_ABOUT_THE_PRICE = frozenset({"serviceTier", "service_tier"})
_encode = msgspec.msgpack.Encoder().encode


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a job ended once: where its image is and what it was, or why there is none."""

    job: str
    made_at: float  # wall-clock seconds; the time to live counts from here
    status: str = Status.OK  # ok | refused
    places: tuple[str, ...] = ()  # absolute paths, the newest first
    sha256: str = ""
    bytes: int = 0
    mime: str = ""
    extension: str = ""  # with the dot
    width: int = 0
    height: int = 0
    cost_usd: float = 0.0
    provider: str = ""
    provider_model: str | None = None
    warnings: tuple[str, ...] = ()
    is_local: bool = False  # drawn by a server on the machine that asked: perhaps a double of the vendor
    host: str = ""  # on which the places are
    embedded: tuple[str, ...] = ()  # what --embed has written into it
    asked: tuple[str, ...] = ()  # of a refusal: all who were asked
    code: str = ""  # of a refusal, as the two below
    message: str = ""
    http_status: int | None = None
    options: str | None = None  # of the provider then, see `options_of`; None where they were not noted yet

    @property
    def has_image(self) -> bool:
        """Whether it leads to an image."""
        return self.status == Status.OK


_decode = msgspec.msgpack.Decoder(Entry).decode


class Match(msgspec.Struct, frozen=True):
    """An entry of another job that a `SecondLookup` takes for good enough."""

    entry: Entry
    warning: str  # for the record: why, and which job it was


class Cache(Protocol):
    """Entries by job id. All methods block, and are called by one thread at a time.

    Each raises CacheError when the cache cannot be used now.
    """

    def look_up(self, jobs: Sequence[str], *, now: float) -> dict[str, Entry]:
        """Return the entries that are known and not too old, for at most some thousand jobs.

        Args:
            jobs: Their ids.
            now: Wall-clock seconds.
        """
        ...

    def put(self, entries: Sequence[Entry], *, now: float) -> None:
        """Keep entries, in place of what was known of the same jobs."""
        ...

    def used(self, entries: Sequence[Entry], *, now: float) -> None:
        """Note that entries were of use just now; they may have new places. Their time to live stays as it was."""
        ...

    def forget(self, entries: Sequence[Entry]) -> None:
        """Drop entries whose image is gone or changed."""
        ...

    def image(self, entry: Entry) -> bytes | None:
        """Return the image itself where the cache carries it."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class SecondLookup(Protocol):
    """Asked about the jobs of a chunk that the exact cache does not know; it may be slower. Blocks, in the same thread.

    Each method raises CacheError when it cannot be used now.
    """

    def look_up(self, jobs: Sequence[Job], *, now: float) -> Mapping[str, Match]:
        """Return what may stand in for some of these jobs, by their ids. It is verified as any hit is."""
        ...

    def learn(self, found: Sequence[tuple[Record, Entry]]) -> None:
        """Take note of images that were drawn just now, and are in the exact cache."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class Upkeep(Protocol):
    """What `nanobatch cache` does. Each method raises CacheError when the cache cannot be used."""

    def stats(self, *, now: float) -> dict[str, Any]:
        """Count what is there; the keys are those of `cache stats -O json`."""
        ...

    def prune(self, *, now: float, older_than_seconds: float | None = None) -> dict[str, Any]:
        """Drop what is too old, or leads nowhere any more."""
        ...

    def clear(self) -> dict[str, Any]:
        """Drop everything."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def with_place(entry: Entry, place: str) -> Entry:
    """Return an entry that knows one more place."""
    places = (place, *(other for other in entry.places if other != place))
    return msgspec.structs.replace(entry, places=places[:MOST_PLACES])


def entry_of(
    record: Record,
    root: Path,
    *,
    made_at: float,
    is_local: bool = False,
    host: str = "",
    asked: Iterable[str] = (),
    embedded: Iterable[str] = (),
    options: str | None = None,
) -> Entry:
    """Make the entry of a job that has just ended, with an image or a refusal.

    Args:
        record: Of the job.
        root: The output folder, as an absolute path.
        made_at: Wall-clock seconds.
        is_local: The provider is on this machine.
        host: This machine.
        asked: For a refusal, all providers that were asked.
        embedded: What --embed has written into the image.
        options: The provider's, as `options_of` names them.
    """
    common: dict[str, Any] = {
        "job": record.job, "made_at": made_at, "provider": record.provider or "",
        "cost_usd": record.cost_usd, "is_local": is_local, "host": host, "options": options,
    }  # fmt: skip
    if not record.has_image:
        error = record.error
        assert error is not None
        return Entry(
            **common,
            status=str(record.status),
            asked=tuple(asked),
            code=error.code,
            message=error.message,
            http_status=error.http_status,
        )
    file = record.file or ""
    return Entry(
        **common,
        places=(str(root / file),),
        sha256=record.sha256 or "",
        bytes=record.bytes or 0,
        mime=record.mime or "",
        extension=Path(file).suffix,
        width=record.width or 0,
        height=record.height or 0,
        provider_model=record.provider_model,
        warnings=record.warnings,
        embedded=tuple(embedded),
    )


def options_of(options: Mapping[str, Any]) -> str:
    """Name the fields that a user adds to a provider's requests: they decide what is drawn. Nothing names none.

    >>> options_of({"serviceTier": "flex"}), options_of({"quality": "low"}) == options_of({"quality": "high"})
    ('', False)
    """
    telling = {name: value for name, value in options.items() if name not in _ABOUT_THE_PRICE}
    return blake2b(msgspec.json.encode(telling, order="sorted"), digest_size=8).hexdigest() if telling else ""


def encoded(entry: Entry) -> bytes:
    """Write an entry. A place whose name is no UTF-8, or half a character of a vendor's, gets question marks."""
    try:
        return _encode(entry)
    except UnicodeEncodeError:
        return _encode({name: _plain(value) for name, value in msgspec.to_builtins(entry).items()})


def decoded(value: bytes) -> Entry | None:
    """Read an entry; what is none is a miss."""
    try:
        return _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
