"""What is checked of an image before its pixels are decoded."""

from __future__ import annotations

import importlib.util
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nanobatch.errors import InputError
from nanobatch.references.accepted import Header
from nanobatch.references.header import MAX_PIXELS, has_heif, opened, read_header
from nanobatch.references.signatures import recognise

ROOT = Path(__file__).resolve().parents[3]
NOISE = Image.effect_noise((60, 40), 80).convert("RGB")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


@pytest.fixture
def header(tmp_path: Path) -> Any:
    def read(data: bytes) -> Header:
        path = tmp_path / "image"
        path.write_bytes(data)
        return read_header(path, data)

    return read


KINDS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_picture(kind: str, header: Any) -> None:
    """A whole image of any kind passes, with its longer side."""
    assert header(encoded(NOISE, kind)) == Header(f"image/{kind.lower()}", 60, has_more=False)
    assert header(encoded(NOISE.rotate(90, expand=True), kind)).side == 60


@pytest.mark.parametrize(
    ("kind", "mime"),
    [
        ("MPO", "image/jpeg"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("PNG", "image/png"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
    ],
)
def test_several_pictures(kind: str, mime: str, header: Any) -> None:
    """The second view of a phone, an animation and a second page are noticed."""
    data = encoded(NOISE, kind, save_all=True, append_images=[NOISE.rotate(180)])
    assert header(data) == Header(mime, 60, has_more=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_cut_image_is_refused(kind: str, part: float, header: Any) -> None:
    """However much of the end is missing, the run does not start with it."""
    data = encoded(NOISE, kind)
    with pytest.raises(InputError, match=r"cut off|damaged"):
        header(data[: int(len(data) * part)])


def test_a_film_behind_a_jpeg_is_no_damage(header: Any) -> None:
    """Phones append a film of any length to a photo; the photo is whole."""
    data = encoded(NOISE, "JPEG") + bytes(200_000)
    assert header(data) == Header("image/jpeg", 60, has_more=False)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_photo(header: Any) -> None:
    """A cut JPEG is recognised though its EXIF data hold a whole small one."""
    exif = Image.Exif()
    exif[0x9286] = encoded(NOISE.resize((6, 4)), "JPEG")
    data = encoded(NOISE, "JPEG", exif=exif.tobytes())
    assert data.count(b"\xff\xd9") == 2
    with pytest.raises(InputError, match="JPEG image is cut off"):
        header(data[: len(data) * 2 // 3])


def png(width: int, height: int) -> bytes:
    """Make a small PNG file that claims any size."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def resized(data: bytes, at: int, form: str, *sides: int) -> bytes:
    return data[:at] + struct.pack(form, *sides) + data[at + struct.calcsize(form) :]


JPEG = encoded(NOISE, "JPEG")


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (png(30_000, 30_000), "30000 × 30000"),
        (png(10_000, 10_001), "10000 × 10001"),
        (resized(JPEG, JPEG.index(b"\xff\xc0") + 5, ">HH", 30_000, 20_000), "20000 × 30000"),
        (resized(encoded(NOISE, "GIF"), 6, "<HH", 65_000, 65_000), "65000 × 65000"),
        (resized(encoded(NOISE, "BMP"), 18, "<ii", 20_000, 20_000), "20000 × 20000"),
        (resized(encoded(NOISE, "WEBP", xmp=b"<x/>"), 24, "<HBHB", 16_000, 0, 16_000, 0), "16001 × 16001"),
    ],
)  # fmt: skip
def test_a_bomb_is_refused_by_its_header(data: bytes, pixels: str, header: Any) -> None:
    """More than 100 megapixels are refused before memory is spent on them."""
    with pytest.raises(InputError, match=f"{pixels} pixels are more than 100 megapixels"):
        header(data)
    with pytest.raises(InputError, match="pixels"), opened(recognise(data), data):
        pytest.fail("it was opened")  # pragma: no cover


def test_a_hundred_megapixels_are_allowed(header: Any) -> None:
    """The limit itself passes; Pillow's own, lower one says nothing."""
    assert header(png(10_000, 10_000)).side == 10_000
    assert MAX_PIXELS == 10_000**2


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(50),
        b"RIFF\x20\x00\x00\x00WEBPVP8 " + bytes(30),
        b"GIF89a",
        b"GIF89a\x01\x00\x01\x00\x00\x00\x00",
        b"BM" + bytes(30),
        b"II*\x00" + bytes(4),
        b"II*\x00\xff\xff\xff\xff",
        b"\x00\x00\x00\x18ftypavif" + bytes(12),
        b"\x00\x00\x00\x18ftypheic" + bytes(12),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's; outside of tests they are silent
def test_a_signature_is_not_enough(data: bytes, header: Any) -> None:
    """What begins like an image and is none is refused in words."""
    with pytest.raises(InputError) as caught:
        header(data)
    assert "object at 0x" not in caught.value.message


def test_pillow_does_not_talk_to_the_user() -> None:
    """Its warnings about odd metadata would end up between the lines of the progress display."""
    code = "from nanobatch.references.header import *; import warnings; warnings.warn_explicit('odd', UserWarning, 'x.py', 1, 'PIL.TiffImagePlugin')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stderr == ""


def heic() -> bytes:
    """Make the outermost boxes of a HEIC photo: its kind, its size, its (missing) pixels."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", len(body) + 8, kind) + body

    sizes = box(b"ispe", bytes(4) + struct.pack(">II", 512, 512)) + box(
        b"ispe", bytes(4) + struct.pack(">II", 4032, 3024)
    )
    return box(b"ftyp", b"heic" + bytes(4) + b"mif1heic") + box(b"meta", sizes) + box(b"mdat", bytes(1000))


@pytest.mark.skipif(has_heif(), reason="shows what happens without the extra")
def test_a_heic_photo_may_pass_unread(header: Any) -> None:
    """Without the library for HEIC its structure is checked all the same, because some providers take it as it is."""
    assert header(heic()) == Header("image/heic", 4032, has_more=False)
    with pytest.raises(InputError, match="cut off"):
        header(heic()[:-10])
    with pytest.raises(InputError, match="40320 × 30240 pixels"):
        header(heic().replace(struct.pack(">II", 4032, 3024), struct.pack(">II", 40320, 30240)))
    with pytest.raises(InputError, match=r"pip install 'nanobatch\[heif\]'"), opened("image/heic", heic()):
        pytest.fail("it was opened")  # pragma: no cover


@pytest.mark.skipif(not has_heif(), reason="needs the extra for HEIC")
def test_a_heic_photo_is_decoded_with_the_extra(header: Any) -> None:
    """With the library for HEIC a photo is read like any other image."""
    pillow_heif = importlib.import_module("pillow_heif")
    written = io.BytesIO()
    pillow_heif.from_pillow(NOISE).save(written)
    assert header(written.getvalue()) == Header("image/heic", 60, has_more=False)
    with opened("image/heic", written.getvalue()) as image:
        assert image.convert("RGB").size == (60, 40)


def test_the_extra_is_looked_for() -> None:
    """Whether HEIC can be decoded depends on what is installed and nothing else."""
    assert has_heif() is (importlib.util.find_spec("pillow_heif") is not None)
