"""What the cells of the known columns mean: sizes, ratios, numbers, references. Spreadsheets bend all of them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nanobatch.model import SIZES
from nanobatch.sources.base import BadRow, quoted
from nanobatch.sources.template import as_text

SEED_MAX = 2**31 - 1
IMAGES_MAX = 100

_WHOLE = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")
_RATIO = re.compile(r"0*([0-9]{1,4}) ?: ?0*([0-9]{1,4})(?::00)?")  # a spreadsheet makes 16:09 or 16:09:00 of 16:9
_SHOWN = 6


def parse_size(value: Any) -> str | None:
    """Read `1k` or `1K` as "1K", and an empty cell as None."""
    text = as_text(value, what="size").upper().removesuffix(".0")
    if not text:
        return None
    if text not in SIZES:
        raise BadRow(f"size {quoted(value)} is not one of {', '.join(SIZES)}")
    return text


def parse_aspect_ratio(value: Any, allowed: Collection[str]) -> str | None:
    """Read `16:9` as a spreadsheet may have written it; an empty `allowed` allows every ratio."""
    text = as_text(value, what="aspect_ratio")
    if not text:
        return None
    parts = _RATIO.fullmatch(text)
    ratio = f"{parts[1]}:{parts[2]}" if parts else text
    if parts is None or "0" in parts.groups():
        raise BadRow(f"aspect_ratio {quoted(value)} is not a ratio like 16:9")
    if allowed and ratio not in allowed:
        raise BadRow(f"aspect_ratio {quoted(value)} is not one of {_some(allowed)}")
    return ratio


def _some(allowed: Collection[str]) -> str:
    ratios = sorted(allowed, key=lambda ratio: (len(ratio), ratio))
    more = f" and {len(ratios) - _SHOWN} more" if len(ratios) > _SHOWN else ""
    return ", ".join(ratios[:_SHOWN]) + more


def parse_whole(value: Any, *, what: str, low: int, high: int) -> int | None:
    """Read a whole number; `42.0` is how spreadsheets write 42."""
    text = "true or false" if isinstance(value, bool) else as_text(value, what=what)
    if not text:
        return None
    number = _WHOLE.fullmatch(text)
    if number is None or len(number[1]) > len(str(high)) + 1 or not low <= int(number[1]) <= high:
        raise BadRow(f"{what} {quoted(value)} is not a whole number from {low} to {high}")
    return int(number[1])


def parse_word(value: Any, *, what: str) -> str | None:
    """Read a name, as of a model; an empty cell is None."""
    return as_text(value, what=what) or None


def parse_references(value: Any, folder: Path) -> tuple[str, ...]:
    """Read files and URLs, `;` between them, or a JSON list. Files become absolute paths and must be there."""
    parts = value if isinstance(value, list) else as_text(value, what="references").split(";")
    texts = (as_text(part, what="a reference") for part in parts)
    return tuple(_reference(text, folder) for text in texts if text)


def _reference(text: str, folder: Path) -> str:
    scheme, mark, _ = text.partition("://")
    if mark and scheme.lower() not in ("http", "https"):
        raise BadRow(f"the reference {quoted(text)} is neither a file nor an http(s) URL")
    if mark:
        return _url(text)
    path = str(folder / text)
    if not os.path.isfile(path):  # noqa: PTH113 -- a path with a zero byte is False here and an error in pathlib
        raise BadRow(f"the reference {quoted(text)} is no file in {folder}")
    if not os.access(path, os.R_OK):
        raise BadRow(f"the reference {quoted(text)} cannot be read: no permission")
    return path


def _url(text: str) -> str:
    """Check the form of a URL; the message leaves out what may be a signature."""
    shown = quoted(text.partition("?")[0].rpartition("@")[2])
    try:
        parts = urlsplit(text)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or not text.isprintable() or " " in text:
        raise BadRow(f"the reference {shown} is not a sound URL")
    return text
