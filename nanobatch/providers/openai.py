"""OpenAI's images/generations, at OpenAI and at every server that imitates it.

Facts: https://platform.openai.com/docs/api-reference/images, the types of openai-python 3.51.0, and recorded answers.
Images come as base64 or as links that expire, so a link is followed at once.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from nanobatch.errors import AccountStopped, ExchangeError, ModelGone, NoImage, QuotaSpent, Refused, ServerFault
from nanobatch.model import FREE, Answer, Blob, Order, Picture, Request, Response, Usage
from nanobatch.providers.base import Exchange
from nanobatch.providers.reading import clean, count, error_object, image_data, items, node, page_title, words
from nanobatch.providers.statuses import by_status

_OK = range(200, 300)
_REFUSALS = frozenset({"moderation_blocked", "content_policy_violation", "content_filter"})
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_PER_DAY = re.compile(r"(?i)per day|/day|/1d\b")
_ZERO = re.compile(r"(?i)limit:\s*0\b")


def exchange(order: Order) -> Exchange:
    """Ask for one image. `order.options` (quality, output_format ...) are added to the body."""
    body = _body(order)
    response = yield Request("POST", "/images/generations", json=body)
    if _dislikes(response, "response_format") and "response_format" in body:
        del body["response_format"]  # gpt-image models refuse it, other servers need it
        response = yield Request("POST", "/images/generations", json=body)
    if (error := fault(response)) is not None:
        raise error
    found = items(node(response.json, "data"))
    if not isinstance(response.json, Mapping) or (not found and response.text is not None):
        what = page_title(response.text) if response.text is not None else "JSON of another shape"
        raise ServerFault(f"the answer is {what}", http_status=response.status)
    pictures = []
    for item in found:
        picture = yield from _picture(item)
        if picture is not None:
            pictures.append(picture)
    if not pictures:
        raise NoImage("the answer holds no image", http_status=response.status, billed=None if found else False)
    return Answer(pictures[0], tuple(pictures[1:]), _usage(response.json), words(node(response.json, "model")) or None)


def fault(response: Response) -> ExchangeError | None:
    """Classify an answer, also an error that came inside a 200. `error.code` may be a word, a number or null."""
    error = error_object(response)
    if error is None:
        if response.status in _OK:
            return None
        return by_status(response, page_title(response.text) if response.text is not None else "")
    status = response.status
    if status in _OK:
        status = count(node(error, "code")) or 500
        status = status if status >= 400 else 500
    message = clean(words(node(error, "message")))
    code, kind = words(node(error, "code")), words(node(error, "type"))
    if code in _REFUSALS:
        return Refused(f"the provider's content rules forbid this image: {message}", http_status=status)
    if code in _NO_MONEY or kind in _NO_MONEY:
        return AccountStopped(f"the account has no credit: {message}", http_status=status)
    if code == "invalid_api_key":
        return AccountStopped(f"the provider does not accept the key: {message}", http_status=status)
    if code == "model_not_found":
        return ModelGone(f"the provider does not have this model: {message}", http_status=status)
    if status == 429 and _ZERO.search(message):
        return AccountStopped(f"this account has no quota for the model: {message}", http_status=status)
    if status == 429 and _PER_DAY.search(message):
        return QuotaSpent(f"today's quota is spent: {message}", http_status=status)
    return by_status(replace(response, status=status), message)


def _body(order: Order) -> dict[str, Any]:
    body: dict[str, Any] = {"model": order.model, "prompt": order.prompt, "n": 1}
    if order.pixels is not None:
        body["size"] = f"{order.pixels[0]}x{order.pixels[1]}"
    if order.seed is not None:
        body["seed"] = order.seed
    return body | dict(order.options)


def _dislikes(response: Response, field: str) -> bool:
    error = error_object(response) or {}
    named = words(node(error, "param")) == field or f"'{field}'" in words(node(error, "message"))
    return (
        response.status == 400
        and named
        and words(node(error, "code")) in {"unknown_parameter", "unsupported_parameter", ""}
    )


def _picture(item: Any) -> Generator[Request, Response, Picture | None]:
    """Return the picture of one entry, following its link where it has one."""
    mime = words(node(item, "media_type")) or words(node(item, "mime_type")) or None
    data = image_data(node(item, "b64_json"))
    if data is not None:
        return Picture(data, mime)
    link = node(item, "url")
    if isinstance(link, Blob) or words(link).startswith("data:"):
        return Picture(link, mime)
    if not words(link).startswith(("https://", "http://")):
        return None
    response = yield Request("GET", words(link), cost=FREE, repeatable=True, download=True)
    if response.blob is None:
        raise ServerFault(f"the result could not be downloaded: HTTP {response.status}", http_status=response.status)
    return Picture(response.blob, mime)


def _usage(body: Mapping[str, Any]) -> Usage | None:
    usage = node(body, "usage")
    if not isinstance(usage, Mapping):
        return None
    output = count(node(usage, "output_tokens"))
    image = count(node(usage, "output_tokens_details", "image_tokens"))
    text = count(node(usage, "output_tokens_details", "text_tokens"))
    cost = node(usage, "cost")
    return Usage(
        input_tokens=count(node(usage, "input_tokens")),
        text_tokens=text if text is not None else (max(0, output - image) if output is not None and image else None),
        image_tokens=image if image is not None else output,
        cost_usd=float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0 else None,
    )
