"""Gemini's models on Vertex AI: the same bodies at another address, a Bearer token, and 429s without details.

A key of the Gemini API in place of a token is refused, as the vendor does, and so are the dead previews. Format:
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from nanobatch.sandbox.dialects import gemini
from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, Order
from nanobatch.sandbox.dialects.gemini_models import RETIRED
from nanobatch.sandbox.dialects.gemini_request import VERTEX_AI
from nanobatch.sandbox.limits import Excess

NAME = "vertex"
_TIER_HEADER = "x-vertex-ai-llm-shared-request-type"
_KEY_OF_ANOTHER_API = "AIza"


def read(asked: Asked) -> Order | Answer:
    """Return the images that are wanted, or what the vendor says against the request."""
    refused = door(asked) or _dead(asked)
    if refused is not None:
        return refused
    order = gemini.accept(replace(asked, path={**asked.path, "version": "v1beta1"}), VERTEX_AI)
    if isinstance(order, Answer):
        return order
    tier = "flex" if asked.headers.get(_TIER_HEADER, "").lower() == "flex" else "standard"
    created = datetime.fromtimestamp(asked.time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return replace(order, details={**order.details, "tier": tier, "created": created})


def models(asked: Asked) -> Answer:
    """List the models, which costs nothing."""
    return door(asked) or gemini.models(asked)


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a request beyond a limit; nothing tells which, or for how long."""
    del order, excess
    return exhausted()


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image."""
    if fault in ("429", "429day", "429zero", "429money"):
        return exhausted()
    if fault in ("badkey", "leaked"):
        return _unauthenticated()
    found = gemini.failed(order, fault, wish_seconds)
    return replace(found, body=_own(order, found.body), headers={})


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the images, and how the traffic was billed."""
    return gemini.streamed(order, _own(order, gemini.images(order, made, fault)), {})


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return gemini.stamp(number, milliseconds)


def _own(order: Order, body: Any) -> Any:
    """Write what only this address tells: the time, and the traffic in place of the tier."""
    if not isinstance(body, dict) or "usageMetadata" not in body:
        return body
    usage = {name: value for name, value in body["usageMetadata"].items() if name != "serviceTier"}
    usage["trafficType"] = "ON_DEMAND_FLEX" if order.details["tier"] == "flex" else "ON_DEMAND"
    return body | {"usageMetadata": usage, "createTime": order.details["created"]}


def door(asked: Asked) -> Answer | None:
    """Check the token."""
    if not asked.bearer or asked.bearer.startswith((UNACCEPTED, _KEY_OF_ANOTHER_API)):
        return _unauthenticated()
    return None


def _dead(asked: Asked) -> Answer | None:
    """Refuse the previews; other retired models of the Gemini API live on here."""
    model = asked.path["model"]
    if model not in RETIRED or not model.endswith("-preview"):
        return None
    name = "projects/{project}/locations/{location}".format_map(asked.path) + f"/publishers/google/models/{model}"
    message = f"Publisher Model `{name}` was not found or your project does not have access to it."
    return Answer(404, {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}})


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


def exhausted() -> Answer:
    """Return the 429 of every limit."""
    message = "Resource has been exhausted (e.g. check quota)."
    return Answer(429, {"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}})
