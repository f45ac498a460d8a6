"""Reads answers that nobody promised: JSON of any shape, errors in any wrapping, times in any unit."""

from __future__ import annotations

import email.utils
import functools
import re
from collections.abc import Mapping
from typing import Any

from nanobatch.model import Blob, Response

OK = range(200, 300)
MOST_TOKENS = 10**12  # more is no count of tokens, and would not fit the arithmetic of prices
LONGEST_WISH_SECONDS = 7 * 86_400.0  # more is no wait but a moment in the wrong field
_RPC_STATUSES = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
_SPOKEN = re.compile(
    r"(?i)\b(?:re)?try(?:ing)?(?: again)? (?:in|after) "
    r"((?:\d{1,9}(?:\.\d{1,12})? ?(?:milliseconds?|ms|seconds?|minutes?|hours?|secs?|mins?|[hms])\b ?)+"
    r"|(?:\d{1,9}h)?(?:\d{1,9}m)?\d{1,9}(?:\.\d{1,12})?s)"
)
_SPOKEN_PIECE = re.compile(r"(?i)(\d+(?:\.\d+)?) ?(ms|milli|h|m|s)")
_UNIT_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def node(value: Any, *path: str | int) -> Any:
    """Follow keys and indexes as far as they lead; None where they do not.

    A key may be written in camelCase or snake_case: relays send both.
    """
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
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
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(MOST_TOKENS)):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < MOST_TOKENS else None


def money(value: Any) -> float | None:
    """Return an amount in USD; None for what cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < MOST_TOKENS else None


def image_data(value: Any) -> Blob | str | None:
    """Return what may be an image's bytes: a blob, or base64 too short to have become one."""
    if isinstance(value, Blob):
        return value
    return value if isinstance(value, str) and value.strip() else None


def body_of(response: Response) -> Any:
    """Return the JSON of an answer, out of the list of one that some gateways wrap around it."""
    body = response.json
    return body[0] if isinstance(body, list) and len(body) == 1 else body


def error_object(response: Response) -> Mapping[str, Any] | None:
    """Return the error of an answer as `{"message": ..., "code": ...}`, or None where it holds none.

    Known wrappings: `{"error": {...}}`, a list of one of these, `{"error": "sentence"}`, and an object that is itself
    the error: `message`, `msg` or `detail` beside an error's status or code.
    """
    body = body_of(response)
    if not isinstance(body, Mapping):
        return None
    found = body.get("error")
    if isinstance(found, Mapping) and found:
        return found
    if isinstance(found, str) and found.strip():
        return {"message": found, "code": body.get("code"), "status": body.get("status")}
    sentence = next((body[key] for key in ("message", "msg", "detail") if isinstance(body.get(key), str)), None)
    if sentence is not None and (response.status not in OK or (count(body.get("code")) or 0) >= 400):
        return {"message": sentence, "code": body.get("code"), "status": body.get("status")}
    return None


def error_status(response: Response, error: Mapping[str, Any]) -> int:
    """Return the HTTP status that an error means. Inside a 200 its own code tells, and 500 where it has none."""
    if response.status not in OK:
        return response.status
    code = count(error.get("code"))
    if code is not None and 400 <= code < 600:
        return code
    return _RPC_STATUSES.get(words(error.get("status")), 500)


def retry_after(response: Response) -> float | None:
    """Return the wish of the headers `retry-after-ms` and `retry-after` (seconds or a date), in seconds.

    A date counts from the answer's own `date`, so neither clock has to be right.
    """
    headers = response.headers
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        found = seconds(headers.get(name))
        if found is not None:
            return found * scale
    try:
        until, sent = (email.utils.parsedate_to_datetime(headers.get(name, "")) for name in ("retry-after", "date"))
        wish = (until - sent).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, wish) if wish <= LONGEST_WISH_SECONDS else None


def seconds(value: Any) -> float | None:
    """Return a duration such as 48, "48", "34.4s"; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,12})?)\s*s?\s*", str(value))
    return float(found[1]) if found and float(found[1]) <= LONGEST_WISH_SECONDS else None


def spoken_seconds(sentence: str) -> float | None:
    """Return the wait that a sentence asks for: "Please retry in 48.9s", "try again after 15 minutes", "in 6m0s"."""
    found = _SPOKEN.search(sentence)
    if found is None:
        return None
    wish = sum(float(number) * _UNIT_SECONDS[unit.lower()] for number, unit in _SPOKEN_PIECE.findall(found[1]))
    return wish if wish <= LONGEST_WISH_SECONDS else None


@functools.lru_cache(256)
def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
