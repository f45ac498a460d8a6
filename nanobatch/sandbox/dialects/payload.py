"""Images as base64, straight or crooked: what relays and broken proxies make of it."""

from __future__ import annotations

import base64


def encoded(data: bytes, mime: str, fault: str | None) -> bytes | str:
    """Return an image for JSON as a fault bends it; plain bytes become standard base64 when they are written."""
    match fault:
        case "badb64":
            text = base64.b64encode(data).decode()
            return text[: len(text) // 2] + "%!%!" + text[len(text) // 2 :]
        case "cutimage":
            return data[: len(data) // 2]
        case "urlsafe":
            return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
        case "dataprefix":
            return f"data:{mime};base64,{base64.b64encode(data).decode()}"
        case _:
            return data
