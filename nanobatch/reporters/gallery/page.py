"""Puts the page together from its parts in this folder, and the data between them, piece by piece.

Nothing that comes from data is ever read as HTML: it stands in two blocks of JSON, in which every `<`, `>` and `&` is
written as an escape, and the page's script shows it as text. Should that ever fail, the policy in the page's head lets
no script run but its own, named by its digest, and lets no request leave.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from nanobatch import __version__

SCRIPTS = ("page.js", "tiles.js", "choice.js", "grid.js", "viewer.js", "start.js")  # in the order in which they are run
MARK = '<meta name="generator" content="nanobatch '
_MARKUP = re.compile("[<>&\u2028\u2029]")
_ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_PLACES = re.compile(r"\{\{(\w+)\}\}")


def inert(encoded: str) -> str:
    """Write JSON so that it may stand in a page: no character of it means anything in HTML.

    All of these occur only inside of JSON's strings, where an escape says the same.
    """
    return _MARKUP.sub(lambda match: _ESCAPES[match[0]], encoded)


def pieces(
    title: str, rows: Iterable[bytes], facts: Callable[[], Mapping[str, Any]], *, source: str
) -> Iterator[bytes]:
    """Yield the page, a piece for each row.

    Args:
        title: What the page is called.
        rows: The tiles, as JSON.
        facts: Asked after the last row: what the page says of all of them.
        source: Names the manifest as it is now; see `written_from`.
    """
    style, script = _part("style.css"), _script()
    values = {
        "policy": _policy(style, script),
        "version": html.escape(__version__),
        "source": html.escape(source),
        "title": html.escape(title),
        "style": style,
        "script": script,
    }
    parts = re.split(r"\{\{(?:tiles|facts)\}\}", _part("page.html"))  # before names are filled in: those are data
    before, middle, after = (_PLACES.sub(lambda match: values[match[1]], part) for part in parts)
    yield before.encode()
    between = "["
    for row in rows:
        yield f"{between}\n{inert(row.decode())}".encode()
        between = ","
    yield b"\n]" if between == "," else b"[]"
    yield middle.encode()
    yield inert(json.dumps(facts(), ensure_ascii=False)).encode("utf-8", "replace")
    yield after.encode()


def written_from(head: str) -> str | None:
    """Return which manifest a page was made from, by its beginning; "" for a page of another program.

    Returns None where the page is ours and says nothing.
    """
    if MARK not in head:
        return ""
    if f'{MARK}{html.escape(__version__)}"' not in head:
        return None
    found = re.search(r'<meta name="manifest" content="([^"]*)">', head)
    return found[1] if found else None


@cache
def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _script() -> str:
    parts = "\n".join(_part(name) for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _policy(style: str, script: str) -> str:
    """Allow the page its own style and script and the pictures beside it: no network, no frames, no forms."""
    return "; ".join(
        (
            "default-src 'none'",
            "img-src 'self' file: data:",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        )
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
