"""Vertex's dialect: Gemini's bodies behind another door."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nanobatch.sandbox.dialects import vertex
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.faults import FAULTS, VERTEX, Stage
from nanobatch.sandbox.limits import Excess

TOKEN = {"Authorization": "Bearer ya29.token"}
PATH = {"project": "p", "location": "global", "model": "gemini-3-pro-image", "action": "generateContent"}
BODY = json.dumps({"contents": [{"role": "user", "parts": [{"text": "a cat"}]}]}).encode()
MADE = [Made(b"one", "http://127.0.0.1/1.jpg")]
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def order(**headers: str) -> Order:
    found = vertex.read(
        Asked(TOKEN | {name.replace("_", "-"): value for name, value in headers.items()}, path=PATH, body=BODY)
    )
    assert isinstance(found, Order), found
    return found


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer AIzaKey"}, {"Authorization": "Bearer invalid"}, {"x-goog-api-key": "k"}]
)
def test_only_a_token_opens_the_door(headers: dict[str, str]) -> None:
    """A key of the Gemini API is not one."""
    for found in (vertex.read(Asked(headers, path=PATH, body=BODY)), vertex.models(Asked(headers))):
        assert isinstance(found, Answer)
        assert found.status == 401
        assert found.body["error"]["details"][0]["reason"] == "ACCESS_TOKEN_TYPE_UNSUPPORTED"


def test_the_tier_is_asked_by_a_header_and_told_as_traffic() -> None:
    """Not in the body, where the Gemini API has it."""
    usage: Any = vertex.answer(order(), MADE, None).body["usageMetadata"]
    assert (usage["trafficType"], "serviceTier" in usage) == ("ON_DEMAND", False)
    flexed = order(x_vertex_ai_llm_shared_request_type="flex")
    assert vertex.answer(flexed, MADE, None).body["usageMetadata"]["trafficType"] == "ON_DEMAND_FLEX"


def test_a_429_tells_nothing() -> None:
    """No details, no wish: clients must back off by themselves."""
    for found in (vertex.over_limit(order(), Excess("rpm", 10, 5.0)), vertex.failed(order(), "429day", 1.0)):
        assert found.status == 429
        assert "details" not in found.body["error"]
        assert found.headers == {}


def test_it_has_words_for_every_fault_without_an_image() -> None:
    """The others are Gemini's."""
    kinds = {
        kind for kind, fault in FAULTS.items() if VERTEX in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    for kind in kinds - SERVER_S_OWN:
        assert vertex.failed(order(), kind, 1.0).encoded()
    assert vertex.stamp(1, 2)
    bad = vertex.read(Asked(TOKEN, path=PATH, body=b"{"))
    assert isinstance(bad, Answer)
    assert bad.status == 400
