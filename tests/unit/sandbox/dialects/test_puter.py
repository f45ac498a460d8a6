"""Puter's dialect: one call for everything, errors by their code."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from nanobatch.sandbox.dialects import puter
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.faults import FAULTS, PUTER, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer k"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n a cat").decode()
MODEL = "gemini-3-pro-image-preview"
CALL = {"interface": "puter-image-generation", "driver": "ai-image", "method": "generate", "test_mode": False}
MADE = [Made(b"one", "http://127.0.0.1/1.png"), Made(b"two", "http://127.0.0.1/2.png")]
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def read(call: dict[str, Any] | None = None, **arguments: Any) -> Order | Answer:
    body = CALL | {"args": {"prompt": "a cat", "model": MODEL, **arguments}} | (call or {})
    return puter.read(Asked(KEY, body=json.dumps(body).encode()))


def order(**arguments: Any) -> Order:
    found = read(**arguments)
    assert isinstance(found, Order), found
    return found


@pytest.mark.parametrize(
    ("arguments", "pixels"),
    [
        ({}, (1024, 1024)),
        ({"quality": "2K", "ratio": {"w": 16, "h": 9}}, (2752, 1536)),
        ({"ratio": {"w": 7, "h": 3}}, (1024, 1024)),  # silently the first that is allowed
    ],
)
def test_ratio_and_quality_decide_the_pixels(arguments: dict[str, Any], pixels: tuple[int, int]) -> None:
    """An unsupported ratio is replaced without a word, as the vendor does."""
    found = order(**arguments)
    assert (found.drawing.width, found.drawing.height) == pixels


def test_references_have_two_places() -> None:
    """One with its type, or several that tell theirs themselves."""
    assert len(order(input_image=PNG, input_image_mime_type="image/png").references) == 1
    assert len(order(input_images=[PNG, PNG]).references) == 2


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ({"interface": "x"}, {}), ({"driver": "x"}, {}), ({"args": 5}, {}), (None, {"size": "1K"}), (None, {"prompt": ""}),
        (None, {"model": "no-such"}), (None, {"quality": "8K"}), (None, {"ratio": "16:9"}), (None, {"input_images": 5}),
        (None, {"input_images": [5]}), (None, {"input_images": ["AAAA"]}), (None, {"input_image": PNG}),
    ],
)  # fmt: skip
def test_a_wrong_call_is_refused(call: dict[str, Any] | None, arguments: dict[str, Any]) -> None:
    """With the code of the service behind the door."""
    if arguments == {"input_image": PNG}:
        assert isinstance(read(call, **arguments), Order)  # a type that is not told is not checked
        return
    found = read(call, **arguments)
    assert isinstance(found, Answer)
    assert (found.status, found.body["code"]) == (400, "upstream_bad_request")


def test_the_first_image_is_returned() -> None:
    """Also where it is a draft: the vendor's own habit. A model of links gives a link."""
    found = puter.answer(order(), MADE, None).body
    assert found["success"]
    assert base64.b64decode(found["result"].split(",", 1)[1]) == b"one"
    assert puter.answer(order(model="url-x"), MADE, None).body["result"] == "http://127.0.0.1/1.png"


def test_it_has_words_for_every_fault_without_an_image() -> None:
    """What fails behind the door is a 400; nobody without a token passes."""
    kinds = {
        kind for kind, fault in FAULTS.items() if PUTER in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    for kind in kinds - SERVER_S_OWN:
        assert puter.failed(order(), kind, 1.0).encoded()
    assert puter.failed(order(), "503", 1.0).body["code"] == "upstream_provider_unavailable"
    assert puter.over_limit(order(), Excess("rpm", 10, 5.0)).status == 429
    assert puter.models(Asked(KEY)).status == 404
    assert puter.stamp(1, 2)
    for headers in ({}, {"Authorization": "Bearer invalid"}):
        found = puter.read(Asked(headers, body=b"{}"))
        assert isinstance(found, Answer)
        assert (found.status, found.body["code"]) == (401, "token_auth_failed")
