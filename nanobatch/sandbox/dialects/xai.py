"""xAI's images/generations: OpenAI's shape with a type for each image, links that live for a short time, own errors.

An error is `{"code": ..., "error": ...}`, two sentences. Any Bearer key passes unless it begins with `invalid`, and any
model. Links come unless base64 is asked for. Format: https://docs.x.ai/docs/guides/image-generations; errors:
https://github.com/continuedev/continue/issues/10373 and https://github.com/hotovo/aider-desk/issues/653.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.sandbox.dialects import openai
from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, MalformedError, Order, parsed
from nanobatch.sandbox.dialects.gemini_models import PIXELS, Pixels
from nanobatch.sandbox.dialects.openai_request import InvalidError, choice, count, text
from nanobatch.sandbox.dialects.payload import encoded
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

NAME = "xai"
_FIELDS = frozenset({"model", "prompt", "n", "response_format", "aspect_ratio", "resolution", "user"})
_RATIOS: Mapping[str, Pixels] = {
    **{ratio: PIXELS[ratio] for ratio in ("1:1", "3:4", "4:3", "9:16", "16:9", "2:3", "3:2")},
    "1:2": (704, 1408), "2:1": (1408, 704), "9:19.5": (672, 1456), "19.5:9": (1456, 672), "9:20": (672, 1504),
    "20:9": (1504, 672), "auto": (1024, 1024),
}  # fmt: skip
_SCALES = {"1k": 1, "2k": 2}
_TICKS_PER_IMAGE = 200_000_000  # ten thousand millions are a dollar

_INVALID = "Client specified an invalid argument"
_EXHAUSTED = "Some resource has been exhausted"


def read(asked: Asked) -> Order | Answer:
    """Return the images that are wanted, or what the vendor says against the request."""
    refused = _door(asked)
    if refused is not None:
        return refused
    try:
        return _order(parsed(asked.body))
    except (MalformedError, InvalidError) as wrong:
        return _error(400, _INVALID, str(wrong))


def models(asked: Asked) -> Answer:
    """List the models."""
    return _door(asked) or openai.models(asked)


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a request beyond a limit."""
    return _limited(order, excess.wait_seconds)


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image."""
    match fault:
        case "429" | "429day":
            return _limited(order, wish_seconds)
        case "429zero" | "429money":
            why = "Your team has either used all available credits or reached its monthly spending limit."
            return _error(429, _EXHAUSTED, why)
        case "badkey":
            return _bad_key()
        case "blocked":
            return _error(400, _INVALID, "Prompt rejected by content moderation.")
        case "safety":
            return _error(400, _INVALID, "Generated image rejected by content moderation.")
        case "500" | "json200err":
            return _error(500 if fault == "500" else 200, "Internal error", "The service failed to draw the image.")
        case "503":
            return _busy()
        case "listerror":
            return Answer(503, [_busy().body])
        case "noimage" | "nullcandidates":
            return Answer(200, _body([] if fault == "noimage" else None))
    raise ValueError(f"xai has no words for the fault {fault!r}")


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the images, as links or in base64, each with its type."""
    mime = order.drawing.mime
    images = (
        {"url": image.link} if order.details["links"] else {"b64_json": encoded(image.data, mime, fault)}
        for image in made
    )
    return Answer(200, _body([{**image, "mime_type": mime} for image in images]))


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-request-id": f"{number:032x}", "x-served-ms": str(milliseconds)}


def _order(body: Any) -> Order:
    if not isinstance(body, Mapping):
        raise InvalidError("The body of the request is a JSON object.")
    if unknown := [name for name in body if name not in _FIELDS]:
        raise InvalidError(f"Argument not supported: {unknown[0]}", unknown[0], "unknown_parameter")
    model, prompt = text(body, "model"), text(body, "prompt")
    width, height = _RATIOS[choice(body, "aspect_ratio", tuple(_RATIOS), "auto")]
    scale = _SCALES[choice(body, "resolution", tuple(_SCALES), "1k")]
    links = choice(body, "response_format", ("url", "b64_json"), "url") == "url"
    drawing = Drawing(prompt, width * scale, height * scale, "jpeg", f"{model}  {width * scale}x{height * scale}")
    return Order(model, drawing, count(body), (), {"links": links})


def _body(data: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {"data": data, "usage": {"cost_in_usd_ticks": _TICKS_PER_IMAGE * len(data or ())}}


def _door(asked: Asked) -> Answer | None:
    return _bad_key() if not asked.bearer or asked.bearer.startswith(UNACCEPTED) else None


def _bad_key() -> Answer:
    return _error(400, _INVALID, "Incorrect API key provided. You can obtain an API key from https://console.x.ai.")


def _limited(order: Order, wait_seconds: float) -> Answer:
    headers = {"retry-after": str(max(1, math.ceil(wait_seconds)))}
    return _error(429, _EXHAUSTED, f"Too many requests: the rate limit of {order.model} is reached.", headers)


def _busy() -> Answer:
    return _error(503, "The service is currently unavailable", "The model is at capacity. Please try again later.")


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"code": code, "error": message}, headers or {})
