"""Puter's drivers/call: one door for all services, errors by a `code` that says more than the status.

Any Bearer token passes unless it begins with `invalid`. Format: https://github.com/HeyPuter/puter at 8307e8c.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, MalformedError, Order, parsed
from nanobatch.sandbox.dialects.gemini_models import traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_base64
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

NAME = "puter"
_CALL = {"interface": "puter-image-generation", "method": "generate"}
_DRIVERS = ("ai-image", "gemini-image-generation")
_MODELS = frozenset({
    "gemini-2.5-flash-image", "gemini-3-pro-image-preview", "gemini-3.1-flash-image-preview",
    "gemini-3.1-flash-lite-image", "nano-banana", "nano-banana-pro",
})  # fmt: skip
_FIELDS = frozenset({
    "prompt", "model", "quality", "ratio", "input_image", "input_image_mime_type", "input_images", "test_mode",
})  # fmt: skip
_QUALITIES = ("0.5K", "1K", "2K", "4K")
_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))


class _InvalidError(ValueError):
    """The call is wrong; the text says where."""


def read(asked: Asked) -> Order | Answer:
    """Return the image that is wanted, or the vendor's refusal."""
    if not asked.bearer or asked.bearer.startswith(UNACCEPTED):
        return _error(401, "token_auth_failed", "Authentication failed.")
    try:
        return _order(parsed(asked.body))
    except (MalformedError, UnreadableError, _InvalidError) as error:
        return _error(400, "upstream_bad_request", str(error))


def models(asked: Asked) -> Answer:
    """Say no: the door lists no models."""
    del asked
    return _error(404, "not_found", "Not found")


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a request beyond a limit."""
    del order, excess
    return _error(429, "too_many_requests", "Too many requests.")


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image. What fails behind the door comes as a 400."""
    del order, wish_seconds
    match fault:
        case "429" | "429day":
            return _error(429, "upstream_rate_limited", "The upstream provider is rate limited.")
        case "429zero" | "429money":
            return _error(402, "insufficient_funds", "Available funding is insufficient for this request.")
        case "badkey" | "leaked":
            return _error(401, "token_auth_failed", "Authentication failed.")
        case "blocked" | "safety":
            return _error(400, "upstream_bad_request", "The request was blocked by the content policy.")
        case "noimage" | "nullcandidates":
            return _error(400, "unknown_error", "Failed to extract image URL from Gemini response")
        case "json200err":
            return Answer(200, {"success": False, "error": {"code": "unknown_error", "message": "Something failed"}})
        case _:
            return _error(400, "upstream_provider_unavailable", "The upstream provider is unavailable.")


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the first image: the vendor's own habit, also where it is a draft."""
    del fault
    data = base64.b64encode(made[0].data).decode()
    result = made[0].link if order.model.startswith("url-") else f"data:{order.drawing.mime};base64,{data}"
    return Answer(200, {"success": True, "result": result, "service": {"name": "ai-image"}})


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-puter-request": f"{number:032x}", "x-served-ms": str(milliseconds)}


def _order(body: Any) -> Order:
    if not isinstance(body, Mapping) or any(body.get(name) != value for name, value in _CALL.items()):
        raise _InvalidError("No such interface or method")
    arguments = body.get("args")
    if body.get("driver") not in _DRIVERS or not isinstance(arguments, Mapping):
        raise _InvalidError("No such driver, or no arguments")
    for name in arguments:
        if name not in _FIELDS:
            raise _InvalidError(f"Unknown argument {name}")
    prompt, model = arguments.get("prompt"), arguments.get("model")
    if not isinstance(prompt, str) or not prompt or not isinstance(model, str):
        raise _InvalidError("prompt and model are required")
    if model not in _MODELS and not model.startswith("url-"):
        raise _InvalidError(f"Model not found: {model}")
    quality = arguments.get("quality", "1K")
    if quality not in _QUALITIES:
        raise _InvalidError("quality is not allowed")
    known = traits(model)
    ratio = arguments.get("ratio", {"w": 1, "h": 1})
    if not isinstance(ratio, Mapping):
        raise _InvalidError("ratio is an object of w and h")
    wanted = f"{ratio.get('w')}:{ratio.get('h')}"
    size = quality if known.takes_size and quality in known.sizes else "1K"
    width, height = known.size(wanted if wanted in known.ratios else "1:1", size)  # silently, as the vendor does
    drawing = Drawing(prompt, width, height, known.kind, f"{model}  {quality}  {width}x{height}")
    return Order(model, drawing, 1, tuple(_references(arguments)))


def _references(arguments: Mapping[str, Any]) -> list[str]:
    found = []
    if "input_image" in arguments:
        found.append(digest_of_base64(arguments["input_image"], str(arguments.get("input_image_mime_type"))))
    many = arguments.get("input_images", [])
    if not isinstance(many, list):
        raise _InvalidError("input_images is a list")
    for text in many:
        if not isinstance(text, str):
            raise _InvalidError("input_images holds base64")
        head = base64.b64decode(text[:16])
        mime = next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), "")
        if not mime:
            raise _InvalidError("input_images holds something that is no image")
        found.append(digest_of_base64(text, mime))
    return found


def _error(status: int, code: str, message: str) -> Answer:
    upstream = code.startswith("upstream")
    body = {"error": message, "message": message, "code": code, "upstreamStatus": 503 if upstream else None}
    return Answer(status, body)
