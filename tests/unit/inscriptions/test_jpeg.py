"""JPEG: one XMP segment, behind JFIF and Exif, beside the provider's signature."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from nanobatch.inscriptions.base import Copy, Inscription, Unfit, opened
from nanobatch.inscriptions.jpeg import CUT, plan
from tests.pictures import GOOGLES_XMP, drawn, parts, said, signed, xmp_of

WORDS = Inscription("a red fox, ü狐", {"size": "1K"})
EXIF = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"


def planned(tmp_path: Path, data: bytes, words: Inscription) -> Copy:
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with opened(path) as file:
        return plan(file, words)


def copied(tmp_path: Path, data: bytes, words: Inscription = WORDS) -> bytes:
    pieces = planned(tmp_path, data, words).pieces
    return b"".join(piece if isinstance(piece, bytes) else data[slice(*piece)] for piece in pieces)


def test_pillow_reads_the_words(tmp_path: Path) -> None:
    """As any program that reads XMP."""
    with Image.open(io.BytesIO(copied(tmp_path, drawn("JPEG")))) as image:
        assert said(image.info["xmp"])["description"] == "a red fox, ü狐"


def test_what_must_come_first_comes_first(tmp_path: Path) -> None:
    """JFIF, then Exif, then the words."""
    data = drawn("JPEG", exif=EXIF)
    found = parts(copied(tmp_path, data))
    assert [name for name, _ in found][:3] == ["E0", "E1", "E1"]
    assert found[1][1] == EXIF
    assert [part for part in found if part[1] == EXIF or part[0] != "E1"] == parts(data)


def test_a_signature_in_several_segments_stays_together(tmp_path: Path) -> None:
    """Nothing comes between them; the words stand before."""
    data = signed(drawn("JPEG"))
    assert [name for name, _ in parts(copied(tmp_path, data))][:5] == ["E1", "EB", "EB", "E0", "DB"]
    assert [part for part in parts(copied(tmp_path, data)) if part[0] != "E1"] == parts(data)


def test_a_providers_packet_gets_its_share(tmp_path: Path) -> None:
    """One XMP segment, which says both: a second one would be nobody's."""
    data = signed(drawn("JPEG", xmp=GOOGLES_XMP))
    found = copied(tmp_path, data)
    assert [name for name, _ in parts(found)] == [name for name, _ in parts(data)]
    assert (said(xmp_of(found))["credit"], said(xmp_of(found))["system"]) == ("Made with Google AI", None)
    assert said(xmp_of(found))["prompt"] == "a red fox, ü狐"


def test_a_long_prompt_is_cut_with_a_warning(tmp_path: Path) -> None:
    """A segment holds 65,533 bytes."""
    found = planned(tmp_path, drawn("JPEG"), Inscription("x" * 70_000))
    assert found.warnings == (CUT,)
    assert planned(tmp_path, drawn("JPEG"), Inscription("x" * 60_000)).warnings == ()


def test_bytes_that_fill_are_no_segment(tmp_path: Path) -> None:
    """Any number of FF may stand before a marker."""
    data = drawn("JPEG")
    filled = data[:2] + b"\xff\xff" + data[2:]
    with Image.open(io.BytesIO(copied(tmp_path, filled))) as image:
        image.load()
        assert said(image.info["xmp"])["description"] == "a red fox, ü狐"


@pytest.mark.parametrize(
    "data",
    [b"\xff\xd8\xff\xd9\0\0", b"\xff\xd8\xff\xe0\0\0\0\0", b"\xff\xd8\0\0\0\0", drawn("JPEG")[:100]],
)
def test_damage_is_no_crash(tmp_path: Path, data: bytes) -> None:
    """No pixels, a segment shorter than its length, no marker, a cut."""
    with pytest.raises(Unfit):
        copied(tmp_path, data)


def test_a_packet_that_is_none_is_left_alone(tmp_path: Path) -> None:
    """The image stays as it came."""
    with pytest.raises(Unfit, match="unknown form"):
        copied(tmp_path, drawn("JPEG", xmp=b"no packet"))
