"""WEBP: an XMP chunk behind the pixels, and the header chunk that announces it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image

from nanobatch.inscriptions.base import Inscription, Unfit, opened
from nanobatch.inscriptions.webp import plan
from tests.pictures import GOOGLES_XMP, drawn, parts, pixels, said, signed, xmp_of

WORDS = Inscription("a red fox, ü狐", {"size": "1K"})
EXIF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"


def copied(tmp_path: Path, data: bytes, words: Inscription = WORDS) -> bytes:
    path = tmp_path / "x.webp"
    path.write_bytes(data)
    with opened(path) as file:
        return b"".join(
            piece if isinstance(piece, bytes) else data[slice(*piece)] for piece in plan(file, words).pieces
        )


@pytest.mark.parametrize(
    ("options", "names", "flags"),
    [
        ({}, ["VP8X", "VP8 ", "XMP "], 0x04),
        ({"lossless": True}, ["VP8X", "VP8L", "XMP "], 0x04),
        ({"lossless": True, "mode": "RGBA"}, ["VP8X", "VP8L", "XMP "], 0x14),
        ({"exif": EXIF}, ["VP8X", "VP8 ", "EXIF", "XMP "], 0x0C),
    ],
)
def test_the_header_announces_the_words(
    tmp_path: Path, options: dict[str, object], names: list[str], flags: int
) -> None:
    """A simple file becomes an extended one, with its pixels' size and whether it has an alpha channel."""
    data = drawn("WEBP", (301, 77), **options)  # type: ignore[arg-type]
    if flags & 0x10:
        half_clear = io.BytesIO()
        Image.new("RGBA", (301, 77), (9, 9, 9, 99)).save(half_clear, "WEBP", lossless=True)
        data = half_clear.getvalue()
    found = copied(tmp_path, data)
    header = parts(found)[0][1]
    assert [name for name, _ in parts(found)] == [*names, "rest"]
    assert header[0] == flags
    assert (int.from_bytes(header[4:7], "little") + 1, int.from_bytes(header[7:10], "little") + 1) == (301, 77)
    assert pixels(found) == pixels(data)
    with Image.open(io.BytesIO(found)) as image:
        assert said(image.info["xmp"])["description"] == "a red fox, ü狐"


def test_the_signature_stays_last(tmp_path: Path) -> None:
    """The words stand behind the pixels, and the provider's block behind them, where it was."""
    data = signed(drawn("WEBP"))
    found = parts(copied(tmp_path, data))
    assert [name for name, _ in found] == ["VP8X", "VP8 ", "XMP ", "C2PA", "rest"]
    assert [part for part in found if part[0] not in ("VP8X", "XMP ")] == parts(data)


@pytest.mark.parametrize("padding", [b"", b" "])
def test_a_providers_packet_gets_its_share(tmp_path: Path, padding: bytes) -> None:
    """Of an even or an odd length: the file is well formed in both cases."""
    data = drawn("WEBP", xmp=GOOGLES_XMP + padding)
    found = copied(tmp_path, data)
    assert [name for name, _ in parts(found)] == [name for name, _ in parts(data)]
    assert (said(xmp_of(found))["credit"], said(xmp_of(found))["prompt"]) == ("Made with Google AI", "a red fox, ü狐")
    assert len(found) == 8 + struct.unpack("<I", found[4:8])[0]


def test_what_follows_the_end_stays(tmp_path: Path) -> None:
    """It belongs to no chunk, and the length of the file does not count it."""
    assert parts(copied(tmp_path, drawn("WEBP") + b"tail"))[-1] == ("rest", b"tail")


@pytest.mark.parametrize(
    "data",
    [
        drawn("WEBP")[:-9],
        b"RIFF\x04\0\0\0WEBP",
        b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0" + bytes(10),
        b"RIFF\x0e\0\0\0WEBPVP8L\x01\0\0\0\0\0",
        b"RIFF\x16\0\0\0WEBPABCD\x0a\0\0\0" + bytes(10),
    ],
)
def test_damage_is_no_crash(tmp_path: Path, data: bytes) -> None:
    """Cut, without chunks, without a size, with a header that is too short, with none."""
    with pytest.raises(Unfit):
        copied(tmp_path, data)
