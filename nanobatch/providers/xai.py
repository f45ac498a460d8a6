"""xAI's images/generations: OpenAI's answers with ratios in place of sizes, and links that expire.

Facts: https://docs.x.ai/docs/guides/image-generations and recorded answers. `size` is refused there. A wrong key is
answered with HTTP 400 and a sentence, without a code (https://github.com/continuedev/continue/issues/10373).
"""

from __future__ import annotations

from typing import Any

from nanobatch.errors import AccountStopped, ExchangeError
from nanobatch.model import Cost, Order, Request, Response
from nanobatch.providers import openai_answers
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.openai_answers import answered
from nanobatch.providers.sentences import said
from nanobatch.providers.statuses import sentence_of

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
    if (refused := _bad_key(response)) is not None:
        raise refused
    return (yield from answered(response))


def fault(response: Response) -> ExchangeError | None:
    """Classify an answer; None for one that may hold an image."""
    return _bad_key(response) or openai_answers.fault(response)


def _bad_key(response: Response) -> AccountStopped | None:
    if response.status == 400 and (sentence := sentence_of(response)).startswith("Incorrect API key"):
        return AccountStopped(f"the provider does not accept the key{said(sentence)}", http_status=response.status)
    return None
