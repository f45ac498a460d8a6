"""Together's images/generations: OpenAI's answers, width and height apart, base64 under its own name.

Facts: https://docs.together.ai/reference/post-images-generations.
"""

from __future__ import annotations

from typing import Any

from nanobatch.model import Cost, Order, Request
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.inline import data_uri
from nanobatch.providers.openai_answers import answered, fault

__all__ = ["exchange", "fault"]


def exchange(order: Order) -> Exchange:
    """Ask for one image. `order.options` (steps, disable_safety_checker ...) are added to the body."""
    body: dict[str, Any] = {"model": order.model, "prompt": order.prompt, "n": 1, "response_format": "base64"}
    if order.pixels is not None:
        body["width"], body["height"] = order.pixels
    if order.seed is not None:
        body["seed"] = order.seed
    if order.references:
        body["image_url"] = data_uri(order.references[0])
    response = yield Request(
        "POST",
        "/images/generations",
        json=body | dict(order.options),
        cost=Cost(tokens=estimated_tokens(order.prompt)),
    )
    return (yield from answered(response))
