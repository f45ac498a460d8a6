"""Reads answers that nobody promised: JSON of any shape, error texts in any wrapping, times in any unit."""

from __future__ import annotations

import email.utils
import functools
import re
import time
from collections.abc import Mapping
from typing import Any

from nanobatch.model import Blob, Response

LONGEST_MESSAGE = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")
_SECRETS = (
    (re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_\-*]{6,}"), "***"),
    (re.compile(r"\bAIza[A-Za-z0-9_\-]{10,}"), "***"),
    (
        re.compile(r"(?i)\b(bearer|key|token|api[_-]?key|authorization)(\s*[:=]\s*|\s+)(?=\S*\d)[A-Za-z0-9._\-]{8,}"),
        r"\1 ***",
    ),
    (re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']+"), r"\1?***"),
)


def node(value: Any, *path: str | int) -> Any:
    """Follow keys and indexes as far as they lead; None where they do not.

    A key may be written in camelCase or snake_case: relays send both.
    """
    for step in path:
        if isinstance(step, str) and isinstance(value, Mapping):
            found = value.get(step)
            value = value.get(_snake(step)) if found is None else found
        elif isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def items(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as an empty one."""
    return value if isinstance(value, list) else []


def words(value: Any) -> str:
    """Return a string or a number as text, and anything else as nothing."""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def count(value: Any) -> int | None:
    """Return a count of tokens: a whole number, also one written as a string."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        found = int(value)
    except ValueError:
        return None
    return found if found >= 0 else None


def image_data(value: Any) -> Blob | str | None:
    """Return what may be an image's bytes: a blob, or base64 too short to have become one."""
    if isinstance(value, Blob):
        return value
    return value if isinstance(value, str) and value.strip() else None


def clean(text: str) -> str:
    """Cut a vendor's sentence to a readable length, without control characters and without anything like a key."""
    text = _CONTROL.sub(" ", text[: 4 * LONGEST_MESSAGE]).strip()
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def error_object(response: Response) -> Mapping[str, Any] | None:
    """Return the error object of an answer: `{"error": {...}}`, a list of one such object, or a bare sentence."""
    body = response.json
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    found = body.get("error") if isinstance(body, Mapping) else None
    if isinstance(found, Mapping) and found:
        return found
    if isinstance(found, str) and found.strip():
        return {"message": found}
    if isinstance(body, Mapping) and response.status >= 400 and isinstance(body.get("message"), str):
        return body
    return None


def page_title(text: str) -> str:
    """Say in a few words what a body that is not JSON is."""
    if "<html" in text[:2000].lower() or text.lstrip().startswith("<"):
        title = re.search(r"(?is)<title[^>]*>(.{1,200}?)</title>", text)
        return f"an HTML page ({clean(title[1])})" if title and title[1].strip() else "an HTML page"
    return f"text instead of JSON ({clean(text)[:80]})" if text.strip() else "an empty body"


def is_page(response: Response) -> bool:
    """Whether the body came from a proxy in between rather than from the API."""
    return response.text is not None and response.text.lstrip().startswith("<")


def retry_after(response: Response) -> float | None:
    """Return the wish of the headers `retry-after-ms` and `retry-after` (seconds or a date), in seconds."""
    headers = response.headers
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        found = seconds(headers.get(name))
        if found is not None:
            return found * scale
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
    sent = headers.get("date")
    try:
        now = email.utils.parsedate_to_datetime(sent).timestamp() if sent else time.time()
    except (TypeError, ValueError):
        now = time.time()
    return max(0.0, date.timestamp() - now)


def seconds(value: Any) -> float | None:
    """Return a duration such as 48, "48", "34.4s"; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d+)?)\s*s?\s*", str(value))
    return float(found[1]) if found else None


@functools.lru_cache(256)
def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
