"""Gemini's models on Vertex AI: the same bodies at another address, a Bearer token, and 429s without details.

A key of the Gemini API in place of a token is refused, as the vendor does. Format:
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nanobatch.sandbox.dialects import gemini
from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, Order
from nanobatch.sandbox.limits import Excess

NAME = "vertex"
_TIER_HEADER = "x-vertex-ai-llm-shared-request-type"
_KEY_OF_ANOTHER_API = "AIza"


def read(asked: Asked) -> Order | Answer:
    """Return the images that are wanted, or what the vendor says against the request."""
    refused = _door(asked)
    if refused is not None:
        return refused
    order = gemini.read(replace(asked, path={**asked.path, "version": "v1beta1"}))
    if isinstance(order, Answer):
        return order
    tier = "flex" if asked.headers.get(_TIER_HEADER, "").lower() == "flex" else "standard"
    return replace(order, details={**order.details, "tier": tier})


def models(asked: Asked) -> Answer:
    """List the models, which costs nothing."""
    return _door(asked) or gemini.models(asked)


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a request beyond a limit; nothing tells which, or for how long."""
    del order, excess
    return _exhausted()


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image."""
    if fault in ("429", "429day", "429zero", "429money"):
        return _exhausted()
    if fault in ("badkey", "leaked"):
        return _unauthenticated()
    return gemini.failed(order, fault, wish_seconds)


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the images, and how the traffic was billed."""
    found = gemini.answer(order, made, fault)
    if isinstance(found.body, dict):
        traffic = "ON_DEMAND_FLEX" if order.details["tier"] == "flex" else "ON_DEMAND"
        usage = {name: value for name, value in found.body["usageMetadata"].items() if name != "serviceTier"}
        return replace(found, body=found.body | {"usageMetadata": usage | {"trafficType": traffic}}, headers={})
    return found


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return gemini.stamp(number, milliseconds)


def _door(asked: Asked) -> Answer | None:
    if not asked.bearer or asked.bearer.startswith((UNACCEPTED, _KEY_OF_ANOTHER_API)):
        return _unauthenticated()
    return None


def _unauthenticated() -> Answer:
    error = {
        "code": 401,
        "message": "Request had invalid authentication credentials. Expected OAuth 2 access token.",
        "status": "UNAUTHENTICATED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED",
                "domain": "googleapis.com",
            }
        ],
    }
    return Answer(401, {"error": error})


def _exhausted() -> Answer:
    message = "Resource has been exhausted (e.g. check quota)."
    return Answer(429, {"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}})
