"""OpenRouter's images: OpenAI's data with a media type; errors count by status, and their metadata says who failed.

Any Bearer key passes unless it begins with `invalid`, and any model that is named `owner/name`. Format:
https://openrouter.ai/docs. Its chat is `openai_chat`, which borrows the errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.sandbox.dialects import openai
from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, MalformedError, Order, parsed, tokens
from nanobatch.sandbox.dialects.gemini_models import Pixels, traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_uri
from nanobatch.sandbox.dialects.openai_request import InvalidError, choice, count, text
from nanobatch.sandbox.dialects.payload import encoded
from nanobatch.sandbox.images import Drawing, Kind
from nanobatch.sandbox.limits import Excess

NAME = "openrouter"
_FIELDS = frozenset({
    "model", "prompt", "input_references", "n", "aspect_ratio", "resolution", "output_format", "seed", "provider",
    "user",
})  # fmt: skip
_KINDS: Mapping[str, Kind] = {"png": "png", "jpeg": "jpeg", "webp": "webp"}
_MOST_REFERENCES = 14
_IMAGE_USD, _PROMPT_USD = 30e-6, 0.25e-6  # a token, of the model that was recorded


def read(asked: Asked) -> Order | Answer:
    """Return the images that are wanted, or what the vendor says against the request."""
    if not asked.bearer or asked.bearer.startswith(UNACCEPTED):
        return error(401, "No auth credentials found" if not asked.bearer else "User not found.")
    try:
        return _order(parsed(asked.body))
    except (MalformedError, UnreadableError, InvalidError) as wrong:
        return error(400, str(wrong))


def models(asked: Asked) -> Answer:
    """List the models; or, on /key, say what a key may still spend."""
    if not asked.bearer or asked.bearer.startswith(UNACCEPTED):
        return error(401, "No auth credentials found")
    if asked.path.get("what") == "key":
        return Answer(200, {"data": {"label": "sk-or-v1-...", "limit": None, "limit_remaining": None, "usage": 0.0}})
    return openai.models(asked)


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a request beyond a limit of the vendor behind."""
    del order
    return _limited(excess.wait_seconds)


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image."""
    match fault:
        case "noimage" | "nullcandidates":
            return Answer(200, _body(order, [] if fault == "noimage" else None))
        case _:
            return trouble(order, fault, wish_seconds)


def trouble(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the error of a fault; images and chat have the same ones."""
    match fault:
        case "429" | "429day":
            return _limited(wish_seconds)
        case "429zero" | "429money":
            return error(402, "Insufficient credits. Add more and retry the request.")
        case "badkey":
            return error(401, "User not found.")
        case "blocked" | "safety":
            flagged = {"reasons": ["violence"], "flagged_input": order.drawing.prompt[:100]}
            return error(403, "The request was flagged by moderation.", flagged | {"model_slug": order.model})
        case "500":
            return _broken(500)
        case "503":
            return _broken(503)
        case "json200err":
            return Answer(200, _broken(502).body)
        case "listerror":
            return Answer(503, [_broken(503).body])
    raise ValueError(f"openrouter has no words for the fault {fault!r}")


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the images in base64, each with its type."""
    mime = order.drawing.mime
    data = [{"b64_json": encoded(image.data, mime, fault), "media_type": mime} for image in made]
    return Answer(200, _body(order, data), {"x-provider-name": "Google"})


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-generation-id": f"gen-img-{number:020d}", "x-served-ms": str(milliseconds)}


def error(
    status: int, message: str, metadata: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return OpenRouter's envelope of an error, whose code is the status."""
    found = {"code": status, "message": message} | ({"metadata": metadata} if metadata else {})
    return Answer(status, {"error": found, "user_id": "user_sandbox"}, headers or {})


def _limited(wait_seconds: float) -> Answer:
    raw = "The model is temporarily rate-limited upstream. Please retry shortly."
    return _upstream(429, raw, {"retry-after": str(max(1, math.ceil(wait_seconds)))})


def _broken(status: int) -> Answer:
    return _upstream(status, f"upstream answered {status}", {})


def _upstream(status: int, raw: str, headers: Mapping[str, str]) -> Answer:
    return error(status, "Provider returned error", {"provider_name": "Google", "raw": raw}, headers)


def _order(body: Any) -> Order:
    if not isinstance(body, Mapping):
        raise InvalidError("The body of the request is a JSON object.")
    if unknown := [name for name in body if name not in _FIELDS]:
        raise InvalidError(f"Unrecognized key: {unknown[0]}")
    model, prompt = text(body, "model"), text(body, "prompt")
    if "/" not in model.strip("/"):
        raise InvalidError(f"{model} is not a valid model ID")
    width, height = _pixels(body, model)
    kind = _KINDS[choice(body, "output_format", tuple(_KINDS), traits(model).kind)]
    drawing = Drawing(prompt, width, height, kind, f"{model}  {width}x{height}")
    return Order(model, drawing, count(body), _references(body.get("input_references", [])))


def _pixels(body: Mapping[str, Any], model: str) -> Pixels:
    known = traits(model)
    ratio = choice(body, "aspect_ratio", known.ratios, "1:1")
    return known.size(ratio, choice(body, "resolution", tuple(known.sizes), "1K"))


def _references(entries: Any) -> tuple[str, ...]:
    if not isinstance(entries, list) or len(entries) > _MOST_REFERENCES:
        raise InvalidError(f"input_references: expected at most {_MOST_REFERENCES} entries in a list")
    return tuple(digest_of_uri(url_of(entry)) for entry in entries)


def url_of(part: Any) -> Any:
    """Return the URL of `{"type": "image_url", "image_url": {"url": ...}}`, or None of anything else."""
    image = part.get("image_url") if isinstance(part, Mapping) and part.get("type") == "image_url" else None
    return image.get("url") if isinstance(image, Mapping) else None


def _body(order: Order, data: list[dict[str, Any]] | None) -> dict[str, Any]:
    known = traits(order.model)
    image = known.sizes["1K"] * len(data or ())
    prompt = tokens(order.drawing.prompt) + len(order.references) * known.reference_tokens
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": image,
        "total_tokens": prompt + image,
        "cost": image * _IMAGE_USD + prompt * _PROMPT_USD,
        "is_byok": False,
        "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": image},
    }
    return {"created": 0, "data": data, "usage": usage}
