"""Vendors that answer as OpenAI does, each with its own fields."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.dialects.openai_likes import Like, openrouter, together, xai
from nanobatch.sandbox.faults import FAULTS, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer k"}
URI = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n a cat").decode()
MADE = [Made(b"one", "http://127.0.0.1/1.png")]
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}
VENDORS = [openrouter, together, xai]


def read(vendor: Like, **body: Any) -> Order | Answer:
    return vendor.read(Asked(KEY, body=json.dumps({"model": "m", "prompt": "a cat", **body}).encode()))


def order(vendor: Like, **body: Any) -> Order:
    found = read(vendor, **body)
    assert isinstance(found, Order), found
    return found


@pytest.mark.parametrize(
    ("vendor", "body", "pixels", "references"),
    [
        (openrouter, {}, (1024, 1024), 0),
        (openrouter, {"input_references": [{"type": "image_url", "image_url": {"url": URI}}] * 2}, (1024, 1024), 2),
        (together, {"width": 640, "height": 1280, "seed": 1}, (640, 1280), 0),
        (together, {"image_url": URI}, (1024, 1024), 1),
        (xai, {"aspect_ratio": "16:9"}, (1376, 768), 0),
    ],
)
def test_each_has_its_own_fields(vendor: Like, body: dict[str, Any], pixels: tuple[int, int], references: int) -> None:
    """Sides, ratios and references are written differently everywhere."""
    found = order(vendor, **body)
    assert (found.drawing.width, found.drawing.height) == pixels
    assert len(found.references) == references


@pytest.mark.parametrize(
    ("vendor", "body"),
    [
        (openrouter, {"size": "1K"}), (openrouter, {"input_references": 5}), (openrouter, {"input_references": [5]}),
        (together, {"width": 1000}), (together, {"width": True}), (together, {"image_url": "https://x/a.png"}),
        (xai, {"size": "1024x1024"}), (xai, {"aspect_ratio": "7:3"}), (xai, {"prompt": ""}), (together, {"model": 5}),
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused(vendor: Like, body: dict[str, Any]) -> None:
    """Strictly, as the vendors do."""
    found = read(vendor, **body)
    assert isinstance(found, Answer)
    assert found.status == 400


@pytest.mark.parametrize("vendor", VENDORS)
def test_images_come_as_each_sends_them(vendor: Like) -> None:
    """base64 where it is asked for, links where they are the habit."""
    [entry] = vendor.answer(order(vendor), MADE, None).body["data"]
    assert ("url" in entry) is (vendor is xai)
    [entry] = vendor.answer(
        order(vendor, **({} if vendor is openrouter else {"response_format": "b64_json"})), MADE, None
    ).body["data"]
    assert entry["b64_json"] == b"one"
    assert ("usage" in vendor.answer(order(vendor), MADE, None).body) is (vendor is openrouter)


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_has_words_for_every_fault_without_an_image(vendor: Like) -> None:
    """No kind of the table ends in a crash of the sandbox."""
    kinds = {
        kind
        for kind, fault in FAULTS.items()
        if vendor.NAME in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    assert len(kinds) > 10
    for kind in kinds - SERVER_S_OWN:
        assert vendor.failed(order(vendor), kind, 1.0).encoded()
    assert vendor.over_limit(order(vendor), Excess("rpm", 10, 5.0)).status == 429
    assert "data" in vendor.models(Asked(KEY)).body
    assert vendor.stamp(1, 2)


def test_openrouter_counts_its_errors() -> None:
    """Codes are numbers; a refusal is a 403 with reasons; money is a 402."""
    refused = openrouter.failed(order(openrouter), "blocked", 1.0)
    assert (refused.status, refused.body["error"]["code"]) == (403, 403)
    assert refused.body["error"]["metadata"]["reasons"]
    assert openrouter.failed(order(openrouter), "429money", 1.0).status == 402
    found = openrouter.read(Asked({}, body=b"{}"))
    assert isinstance(found, Answer)
    assert found.body["error"]["code"] == 401
