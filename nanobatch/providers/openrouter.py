"""OpenRouter's images endpoint: OpenAI's answers, numeric error codes, and the price of each image in `usage.cost`.

Facts: https://openrouter.ai/docs and recorded answers. References go along as `data:` URIs.
"""

from __future__ import annotations

from typing import Any

from nanobatch.errors import ExchangeError, Refused
from nanobatch.model import Cost, Order, Request, Response
from nanobatch.providers import openai_answers
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.inline import data_uri
from nanobatch.providers.reading import error_object, error_status, node
from nanobatch.providers.sentences import clean, said
from nanobatch.providers.statuses import sentence_of


def exchange(order: Order) -> Exchange:
    """Ask for one image. `order.options` are added to the body."""
    body: dict[str, Any] = {"model": order.model, "prompt": order.prompt}
    if order.references:
        body["input_references"] = [
            {"type": "image_url", "image_url": {"url": data_uri(reference)}} for reference in order.references
        ]
    response = yield Request(
        "POST",
        "/images",
        json=body | dict(order.options),
        cost=Cost(tokens=estimated_tokens(order.prompt)),
    )
    if (error := _moderated(response)) is not None:
        raise error
    return (yield from openai_answers.answered(response))


def fault(response: Response) -> ExchangeError | None:
    """Classify an answer: moderation tells its reasons in the error's metadata, all else is as at OpenAI."""
    return _moderated(response) or openai_answers.fault(response)


def _moderated(response: Response) -> ExchangeError | None:
    """Read a 403 that is about the prompt, not about the account (https://openrouter.ai/docs/api-reference/errors)."""
    error = error_object(response)
    reasons = node(error, "metadata", "reasons")
    if error is None or not isinstance(reasons, list) or error_status(response, error) != 403:
        return None
    shown = clean(", ".join(map(str, reasons))) or sentence_of(response)
    return Refused(f"the provider's content rules forbid this image{said(shown)}", http_status=403)
