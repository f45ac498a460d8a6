"""PNG: the registered keywords before the pixels, and the XMP chunk, the provider's own where there is one."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest
from PIL import Image

from nanobatch.inscriptions.base import Inscription, Unfit, opened
from nanobatch.inscriptions.png import plan
from tests.pictures import GOOGLES_XMP, PNG_XMP, drawn, parts, pixels, png_chunk, said, signed, xmp_of

WORDS = Inscription("a red fox, ü狐", {"size": "1K"})


def copied(tmp_path: Path, data: bytes, words: Inscription = WORDS) -> bytes:
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with opened(path) as file:
        return b"".join(
            piece if isinstance(piece, bytes) else data[slice(*piece)] for piece in plan(file, words).pieces
        )


def with_xmp(data: bytes, chunk: bytes, *, at_end: bool = False) -> bytes:
    place = len(data) - 12 if at_end else 33
    return data[:place] + png_chunk(b"iTXt", chunk) + data[place:]


def test_pillow_reads_the_words(tmp_path: Path) -> None:
    """Description and Comment are keywords that the PNG standard registers; UTF-8, uncompressed."""
    with Image.open(io.BytesIO(copied(tmp_path, drawn("PNG")))) as image:
        assert image.info["Description"] == "a red fox, ü狐"
        assert image.info["Comment"] == '{"size": "1K"}'
        assert b"a red fox" in image.info["xmp"]


def test_a_zero_byte_does_not_end_the_text(tmp_path: Path) -> None:
    """Many readers take it for the end."""
    with Image.open(io.BytesIO(copied(tmp_path, drawn("PNG"), Inscription("a\0b")))) as image:
        assert image.info["Description"] == "a\ufffdb"


def test_words_stand_before_the_pixels_and_the_signature_stays(tmp_path: Path) -> None:
    """Programs that read only what comes first find them; the provider's block is where and what it was."""
    data = signed(drawn("PNG"))
    found = parts(copied(tmp_path, data))
    assert [name for name, _ in found][:6] == ["IHDR", "caBX", "iTXt", "iTXt", "iTXt", "IDAT"]
    assert [part for part in found if part[0] != "iTXt"] == parts(data)


@pytest.mark.parametrize("at_end", [False, True])
def test_a_providers_packet_gets_its_share(tmp_path: Path, at_end: bool) -> None:
    """Before the pixels or behind them: one packet, which says both."""
    data = with_xmp(drawn("PNG"), PNG_XMP + b"\0\0\0\0" + GOOGLES_XMP, at_end=at_end)
    found = copied(tmp_path, data)
    assert said(xmp_of(found))["credit"] == "Made with Google AI"
    assert said(xmp_of(found))["description"] == "a red fox, ü狐"
    assert [name for name, _ in parts(found)].count("iTXt") == 3
    assert pixels(found) == pixels(data)


@pytest.mark.parametrize("chunk", [PNG_XMP + b"\1\0\0\0" + zlib.compress(GOOGLES_XMP), PNG_XMP + b"\0\0\0\0no packet"])
def test_a_packet_that_cannot_grow_stays(tmp_path: Path, chunk: bytes) -> None:
    """Compressed, or none: the text chunks say it all."""
    data = with_xmp(drawn("PNG"), chunk)
    found = parts(copied(tmp_path, data))
    assert ("iTXt", chunk) in found
    assert [content[:11] for name, content in found if name == "iTXt"][1:] == [b"Description", b"Comment\0\0\0\0"]


def test_what_follows_the_end_stays(tmp_path: Path) -> None:
    """Some providers append things."""
    assert copied(tmp_path, drawn("PNG") + b"tail").endswith(b"IEND\xaeB`\x82tail")


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:33] + data[-12:]])
def test_damage_is_no_crash(tmp_path: Path, damage: object) -> None:
    """Cut in the middle, or without pixels."""
    assert callable(damage)
    with pytest.raises(Unfit):
        copied(tmp_path, damage(drawn("PNG")))
