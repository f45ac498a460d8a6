"""`--notify URL`: the run's summary as JSON, posted when everything is on disk. It never fails the run."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from nanobatch import __version__
from nanobatch.errors import ConfigError

TIMEOUT_SECONDS = 10.0
PAUSES_SECONDS = (1.0, 4.0)  # before the second and the third try
_TEMPORARY = frozenset({408, 425, 429})


def checked_address(url: str) -> str:
    """Return the address when it is one that can be posted to.

    Raises:
        ConfigError: It is not; the sentence does not show it, because whoever knows it may post there.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("--notify: give an address that begins with http:// or https://, without a user in it")
    return url


def notify(url: str, summary: Mapping[str, Any], *, sleep: Callable[[float], None]) -> str | None:
    """Post a summary, up to three times; return why that failed, or None.

    Args:
        url: A checked address.
        summary: What run.json holds; there are no keys in it.
        sleep: Waits for some seconds between two tries.
    """
    body = json.dumps(summary, ensure_ascii=False).encode()
    for pause in (*PAUSES_SECONDS, None):
        reason, again = _post(url, body)
        if reason is None:
            return None
        if pause is None or not again:
            return f"the summary could not be posted to {urlsplit(url).hostname}: {reason}"
        sleep(pause)
    raise AssertionError("the last try returns")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is posted to one address is not for another."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(url: str, body: bytes) -> tuple[str | None, bool]:
    """Try once; return the reason of a failure, and whether trying again may help."""
    headers = {"Content-Type": "application/json", "User-Agent": f"nanobatch/{__version__}"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - its scheme was checked
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS):
            return None, False
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP {error.code}", error.code in _TEMPORARY or error.code >= 500
    except urllib.error.URLError as error:
        return _plainly(error.reason), True
    except (OSError, http.client.HTTPException) as error:
        return _plainly(error), True


def _plainly(reason: Any) -> str:
    """Name a failure without an address in it."""
    return str(getattr(reason, "strerror", None) or type(reason).__name__).lower()
