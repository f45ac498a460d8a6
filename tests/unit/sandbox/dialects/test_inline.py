"""Images that a request carries in its JSON."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of, digest_of_base64, digest_of_uri

PNG = b"\x89PNG\r\n\x1a\n\xfb\xff\xfe a cat"
SHA = hashlib.sha256(PNG).hexdigest()


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padded", [True, False])
def test_either_alphabet_with_or_without_padding(encode: Any, padded: bool) -> None:
    """Clients differ, and vendors take both."""
    text = encode(PNG).decode()
    assert digest_of_base64(text if padded else text.rstrip("="), "image/png") == SHA
    assert digest_of_uri(f"data:image/png;base64,{text}") == SHA


@pytest.mark.parametrize(
    "value", ["", "x", None, 5, "data:text/plain;base64,AAAA", "https://x.org/a.png", "data:image/png,x"]
)
def test_what_is_no_data_uri_is_refused(value: Any) -> None:
    """A link or a text is not an image."""
    with pytest.raises(UnreadableError):
        digest_of_uri(value)


@pytest.mark.parametrize("text", ["!!!!", "AAAA", None, "", "é"])
def test_what_is_no_image_is_refused(text: Any) -> None:
    """Neither broken base64 nor bytes of another kind."""
    with pytest.raises(UnreadableError):
        digest_of_base64(text, "image/png")


def test_the_type_must_be_the_bytes_own() -> None:
    """A PNG called JPEG is refused; a type that nobody checks passes, unless it is empty."""
    assert digest_of(PNG, "image/png") == SHA
    with pytest.raises(UnreadableError, match="not image/jpeg"):
        digest_of(PNG, "image/jpeg")
    assert digest_of(b"heic", "image/heic") == hashlib.sha256(b"heic").hexdigest()
    with pytest.raises(UnreadableError, match="empty"):
        digest_of(b"", "image/heic")
