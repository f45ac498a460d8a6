"""Reference images inside JSON."""

from __future__ import annotations

import base64

from nanobatch.model import Reference
from nanobatch.providers.inline import data_uri


def test_an_image_becomes_one_string() -> None:
    """Its type and its bytes, in standard base64."""
    data = b"\xfb\xff\xfe\x00 a cat"
    head, encoded = data_uri(Reference(data, "image/png", "ab" * 32)).split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(encoded, validate=True) == data
