"""Makes a vendor's words fit to be shown and kept: short, on one line, without anything like a key."""

from __future__ import annotations

import functools
import re
from typing import Any

from nanobatch.model import Response

LONGEST_MESSAGE = 300
LONGEST_NAME = 100
_LONGEST_PAGE_HEAD = 4000  # characters of a page in which its title is looked for
_SECRETS = (
    (re.compile(r"(?i)(https?://)[^\s/@\"']+@"), r"\1***@"),
    (re.compile(r"(?i)(https?://[^\s?\"'<>]+)\?[^\s\"'<>]+"), r"\1?***"),  # a signed link, whatever its fields
    (re.compile(r"\b(?:sk|pk|rk|xai|gsk|sess)-[A-Za-z0-9_\-*]{6,}"), "***"),
    (re.compile(r"\bAIza[A-Za-z0-9_\-]{10,}|\bAQ\.[A-Za-z0-9_\-]{10,}|\bya29\.[A-Za-z0-9_.\-]+"), "***"),
    (re.compile(r"(?i)((?:key|token)=)[^\s&\"']+"), r"\1***"),
    (re.compile(r"(?i)\b((?:key|token) provided\s*[:=]\s*)\S+"), r"\1***"),
    # "Invalid token: a1b2c3d4" and "key 'a1b2c3d4'", but neither "key invalid" nor "tokens: 1120"
    (
        re.compile(r"(?i)((?:key|token)(?: \w{1,12}){0,2}[\"']?\s*[:= ]\s*[\"'(]?)(?=\S*\d)[A-Za-z0-9._\-*]{8,}"),
        r"\1***",
    ),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)(?=\S*\d|\S{20})[A-Za-z0-9._~+/\-=]{8,}"), r"\1***"),
)
_TITLE = re.compile(r"(?is)<title[^>]{0,200}>(.{1,200}?)</title>")


def clean(text: str) -> str:
    """Cut a vendor's sentence to a readable length, without control characters and without anything like a key."""
    shown = (character for character in text[: 4 * LONGEST_MESSAGE] if character.isprintable() or character.isspace())
    text = " ".join("".join(shown).split())
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def short_name(value: Any) -> str:
    """Return what a vendor calls something (a reason, a model), or nothing where that is no text."""
    if not isinstance(value, str):
        return ""
    return _clean_name(value) if len(value) <= LONGEST_NAME else clean(value)[:LONGEST_NAME]


@functools.lru_cache(256)  # every answer holds the same few names
def _clean_name(name: str) -> str:
    return clean(name)[:LONGEST_NAME]


def said(sentence: str) -> str:
    """Append what the vendor said to what happened."""
    return f": {sentence}" if sentence else ""


def is_page(response: Response) -> bool:
    """Whether the body is a page for people, so that a proxy in between wrote it and not the API."""
    return response.text is not None and response.text.lstrip("\ufeff \t\r\n").startswith("<")


def body_in_words(response: Response) -> str:
    """Say in a few words what a body is that the API would not send."""
    if response.text is None:
        return "JSON of another shape" if response.blob is None else "a file"
    if is_page(response):
        title = _TITLE.search(response.text[:_LONGEST_PAGE_HEAD])
        named = clean(title[1]) if title else ""
        return f"an HTML page ({named})" if named else "an HTML page"
    text = clean(response.text)
    return f"text instead of JSON ({text})" if text else "an empty body"
