"""OpenAI's images/generations, as OpenAI serves it and many others imitate it.

Any Bearer key passes unless it begins with `invalid`, and any model name. Models of OpenAI's own families are as strict
as the vendor; other names are a compatible server, which ignores what it does not know and takes `response_format`.
A model whose name begins with `url-` answers with links, in which no base64 can be bent. Format: https://platform.openai.com/docs/api-reference/images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.sandbox.dialects import openai_request
from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, MalformedError, Order, parsed, tokens
from nanobatch.sandbox.dialects.openai_request import InvalidError
from nanobatch.sandbox.dialects.payload import encoded
from nanobatch.sandbox.limits import Excess

NAME = "openai"
_SOLD = ("gpt-image-2", "gpt-image-1.5", "gpt-image-1-mini", "url-sandbox")
_BIRTH = 1_776_729_600  # of the models in the list, seconds since 1970
_TOKENS_PER_MEGAPIXEL = 115  # at low quality; recorded: 106 for 1280×720
_TOKENS_PER_REFERENCE = 194  # of a small one: a base of 65 and one tile of 129
_QUALITY_FACTORS = {"low": 1.0, "medium": 4.0, "high": 15.0, "xhigh": 20.0, "max": 25.0}
_ORGANIZATION = "in organization org-sandbox"
_BLOCKED = "Your request was rejected by the safety system. If you believe this is an error, contact the help centre."


def read(asked: Asked) -> Order | Answer:
    """Return the images that are wanted, or what the vendor says against the request."""
    refused = door(asked)
    if refused is not None:
        return refused
    try:
        return openai_request.read(parsed(asked.body), int(asked.time))
    except MalformedError:
        return error(400, "We could not parse the JSON body of your request.", "invalid_request_error")
    except InvalidError as wrong:
        return error(400, str(wrong), "invalid_request_error", wrong.code, wrong.param)


def models(asked: Asked) -> Answer:
    """List the models, or describe the one that was named."""
    refused = door(asked)
    if refused is not None:
        return refused
    if "model" in asked.path:
        return Answer(200, _description(asked.path["model"]))
    return Answer(200, {"object": "list", "data": [_description(model) for model in _SOLD]})


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a request beyond a limit. All of them are `rate_limit_exceeded`; only money is `insufficient_quota`."""
    match excess.kind:
        case "rpm":
            return _rate_limited(order, "requests per min (RPM)", f"{excess.limit}/min", excess.wait_seconds)
        case "ipm":
            return _rate_limited(order, "images per min", f"{excess.limit}/min", excess.wait_seconds)
        case "rpd":
            return _rate_limited(order, "requests per day (RPD)", f"{excess.limit}/day", excess.wait_seconds)
        case "concurrency":
            return _rate_limited(order, "concurrent requests", str(excess.limit), excess.wait_seconds)


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image."""
    match fault:
        case "429":
            return _rate_limited(order, "requests per min (RPM)", "10/min", wish_seconds)
        case "429day":
            return _rate_limited(order, "requests per day (RPD)", "250/day", 3600.0)
        case "429zero":
            return _rate_limited(order, "images per minute", "0/1min", wish_seconds)
        case "429money":
            broke = "You exceeded your current quota, please check your plan and billing details."
            return error(429, broke, "insufficient_quota", "insufficient_quota")
        case "badkey":
            return _bad_key("sandbox")
        case "blocked" | "safety":
            return _moderated("input" if fault == "blocked" else "output")
        case "500" | "json200err":
            sorry = "The server had an error while processing your request. Sorry about that!"
            broken = error(500, sorry, "server_error")
            return broken if fault == "500" else Answer(200, broken.body)
        case "503" | "listerror":
            busy = error(503, "The server is overloaded or not ready yet.", "server_error")
            return busy if fault == "503" else Answer(503, [busy.body])
        case "noimage" | "nullcandidates":
            return Answer(200, _body(order, [] if fault == "noimage" else None))
    raise ValueError(f"openai has no words for the fault {fault!r}")


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the images, as base64 or as links."""
    if order.details["links"]:
        return Answer(200, _body(order, [{"url": image.link} for image in made]))
    mime = order.drawing.mime
    return Answer(200, _body(order, [{"b64_json": encoded(image.data, mime, fault)} for image in made]))


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {
        "x-request-id": f"req_{number:032x}",
        "openai-processing-ms": str(milliseconds),
        "openai-version": "2020-10-01",
    }


def door(asked: Asked) -> Answer | None:
    """Check the key."""
    if not asked.bearer:
        return error(
            401,
            "You didn't provide an API key. You need to provide it in an Authorization header, as Bearer YOUR_KEY.",
            "invalid_request_error",
        )
    return _bad_key(asked.bearer) if asked.bearer.startswith(UNACCEPTED) else None


def _description(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": _BIRTH, "owned_by": "sandbox"}


def _bad_key(key: str) -> Answer:
    shown = f"{key[:3]}***{key[-2:]}" if len(key) > 12 else "***"
    return error(401, f"Incorrect API key provided: {shown}.", "invalid_request_error", "invalid_api_key")


def _moderated(stage: str) -> Answer:
    more = {"moderation_details": {"moderation_stage": stage, "categories": ["violence"]}}
    return error(400, f"{_BLOCKED} safety_violations=[violence].", "image_generation_user_error", "moderation_blocked",
                  more=more)  # fmt: skip


def _rate_limited(order: Order, what: str, limit: str, wait_seconds: float) -> Answer:
    seconds = max(1, math.ceil(wait_seconds))
    kind = "images" if what.startswith("images") else "requests"
    message = (
        f"Rate limit reached for {order.model} {_ORGANIZATION} on {what}: Limit: {limit}. "
        f"Please try again in {seconds}s."
    )
    headers = {"retry-after": str(seconds), "retry-after-ms": str(math.ceil(wait_seconds * 1000))}
    limited = error(429, message, kind, "rate_limit_exceeded")
    return Answer(limited.status, limited.body, headers, limited.content_type)


def error(
    status: int,
    message: str,
    kind: str,
    code: str | None = None,
    param: str | None = None,
    *,
    more: Mapping[str, Any] | None = None,
) -> Answer:
    """Return OpenAI's envelope of an error."""
    return Answer(status, {"error": {"message": message, "type": kind, "param": param, "code": code, **(more or {})}})


def _body(order: Order, data: list[dict[str, Any]] | None) -> dict[str, Any]:
    drawing, quality = order.drawing, order.details["quality"]
    text, references = tokens(drawing.prompt), len(order.references) * _TOKENS_PER_REFERENCE
    megapixels = drawing.width * drawing.height / 1e6
    image = round(megapixels * _TOKENS_PER_MEGAPIXEL * _QUALITY_FACTORS.get(quality, 4.0)) * len(data or ())
    return {
        "created": order.details["created"],
        "background": "opaque",
        "output_format": drawing.kind,
        "quality": quality,
        "size": f"{drawing.width}x{drawing.height}",
        "data": data,
        "usage": {
            "input_tokens": text + references,
            "input_tokens_details": {"image_tokens": references, "text_tokens": text},
            "output_tokens": image,
            "output_tokens_details": {"image_tokens": image, "text_tokens": 0},
            "total_tokens": text + references + image,
        },
    }
