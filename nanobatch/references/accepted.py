"""What is known of an image without decoding it, what a provider takes, and whether the one fits the other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nanobatch.references.signatures import HEIF_TYPES


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of an image without decoding it."""

    mime: str
    side: int  # the longer one, in pixels
    has_more: bool  # further pictures behind the first: an animation, a phone's second view, more pages


@dataclass(frozen=True, slots=True)
class Accepted:
    """What one provider takes."""

    types: tuple[str, ...]  # "image/png" ...
    max_bytes: int  # of one image
    max_pixels_side: int | None = None

    def takes(self, header: Header, size: int) -> bool:
        """Tell whether the source's own bytes, so many of them, can be sent as they are."""
        return (
            header.mime in self.types
            and size <= self.max_bytes
            and header.side <= (self.max_pixels_side or math.inf)
            and (not header.has_more or header.mime in HEIF_TYPES)  # whoever takes HEIC knows what phones add to it
        )
