"""Opens an image with Pillow, and says what its header says before a single pixel is decoded.

Nothing here looks at a file's name, and only the one reader that fits the signature sees the bytes. An image of more
than 100 megapixels is refused by its header: a few kilobytes may unfold to gigabytes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from nanobatch.errors import DecodeError, InputError
from nanobatch.images import inspect
from nanobatch.references.accepted import Header
from nanobatch.references.signatures import HEIF_TYPES, recognise

MAX_PIXELS = 100_000_000
_READERS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "image/png": PngImageFile,
    "image/jpeg": JpegImageFile,  # alone: Pillow's own choice would warn of the many views of phones
    "image/webp": WebPImageFile,
    "image/gif": GifImageFile,
    "image/bmp": BmpImageFile,
    "image/tiff": TiffImageFile,
}
_WALKED = frozenset({"image/png", "image/webp", "image/avif", *HEIF_TYPES})  # nanobatch.images knows their structure
_JPEG_END = b"\xff\xd9"
# Whatever a damaged file can make a reader raise, by its author's intention or not.
READER_FAULTS = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, AttributeError,
    RuntimeError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip

warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd metadata, which is left out anyway


def read_header(path: Path, data: bytes) -> Header:
    """Check an image as far as that is cheap: its kind, its pixels, and that no end is missing.

    Args:
        path: Where the bytes are.
        data: The same bytes.

    Raises:
        InputError: It cannot be used.
    """
    mime = recognise(data)
    if mime in _WALKED:
        width, height = _walk(path)
        if mime in HEIF_TYPES and not has_heif():  # may still fit a provider as it is
            return Header(mime, max(width, height), has_more=False)
    with opened(mime, data) as image:
        if mime not in _WALKED:
            _check_end(image, data)
        return Header(mime, max(image.size), has_more="mp" in image.info or getattr(image, "is_animated", False))


@contextlib.contextmanager
def opened(mime: str, data: bytes) -> Iterator[ImageFile]:
    """Open an image whose pixels are decoded when first asked for.

    Raises:
        InputError: It cannot be read, on entering or inside the block.
    """
    try:
        with _open(mime, data) as image:
            _check_pixels(*image.size)
            yield image
    except READER_FAULTS as error:
        raise InputError(f"damaged, or of a kind that cannot be read: {_reason(error)}") from error


def has_heif() -> bool:
    """Tell whether the images of phones can be decoded: an optional extra brings the library."""
    return importlib.util.find_spec("pillow_heif") is not None


def _open(mime: str, data: bytes) -> ImageFile:
    if reader := _READERS.get(mime):
        return reader(io.BytesIO(data))
    if mime == "image/avif":
        Image.init()
        if "AVIF" not in Image.OPEN:
            raise InputError("an AVIF image, which the installed Pillow cannot read")
        return Image.open(io.BytesIO(data), formats=("AVIF",))
    if not has_heif():
        raise InputError("a HEIC image has to be converted, which needs `pip install 'nanobatch[heif]'`")
    importlib.import_module("pillow_heif").register_heif_opener(thumbnails=False)
    return Image.open(io.BytesIO(data), formats=("HEIF",))


def _walk(path: Path) -> tuple[int, int]:
    try:
        facts = inspect(path)
    except DecodeError as error:
        raise InputError(error.message) from error
    _check_pixels(facts.width, facts.height)
    return facts.width, facts.height


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"{width} × {height} pixels are more than {MAX_PIXELS // 10**6} megapixels")


def _check_end(image: ImageFile, data: bytes) -> None:
    """Find out whether an image is whole: a JPEG by its end marker, the rarer kinds by decoding them."""
    if not isinstance(image, JpegImageFile):
        image.load()
    elif image.fp is not None and data.rfind(_JPEG_END, image.fp.tell()) < 0:  # phones append films behind it
        raise InputError(f"the JPEG image is cut off after {len(data)} bytes")


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split())
    return type(error).__name__ if not words or isinstance(error, UnidentifiedImageError) else words[:200]
