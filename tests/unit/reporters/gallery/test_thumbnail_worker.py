"""Small pictures: of every kind of image, of bounded size, never half-written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from nanobatch.reporters.gallery import thumbnail_worker
from nanobatch.reporters.gallery.thumbnail_worker import EDGE, make
from tests.gallery_folder import image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_kind_becomes_small(tmp_path: Path, kind: str, mode: str) -> None:
    """The longer side is bounded, the ratio stays."""
    (tmp_path / "in").write_bytes(image(1600, 800, kind, mode))
    make(tmp_path / "in", tmp_path / "thumbs/x.webp", tmp_path / "part")
    with Image.open(tmp_path / "thumbs/x.webp") as small:
        assert (small.format, small.size) == ("WEBP", (EDGE, EDGE // 2))
    assert [path.name for path in (tmp_path / "thumbs").iterdir()] == ["x.webp"]


def test_what_is_transparent_stays_so(tmp_path: Path) -> None:
    """The page's own ground shines through."""
    Image.new("RGBA", (900, 900), (10, 20, 30, 0)).save(tmp_path / "in.png")
    make(tmp_path / "in.png", tmp_path / "x.webp", tmp_path / "part")
    with Image.open(tmp_path / "x.webp") as small:
        assert small.mode == "RGBA"


def test_a_photo_that_lies_on_its_side_stands_up(tmp_path: Path) -> None:
    """As browsers show the original."""
    photo = Image.new("RGB", (1000, 500))
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "in.jpg", exif=exif)
    make(tmp_path / "in.jpg", tmp_path / "x.webp", tmp_path / "part")
    with Image.open(tmp_path / "x.webp") as small:
        assert small.size == (EDGE // 2, EDGE)


@pytest.mark.parametrize(
    "data", [b"", b"text", image(900, 900)[:200], b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_broken_files_give_none(tmp_path: Path, data: bytes) -> None:
    """And leave nothing behind; formats that start other programs are not opened at all."""
    (tmp_path / "in").write_bytes(data)
    with pytest.raises((OSError, ValueError, SyntaxError)):
        make(tmp_path / "in", tmp_path / "x.webp", tmp_path / "part")
    assert not (tmp_path / "x.webp").exists()


def test_too_many_pixels_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header tells how many they are."""
    monkeypatch.setattr(thumbnail_worker, "MOST_PIXELS", 1000)
    (tmp_path / "in").write_bytes(image(100, 100))
    with pytest.raises(ValueError, match="too many pixels"):
        make(tmp_path / "in", tmp_path / "x.webp", tmp_path / "part")


def test_the_process_answers_each_line_and_ends_with_its_input(tmp_path: Path) -> None:
    """One answer for one job, also after a bad one."""
    (tmp_path / "in").write_bytes(image(900, 900))
    asked = '{"source": "in", "target": "a.webp"}\n{"source": "nothing", "target": "b.webp"}\n{"source": "in", "target": "c.webp"}\n'
    command = [sys.executable, "-m", "nanobatch.reporters.gallery.thumbnail_worker", str(tmp_path)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["made", "no", "made"]
    assert (tmp_path / "a.webp").exists()
    assert (tmp_path / "c.webp").exists()
