"""Reads what the bytes of an image say about themselves: kind, size, and whether they are all there.

A provider's word is not enough: asked for PNG it sends JPEG, the pixels differ from the documented ones, an expired
link answers with a web page, and a cut body may look like an image in its first bytes. Files are read in small
steps and never as a whole.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nanobatch.errors import DecodeError, StoreError
from nanobatch.model import Blob, ImageFacts, Picture
from nanobatch.parts import MAX_BLOB_BYTES, Base64Decoder, PartFile, discard

HEAD_BYTES = 512
TAIL_BYTES = 64 * 1024  # how far before the end of a file its end marker is looked for
MAX_SIDE = 65_535  # pixels; no format here and no provider goes beyond
TOLERANCE = 0.10  # documented and real pixels differ by some per cent
SIDES = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}  # of a square image of that size

_DATA_PREFIX = re.compile(r"\s*data:[^,]{0,200};base64,")
_JPEG_END = b"\xff\xd9"
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, in all its codings
_JPEG_SCAN = 0xDA
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_HEIF = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"mif1": "heif", b"msf1": "heif"}


class _File:
    """A file read at any place, in small steps."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size
        self.head = os.pread(fd, HEAD_BYTES, 0)

    def read(self, at: int, count: int) -> bytes:
        """Return `count` bytes from a place, or raise where the file ends before."""
        if at + count <= len(self.head):
            return self.head[at : at + count]
        found = os.pread(self._fd, count, at)
        if len(found) < count:
            raise _Cut
        return found

    def some(self, at: int, count: int) -> bytes:
        """Return at most `count` bytes from a place."""
        return os.pread(self._fd, count, max(0, at))


class _Cut(Exception):
    pass


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    try:
        yield _File(fd)
    finally:
        os.close(fd)


def inspect(path: Path) -> ImageFacts:
    """Tell kind and pixels of an image file, and that it is whole.

    Raises:
        DecodeError: It is not an image, or cut off, or its size is impossible.
        StoreError: The file cannot be read.
    """
    with _opened(path) as file:
        kind, read = _kind(file.head)
        try:
            width, height = read(file)
        except _Cut:
            raise DecodeError(f"the {kind} image is cut off after {file.size} bytes") from None
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise DecodeError(f"the {kind} image claims {width} × {height} pixels")
    extension = ".jpg" if kind == "JPEG" else f".{kind.lower()}"
    return ImageFacts(mime=f"image/{kind.lower()}", extension=extension, width=width, height=height)


def _kind(head: bytes) -> tuple[str, Callable[[_File], tuple[int, int]]]:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG", _png
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG", _jpeg
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP", _webp
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF", _gif
    if head[4:8] == b"ftyp" and (name := _HEIF.get(head[8:12])):
        return name.upper(), _heif
    raise DecodeError(f"not an image but {_likeness(head)}")


def _likeness(head: bytes) -> str:
    """Name what bytes look like that are no image."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "nothing: 0 bytes"
    for start, name in (
        (b"<!doctype html", "an HTML page"),
        (b"<html", "an HTML page"),
        (b"<svg", "an SVG drawing"),
        (b"<", "XML or HTML text"),
        (b"{", "JSON text"),
        (b"[", "JSON text"),
        (b"%pdf", "a PDF"),
        (b"pk\x03\x04", "a ZIP archive"),
        (b"bm", "a BMP image, which no provider is known to send"),
        (b"ii*\x00", "a TIFF image, which no provider is known to send"),
        (b"mm\x00*", "a TIFF image, which no provider is known to send"),
    ):
        if text.startswith(start):
            return name
    return "text" if head.isascii() and b"\x00" not in head else f"unknown data ({head[:8].hex(' ')})"


def _png(file: _File) -> tuple[int, int]:
    """Walk the chunks from IHDR to IEND."""
    header = file.read(8, 16)
    if header[4:8] != b"IHDR":
        raise DecodeError("the PNG image has no header")
    width, height = struct.unpack(">II", header[8:])
    at, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", file.read(at, 8))
        if not kind.isalpha():
            raise DecodeError(f"the PNG image is damaged at byte {at}")
        at += length + 12
    if at > file.size:
        raise _Cut
    return width, height


def _jpeg(file: _File) -> tuple[int, int]:
    """Walk the segments to the first scan, however much provenance data stands before it; then look for the end."""
    pixels, at = (0, 0), 2
    while True:
        fill, marker = file.read(at, 2)
        if fill != 0xFF:
            raise DecodeError(f"the JPEG image is damaged at byte {at}")
        if marker == 0xFF or marker in _JPEG_BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_SIZES:
            height, width = struct.unpack(">HH", file.read(at + 5, 4))
            pixels = (width, height)
        (length,) = struct.unpack(">H", file.read(at + 2, 2))
        at += 2 + length
        if marker == _JPEG_SCAN:
            break
    tail_at = max(at, file.size - TAIL_BYTES)
    if _JPEG_END not in file.some(tail_at, TAIL_BYTES):
        raise _Cut
    return pixels


def _webp(file: _File) -> tuple[int, int]:
    """Compare the length in the header with the file, and read the first chunk."""
    (length,) = struct.unpack("<I", file.read(4, 4))
    if length + 8 > file.size:
        raise _Cut
    head = file.read(12, 18)
    match head[:4]:
        case b"VP8 ":
            width, height = struct.unpack("<HH", head[14:18])
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack("<I", head[9:13])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return int.from_bytes(head[12:15], "little") + 1, int.from_bytes(head[15:18], "little") + 1
        case other:
            raise DecodeError(f"the WEBP image begins with {other!r}")


def _gif(file: _File) -> tuple[int, int]:
    """Walk the blocks to the trailer."""
    width, height, flags = struct.unpack("<HHB", file.read(6, 5))
    at = 13 + _gif_colours(flags)
    while True:
        match file.read(at, 1):
            case b";":
                return width, height
            case b"!":
                at = _gif_data_end(file, at + 2)
            case b",":
                at = _gif_data_end(file, at + 11 + _gif_colours(file.read(at + 9, 1)[0]))
            case _:
                raise DecodeError(f"the GIF image is damaged at byte {at}")


def _gif_colours(flags: int) -> int:
    """Return the bytes of a colour table: three for each of 2, 4 ... 256 colours."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_data_end(file: _File, at: int) -> int:
    """Skip blocks, each behind its own length, up to the empty one."""
    while length := file.read(at, 1)[0]:
        at += length + 1
    return at + 1


def _heif(file: _File) -> tuple[int, int]:
    """Walk the outermost boxes to the end of the file, and take the largest picture named in them."""
    at = 0
    while at < file.size:
        length, kind = struct.unpack(">I4s", file.read(at, 8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(at + 8, 8))
        if kind == b"mdat" and length == 0:  # the last box may reach to the end of the file
            break
        if length < 8:
            raise DecodeError(f"the image is damaged at byte {at}")
        at += length
    if at > file.size:
        raise _Cut
    boxes = re.finditer(rb"ispe\x00{4}(.{8})", file.some(0, TAIL_BYTES), re.DOTALL)
    sizes: list[tuple[int, int]] = [struct.unpack(">II", box[1]) for box in boxes]
    return max(sizes, key=math.prod, default=(0, 0))


def mismatch(
    facts: ImageFacts, *, pixels: tuple[int, int] | None, size: str | None, aspect_ratio: str | None
) -> tuple[str, ...]:
    """Compare an image with what was asked for, as warnings. A difference of up to 10 % is nobody's fault.

    Args:
        facts: What came.
        pixels: Width and height that size and ratio mean for the model, where that is known.
        size: "512", "1K", "2K" or "4K"; other words are not compared.
        aspect_ratio: "16:9"; other words are not compared.
    """
    found = f"{facts.width} × {facts.height}"
    ratio = pixels[0] / pixels[1] if pixels else _ratio(aspect_ratio)
    area = math.prod(pixels) if pixels else SIDES.get(size or "", 0) ** 2
    warnings = []
    if ratio and _differ(facts.width / facts.height, ratio):
        wanted = aspect_ratio or (f"{pixels[0]} × {pixels[1]}" if pixels else "")
        warnings.append(f"asked for the shape {wanted}, got {found}")
    if area and _differ(facts.width * facts.height, area):
        wanted = size or (f"{pixels[0]} × {pixels[1]}" if pixels else "")
        warnings.append(f"asked for the size {wanted}, got {found}")
    return tuple(warnings)


def _ratio(aspect_ratio: str | None) -> float | None:
    match = re.fullmatch(r"(\d{1,5})[:x](\d{1,5})", aspect_ratio or "")
    if match is None or not int(match[1]) or not int(match[2]):
        return None
    return int(match[1]) / int(match[2])


def _differ(found: float, wanted: float) -> bool:
    return max(found / wanted, wanted / found) > 1 + TOLERANCE


def materialise(picture: Picture, new_part: Callable[[], Path]) -> Blob:
    """Return a picture as a file, decoding base64 that was too short to have left the JSON.

    Raises:
        DecodeError: It is not base64. No file is left of a short one; a flawed blob's file stays its owner's.
        StoreError: The file cannot be written.
    """
    if isinstance(picture.data, Blob):
        if picture.data.flaw:
            raise DecodeError(f"the image is {picture.data.flaw}")
        return picture.data
    prefix = _DATA_PREFIX.match(picture.data)
    text = picture.data[prefix.end() if prefix else 0 :]
    part = PartFile(new_part(), max_bytes=MAX_BLOB_BYTES)
    try:
        decoder = Base64Decoder(part)
        decoder.feed(memoryview(text.encode("utf-8", "replace")))
        decoder.finish()
        blob = part.close(decoder.flaw)
    except BaseException:
        part.discard()
        raise
    if blob.flaw:
        discard(blob.path)
        raise DecodeError(f"the image is {blob.flaw}")
    return blob
