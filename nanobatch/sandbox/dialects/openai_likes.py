"""Vendors that answer as OpenAI's images do, each with its own fields: OpenRouter, Together, xAI.

Formats: https://openrouter.ai/docs, https://docs.together.ai/reference/post-images-generations,
https://docs.x.ai/docs/guides/image-generations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nanobatch.sandbox.dialects import openai
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, MalformedError, Order, parsed
from nanobatch.sandbox.dialects.gemini_models import PIXELS, traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_uri
from nanobatch.sandbox.dialects.payload import encoded
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

_PRICE_USD = 0.04
_LONGEST_SIDE = 2048


class _InvalidError(ValueError):
    """The body is wrong; the text says where."""


@dataclass(frozen=True, slots=True)
class Like:
    """One of these vendors.

    Args:
        NAME: In the books.
        fields: What a body may hold.
        draw: Returns the image and the hashes of what it starts from; raises `ValueError` for a wrong body.
        wrap: Turns the error of OpenAI's shape into the vendor's.
        entry: Writes one image of an answer.
    """

    NAME: str
    fields: frozenset[str]
    draw: Callable[[Mapping[str, Any]], tuple[Drawing, tuple[str, ...]]]
    wrap: Callable[[Answer], Answer]
    entry: Callable[[Order, Made, str | None], dict[str, Any]]

    def read(self, asked: Asked) -> Order | Answer:
        """Return the image that is wanted, or what the vendor says against the request."""
        refused = openai.door(asked)
        if refused is not None:
            return self.wrap(refused)
        try:
            body = _checked(parsed(asked.body), self.fields)
            drawing, references = self.draw(body)
        except (MalformedError, UnreadableError, _InvalidError) as error:
            return self.wrap(openai.error(400, str(error), "invalid_request_error", "invalid_value"))
        links = body.get("response_format", "url" if self.NAME == "xai" else "b64_json") == "url"
        return Order(body["model"], drawing, 1, references, {"links": links, "quality": "medium", "created": 0})

    def models(self, asked: Asked) -> Answer:
        """List the models."""
        return openai.models(asked)

    def over_limit(self, order: Order, excess: Excess) -> Answer:
        """Return the vendor's 429."""
        return self.wrap(openai.over_limit(order, excess))

    def failed(self, order: Order, fault: str, wish_seconds: float) -> Answer:
        """Return the answer of a fault that makes no image."""
        return self.wrap(openai.failed(order, fault, wish_seconds))

    def answer(self, order: Order, made: Sequence[Made], fault: str | None) -> Answer:
        """Return the images."""
        body: dict[str, Any] = {"created": 0, "data": [self.entry(order, image, fault) for image in made]}
        if self.NAME == "openrouter":
            details = {"image_tokens": 1120, "reasoning_tokens": 0}
            body["usage"] = {"prompt_tokens": 8, "completion_tokens": 1120, "total_tokens": 1128, "cost": _PRICE_USD,
                             "completion_tokens_details": details}  # fmt: skip
        return Answer(200, body)

    def stamp(self, number: int, milliseconds: int) -> Mapping[str, str]:
        """Return the headers of every answer."""
        return {"x-request-id": f"{number:032x}", "x-served-ms": str(milliseconds)}


def _checked(body: Any, fields: frozenset[str]) -> Mapping[str, Any]:
    """Return a body that is an object with a model, a prompt and no field that the vendor does not know."""
    if not isinstance(body, Mapping):
        raise _InvalidError("the body is no object")
    for name in body:
        if name not in fields:
            raise _InvalidError(f"Argument not supported: {name}")
    for name in ("model", "prompt"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise _InvalidError(f"{name} is required")
    return body


def _square(body: Mapping[str, Any]) -> tuple[Drawing, tuple[str, ...]]:
    references = body.get("input_references", [])
    if not isinstance(references, list):
        raise _InvalidError("input_references is a list")
    found = tuple(digest_of_uri((entry.get("image_url") or {}).get("url") if isinstance(entry, Mapping) else None)
                  for entry in references)  # fmt: skip
    return _drawing(body, 1024, 1024), found


def _sides(body: Mapping[str, Any]) -> tuple[Drawing, tuple[str, ...]]:
    width, height = body.get("width", 1024), body.get("height", 1024)
    for side in (width, height):
        if isinstance(side, bool) or not isinstance(side, int) or not 64 <= side <= _LONGEST_SIDE or side % 16:
            raise _InvalidError("width and height are multiples of 16 from 64 to 2048")
    found = (digest_of_uri(body["image_url"]),) if "image_url" in body else ()
    return _drawing(body, width, height), found


def _ratio(body: Mapping[str, Any]) -> tuple[Drawing, tuple[str, ...]]:
    ratio = body.get("aspect_ratio", "1:1")
    if ratio not in PIXELS:
        raise _InvalidError(f"Invalid aspect_ratio: {ratio}")
    return _drawing(body, *traits("gemini-3-pro-image").size(ratio, "1K")), ()


def _drawing(body: Mapping[str, Any], width: int, height: int) -> Drawing:
    return Drawing(body["prompt"], width, height, "jpeg", f"{body['model']}  {width}x{height}")


def _numeric(found: Answer) -> Answer:
    """Write OpenRouter's error: the status as its code, the reasons of a refusal as metadata."""
    body = found.body if isinstance(found.body, dict) else found.body[0]
    if "error" not in body:
        return found
    error = body["error"]
    refused = error.get("code") == "moderation_blocked"
    status = 403 if refused else 402 if error.get("code") == "insufficient_quota" else found.status
    code = status if status != 200 else 500
    more = {"metadata": {"reasons": ["violence"], "flagged_input": ""}} if refused else {}
    return replace(found, status=status, body={"error": {"code": code, "message": error["message"]} | more})


def _plain(found: Answer) -> Answer:
    return found


def _entry(order: Order, image: Made, fault: str | None) -> dict[str, Any]:
    mime = order.drawing.mime
    if order.details["links"]:
        return {"url": image.link, "mime_type": mime}
    return {"b64_json": encoded(image.data, mime, fault), "media_type": mime}


def _base64_only(order: Order, image: Made, fault: str | None) -> dict[str, Any]:
    if order.details["links"]:
        return {"index": 0, "url": image.link}
    return {"index": 0, "b64_json": encoded(image.data, order.drawing.mime, fault)}


openrouter = Like(
    "openrouter",
    frozenset({"model", "prompt", "input_references", "n", "provider", "image_config"}),
    _square,
    _numeric,
    _entry,
)
together = Like(
    "together",
    frozenset({
        "model", "prompt", "width", "height", "steps", "n", "seed", "response_format", "image_url", "output_format",
        "guidance_scale", "negative_prompt", "disable_safety_checker",
    }),
    _sides,
    _plain,
    _base64_only,
)  # fmt: skip
xai = Like(
    "xai",
    frozenset({"model", "prompt", "n", "response_format", "aspect_ratio", "resolution"}),
    _ratio,
    _plain,
    _entry,
)
