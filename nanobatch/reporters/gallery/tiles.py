"""Reads a manifest and yields what the page shows of each job: a tile, cut to what a page can hold.

A page is bounded, whatever the run was: the first 20,000 images, and besides them the first 5,000 jobs without one,
because those are what somebody has to look at. Texts are cut, and links lose their query: a page is passed on, and
such a query may be a signature.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from nanobatch.manifest_reader import Failed, is_below, newest_of
from nanobatch.model import Status
from nanobatch.reporters.gallery.thumbnails import Wanted, is_drawable, thumbnail_of

MOST_IMAGES = 20_000
MOST_OTHERS = 5_000
MOST_BYTES = 64 << 20  # of all tiles: long prompts must not make a page that no browser opens
PROMPT_CHARACTERS = 4_000
VALUE_CHARACTERS = 300
MOST_COLUMNS = 40
MOST_WARNINGS = 5
IMAGES = (Status.OK, Status.CACHED)

_QUERY = re.compile(r"(https?://[^\s?#\"'<>]+)\?[^\s\"'<>]+", re.IGNORECASE)
_GLOB = re.compile(r"([*?[])")


class Entry(msgspec.Struct, frozen=True):
    """What the page needs of a manifest's line."""

    job: str
    status: str
    id: str = ""
    index: int = 0
    variant: int = 0
    file: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    prompt: str = ""
    params: dict[str, Any] = {}
    provider: str | None = None
    provider_model: str | None = None
    attempts: int = 0
    cost_usd: float = 0.0
    maybe_cost_usd: float = 0.0
    warnings: list[str] = []
    finished_at: str | None = None
    latency_seconds: float | None = None
    error: Failed | None = None
    columns: dict[str, Any] = {}


class Tile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tile, as the page's script reads it."""

    id: str
    index: int
    status: str
    prompt: str
    variant: int = 0
    is_cut: bool = False  # the prompt is longer than what is here
    file: str = ""
    url: str = ""  # of the file, from the page
    small: str = ""  # of its small picture
    is_huge: bool = False  # more pixels than a browser should be asked to draw
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    provider: str | None = None
    model: str | None = None
    params: Mapping[str, str] = {}
    attempts: int = 0
    cost: float = 0.0
    maybe: float = 0.0
    seconds: float | None = None
    at: str | None = None
    warnings: list[str] = []
    code: str | None = None
    reason: str | None = None
    only: str = ""  # how a shell names this row after --only
    columns: Mapping[str, str] = {}


_entries = msgspec.json.Decoder(Entry)
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Tiles:
    """A pass over a manifest; what was seen is known when it has ended."""

    root: Path
    statuses: Counter[str] = field(default_factory=Counter)
    images: int = 0  # that have a tile
    others: int = 0
    size: int = 0  # bytes of all tiles
    wanted: list[Wanted] = field(default_factory=list)  # small pictures that are not there yet

    @property
    def left_out(self) -> int:
        """Jobs without a tile."""
        return self.statuses.total() - self.images - self.others

    def __iter__(self) -> Iterator[bytes]:
        """Yield each tile as JSON.

        Raises:
            ConfigError: The manifest is damaged, or cannot be read.
        """
        for _, entry in newest_of(self.root, _entries):
            self.statuses[entry.status] += 1
            has_image = entry.status in IMAGES
            if self.size >= MOST_BYTES or (self.images >= MOST_IMAGES if has_image else self.others >= MOST_OTHERS):
                continue
            if has_image:
                self.images += 1
            else:
                self.others += 1
            encoded = _encode(self._tile(entry, has_image=has_image))
            self.size += len(encoded)
            yield encoded

    def _tile(self, entry: Entry, *, has_image: bool) -> Tile:
        prompt = shareable(entry.prompt, PROMPT_CHARACTERS)
        return Tile(
            id=entry.id,
            index=entry.index,
            variant=entry.variant,
            status=entry.status,
            prompt=prompt,
            is_cut=len(entry.prompt) > PROMPT_CHARACTERS,
            **(self._picture(entry) if has_image else {}),
            width=entry.width,
            height=entry.height,
            bytes=entry.bytes,
            provider=entry.provider,
            model=entry.provider_model or _shown(entry.params.get("model")) or None,
            params=_texts({name: entry.params.get(name) for name in ("size", "aspect_ratio", "seed")}),
            attempts=entry.attempts,
            cost=entry.cost_usd,
            maybe=entry.maybe_cost_usd,
            seconds=entry.latency_seconds,
            at=entry.finished_at,
            warnings=[shareable(warning, VALUE_CHARACTERS) for warning in entry.warnings[:MOST_WARNINGS]],
            code=entry.error.code if entry.error else None,
            reason=shareable(entry.error.message, VALUE_CHARACTERS) if entry.error else None,
            only="" if has_image else shlex.quote(_GLOB.sub(r"[\1]", entry.id)),
            columns=_texts(entry.columns),
        )

    def _picture(self, entry: Entry) -> dict[str, Any]:
        """Return where the page finds an image; nothing for a record that names a place outside of the folder."""
        if entry.file is None or not is_below(entry.file):
            return {}
        found: dict[str, Any] = {"file": entry.file, "url": url_of(entry.file)}
        if not is_drawable(entry.width, entry.height):
            return found | {"is_huge": True}
        small = thumbnail_of(entry.sha256, width=entry.width, height=entry.height, size=entry.bytes)
        if small is None:
            return found
        if (self.root / small).exists():
            return found | {"small": url_of(small)}
        self.wanted.append(Wanted(entry.file, small))
        return found


def url_of(file: str) -> str:
    """Return the address of a file below the folder, as a page in the folder writes it."""
    return quote(file, safe="/")


def shareable(text: str, limit: int) -> str:
    """Cut a text, and the queries of the links in it."""
    if "://" in text:
        text = _QUERY.sub(r"\1?***", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that say something, as texts; of very many columns the first."""
    found: dict[str, str] = {}
    for name, value in values.items():
        text = _shown(value)
        if text and len(found) < MOST_COLUMNS:
            found[shareable(name, VALUE_CHARACTERS)] = text
    return found


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return shareable(value if isinstance(value, str) else _encode(value).decode(), VALUE_CHARACTERS)
