"""OpenRouter's dialect: OpenAI's data, numbered errors."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.sandbox.dialects import openrouter
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.faults import FAULTS, OPENROUTER, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer k"}
MODEL = "google/gemini-3.1-flash-lite-image"
PRO = "google/gemini-3-pro-image"
PNG = b"\x89PNG\r\n\x1a\n a cat"
JPEG = b"\xff\xd8\xff a dog"
MADE = [Made(b"one", "l1"), Made(b"two", "l2")]
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def reference(data: bytes = PNG, mime: str = "image/png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{base64.b64encode(data).decode()}"}}


def read(body: Any) -> Order | Answer:
    return openrouter.read(Asked(KEY, body=json.dumps(body).encode()))


def order(**body: Any) -> Order:
    found = read({"model": MODEL, "prompt": "a cat", **body})
    assert isinstance(found, Order), found
    return found


@pytest.mark.parametrize(
    ("body", "pixels", "kind"),
    [
        ({}, (1024, 1024), "jpeg"),
        ({"aspect_ratio": "16:9"}, (1376, 768), "jpeg"),
        ({"model": PRO, "aspect_ratio": "16:9", "resolution": "2K"}, (2752, 1536), "jpeg"),
        ({"output_format": "webp", "seed": 3}, (1024, 1024), "webp"),
        ({"model": "google/gemini-2.5-flash-image", "aspect_ratio": "2:3"}, (832, 1248), "png"),
    ],
)
def test_ratio_resolution_and_format_decide_the_file(body: dict[str, Any], pixels: tuple[int, int], kind: str) -> None:
    """In the vendor's own fields; the model decides what is left out."""
    drawing = order(**body).drawing
    assert ((drawing.width, drawing.height), drawing.kind) == (pixels, kind)


def test_references_are_hashed_in_their_order() -> None:
    """Fourteen at most, each a data URI in an object of its own."""
    found = order(input_references=[reference(), reference(JPEG, "image/jpeg")])
    assert found.references == (hashlib.sha256(PNG).hexdigest(), hashlib.sha256(JPEG).hexdigest())
    assert len(order(input_references=[reference()] * 14).references) == 14


def test_several_images_are_several() -> None:
    """`n` is not forgotten."""
    assert (order().images, order(n=3).images) == (1, 3)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"size": "1K"}, "Unrecognized key: size"),
        ({"messages": []}, "Unrecognized key: messages"),
        ({"model": "gemini"}, "gemini is not a valid model ID"),
        ({"model": "/"}, "not a valid model ID"),
        ({"model": 5}, "'model'"),
        ({"prompt": ""}, "'prompt'"),
        ({"prompt": None}, "'prompt'"),
        ({"n": 0}, "between 1 and 10"),
        ({"n": "2"}, "expected an integer"),
        ({"aspect_ratio": "7:3"}, "7:3"),
        ({"aspect_ratio": ["1:1"]}, "1:1"),
        ({"resolution": "4K"}, "4K"),
        ({"resolution": "1k"}, "1k"),
        ({"output_format": "gif"}, "gif"),
        ({"input_references": 5}, "input_references"),
        ({"input_references": [reference()] * 15}, "at most 14"),
        ({"input_references": [5]}, "data URI"),
        ({"input_references": [{"type": "image_url", "image_url": "data:image/png;base64,AA"}]}, "data URI"),
        ({"input_references": [{"type": "text", "text": "x"}]}, "data URI"),
        ({"input_references": [reference(JPEG)]}, "not image/png"),
        ({"input_references": [reference(b"")]}, "image/png"),
    ],
)
def test_a_wrong_body_is_refused(body: dict[str, Any], words: str) -> None:
    """With a 400 whose code is a number, and a sentence that says where."""
    found = read({"model": MODEL, "prompt": "a cat", **body})
    assert isinstance(found, Answer)
    assert (found.status, found.body["error"]["code"]) == (400, 400)
    assert words in found.body["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'"x"', b"null", b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """And never a crash."""
    found = openrouter.read(Asked(KEY, body=body))
    assert isinstance(found, Answer)
    assert found.status == 400


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer invalid"}, {"x-goog-api-key": "k"}])
def test_without_a_key_nobody_passes(headers: dict[str, str]) -> None:
    """Neither to images nor to the list of models."""
    for found in (openrouter.read(Asked(headers, body=b"{}")), openrouter.models(Asked(headers))):
        assert isinstance(found, Answer)
        assert (found.status, found.body["error"]["code"]) == (401, 401)
    assert openrouter.models(Asked(KEY)).body["object"] == "list"
    assert openrouter.models(Asked(KEY, path={"what": "key"})).body["data"]["limit"] is None


def test_an_answer_holds_types_tokens_and_a_price() -> None:
    """Each image with its media type; the price is that of the tokens."""
    found = openrouter.answer(order(n=2, input_references=[reference()]), MADE, None)
    assert found.body["created"] == 0
    assert [entry["media_type"] for entry in found.body["data"]] == ["image/jpeg"] * 2
    assert [entry["b64_json"] for entry in found.body["data"]] == [b"one", b"two"]
    usage = found.body["usage"]
    assert usage["completion_tokens_details"]["image_tokens"] == 2 * 1120
    assert usage["prompt_tokens"] > 1120
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["cost"] == pytest.approx(2 * 0.0336, rel=0.02)
    assert found.headers["x-provider-name"] == "Google"


def test_it_has_words_for_every_fault_without_an_image() -> None:
    """No kind of the table ends in a crash of the sandbox; an unknown one does, loudly."""
    kinds = {
        kind for kind, fault in FAULTS.items()
        if OPENROUTER in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }  # fmt: skip
    assert len(kinds) > 10
    for kind in kinds - SERVER_S_OWN:
        assert openrouter.failed(order(), kind, 1.0).encoded()
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        openrouter.failed(order(), "gremlins", 1.0)
    assert openrouter.stamp(1, 2)["x-generation-id"].startswith("gen-img-")


@pytest.mark.parametrize(
    ("fault", "status"),
    [("429", 429), ("429day", 429), ("429zero", 402), ("429money", 402), ("badkey", 401), ("blocked", 403),
     ("safety", 403), ("500", 500), ("503", 503)],
)  # fmt: skip
def test_the_code_of_an_error_is_its_status(fault: str, status: int) -> None:
    """A number, not a word."""
    found = openrouter.failed(order(), fault, 1.0)
    assert (found.status, found.body["error"]["code"]) == (status, status)


@pytest.mark.parametrize("fault", ["429", "500", "503"])
def test_what_fails_behind_names_its_provider(fault: str) -> None:
    """In the metadata, with its raw words."""
    error = openrouter.failed(order(), fault, 1.0).body["error"]
    assert error["message"] == "Provider returned error"
    assert set(error["metadata"]) == {"provider_name", "raw"}


def test_a_refusal_gives_its_reasons() -> None:
    """And the model that was asked."""
    metadata = openrouter.failed(order(), "blocked", 1.0).body["error"]["metadata"]
    assert (metadata["reasons"], metadata["flagged_input"], metadata["model_slug"]) == (["violence"], "a cat", MODEL)


def test_errors_come_inside_a_200_too_and_in_a_list() -> None:
    """The number tells what the status hides."""
    hidden = openrouter.failed(order(), "json200err", 1.0)
    assert (hidden.status, hidden.body["error"]["code"]) == (200, 502)
    assert openrouter.failed(order(), "listerror", 1.0).body[0]["error"]["code"] == 503


def test_a_limit_tells_when_to_come_back() -> None:
    """In whole seconds, never zero."""
    assert openrouter.over_limit(order(), Excess("rpm", 10, 4.2)).headers["retry-after"] == "5"
    assert openrouter.over_limit(order(), Excess("rpm", 10, 0.0)).headers["retry-after"] == "1"


_NAMES = st.sampled_from([*sorted(openrouter._FIELDS), "type", "image_url", "url", "other"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["1:1", "1K", "image_url"])
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=15
)


@given(_VALUES, st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_whatever_comes_is_read_or_refused(anything: Any, fields: dict[str, Any]) -> None:
    """No JSON makes the sandbox stumble."""
    for body in (anything, {"model": MODEL, "prompt": "x"} | fields):
        found = read(body)
        assert isinstance(found, Order) or found.status == 400
