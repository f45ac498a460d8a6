"""Follows the link that some relays send in place of an image. Links expire, so they are followed at once."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from nanobatch.errors import ServerFault
from nanobatch.model import FREE, Blob, Request, Response

_LINK = re.compile(r"(?i)https?://[^\s/?#\\\ud800-\udfff]+(?:[/?#][^\s\x00-\x20\x7f\ud800-\udfff]*)?")


def link_of(value: Any) -> str | None:
    """Return an absolute http(s) URL, and None for anything else."""
    return value if isinstance(value, str) and _LINK.fullmatch(value) else None


def download(link: str, *, task: str | None = None) -> Generator[Request, Response, Blob]:
    """Fetch an image that is made and paid already.

    Args:
        link: Where it is.
        task: Whose result it is, so that it can be asked for again.

    Raises:
        ServerFault: The link does not lead to it (any more).
    """
    response = yield Request("GET", link, cost=FREE, repeatable=True, download=True, task=task)
    if response.blob is None:
        raise ServerFault(
            f"the image was made, but its link answers HTTP {response.status}", http_status=response.status, billed=True
        )
    return response.blob
