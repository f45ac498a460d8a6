"""What Google's image models accept and produce.

Sources: https://ai.google.dev/gemini-api/docs/image-generation for ratios, sizes and documented pixels,
https://ai.google.dev/gemini-api/docs/deprecations for the dead names, and recorded answers for what comes without a
ratio. A name that is not here is taken for a relay's own and gets the widest choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Pixels = tuple[int, int]

PIXELS: Mapping[str, Pixels] = {  # at 1K
    "1:1": (1024, 1024), "2:3": (848, 1264), "3:2": (1264, 848), "3:4": (896, 1200), "4:3": (1200, 896),
    "4:5": (928, 1152), "5:4": (1152, 928), "9:16": (768, 1376), "16:9": (1376, 768), "21:9": (1584, 672),
    "1:4": (512, 2048), "4:1": (2048, 512), "1:8": (384, 3072), "8:1": (3072, 384),
}  # fmt: skip
PIXELS_OF_2_5: Mapping[str, Pixels] = {
    "1:1": (1024, 1024), "2:3": (832, 1248), "3:2": (1248, 832), "3:4": (864, 1184), "4:3": (1184, 864),
    "4:5": (896, 1152), "5:4": (1152, 896), "9:16": (768, 1344), "16:9": (1344, 768), "21:9": (1536, 672),
}  # fmt: skip
COMMON_RATIOS = tuple(PIXELS_OF_2_5)
ALL_RATIOS = tuple(PIXELS)
SCALES: Mapping[str, float] = {"512": 0.5, "1K": 1, "2K": 2, "4K": 4}

# Shut down by their vendor, the last of them on 2026-10-29. Relays still sell them.
RETIRED = frozenset({
    "gemini-2.5-flash-image-preview", "gemini-2.5-flash-image",
    "gemini-3-pro-image-preview", "gemini-3.1-flash-image-preview", "gemini-3.1-flash-image",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traits:
    """How one model behaves.

    Args:
        sizes: What imageSize may be, each with the tokens of an image.
        ratios: What aspectRatio may be.
        pixels: Width and height at 1K.
        default: Width and height at 1K when no ratio is asked.
        kind: The file format.
        takes_size: Whether imageSize may be sent at all.
        thinks: Whether thoughts are counted also when nobody asked for them.
        reference_tokens: What one image in the request counts.
    """

    sizes: Mapping[str, int]
    ratios: tuple[str, ...] = ALL_RATIOS
    pixels: Mapping[str, Pixels] = field(default_factory=lambda: PIXELS)
    default: Pixels = (1408, 768)
    kind: Literal["jpeg", "png"] = "jpeg"
    takes_size: bool = True
    thinks: bool = False
    reference_tokens: int = 258

    def size(self, ratio: str | None, size: str) -> Pixels:
        """Return width and height."""
        width, height = self.default if ratio is None else self.pixels[ratio]
        scale = SCALES[size]
        return round(width * scale), round(height * scale)


_PRO = Traits({"1K": 1120, "2K": 1120, "4K": 2000}, COMMON_RATIOS, thinks=True)
_TRAITS = (  # the first whose name the model's name contains
    ("gemini-3-pro-image", _PRO),
    ("nano-banana-pro", _PRO),
    ("nano-banana-2.1", Traits({"1K": 1120, "2K": 1680, "4K": 3760}, thinks=True)),
    ("gemini-3.1-flash-lite-image", Traits({"1K": 1120}, reference_tokens=1120)),
    ("gemini-3.1-flash-image", Traits({"512": 747, "1K": 1120, "2K": 1680, "4K": 2520})),
    (
        "gemini-2.5-flash-image",
        Traits({"1K": 1290}, COMMON_RATIOS, PIXELS_OF_2_5, (1024, 1024), kind="png", takes_size=False),
    ),
)
_UNKNOWN = Traits({"512": 747, "1K": 1120, "2K": 1120, "4K": 2000})

SOLD = (
    "gemini-3-pro-image",
    "gemini-nano-banana-2.1",
    "gemini-3.1-flash-lite-image",
)  # what the list of models shows


def traits(model: str) -> Traits:
    """Return how a model behaves."""
    return next((found for name, found in _TRAITS if name in model), _UNKNOWN)
