"""What a file is follows from its first bytes alone."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from nanobatch.errors import InputError
from nanobatch.references.signatures import recognise


@pytest.mark.parametrize(
    ("kind", "mime"),
    [
        ("PNG", "image/png"), ("JPEG", "image/jpeg"), ("MPO", "image/jpeg"), ("WEBP", "image/webp"),
        ("GIF", "image/gif"), ("BMP", "image/bmp"), ("TIFF", "image/tiff"), ("AVIF", "image/avif"),
    ],
)  # fmt: skip
def test_what_pillow_writes_is_recognised(kind: str, mime: str) -> None:
    """Every kind that can be used has its media type."""
    written = io.BytesIO()
    Image.new("RGB", (4, 4)).save(written, kind)
    assert recognise(written.getvalue()) == mime


def brand(own: bytes, *compatible: bytes) -> bytes:
    box = b"ftyp" + own + bytes(4) + b"".join(compatible)
    return (len(box) + 4).to_bytes(4, "big") + box


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (brand(b"heic", b"mif1", b"heic"), "image/heic"),
        (brand(b"heix"), "image/heic"),
        (brand(b"mif1", b"mif1", b"heic"), "image/heic"),
        (brand(b"mif1", b"mif1", b"miaf", b"avif"), "image/avif"),
        (brand(b"mif1", b"miaf"), "image/heif"),
        (brand(b"msf1"), "image/heif"),
        (brand(b"avis", b"avif"), "image/avif"),
        (brand(b"mif1") + b"heic", "image/heif"),
        (b"MM\x00*rest", "image/tiff"),
        (b"II+\x00rest", "image/tiff"),
    ],
)
def test_families_are_told_apart(data: bytes, mime: str) -> None:
    """The brands of the HEIF family count inside their box only, and TIFF has two byte orders and two sizes."""
    assert recognise(data) == mime


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty: 0 bytes"),
        (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"\xef\xbb\xbf\r\n <HTML lang='en'>", "an HTML page"),
        (b"<?xml version='1.0'?><svg/>", "XML or HTML text"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b'{"error": "gone"}', "JSON text"),
        (b"%PDF-1.7", "a PDF"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b\x08", "gzip data"),
        (brand(b"isom", b"mp41"), "a video"),
        (b"BMW is a car maker from Munich.", "text"),
        (b"fox.png", "text"),
        (b"\x00\x01\x02\x03", "unknown data (00 01 02 03)"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, reason: str) -> None:
    """The reason says what the bytes look like instead."""
    with pytest.raises(InputError) as caught:
        recognise(data)
    assert reason in caught.value.message
