"""Which keys a configuration may have, and what each may say."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from reprlib import repr as shown  # cut to what a person reads
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nanobatch.model import SIZES

Check = Callable[[Any], Any]  # returns the value as it is used; raises ValueError with the end of a sentence
MOST_PARALLEL = 10_000


def text(value: Any) -> str:
    """Accept words; a bare number or date in YAML is words too."""
    if type(value) is dt.date:  # a datetime is one too, but was not written as it prints
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise ValueError("must be a word")
    return str(value).strip()


def redis_url(value: Any) -> str:
    """Accept where a Redis is. What is wrong with it is said without showing it: it may hold a password."""
    found = text(value)
    try:
        parts = urlsplit(found)
        fits = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("must be an address like redis://:password@host:6379/0")
    return found


def word(value: Any) -> str:
    """Accept the name of something, in any case; whether it exists is known elsewhere."""
    return text(value).lower()


def choice(*allowed: str) -> Check:
    """Accept one of a few words."""

    def check(value: Any) -> str:
        word = str(value).strip().lower()
        if word not in allowed:
            raise ValueError(f"must be {' or '.join(allowed)}, not {shown(value)}")
        return word

    return check


def number(low: float, high: float = math.inf) -> Check:
    """Accept a number within bounds."""

    def check(value: Any) -> float:
        try:
            found = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not low <= found <= high or math.isinf(found):
            raise ValueError(f"must be a number {_bounds(low, high)}, not {shown(value)}")
        return found

    return check


def share(value: Any) -> float:
    """Accept a number above 0, at most 1."""
    try:
        found: float = number(0, 1)(value)
    except ValueError:
        found = 0.0
    if not found:
        raise ValueError(f"must be a number above 0 and at most 1, not {shown(value)}")
    return found


def whole(low: int, high: int = 10**12) -> Check:
    """Accept a whole number within bounds."""
    real = number(low, high)

    def check(value: Any) -> int:
        found: float = real(value)
        if found != int(found):
            raise ValueError(f"must be a whole number, not {shown(value)}")
        return int(found)

    return check


def words(*allowed: str) -> Check:
    """Accept some of a few words: a list, or a text with commas between them."""

    def check(value: Any) -> tuple[str, ...]:
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        found = dict.fromkeys(str(part).strip().lower() for part in parts)
        wrong = next((part for part in found if part not in allowed), None)
        if wrong is not None:
            raise ValueError(f"must be {' or '.join(allowed)}, or several with commas between, not {shown(wrong)}")
        return tuple(word for word in allowed if word in found)

    return check


def flag(value: Any) -> bool:
    """Accept true and false, also as the environment writes them."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    found = words.get(str(value).strip().lower())
    if found is None:
        raise ValueError(f"must be true or false, not {shown(value)}")
    return found


def optional(check: Check) -> Check:
    """Accept nothing as well: `null`, or `none` in the environment."""
    return lambda value: None if value is None or value in ("null", "none", "") else check(value)


def size(value: Any) -> str:
    """Accept 512, 1K, 2K and 4K in any case."""
    found = str(value).strip().upper()
    if found not in SIZES:
        raise ValueError(f"must be one of {', '.join(SIZES)}, not {shown(value)}")
    return found


def ratio(value: Any) -> str:
    """Accept width:height."""
    found = str(value).strip()
    if not re.fullmatch(r"[1-9]\d?:[1-9]\d?", found):
        raise ValueError(f"must be width:height, such as 16:9, not {shown(value)}")
    return found


def duration_seconds(value: Any) -> float:
    """Accept 90, 90s, 15m, 2h and 7d."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", str(value).strip())
    if not found:
        raise ValueError(f"must be a duration such as 90s, 15m, 2h or 7d, not {shown(value)}")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def base_url(value: Any) -> str:
    """Accept an http(s) address without a key in it."""
    found = str(value).strip().rstrip("/")
    try:
        parts = urlsplit(found)
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        raise ValueError("is not an address") from None
    if not found.isprintable() or " " in found:
        raise ValueError("must not contain blanks or control characters")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with https:// or http:// and name a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not contain a user, a query or a key; keys belong under api_key")
    return found


def bucket(value: Any) -> str:
    """Accept a place in Cloud Storage: a bucket, and a folder in it."""
    found = text(value).rstrip("/")
    if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](?:/[^/\s#?*\[\]\\]+)*", found) or "/." in found:
        raise ValueError(f"must be a bucket of Cloud Storage such as gs://my-bucket/nanobatch, not {shown(value)}")
    return found


def zone(value: Any) -> str:
    """Accept the name of a time zone."""
    try:
        return ZoneInfo(str(value)).key
    except (OSError, ValueError, ZoneInfoNotFoundError):
        raise ValueError(f"must be a time zone such as America/Los_Angeles, not {shown(value)}") from None


def mapping(of: Check, key: Check = text) -> Check:
    """Accept keys with values of one kind."""

    def check(value: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise ValueError("must be keys with values")  # noqa: TRY004 - the caller asks for the one class
        return {key(name): of(inner) for name, inner in value.items()}

    return check


def json_value(value: Any) -> Any:
    """Accept what JSON can hold; YAML knows more."""
    if isinstance(value, Mapping):
        return {text(key): json_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [json_value(inner) for inner in value]
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError("must hold words, numbers, lists and keys alone; put dates in quotes")


def section(keys: Mapping[str, Check]) -> Check:
    """Accept some of these keys, each with its own kind of value."""

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError("must be keys with values")  # noqa: TRY004 - the caller asks for the one class
        unknown = [name for name in value if name not in keys]
        if unknown:
            raise ValueError(f"has no key {shown(unknown[0])}; known are {', '.join(keys)}")
        found = {}
        for name, inner in value.items():
            try:
                found[name] = keys[name](inner)
            except ValueError as error:
                raise ValueError(f"has a {name} that {error}") from None
        return found

    return check


def anything(value: Any) -> Any:
    """Accept what is checked elsewhere, or not used yet."""
    return value


SEMANTIC: Mapping[str, Check] = {"enabled": flag, "threshold": share}


def semantic(value: Any) -> dict[str, Any]:
    """Accept the keys of the semantic cache, or just whether it is on."""
    if not isinstance(value, Mapping):
        return {"enabled": flag(value)}
    found: dict[str, Any] = section(SEMANTIC)(value)
    return found


SECTIONS: Mapping[str, Mapping[str, Check]] = {
    "defaults": {
        "model": text,
        "size": optional(size),
        "aspect_ratio": optional(ratio),
        "seed": optional(whole(0, 2**31 - 1)),
        "images_per_prompt": whole(1, 100),
    },
    "run": {
        "strategy": choice("priority", "cheapest", "fastest"),
        "retries": whole(0, 100),
        "timeout_seconds": number(1, 86_400),
        "on_quota": choice("wait", "stop"),
        "on_unknown": choice("retry", "hold"),
        "budget_usd": optional(number(0)),
        "confirm_above_usd": optional(number(0)),
        "grace_seconds": number(0, 3600),
        "fallback_on_refusal": flag,
        "allow_private_references": flag,
    },
    "output": {
        "dir": optional(text),
        "name": text,
        "gallery": flag,
        "embed": lambda value: optional(words("prompt", "params"))(value) or (),
    },
    "cache": {
        "enabled": flag,
        "url": optional(redis_url),
        "ttl": duration_seconds,
        "refusals": flag,
        "keep_images": flag,
        "max_gb": number(0.001),
        "hard_links": flag,
        "prefix": text,
        "max_value_mb": number(0),
        "semantic": semantic,
    },
    "usage": {"url": optional(redis_url), "budget_usd_per_day": optional(number(0))},
}
LIMITS: Mapping[str, Check] = {
    "rpm": optional(whole(1)),
    "rpd": optional(whole(1)),
    "ipm": optional(whole(1)),
    "tpm": optional(whole(1)),
    "concurrency": whole(1, MOST_PARALLEL),
    "window_seconds": whole(1, 3600),
}
BATCH: Mapping[str, Check] = {
    "factor": number(0, 1),
    "jobs": optional(whole(1)),
    "enqueued_tokens": optional(whole(1)),
    "output_mb": whole(1),
    "input_mb": optional(whole(1)),
    "rows": optional(whole(1)),
    "hours": number(0.0001),
    "poll_seconds": number(0.01, 3600),
    "bucket": bucket,
    "storage_url": base_url,
}
PROVIDER: Mapping[str, Check] = {
    "protocol": word,
    "base_url": base_url,
    "upload_url": base_url,
    "project": text,
    "location": text,
    "api_key": text,
    "auth": choice("x-goog-api-key", "bearer", "key", "google", "none"),
    "priority": whole(1, 1000),
    "tier": text,
    "limits": anything,  # its keys are checked one by one
    "prices": mapping(number(0), key=size),
    "models": mapping(text),
    "options": mapping(json_value),
    "day_zone": zone,
    "tier_of_service": choice("standard", "flex"),
    "cooldown_seconds": number(1, 3600),
    "batch": section(BATCH),
}


def _bounds(low: float, high: float) -> str:
    if math.isinf(high) or high >= 10**12:
        return f"of {low:g} or more"
    return f"from {low:g} to {high:.12g}"
