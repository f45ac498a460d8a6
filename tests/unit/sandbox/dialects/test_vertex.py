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
CONTENTS = [{"role": "user", "parts": [{"text": "a cat"}]}]
BODY = json.dumps({"contents": CONTENTS}).encode()
MADE = [Made(b"one", "http://127.0.0.1/1.jpg")]
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}
FLEX = {"X-Vertex-AI-LLM-Shared-Request-Type": "flex"}


class Headers(dict[str, str]):
    """Headers as the server hands them over: their names have no case."""

    def get(self, name: str, default: Any = None) -> Any:
        return next((value for own, value in self.items() if own.lower() == name.lower()), default)


def read(
    headers: dict[str, str] = TOKEN, *, body: Any = None, query: dict[str, str] | None = None, **path: str
) -> Order | Answer:
    text = BODY if body is None else json.dumps(body).encode()
    return vertex.read(Asked(Headers(headers), query or {}, PATH | path, text, time=1_700_000_000.25))


def order(headers: dict[str, str] | None = None, **more: Any) -> Order:
    found = read(TOKEN | (headers or {}), **more)
    assert isinstance(found, Order), found
    return found


def refused(**more: Any) -> dict[str, Any]:
    found = read(**more)
    assert isinstance(found, Answer)
    error: dict[str, Any] = found.body["error"]
    assert error["code"] == found.status
    return error


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer AIzaKey"}, {"Authorization": "Bearer invalid"}, {"x-goog-api-key": "k"}]
)
def test_only_a_token_opens_the_door(headers: dict[str, str]) -> None:
    """A key of the Gemini API is not one."""
    for found in (read(headers), vertex.models(Asked(headers))):
        assert isinstance(found, Answer)
        assert found.status == 401
        assert found.body["error"]["details"][0]["reason"] == "ACCESS_TOKEN_TYPE_UNSUPPORTED"
        assert "AIza" not in str(found.body)


def test_the_tier_is_asked_by_a_header_and_told_as_traffic() -> None:
    """Not in the body, where the Gemini API has it."""
    usage: Any = vertex.answer(order(), MADE, None).body["usageMetadata"]
    assert (usage["trafficType"], "serviceTier" in usage) == ("ON_DEMAND", False)
    assert vertex.answer(order(FLEX), MADE, None).body["usageMetadata"]["trafficType"] == "ON_DEMAND_FLEX"


@pytest.mark.parametrize("fault", ["noimage", "safety", "blocked", "textonly", "nullcandidates"])
def test_answers_without_an_image_are_its_own_too(fault: str) -> None:
    """Traffic and time are told, and the Gemini API's header is not."""
    found = vertex.failed(order(FLEX), fault, 1.0)
    assert (found.status, found.headers) == (200, {})
    assert found.body["usageMetadata"]["trafficType"] == "ON_DEMAND_FLEX"
    assert "serviceTier" not in found.body["usageMetadata"]
    assert found.body["createTime"] == "2023-11-14T22:13:20.250000Z"


def test_a_stream_is_its_own_too() -> None:
    """Every chunk tells the traffic."""
    streamed = order(action="streamGenerateContent", query={"alt": "sse"})
    found = vertex.answer(streamed, MADE, None)
    assert found.content_type == "text/event-stream"
    chunks = [json.loads(line.removeprefix(b"data: ")) for line in found.body.split(b"\r\n\r\n") if line]
    assert len(chunks) == 2
    assert [chunk["usageMetadata"]["trafficType"] for chunk in chunks] == ["ON_DEMAND"] * 2


def test_the_choice_of_the_file_is_its_own() -> None:
    """PNG in place of JPEG, for one."""
    options = {"imageConfig": {"aspectRatio": "1:1", "imageOutputOptions": {"mimeType": "image/png"}}}
    found = order(body={"contents": CONTENTS, "generationConfig": options})
    [part] = vertex.answer(found, MADE, None).body["candidates"][0]["content"]["parts"]
    assert part["inlineData"]["mimeType"] == "image/png"


def test_contents_say_whose_they_are() -> None:
    """What the Gemini API takes without a role is refused here."""
    error = refused(body={"contents": [{"parts": [{"text": "a cat"}]}]})
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert "valid role" in error["message"]


@pytest.mark.parametrize("model", ["gemini-3-pro-image-preview", "gemini-3.1-flash-image-preview"])
def test_previews_are_dead(model: str) -> None:
    """In the vendor's words, with the whole name; a model that only the Gemini API has retired lives on."""
    error = refused(model=model)
    assert (error["code"], error["status"]) == (404, "NOT_FOUND")
    assert f"projects/p/locations/global/publishers/google/models/{model}" in error["message"]
    assert order(model="gemini-2.5-flash-image").model == "gemini-2.5-flash-image"


def test_an_unknown_action_is_not_found() -> None:
    """Only content is generated here."""
    assert refused(action="predict")["code"] == 404


def test_a_429_tells_nothing() -> None:
    """No details, no wish: clients must back off by themselves."""
    excess = [vertex.over_limit(order(), Excess(kind, 10, 5.0)) for kind in ("rpm", "rpd", "ipm", "concurrency")]
    faults = [vertex.failed(order(), fault, 1.0) for fault in ("429", "429day", "429zero", "429money")]
    for found in excess + faults:
        assert found.status == 429
        assert "details" not in found.body["error"]
        assert found.headers == {}


def test_it_has_words_for_every_fault_without_an_image() -> None:
    """The others are Gemini's."""
    kinds = {
        kind for kind, fault in FAULTS.items() if VERTEX in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    assert len(kinds) > 10
    for kind in kinds - SERVER_S_OWN:
        assert vertex.failed(order(), kind, 1.0).encoded()
    assert vertex.stamp(1, 2)
    assert vertex.failed(order(), "badkey", 1.0).status == 401
    assert isinstance(vertex.failed(order(), "listerror", 1.0).body, list)
    bad = vertex.read(Asked(TOKEN, path=PATH, body=b"{"))
    assert isinstance(bad, Answer)
    assert bad.status == 400
