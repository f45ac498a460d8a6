"""What an image's bytes say: kind, pixels, wholeness; and what is said of bytes that are no image."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from nanobatch.errors import DecodeError, StoreError
from nanobatch.images import inspect, materialise, mismatch
from nanobatch.model import Blob, ImageFacts, Picture

KINDS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "GIF": ".gif"}


def drawn(kind: str, size: tuple[int, int] = (70, 30), **options: object) -> bytes:
    """Draw a picture whose pixels do not compress to nothing."""
    picture = Image.effect_noise(size, 80)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "image"
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def new_part(tmp_path: Path) -> Callable[[], Path]:
    numbers = itertools.count()
    return lambda: tmp_path / f"{next(numbers)}.part"


@pytest.mark.parametrize("kind", KINDS)
def test_kind_and_pixels_come_from_the_bytes(write: Callable[[bytes], Path], kind: str) -> None:
    """Kind, extension, width and height are read from the file, whatever anybody claimed."""
    facts = inspect(write(drawn(kind)))
    assert facts == ImageFacts(mime=f"image/{kind.lower()}", extension=KINDS[kind], width=70, height=30)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_blocks": 1}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00" + b"x" * 100}),
        ("PNG", {"compress_level": 0}),
    ],
)
def test_every_coding_of_a_kind_is_read(write: Callable[[bytes], Path], kind: str, options: dict[str, object]) -> None:
    """Progressive and restarted JPEG, lossless and extended WEBP and stored PNG all tell their pixels."""
    facts = inspect(write(drawn(kind, (301, 203), **options)))
    assert (facts.width, facts.height) == (301, 203)


def test_avif_is_read_where_its_boxes_tell_the_pixels(write: Callable[[bytes], Path]) -> None:
    """An AVIF file names its pixels in a box, and is whole when its boxes fill it."""
    data = drawn("AVIF", (64, 48))
    assert inspect(write(data)) == ImageFacts("image/avif", ".avif", 64, 48)
    with pytest.raises(DecodeError, match="AVIF image is cut off"):
        inspect(write(data[:-5]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.95])
def test_a_cut_image_is_an_error(write: Callable[[bytes], Path], kind: str, part: float) -> None:
    """An image that ends early is a DecodeError that says how many bytes came."""
    data = drawn(kind, (200, 100))
    keep = max(12, int(len(data) * part))
    with pytest.raises(DecodeError, match=f"the {kind} image is cut off after {keep} bytes"):
        inspect(write(data[:keep]))


@pytest.mark.parametrize("kind", KINDS)
def test_losing_the_last_byte_is_noticed(write: Callable[[bytes], Path], kind: str) -> None:
    """The very last byte counts."""
    with pytest.raises(DecodeError, match="cut off"):
        inspect(write(drawn(kind)[:-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_some_garbage_after_the_end_is_forgiven(write: Callable[[bytes], Path], kind: str) -> None:
    """Bytes after the end marker harm nobody."""
    assert inspect(write(drawn(kind) + b"\n" * 500)).width == 70


def test_provenance_of_any_length_may_precede_a_jpegs_size(write: Callable[[bytes], Path]) -> None:
    """Megabytes of C2PA data before the frame are skipped, although they hold end markers of their own."""
    data = drawn("JPEG")
    segment = b"\xff\xeb" + struct.pack(">H", 65_535) + b"\xff\xd9" * 32_766 + b"x"
    assert inspect(write(data[:2] + segment * 40 + data[2:])).height == 30


def test_a_thumbnails_end_is_not_the_images_end(write: Callable[[bytes], Path]) -> None:
    """A JPEG cut after its embedded thumbnail is cut, although the thumbnail ends properly."""
    data = drawn("JPEG", (200, 100))
    inner = drawn("JPEG", (8, 8))
    whole = data[:2] + b"\xff\xe1" + struct.pack(">H", len(inner) + 2) + inner + data[2:]
    assert inspect(write(whole)).width == 200
    with pytest.raises(DecodeError, match="cut off"):
        inspect(write(whole[:-400]))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><title>Expired</title>", "HTML"),
        (b"\n <HTML>", "HTML"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", "XML"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b'{"error": "gone"}', "JSON"),
        (b"link expired", "text"),
        (b"BM\x00\x00", "BMP"),
        (b"%PDF-1.7", "PDF"),
        (b"\x00\x01\x02\xff" * 9, "unknown data"),
    ],
)
def test_what_is_no_image_is_named(write: Callable[[bytes], Path], data: bytes, name: str) -> None:
    """Bytes that are no image are a DecodeError that says what they look like."""
    with pytest.raises(DecodeError, match=f"not an image but .*{name}") as caught:
        inspect(write(data))
    assert caught.value.billed


def test_impossible_sizes_are_errors(write: Callable[[bytes], Path]) -> None:
    """No image has zero pixels or a side of a million."""
    for width, height in ((0, 10), (10, 0), (1_000_000, 10)):
        data = bytearray(drawn("PNG"))
        data[16:24] = struct.pack(">II", width, height)
        with pytest.raises(DecodeError, match=f"claims {width} × {height} pixels"):
            inspect(write(bytes(data)))


def test_a_damaged_structure_is_an_error(write: Callable[[bytes], Path]) -> None:
    """A walk that meets nonsense stops with an error instead of going on for ever."""
    png, jpeg, webp = bytearray(drawn("PNG")), bytearray(drawn("JPEG")), bytearray(drawn("WEBP"))
    png[37:41] = b"\x00\x01\x02\x03"
    jpeg[20] = 0
    webp[12:16] = b"JUNK"
    for data in (png, jpeg, webp):
        with pytest.raises(DecodeError):
            inspect(write(bytes(data)))


def test_many_small_png_chunks_are_walked(write: Callable[[bytes], Path]) -> None:
    """A PNG in thousands of chunks is read to its end."""
    data = drawn("PNG")
    chunk = struct.pack(">I", 4) + b"teXt" + b"note" + struct.pack(">I", zlib.crc32(b"teXtnote"))
    assert inspect(write(data[:33] + chunk * 5000 + data[33:])).width == 70


def test_a_missing_file_is_a_store_error(tmp_path: Path) -> None:
    """A file that cannot be read is not the provider's fault."""
    with pytest.raises(StoreError, match="cannot read"):
        inspect(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("width", "height", "pixels", "size", "ratio", "warnings"),
    [
        (1408, 768, None, "1K", "16:9", 0),
        (1376, 768, (1376, 768), "1K", "16:9", 0),
        (5504, 3072, None, "4K", "16:9", 0),
        (352, 2928, None, "1K", "1:8", 0),
        (1024, 1024, None, None, None, 0),
        (1024, 1024, None, "auto", "auto", 0),
        (1024, 1024, None, "1K", "0:0", 0),
        (1024, 1024, None, "1K", "16:9", 1),
        (768, 1376, None, "1K", "16:9", 1),
        (1024, 1024, None, "4K", "1:1", 1),
        (1024, 1024, (1376, 768), None, None, 1),
        (512, 512, (2752, 1536), "2K", "16:9", 2),
    ],
)
def test_mismatch_warns_beyond_ten_per_cent(
    width: int, height: int, pixels: tuple[int, int] | None, size: str | None, ratio: str | None, warnings: int
) -> None:
    """Real sizes of the providers pass; another shape or another size is one warning each."""
    facts = ImageFacts("image/png", ".png", width, height)
    found = mismatch(facts, pixels=pixels, size=size, aspect_ratio=ratio)
    assert len(found) == warnings
    assert all(f"{width} × {height}" in warning for warning in found)


def test_the_warning_says_what_was_asked_for() -> None:
    """A warning names the wish and the result."""
    facts = ImageFacts("image/png", ".png", 1024, 1024)
    assert mismatch(facts, pixels=None, size="4K", aspect_ratio="16:9") == (
        "asked for the shape 16:9, got 1024 × 1024",
        "asked for the size 4K, got 1024 × 1024",
    )


@pytest.mark.parametrize("spelling", ["{}", "data:image/gif;base64,{}", " data:image/gif;base64,{}", "\n{} \n"])
def test_short_base64_becomes_a_file(new_part: Callable[[], Path], spelling: str) -> None:
    """A picture that stayed in the JSON is decoded, whatever stands around it."""
    data = drawn("GIF", (3, 2))
    text = spelling.format(base64.b64encode(data).decode())
    blob = materialise(Picture(text), new_part)
    assert blob.path.read_bytes() == data
    assert (blob.size, blob.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert inspect(blob.path).width == 3


def test_url_safe_and_unpadded_base64_is_decoded(new_part: Callable[[], Path]) -> None:
    """The URL-safe alphabet and missing padding are forgiven."""
    text = base64.urlsafe_b64encode(b"\xfb\xef\xff" * 9 + b"x").decode().rstrip("=")
    assert materialise(Picture(text), new_part).path.read_bytes() == b"\xfb\xef\xff" * 9 + b"x"


@pytest.mark.parametrize("text", ["https://example.com/a.png", "QUJD!", "A", "猫"])
def test_what_is_not_base64_leaves_no_file(new_part: Callable[[], Path], tmp_path: Path, text: str) -> None:
    """A string that is not base64 is a DecodeError, and no file is left."""
    with pytest.raises(DecodeError, match="not base64"):
        materialise(Picture(text), new_part)
    assert not list(tmp_path.iterdir())


def test_a_blob_passes_through_unless_flawed(new_part: Callable[[], Path], tmp_path: Path) -> None:
    """A blob is returned as it is; its flaw is an error."""
    blob = Blob(tmp_path / "a", 1, "00")
    assert materialise(Picture(blob), new_part) is blob
    with pytest.raises(DecodeError, match="not base64 at character 17"):
        materialise(Picture(Blob(tmp_path / "a", 1, "00", flaw="not base64 at character 17")), new_part)
