"""Makes an image fit what a provider takes: its types, its bytes, its pixels. Always from the source.

What fits already is not touched. Else the first of several pictures is taken, turned as the camera was held, and
written as JPEG, or as PNG or WEBP where something of it is transparent. Too many bytes cost quality first and pixels
after that. What the camera wrote beside the picture, such as the place, is left out.
"""

from __future__ import annotations

import contextlib
import io
import math
from dataclasses import dataclass, replace
from typing import cast

from PIL import Image, ImageCms, ImageOps

from nanobatch.errors import InputError
from nanobatch.references.accepted import Accepted
from nanobatch.references.header import READER_FAULTS, opened

QUALITIES = (92, 85, 75)
_LONGEST_SIDES = {"image/jpeg": 65_500, "image/webp": 16_383}  # of the formats, in pixels
_PROFILES = {"L": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB "}  # the colour space in a profile's bytes 16-19 (ICC.1)
_FULL_SCALES = (1.0, 255.0, 65_535.0)  # of samples that are not bytes


@dataclass(frozen=True, slots=True)
class _Picture:
    """Pixels in one of three modes (grey, RGB, RGBA), and the colour profile that describes them, if any."""

    image: Image.Image
    profile: bytes = b""


@dataclass(frozen=True, slots=True)
class _Encoding:
    mime: str
    quality: int | None = None


def convert(data: bytes, mime: str, accepted: Accepted) -> tuple[bytes, str]:
    """Return a new encoding of an image, and its type.

    Raises:
        InputError: It cannot be read, or cannot be made to fit.
    """
    with opened(mime, data) as source:
        source.load()
        profile = source.info.get("icc_profile")
        _turn(source)
        picture = _plain(source, profile if isinstance(profile, bytes) else b"")
    if len(picture.profile) > accepted.max_bytes // 4:  # it would leave little room for the image
        picture = replace(picture, profile=b"")
    encodings = _encodings(accepted.types, has_alpha=picture.image.mode == "RGBA")
    if encodings[0].mime == "image/jpeg":
        picture = _flat(picture)
    return _within(accepted, picture, encodings)


def _turn(image: Image.Image) -> None:
    """Turn an image as its EXIF data say; damaged EXIF data say nothing."""
    with contextlib.suppress(*READER_FAULTS):
        ImageOps.exif_transpose(image, in_place=True)


def _plain(image: Image.Image, profile: bytes) -> _Picture:
    """Reduce the many kinds of pixels to three."""
    if image.mode == "CMYK" and profile:
        image = _by_profile(image, profile)
    if image.mode.startswith(("I", "F")):
        image = _in_bytes(image)
    elif image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        if image.getchannel("A").getextrema() == (255, 255):
            image = image.convert("RGB")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    image.info = {}  # comments and the like
    return _Picture(image, profile if profile[16:20] == _PROFILES[image.mode] else b"")


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert CMYK to sRGB as its profile says; return it unchanged where the profile is unusable."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError):
        return image


def _in_bytes(image: Image.Image) -> Image.Image:
    """Scale samples of 16 or 32 bits to 0-255; of 32 bits the full scale is not known, so the largest one tells."""
    is_short = image.mode.startswith("I;16")
    image = image.convert("I") if is_short else image
    image = image.convert("F")
    largest = _FULL_SCALES[-1] if is_short else cast("float", image.getextrema()[1])
    scale = 255 / next((scale for scale in _FULL_SCALES if largest <= scale), largest)
    return image.point(lambda value: value * scale).convert("L")


def _flat(picture: _Picture) -> _Picture:
    """Put what is transparent on white."""
    if picture.image.mode != "RGBA":
        return picture
    white = Image.new("RGB", picture.image.size, "white")
    white.paste(picture.image, mask=picture.image)
    return replace(picture, image=white)


def _encodings(types: tuple[str, ...], *, has_alpha: bool) -> list[_Encoding]:
    """List what to try, best first."""
    lossless = [_Encoding("image/png")] * ("image/png" in types)
    lossy = [_Encoding("image/webp", quality) for quality in QUALITIES if "image/webp" in types]
    jpeg = [_Encoding("image/jpeg", quality) for quality in QUALITIES if "image/jpeg" in types]
    found = (lossless + lossy or jpeg) if has_alpha else (jpeg or lossless + lossy)
    if not found:
        raise InputError(f"cannot be converted to {' or '.join(types) or 'anything'}")
    return found


def _within(accepted: Accepted, picture: _Picture, encodings: list[_Encoding]) -> tuple[bytes, str]:
    """Try every encoding at full size, then the smallest one at smaller and smaller sizes."""
    side = min(max(picture.image.size), accepted.max_pixels_side or max(picture.image.size))
    tried = dict[int, _Encoding]()
    for encoding in encodings:
        data = _encode(picture, encoding, side)
        if len(data) <= accepted.max_bytes:
            return data, encoding.mime
        tried[len(data)] = encoding
    size, encoding = min(tried.items(), key=lambda item: item[0])
    while side > 1:
        side = max(1, int(side * min(0.9, math.sqrt(accepted.max_bytes / size))))
        data = _encode(picture, encoding, side)
        size = len(data)
        if size <= accepted.max_bytes:
            return data, encoding.mime
    raise InputError(f"cannot be made smaller than {accepted.max_bytes:,} bytes")


def _encode(picture: _Picture, encoding: _Encoding, side: int) -> bytes:
    """Write an image whose longer side has at most so many pixels."""
    image, profile = picture.image, picture.profile
    factor = min(side, _LONGEST_SIDES.get(encoding.mime, side)) / max(image.size)
    if factor < 1:
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if encoding.mime == "image/webp" and image.mode == "L":  # WEBP knows no grey
        image, profile = image.convert("RGB"), b""
    options = {"quality": encoding.quality} if encoding.quality else {}
    written = io.BytesIO()
    image.save(written, encoding.mime.removeprefix("image/"), icc_profile=profile or None, **options)
    return written.getvalue()
