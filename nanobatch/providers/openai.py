"""OpenAI's images/generations and images/edits, at OpenAI and at every server that imitates them.

Facts: https://platform.openai.com/docs/api-reference/images, the types of openai-python 3.51.0, and recorded answers.
"""

from __future__ import annotations

from typing import Any

from nanobatch.model import Cost, Form, FormFile, Order, Request, Response
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.openai_answers import answered, fault
from nanobatch.providers.reading import error_object, node, words

__all__ = ["body_of_order", "exchange", "fault"]

_UNKNOWN_PARAMETER = frozenset({"unknown_parameter", "unsupported_parameter", ""})


def exchange(order: Order) -> Exchange:
    """Ask for one image, or for an edit of the references. `order.options` (quality, output_format ...) are added.

    `response_format` is sent only where the options hold it: gpt-image models refuse it, some servers need it. A 400
    that names it is answered by the same request without it, once; it takes a second piece of the quota.
    """
    body = body_of_order(order)
    response = yield _request(order, body)
    if "response_format" in body and _refuses_response_format(response):
        response = yield _request(order, {key: value for key, value in body.items() if key != "response_format"})
    return (yield from answered(response))


def body_of_order(order: Order) -> dict[str, Any]:
    """Write an order as images/generations wants it; references travel beside it."""
    body: dict[str, Any] = {"model": order.model, "prompt": order.prompt, "n": 1}
    if order.pixels is not None:
        body["size"] = f"{order.pixels[0]}x{order.pixels[1]}"
    if order.seed is not None:
        body["seed"] = order.seed
    return body | dict(order.options)


def _request(order: Order, body: dict[str, Any]) -> Request:
    cost = Cost(tokens=estimated_tokens(order.prompt))
    if not order.references:
        return Request("POST", "/images/generations", json=body, cost=cost)
    files = tuple(
        FormFile("image[]", reference.file_name, reference.mime, reference.data) for reference in order.references
    )
    return Request("POST", "/images/edits", form=Form(tuple(map(_field, body, body.values())), files), cost=cost)


def _field(name: str, value: Any) -> tuple[str, str]:
    """Write a value as a form does, which knows text alone."""
    return name, str(value).lower() if isinstance(value, bool) else str(value)


def _refuses_response_format(response: Response) -> bool:
    error = error_object(response)
    if response.status != 400 or error is None or words(node(error, "code")) not in _UNKNOWN_PARAMETER:
        return False
    return words(node(error, "param")) == "response_format" or "response_format" in words(node(error, "message"))
