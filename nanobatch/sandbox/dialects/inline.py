"""Reads images that a request carries as `data:` URIs or as base64."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

_DATA_URI = re.compile(r"data:(image/[a-z0-9.+-]+);base64,", re.IGNORECASE)
_SIGNATURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/webp": b"RIFF",
}


class UnreadableError(ValueError):
    """It is no image of the type that it claims."""


def digest_of_uri(value: Any) -> str:
    """Return the SHA-256 of the image in a `data:` URI.

    Raises:
        UnreadableError: It is something else.
    """
    found = _DATA_URI.match(value) if isinstance(value, str) else None
    if found is None:
        raise UnreadableError("not a data URI of an image")
    return digest_of_base64(value[found.end() :], found[1].lower())


def digest_of_base64(text: Any, mime: str) -> str:
    """Return the SHA-256 of an image that is written in base64, of either alphabet.

    Raises:
        UnreadableError: It is no base64, or no image of this type.
    """
    if not isinstance(text, str):
        raise UnreadableError("not base64")
    try:
        plain = text.translate(str.maketrans("-_", "+/"))
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableError("not base64") from error
    return digest_of(data, mime)


def digest_of(data: bytes, mime: str) -> str:
    """Return the SHA-256 of an image's bytes.

    Raises:
        UnreadableError: They do not begin as this type does.
    """
    signature = _SIGNATURES.get(mime)
    if signature is not None and not data.startswith(signature):
        raise UnreadableError(f"the bytes are not {mime}")
    if not data:
        raise UnreadableError("empty")
    return hashlib.sha256(data).hexdigest()
