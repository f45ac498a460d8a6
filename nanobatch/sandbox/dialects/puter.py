"""Puter's drivers/call: one door for all services, errors by a `code` that says more than the status.

Any token passes unless it begins with `invalid`, as Bearer or in the body. A model whose name begins with `url-`
answers with a link. Format: https://github.com/HeyPuter/puter at 8307e8c.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, MalformedError, Order, parsed
from nanobatch.sandbox.dialects.gemini_models import Traits, traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_base64
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

NAME = "puter"
_CALL = {"interface": "puter-image-generation", "method": "generate"}
_DRIVERS = ("ai-image", "gemini-image-generation")
_OUTER = frozenset({"interface", "driver", "method", "test_mode", "args", "auth_token"})
_MODELS = {  # and what is behind each name
    "gemini-2.5-flash-image": "gemini-2.5-flash-image", "nano-banana": "gemini-2.5-flash-image",
    "gemini-3-pro-image-preview": "gemini-3-pro-image", "nano-banana-pro": "gemini-3-pro-image",
    "gemini-3.1-flash-image-preview": "gemini-3.1-flash-image",
    "gemini-3.1-flash-lite-image": "gemini-3.1-flash-lite-image",
}  # fmt: skip
_FIELDS = frozenset({
    "prompt", "model", "quality", "ratio", "input_image", "input_image_mime_type", "input_images",
})  # fmt: skip
_SIZES = {"0.5K": "512", "1K": "1K", "2K": "2K", "4K": "4K"}  # quality, and what it is behind the door
_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))
_TYPES = frozenset(mime for _, mime in _SIGNATURES)
_MOST_REFERENCES = 14
_SAMPLE = (  # one transparent pixel: what a test call gets, for free
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class _InvalidError(ValueError):
    """The call is wrong; the text says where."""


def read(asked: Asked) -> Order | Answer:
    """Return the image that is wanted, the sample of a test call, or the vendor's refusal."""
    try:
        body = parsed(asked.body)
    except MalformedError as error:
        return _no_token(asked.bearer) or _bad(str(error))
    body = body if isinstance(body, Mapping) else {}
    refused = _no_token(asked.bearer or str(body.get("auth_token") or ""))
    if refused is not None:
        return refused
    try:
        order = _order(body)
    except (UnreadableError, _InvalidError) as error:
        return _bad(str(error))
    return _success(f"data:image/png;base64,{_SAMPLE}") if body.get("test_mode") else order


def models(asked: Asked) -> Answer:
    """Say no: the door lists no models."""
    del asked
    return _error(404, "not_found", "Not found")


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a request beyond a limit of the door's own."""
    del order, excess
    return _error(429, "too_many_requests", "Too many requests.")


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image. What fails behind the door comes as a 400."""
    del order, wish_seconds
    match fault:
        case "429" | "429day":
            return _error(429, "upstream_rate_limited", "The upstream provider is rate limited.", 429)
        case "429zero" | "429money":
            return _error(402, "insufficient_funds", "Available funding is insufficient for this request.")
        case "badkey":
            return _error(401, "token_auth_failed", "Authentication failed.")
        case "blocked" | "safety":
            return _bad("The request was blocked by the content policy.")
        case "noimage" | "nullcandidates":
            return _error(400, "unknown_error", "Failed to extract image URL from Gemini response")
        case "json200err":
            return Answer(200, {"success": False, "error": {"code": "unknown_error", "message": "Something failed"}})
        case "500" | "503":
            why = "The upstream provider is unavailable."
            return _error(400, "upstream_provider_unavailable", why, int(fault))
    raise ValueError(f"puter has no words for the fault {fault!r}")


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the first image: the vendor's own habit, also where it is a draft."""
    del fault
    if order.model.startswith("url-"):
        return _success(made[0].link)
    return _success(f"data:{order.drawing.mime};base64,{base64.b64encode(made[0].data).decode()}")


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-puter-request": f"{number:032x}", "x-served-ms": str(milliseconds)}


def _order(body: Mapping[str, Any]) -> Order:
    if any(body.get(name) != value for name, value in _CALL.items()):
        raise _InvalidError("No such interface or method")
    _check_names(body, _OUTER)
    arguments = body.get("args")
    if body.get("driver") not in _DRIVERS or not isinstance(arguments, Mapping):
        raise _InvalidError("No such driver, or no arguments")
    if not isinstance(body.get("test_mode", False), bool):
        raise _InvalidError("test_mode is true or false")
    _check_names(arguments, _FIELDS)
    prompt, model = arguments.get("prompt"), arguments.get("model")
    if not isinstance(prompt, str) or not prompt or not isinstance(model, str):
        raise _InvalidError("prompt and model are required")
    if model not in _MODELS and not model.startswith("url-"):
        raise _InvalidError(f"Model not found: {model}")
    known = traits(_MODELS.get(model, ""))
    width, height = _pixels(arguments, known)
    drawing = Drawing(prompt, width, height, known.kind, f"{model}  {width}x{height}")
    return Order(model, drawing, 1, tuple(_references(arguments)))


def _check_names(fields: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in fields:
        if name not in known:
            raise _InvalidError(f"Unknown argument {name}")


def _pixels(arguments: Mapping[str, Any], known: Traits) -> tuple[int, int]:
    """Return the size; a ratio or a quality that the model lacks is replaced without a word, as the vendor does."""
    quality, ratio = arguments.get("quality", "1K"), arguments.get("ratio", {"w": 1, "h": 1})
    if not isinstance(quality, str) or quality not in _SIZES:
        raise _InvalidError("quality is not allowed")
    sides = [ratio.get(side) for side in ("w", "h")] if isinstance(ratio, Mapping) else []
    if not sides or any(isinstance(side, bool) or not isinstance(side, int) for side in sides):
        raise _InvalidError("ratio is an object of the numbers w and h")
    wanted, size = f"{sides[0]}:{sides[1]}", _SIZES[quality]
    known_size = size if known.takes_size and size in known.sizes else "1K"
    return known.size(wanted if wanted in known.ratios else known.ratios[0], known_size)


def _references(arguments: Mapping[str, Any]) -> list[str]:
    """Return the hashes of one image with its type, or of several that tell theirs themselves."""
    single, mime, many = (arguments.get(name) for name in ("input_image", "input_image_mime_type", "input_images"))
    if mime is not None and (not isinstance(mime, str) or mime not in _TYPES):
        raise _InvalidError("input_image_mime_type is not allowed")
    if many is not None and not isinstance(many, list):
        raise _InvalidError("input_images is a list")
    found = [] if single is None else [digest_of_base64(single, mime or _sniffed(single))]
    found += [digest_of_base64(text, _sniffed(text)) for text in many or ()]
    if len(found) > _MOST_REFERENCES:
        raise _InvalidError(f"At most {_MOST_REFERENCES} images are allowed")
    return found


def _sniffed(text: Any) -> str:
    """Return the type that the first bytes of base64 tell."""
    try:
        head = base64.b64decode(text[:16].translate(str.maketrans("-_", "+/")), validate=True)
    except (AttributeError, TypeError, ValueError, binascii.Error) as error:
        raise _InvalidError("An image is given in base64") from error
    mime = next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), "")
    if not mime:
        raise _InvalidError("What was given as an image is none")
    return mime


def _no_token(token: str) -> Answer | None:
    if token and not token.startswith(UNACCEPTED):
        return None
    return _error(401, "token_auth_failed", "Authentication failed.")


def _success(result: str) -> Answer:
    return Answer(200, {"success": True, "result": result, "service": {"name": "ai-image"}})


def _bad(message: str) -> Answer:
    return _error(400, "upstream_bad_request", message, 400)


def _error(status: int, code: str, message: str, upstream: int | None = None) -> Answer:
    """Return an error; where something behind the door failed, with its status."""
    behind = {} if upstream is None else {"upstreamStatus": upstream, "upstreamCode": str(upstream)}
    return Answer(status, {"error": message, "message": message, "code": code} | behind)
