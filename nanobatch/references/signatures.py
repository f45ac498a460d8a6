"""Tells from the first bytes what kind of image a file is, or what it is instead; its name says nothing."""

from __future__ import annotations

from nanobatch.errors import InputError

HEIF_TYPES = ("image/heic", "image/heif")
HEAD_BYTES = 512  # enough for every signature here

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),  # BigTIFF
    (b"MM\x00+", "image/tiff"),
)
# The file's own brand (ISO/IEC 14496-12, 4.3; registered at https://mp4ra.org/registered-types/brands).
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
}
_OTHERS = (  # in lower case, behind white space
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<svg", "an SVG drawing"),
    (b"<", "XML or HTML text"),
    (b"{", "JSON text"),
    (b"[", "JSON text"),
    (b"%pdf", "a PDF"),
    (b"8bps", "a Photoshop file"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
)


def recognise(data: bytes) -> str:
    """Return the media type of an image: "image/png".

    Raises:
        InputError: The bytes are no image of a kind that can be used.
    """
    head = data[:HEAD_BYTES]
    for start, mime in _STARTS:
        if head.startswith(start):
            return mime
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[:2] == b"BM" and head[15:18] == bytes(3):  # the upper bytes of the second header's length
        return "image/bmp"
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return _heif(head)
    raise InputError(f"not an image but {_likeness(head)}" if data else "empty: 0 bytes")


def _heif(head: bytes) -> str:
    """Prefer what the file says to be compatible with, where its own brand only names the family."""
    own = _BRANDS[head[8:12]]
    length = int.from_bytes(head[:4], "big")
    compatible = {_BRANDS.get(head[at : at + 4]) for at in range(16, min(length, len(head)), 4)}
    if own == "image/heif":
        return next((mime for mime in ("image/avif", "image/heic") if mime in compatible), own)
    return own


def _likeness(head: bytes) -> str:
    """Name what bytes look like that are no image."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, name in _OTHERS:
        if text.startswith(start):
            return name
    if head[4:8] == b"ftyp":
        return "a video, or an image of a rare kind"
    return "text" if head.isascii() and b"\x00" not in head else f"unknown data ({head[:8].hex(' ')})"
