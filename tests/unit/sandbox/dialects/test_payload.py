"""Base64, straight and crooked."""

from __future__ import annotations

import base64
import binascii

import pytest

from nanobatch.sandbox.dialects.payload import encoded

DATA = bytes(range(256)) * 10 + b"\xfb\xff"


@pytest.mark.parametrize("fault", [None, "truncate", "slowdrip", "signature"])
def test_without_a_fault_of_its_own_the_image_stays_bytes(fault: str | None) -> None:
    """Writing the JSON encodes it, once."""
    assert encoded(DATA, "image/png", fault) is DATA


def test_bad_base64_cannot_be_decoded() -> None:
    """A strict decoder refuses it."""
    text = encoded(DATA, "image/png", "badb64")
    with pytest.raises(binascii.Error):
        base64.b64decode(text, validate=True)


def test_a_cut_image_is_half_of_it() -> None:
    """The encoding is fine, the image is not."""
    assert encoded(DATA, "image/png", "cutimage") == DATA[: len(DATA) // 2]


def test_the_url_safe_alphabet_has_no_padding() -> None:
    """It holds the letters that the standard one lacks, and decodes to the same bytes."""
    text = encoded(DATA, "image/png", "urlsafe")
    assert isinstance(text, str)
    assert set("-_") <= set(text)
    assert not set("+/=") & set(text)
    assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) == DATA


def test_a_data_prefix_names_the_type() -> None:
    """Behind the comma is the plain image."""
    text = encoded(DATA, "image/webp", "dataprefix")
    assert isinstance(text, str)
    prefix, _, rest = text.partition(",")
    assert prefix == "data:image/webp;base64"
    assert base64.b64decode(rest, validate=True) == DATA
