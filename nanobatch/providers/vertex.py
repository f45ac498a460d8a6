"""Gemini's models on Vertex AI: the same conversation at another address, with credentials of Google Cloud.

Facts: https://docs.cloud.google.com/vertex-ai/generative-ai/docs, the types of google-genai 3.4.0, and recorded
answers. A tier of service is asked for by a header there, not in the body
(https://docs.cloud.google.com/vertex-ai/generative-ai/docs/flex-paygo), and `usageMetadata.trafficType` names the one
that was served. A 429 comes without details; a token that is no OAuth token, or has expired, is a 401.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from nanobatch.model import Order, Request
from nanobatch.providers.base import Exchange
from nanobatch.providers.gemini import answered
from nanobatch.providers.gemini_body import body_of_order, cost_of
from nanobatch.providers.gemini_faults import fault
from nanobatch.providers.reading import words

__all__ = ["exchange", "fault"]

_TIER_HEADER = "x-vertex-ai-llm-shared-request-type"
_TIERS = frozenset({"flex", "priority"})


def exchange(order: Order) -> Exchange:
    """Ask for one image. What `order.options` may hold is said in `nanobatch.providers.gemini_body`."""
    tier = words(order.options.get("serviceTier")).lower()
    sent = replace(order, options={key: value for key, value in order.options.items() if key != "serviceTier"})
    response = yield Request(
        "POST",
        f"/publishers/google/models/{quote(order.model, safe='@')}:generateContent",
        json=body_of_order(sent),
        headers={_TIER_HEADER: tier} if tier in _TIERS else {},
        cost=cost_of(order),
    )
    return (yield from answered(order, response))
