"""xAI's images/generations: OpenAI's answers with ratios in place of sizes, and links that expire.

Facts: https://docs.x.ai/docs/guides/image-generations and recorded answers. `size` is refused there.
"""

from __future__ import annotations

from typing import Any

from nanobatch.model import Cost, Order, Request
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.openai_answers import answered, fault

__all__ = ["exchange", "fault"]


def exchange(order: Order) -> Exchange:
    """Ask for one image. `order.options` (resolution ...) are added to the body."""
    body: dict[str, Any] = {
        "model": order.model,
        "prompt": order.prompt,
        "n": 1,
        "response_format": "b64_json",
    }
    if order.aspect_ratio is not None:
        body["aspect_ratio"] = order.aspect_ratio
    response = yield Request(
        "POST",
        "/images/generations",
        json=body | dict(order.options),
        cost=Cost(tokens=estimated_tokens(order.prompt)),
    )
    return (yield from answered(response))
