"""Numbers, money and durations as people read them, and data made safe for a terminal."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_PICTURES = {"\n": "⏎", "\t": "→", "\r": "⏎"}


def safe(text: str, limit: int = 200) -> str:
    """Replace everything that a terminal would obey instead of showing: escapes, bells, bidi controls, line breaks."""
    shown = _UNSAFE.sub(lambda match: _PICTURES.get(match[0], "·"), text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def count(number: int) -> str:
    """Write 12345 as 12,345."""
    return f"{number:,}"


def money(usd: float) -> str:
    """Write dollars with as many digits as matter: $0.134, $12.40, $1,340.00; never zero for what costs something."""
    if 0 < usd < 0.0005:
        return "<$0.001"
    return f"${usd:,.3f}" if 0 < usd < 1 else f"${usd:,.2f}"


def rate(per_minute: float) -> str:
    """Write a rate without its unit: 4020, 30, 0.4; a slow provider is not at a standstill."""
    return f"{per_minute:.0f}" if per_minute >= 9.95 else f"{per_minute:.1f}"


def duration(seconds: float | None) -> str:
    """Write 125 as 2 m 05 s; – where nobody knows."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def images(number: int) -> str:
    """Write one image, two images."""
    return "1 image" if number == 1 else f"{count(number)} images"
