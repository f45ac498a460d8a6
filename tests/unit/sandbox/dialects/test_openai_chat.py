"""The chat's dialect: images in the text or beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.sandbox.dialects import openai_chat
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.faults import CHAT, FAULTS, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer k"}
PNG = b"\x89PNG\r\n\x1a\n a cat"
URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
PICTURE = {"type": "image_url", "image_url": {"url": URI}}
WORDS = {"type": "text", "text": "a cat"}
MADE = [Made(b"one", "http://127.0.0.1/1.png"), Made(b"two", "http://127.0.0.1/2.png")]
BESIDE = {"modalities": ["image", "text"]}
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}
KINDS = {kind for kind, fault in FAULTS.items() if CHAT in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)}


def whole(body: dict[str, Any]) -> dict[str, Any]:
    return {"model": "nano-banana", "messages": [{"role": "user", "content": "a cat"}], **body}


def read(**body: Any) -> Order | Answer:
    return openai_chat.read(Asked(KEY, body=json.dumps(whole(body)).encode()))


def order(**body: Any) -> Order:
    found = read(**body)
    assert isinstance(found, Order), found
    return found


def said(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def test_words_and_images_of_all_messages_count() -> None:
    """A list of parts is read in its order; a relay's image is always a square."""
    found = order(messages=[{"role": "system", "content": "draw"}, {"role": "user", "content": [WORDS, PICTURE]}])
    assert found.drawing.prompt == "draw\na cat"
    assert found.references == (hashlib.sha256(PNG).hexdigest(),)
    assert (found.drawing.width, found.drawing.height, found.images) == (1024, 1024, 1)


def test_ratio_and_size_are_for_openrouter_alone() -> None:
    """A relay does not know them, and draws a square; nobody else may be wrong about them."""
    config = {"aspect_ratio": "16:9", "image_size": "2K"}
    drawing = order(model="google/gemini-3-pro-image", image_config=config, **BESIDE).drawing
    assert (drawing.width, drawing.height) == (2752, 1536)
    drawing = order(model="gemini-3-pro-image", image_config=config).drawing
    assert (drawing.width, drawing.height) == (1024, 1024)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []}, {"messages": "x"}, {"messages": None}, {"messages": ["x"]}, {"messages": [{}]},
        {"messages": [{"content": "x"}]}, {"messages": [{"role": "painter", "content": "x"}]},
        {"messages": [{"role": ["user"], "content": "x"}]},
        said(None), said(5), said({}), said(["a cat"]), said([None]), said([{}]), said([{"type": "text"}]),
        said([{"type": "text", "text": 5}]), said(""), said([PICTURE]), said([WORDS, {"type": "image_url"}]),
        said([WORDS, {"type": "image_url", "image_url": URI}]), said([WORDS, {"type": "input_image", "url": URI}]),
        said([WORDS, {"type": "image_url", "image_url": {"url": "https://x/a.png"}}]), said([WORDS, *[PICTURE] * 15]),
        {"model": 5}, {"model": ""}, {"stream": True}, {"n": 2}, {"n": "1"}, {"size": "1K"},
        {"modalities": "image"}, {"modalities": []}, {"modalities": 5}, {"modalities": ["video"]},
        {"modalities": [["image"]]},
        {"modalities": ["image"], "image_config": {"aspect_ratio": "7:3"}},
        {"modalities": ["image"], "image_config": {"aspect_ratio": ["1:1"]}},
        {"modalities": ["image"], "image_config": {"image_size": "1k"}},
        {"modalities": ["image"], "image_config": {"size": "1K"}}, {"modalities": ["image"], "image_config": []},
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused(body: dict[str, Any]) -> None:
    """With a 400 in the envelope of whom the body is for."""
    found = read(**body)
    assert isinstance(found, Answer)
    assert found.status == 400
    error = found.body["error"]
    assert error["code"] == 400 if "modalities" in body else error["type"] == "new_api_error"


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b"null", b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """In a relay's envelope."""
    found = openai_chat.read(Asked(KEY, body=body))
    assert isinstance(found, Answer)
    assert (found.status, found.body["error"]["type"]) == (400, "new_api_error")


def test_without_a_key_nobody_passes() -> None:
    """Neither to the chat nor to the list of models."""
    for headers in ({}, {"Authorization": "Bearer invalid"}, {"x-goog-api-key": "k"}):
        for found in (openai_chat.read(Asked(headers, body=b"{}")), openai_chat.models(Asked(headers))):
            assert isinstance(found, Answer)
            assert (found.status, found.body["error"]["type"]) == (401, "new_api_error")
    assert "data" in openai_chat.models(Asked(KEY)).body


def test_images_stand_in_the_text_as_markdown() -> None:
    """Relays write them so; a model of links gives links."""
    content = openai_chat.answer(order(), MADE, None).body["choices"][0]["message"]["content"]
    assert content.count("![image](data:image/png;base64,") == 2
    linked = openai_chat.answer(order(model="url-x"), MADE, None).body["choices"][0]["message"]["content"]
    assert "![image](http://127.0.0.1/2.png)" in linked


def test_images_stand_beside_the_text_where_modalities_ask_so() -> None:
    """OpenRouter's way, for which links are links, too."""
    message = openai_chat.answer(order(**BESIDE), MADE, None).body["choices"][0]["message"]
    assert "data:" not in message["content"]
    assert [image["image_url"]["url"][:22] for image in message["images"]] == ["data:image/png;base64,"] * 2
    message = openai_chat.answer(order(model="url-x", **BESIDE), MADE, None).body["choices"][0]["message"]
    assert message["images"][0]["image_url"]["url"] == "http://127.0.0.1/1.png"


def test_whoever_asks_for_words_gets_words() -> None:
    """And no bill for an image."""
    found = order(modalities=["text"])
    assert found.images == 0
    message = openai_chat.answer(found, [], None).body["choices"][0]["message"]
    assert "images" not in message
    assert "![image]" not in message["content"]


def test_images_in_the_request_are_counted() -> None:
    """In the tokens of the prompt."""
    plain = openai_chat.answer(order(), MADE, None).body["usage"]
    usage = openai_chat.answer(order(**said([WORDS, PICTURE])), MADE, None).body["usage"]
    assert usage["prompt_tokens"] - plain["prompt_tokens"] == 258
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("body", [{}, BESIDE])
def test_it_has_words_for_every_fault_without_an_image(body: dict[str, Any]) -> None:
    """No kind of the table ends in a crash of the sandbox; an unknown one does, loudly."""
    assert len(KINDS) > 10
    for kind in KINDS - SERVER_S_OWN:
        assert openai_chat.failed(order(**body), kind, 1.0).encoded()
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        openai_chat.failed(order(**body), "gremlins", 1.0)
    assert openai_chat.over_limit(order(**body), Excess("rpm", 10, 5.0)).status == 429
    assert openai_chat.stamp(1, 2)


@pytest.mark.parametrize("fault", ["429", "429money", "badkey", "500", "503", "blocked"])
def test_errors_are_a_relay_s_or_openrouter_s(fault: str) -> None:
    """A word for the code and the type of the relay's software, or a number."""
    relay = openai_chat.failed(order(), fault, 1.0)
    assert relay.body["error"]["type"] == "new_api_error"
    assert "(request id: " in relay.body["error"]["message"]
    assert isinstance(relay.body["error"]["code"], str)
    router = openai_chat.failed(order(**BESIDE), fault, 1.0)
    assert router.body["error"]["code"] == router.status


_NAMES = st.sampled_from([*sorted(openai_chat._KNOWN), "role", "content", "type", "text", "image_url", "url"])
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["user", "text", "image", URI])
)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=15
)


@given(_VALUES, st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_whatever_comes_is_read_or_refused(anything: Any, fields: dict[str, Any]) -> None:
    """No JSON makes the sandbox stumble."""
    for body in (anything, whole(fields), whole(said(anything)), whole(said([anything, WORDS]))):
        found = openai_chat.read(Asked(KEY, body=json.dumps(body).encode()))
        assert isinstance(found, Order) or found.status == 400
