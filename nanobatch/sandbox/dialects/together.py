"""Together's images/generations: OpenAI's shape, width and height as numbers, FLUX and its kin.

Any Bearer key passes unless it begins with `invalid`, and any model. Links come unless base64 is asked for, under
either of its two names. Format: https://docs.together.ai/reference/post-images-generations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.sandbox.dialects import openai
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, MalformedError, Order, parsed
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_uri
from nanobatch.sandbox.dialects.openai_request import InvalidError, choice, count, text
from nanobatch.sandbox.dialects.payload import encoded
from nanobatch.sandbox.images import Drawing, Kind

NAME = "together"
_FIELDS = frozenset({
    "model", "prompt", "width", "height", "steps", "n", "seed", "response_format", "image_url", "output_format",
    "guidance_scale", "negative_prompt", "disable_safety_checker",
})  # fmt: skip
_KINDS: Mapping[str, Kind] = {"jpeg": "jpeg", "png": "png"}
_MOST_IMAGES = 4
_STEPS = range(1, 51)
_SIDES = range(64, 2049, 16)  # pixels

models, over_limit = openai.models, openai.over_limit


def read(asked: Asked) -> Order | Answer:
    """Return the images that are wanted, or what the vendor says against the request."""
    refused = openai.door(asked)
    if refused is not None:
        return refused
    try:
        return _order(parsed(asked.body))
    except (MalformedError, UnreadableError) as wrong:
        return openai.error(400, str(wrong), "invalid_request_error")
    except InvalidError as wrong:
        return openai.error(400, str(wrong), "invalid_request_error", wrong.code, wrong.param)


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image."""
    match fault:
        case "noimage" | "nullcandidates":
            return Answer(200, _body(order, [] if fault == "noimage" else None))
        case _:
            return openai.failed(order, fault, wish_seconds)


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the images, numbered, as links or in base64."""
    images = (
        {"url": image.link} if order.details["links"] else {"b64_json": encoded(image.data, order.drawing.mime, fault)}
        for image in made
    )
    return Answer(200, _body(order, [{"index": index, **image} for index, image in enumerate(images)]))


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-request-id": f"{number:032x}", "x-served-ms": str(milliseconds)}


def _order(body: Any) -> Order:
    if not isinstance(body, Mapping):
        raise InvalidError("The body of the request is a JSON object.")
    if unknown := [name for name in body if name not in _FIELDS]:
        raise InvalidError(f"Unrecognized request argument: {unknown[0]}", unknown[0], "unknown_parameter")
    model, prompt = text(body, "model"), text(body, "prompt")
    width, height = (_number(body, name, _SIDES, 1024) for name in ("width", "height"))
    _number(body, "steps", _STEPS, 20)
    _number(body, "seed", range(2**64), 0)
    links = choice(body, "response_format", ("url", "base64", "b64_json"), "url") == "url"
    kind = _KINDS[choice(body, "output_format", tuple(_KINDS), "jpeg")]
    references = () if body.get("image_url") is None else (digest_of_uri(body["image_url"]),)
    drawing = Drawing(prompt, width, height, kind, f"{model}  {width}x{height}")
    return Order(model, drawing, count(body, _MOST_IMAGES), references, {"links": links})


def _number(body: Mapping[str, Any], name: str, allowed: range, default: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        step = f" in steps of {allowed.step}" if allowed.step > 1 else ""
        raise InvalidError(f"{name} must be from {allowed[0]} to {allowed[-1]}{step}", name, "invalid_value")
    return value


def _body(order: Order, data: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {"id": order.drawing.digest.hex()[:20], "model": order.model, "object": "list", "data": data}
