"""Draws the images: real files of exactly the asked size, with the prompt in large letters.

A person can tell them apart, and a test can tell whose row each one is. Two colours follow from the prompt's hash.
The file also carries that hash: as a JPEG comment, a PNG text, or XMP in WEBP. Equal drawings give equal bytes, so an
image can be drawn again instead of being kept.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import struct
import textwrap
import unicodedata
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

Kind = Literal["jpeg", "png", "webp"]
Colour = tuple[int, int, int]

MARK = "prompt sha256: "
QUALITY = 85
SMALLEST_WITH_WORDS = 48  # pixels; below, letters would be dust
LONGEST_SHOWN = 400  # characters of a prompt
SMALLEST_LETTERS = 10  # pixels
WIDTH_OF_LETTER = 0.56  # of the font's size, on average and a little more
LINE_HEIGHT = 1.25  # of the font's size


@dataclass(frozen=True, slots=True)
class Drawing:
    """What decides an image, byte for byte.

    Args:
        prompt: The words to show.
        width: Pixels.
        height: Pixels.
        kind: The file format.
        caption: Small letters at the bottom.
        variant: Tells images of one prompt apart: another hue.
        quality: Of JPEG and WEBP, 1 to 100.
        least_bytes: Pads the file to at least this size, and at most 12 bytes more.
    """

    prompt: str
    width: int
    height: int
    kind: Kind = "jpeg"
    caption: str = ""
    variant: int = 0
    quality: int = QUALITY
    least_bytes: int = 0

    @property
    def mime(self) -> str:
        """The media type of the file."""
        return f"image/{self.kind}"

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the prompt."""
        return hashlib.sha256(self.prompt.encode()).digest()


def draw(drawing: Drawing) -> bytes:
    """Return the file."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - the server listens before the first image is drawn

    # One channel holds how much ink there is; the palette makes it two colours with smooth edges, cheaply.
    image = Image.new("L", (drawing.width, drawing.height), 0)
    if min(image.size) >= SMALLEST_WITH_WORDS:
        canvas = ImageDraw.Draw(image)
        for left, top, text, size in _layout(drawing):
            canvas.text((left, top), text, fill=255, font=_font(size))
    background, ink = colours(drawing.digest, drawing.variant)
    image.putpalette(_ramp(background, ink))
    return pad(_encode(image, drawing), drawing.kind, drawing.least_bytes)


def colours(digest: bytes, variant: int) -> tuple[Colour, Colour]:
    """Return background and ink: any hue, light or dark, and black or white, whichever is easier to read on it."""
    hue = (int.from_bytes(digest[:2], "big") / 65536 + variant * 0.381966) % 1.0
    lightness = 0.25 + digest[2] / 255 * 0.55
    red, green, blue = (round(part * 255) for part in colorsys.hls_to_rgb(hue, lightness, 0.45 + digest[3] / 255 * 0.4))
    background = (red, green, blue)
    black, white = (0, 0, 0), (255, 255, 255)
    return background, max(black, white, key=lambda ink: contrast(background, ink))


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast of two colours, 1 to 21, as WCAG 2 defines it."""
    dark, light = sorted(_luminance(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Colour) -> float:
    parts = (part / 255 for part in colour)
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _ramp(background: Colour, ink: Colour) -> bytes:
    """Return a palette of 256 colours from background to ink."""
    return bytes(
        low + (high - low) * step // 255 for step in range(256) for low, high in zip(background, ink, strict=True)
    )


def _layout(drawing: Drawing) -> list[tuple[int, int, str, int]]:
    """Place every line: left, top, text, size of the font."""
    margin = min(drawing.width, drawing.height) // 20
    small = max(8, min(drawing.width, drawing.height) // 40)
    width, height = drawing.width - 2 * margin, drawing.height - 3 * margin - small
    lines, size = _fit(shown(drawing.prompt), width, height)
    step = round(size * LINE_HEIGHT)
    top = margin + max(0, height - step * len(lines)) // 2
    placed = [(margin, top + step * number, line, size) for number, line in enumerate(lines)]
    footer = f"{shown(drawing.caption)}  {drawing.digest.hex()[:12]}".strip()
    return [*placed, (margin, drawing.height - margin - small, footer, small)]


def _fit(text: str, width: int, height: int) -> tuple[list[str], int]:
    """Wrap a text in the largest letters that leave room for all of it."""
    size = max(SMALLEST_LETTERS, min(width, height) // 5)
    while True:
        lines = _wrapped(text, width, size)
        if size == SMALLEST_LETTERS or len(lines) * size * LINE_HEIGHT <= height:
            return lines, size
        size = max(SMALLEST_LETTERS, size * 4 // 5)


def _wrapped(text: str, width: int, size: int) -> list[str]:
    """Break a text into lines: by an average letter first, and again if the longest line is too wide."""
    letters = width / (size * WIDTH_OF_LETTER)
    lines = textwrap.wrap(text, max(1, int(letters)))
    widest = _font(size).getlength(max(lines, key=len, default=""))
    return lines if widest <= width else textwrap.wrap(text, max(1, int(letters * width / widest)))


def shown(text: str) -> str:
    """Return what of a text can be shown: printable, without accents that the font lacks, one line, not too long."""
    letters = unicodedata.normalize("NFKD", text[: 2 * LONGEST_SHOWN])
    kept = (letter if letter.isprintable() else " " for letter in letters if not unicodedata.combining(letter))
    line = " ".join("".join(kept).split())
    return line if len(line) <= LONGEST_SHOWN else line[: LONGEST_SHOWN - 1] + "…"


@lru_cache(maxsize=256)
def _font(size: int) -> FreeTypeFont:
    from PIL import ImageFont  # noqa: PLC0415 - see draw

    font = ImageFont.load_default(size=size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _encode(image: Image, drawing: Drawing) -> bytes:
    mark = MARK + drawing.digest.hex()
    file = io.BytesIO()
    match drawing.kind:
        case "jpeg":
            image.convert("RGB").save(file, "JPEG", quality=drawing.quality, comment=mark)
        case "png":
            from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415 - see draw

            note = PngInfo()
            note.add_text("Comment", mark)
            image.save(file, "PNG", compress_level=1, pnginfo=note)
        case "webp":
            image.convert("RGB").save(file, "WEBP", quality=drawing.quality, method=0, xmp=mark.encode())
    return file.getvalue()


def pad(data: bytes, kind: Kind, least_bytes: int) -> bytes:
    """Make a file larger with chunks that every reader skips."""
    need = least_bytes - len(data)
    if need <= 0:
        return data
    match kind:
        case "jpeg":
            after = 4 + int.from_bytes(data[4:6], "big")  # behind the first segment, which must stay first
            return data[:after] + _comments(need) + data[after:]
        case "png":
            size = max(0, need - 12)
            body = b"npAd" + bytes(size)
            chunk = struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body))
            return data[:-12] + chunk + data[-12:]
        case "webp":
            size = (max(0, need - 8) + 1) // 2 * 2
            grown = data + b"npAd" + struct.pack("<I", size) + bytes(size)
            return grown[:4] + struct.pack("<I", len(grown) - 8) + grown[8:]


def _comments(need: int) -> bytes:
    """Return JPEG comments of together `need` bytes, or of 4 where that is the least."""
    parts = []
    while need > 0:
        size = max(4, min(need, 65_537))
        parts.append(b"\xff\xfe" + struct.pack(">H", size - 2) + bytes(size - 4))
        need -= size
    return b"".join(parts)
