"""Puter's drivers/call: one door for every service, the image as a `data:` URI or a link, errors by their `code`.

Facts: https://github.com/HeyPuter/puter at 8307e8c. Its 400 may mean that the service behind it failed, and an
unsupported ratio is silently replaced, which the check of the image's shape finds.
"""

from __future__ import annotations

import re
from typing import Any

from nanobatch.errors import (
    AccountStopped,
    DecodeError,
    ExchangeError,
    NoImage,
    Overloaded,
    RateLimited,
    Refused,
    Rejected,
    ServerFault,
)
from nanobatch.model import Answer, Blob, Cost, Order, Picture, Request, Response
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.links import download, link_of
from nanobatch.providers.reading import OK, body_of, image_data, node, words
from nanobatch.providers.sentences import clean, said, short_name
from nanobatch.providers.statuses import plain_fault

_ACCOUNT = frozenset({
    "token_auth_failed", "token_missing", "insufficient_funds", "subscription_required", "upstream_auth_failed",
    "permission_denied", "account_suspended",
})  # fmt: skip
_LIMITED = frozenset({"too_many_requests", "upstream_rate_limited", "rate_limit_exceeded"})
_MODERATED = re.compile(r"(?i)content polic|safety|moderat|prohibited|blocked")
_EMPTY = re.compile(r"(?i)failed to extract image|no image")


def exchange(order: Order) -> Exchange:
    """Ask for one image. `order.options` are added to the arguments of the call."""
    response = yield Request(
        "POST", "/drivers/call", json=_call(order), cost=Cost(tokens=estimated_tokens(order.prompt))
    )
    if (error := fault(response)) is not None:
        raise error
    body = body_of(response)
    result, model = node(body, "result"), short_name(node(body, "service", "name")) or None
    if (link := link_of(result)) is not None:
        return Answer(Picture((yield from download(link))), model=model)
    data = image_data(result)
    if data is None:
        raise NoImage("the answer holds no image", http_status=response.status, billed=None)
    if not isinstance(data, Blob) and data[:5].lower() != "data:":
        raise DecodeError("the answer's result is neither an image nor an http(s) address", http_status=response.status)
    return Answer(Picture(data), model=model)


def fault(response: Response) -> ExchangeError | None:
    """Read Puter's `code`, which says more than the status; None for a success."""
    body = body_of(response)
    if response.status in OK and node(body, "success") is not False:
        return plain_fault(response)
    found = node(body, "error")
    told = found if isinstance(found, dict) else body
    code, status = words(node(told, "code")), response.status
    sentence = clean(words(node(told, "message")) or words(found))
    more = said(sentence)
    if code in _ACCOUNT:
        return AccountStopped(f"the provider does not accept the account{more}", http_status=status)
    if code in _LIMITED:
        return RateLimited(f"too many requests{more}", http_status=status)
    if code == "upstream_provider_unavailable":
        return Overloaded(f"the service behind the provider failed{more}", http_status=status)
    if _EMPTY.search(sentence):
        return NoImage(f"the model answered without an image{more}", http_status=status, billed=None)
    if _MODERATED.search(sentence) and status in (200, 400, 403, 422):
        return Refused(f"the provider's content rules forbid this image{more}", http_status=status)
    if code == "upstream_bad_request":
        return Rejected(f"the service behind the provider rejected the request{more}", http_status=status)
    if response.status in OK:
        return ServerFault(f"the provider failed{more}", http_status=status)
    return plain_fault(response)


def _call(order: Order) -> dict[str, Any]:
    """Write the call; a single reference has a field of its own."""
    arguments: dict[str, Any] = {"prompt": order.prompt, "model": order.model}
    if order.size is not None:
        arguments["quality"] = order.size
    if order.aspect_ratio is not None:
        width, _, height = order.aspect_ratio.partition(":")
        arguments["ratio"] = {"w": int(width), "h": int(height)}
    if len(order.references) == 1:
        arguments["input_image"] = order.references[0].data
        arguments["input_image_mime_type"] = order.references[0].mime
    elif order.references:
        arguments["input_images"] = [reference.data for reference in order.references]
    return {
        "interface": "puter-image-generation",
        "driver": "ai-image",
        "method": "generate",
        "test_mode": False,
        "args": arguments | dict(order.options),
    }
