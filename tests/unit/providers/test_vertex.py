"""Vertex AI: Gemini's conversation at another address, with the tier of service in a header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import AccountStopped, ExchangeError, ModelGone, Overloaded, QuotaSpent, RateLimited, Rejected
from nanobatch.model import Answer, Blob, Order, Reference, Request, Response
from nanobatch.providers import gemini, vertex
from nanobatch.providers.gemini import SERVED_AT_FULL_PRICE
from nanobatch.providers.vertex import fault

HEADER = "x-vertex-ai-llm-shared-request-type"
RPC = "type.googleapis.com/google.rpc."


def first(order: Order) -> Request:
    return next(vertex.exchange(order))


def google(status: int, name: str, message: str, *details: Any) -> Response:
    error = {"code": status, "message": message, "status": name, "details": list(details)}
    return Response(status, {}, json={"error": {key: value for key, value in error.items() if value}})


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-3-pro-image", "/publishers/google/models/gemini-3-pro-image:generateContent"),
        ("gemini-3-pro-image@001", "/publishers/google/models/gemini-3-pro-image@001:generateContent"),
        ("../../x?key=a#b c", "/publishers/google/models/..%2F..%2Fx%3Fkey%3Da%23b%20c:generateContent"),
    ],
)
def test_the_address_names_the_publisher(model: str, path: str) -> None:
    """Whatever a row calls its model, it stays a model's name and leads nowhere else."""
    assert first(Order("x", model)).path == path


@pytest.mark.parametrize(
    "order",
    [
        Order("a red fox", "m"),
        Order("x", "m", size="4K", aspect_ratio="21:9", seed=7),
        Order("x", "m", references=(Reference(b"cat", "image/jpeg", "0" * 64),)),
        Order("x", "m", size="1K", options={"safetySettings": [], "temperature": 0.5, "personGeneration": "ALLOW_ALL"}),
    ],
)
def test_the_body_is_geminis(order: Order) -> None:
    """One format, one place that writes it: neither body nor cost differs."""
    ours, theirs = first(order), next(gemini.exchange(order))
    assert (ours.method, ours.json, ours.cost, ours.headers) == (theirs.method, theirs.json, theirs.cost, {})
    assert not ours.repeatable


@pytest.mark.parametrize(
    ("tier", "headers"),
    [
        ("flex", {HEADER: "flex"}),
        ("FLEX", {HEADER: "flex"}),
        ("priority", {HEADER: "priority"}),
        ("standard", {}),
        ("unspecified", {}),
        ("x\r\nauthorization: y", {}),
        (None, {}),
        (["flex"], {}),
    ],
)
def test_the_tier_travels_in_a_header(tier: Any, headers: dict[str, str]) -> None:
    """Vertex AI knows no field for it in the body; a tier that does not exist is not sent at all."""
    options = {"serviceTier": tier, "temperature": 0.5}
    request = first(Order("x", "m", options=options))
    assert request.headers == headers
    assert "serviceTier" not in request.json
    assert request.json["generationConfig"]["temperature"] == 0.5
    assert options == {"serviceTier": tier, "temperature": 0.5}


@pytest.mark.parametrize(
    ("traffic", "warnings"),
    [
        ("ON_DEMAND_FLEX", ()),
        ("ON_DEMAND", (SERVED_AT_FULL_PRICE,)),
        ("ON_DEMAND_PRIORITY", (SERVED_AT_FULL_PRICE,)),
        ("PROVISIONED_THROUGHPUT", ()),
        (None, ()),
    ],
)
def test_the_tier_that_was_served_is_read_from_the_traffic(traffic: Any, warnings: tuple[str, ...]) -> None:
    """The order remembers what was asked, though the body did not say it."""
    exchange = vertex.exchange(Order("x", "m", options={"serviceTier": "flex"}))
    next(exchange)
    part = {"inlineData": {"mimeType": "image/png", "data": Blob(Path("fox"), 2048, "0" * 64)}}
    body = {"candidates": [{"content": {"parts": [part]}}], "usageMetadata": {"trafficType": traffic}}
    with pytest.raises(StopIteration) as done:
        exchange.send(Response(200, {}, json=body))
    answer = done.value.value
    assert isinstance(answer, Answer)
    assert answer.warnings == warnings


@pytest.mark.parametrize(
    "message",
    [
        "Resource has been exhausted (e.g. check quota).",
        "Resource exhausted. Please try again later. Please refer to https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
        "",
    ],
)
def test_a_429_without_details_is_a_plain_rate_limit(message: str) -> None:
    """Nothing says how long to wait and nothing says that the day is over, so the usual backoff is right."""
    error = fault(google(429, "RESOURCE_EXHAUSTED", message))
    assert type(error) is RateLimited
    assert error.retry_after_seconds is None
    assert error.billed is False


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        (google(401, "UNAUTHENTICATED", "no", {"@type": f"{RPC}ErrorInfo", "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED"}), AccountStopped),
        (google(401, "UNAUTHENTICATED", "no", {"@type": f"{RPC}ErrorInfo", "reason": "ACCESS_TOKEN_EXPIRED"}), AccountStopped),
        (google(401, "UNAUTHENTICATED", "no"), AccountStopped),
        (google(403, "PERMISSION_DENIED", "Permission 'aiplatform.endpoints.predict' denied"), AccountStopped),
        (google(400, "FAILED_PRECONDITION", "the location is not supported"), AccountStopped),
        (google(404, "NOT_FOUND", "Publisher Model was not found"), ModelGone),
        (google(400, "INVALID_ARGUMENT", "Invalid aspect ratio"), Rejected),
        (google(429, "RESOURCE_EXHAUSTED", "Quota exceeded for requests per day."), QuotaSpent),
        (google(503, "UNAVAILABLE", "The service is currently unavailable."), Overloaded),
    ],
)  # fmt: skip
def test_what_errors_mean(response: Response, verdict: type[ExchangeError]) -> None:
    """Google's envelope, read where Gemini's is read."""
    assert type(fault(response)) is verdict
