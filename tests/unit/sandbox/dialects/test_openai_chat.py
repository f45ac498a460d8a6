"""The chat's dialect: images in the text or beside it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from nanobatch.sandbox.dialects import openai_chat
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.faults import CHAT, FAULTS, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer k"}
PNG = b"\x89PNG\r\n\x1a\n a cat"
URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
MADE = [Made(b"one", "http://127.0.0.1/1.png"), Made(b"two", "http://127.0.0.1/2.png")]
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def read(**body: Any) -> Order | Answer:
    whole = {"model": "nano-banana", "messages": [{"role": "user", "content": "a cat"}], **body}
    return openai_chat.read(Asked(KEY, body=json.dumps(whole).encode()))


def order(**body: Any) -> Order:
    found = read(**body)
    assert isinstance(found, Order), found
    return found


def test_words_and_images_of_all_messages_count() -> None:
    """A list of parts is read in its order; the image is always a square."""
    parts = [{"type": "text", "text": "a cat"}, {"type": "image_url", "image_url": {"url": URI}}]
    found = order(messages=[{"role": "system", "content": "draw"}, {"role": "user", "content": parts}])
    assert found.drawing.prompt == "draw\na cat"
    assert len(found.references) == 1
    assert (found.drawing.width, found.drawing.height) == (1024, 1024)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []}, {"messages": "x"}, {"model": 5}, {"stream": True}, {"size": "1K"},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]}]},
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused(body: dict[str, Any]) -> None:
    """With a 400 in a relay's envelope."""
    found = read(**body)
    assert isinstance(found, Answer)
    assert (found.status, found.body["error"]["type"]) == (400, "new_api_error")
    broken = openai_chat.read(Asked(KEY, body=b"{"))
    assert isinstance(broken, Answer)
    assert broken.status == 400


def test_without_a_key_nobody_passes() -> None:
    """As at OpenAI."""
    for headers in ({}, {"Authorization": "Bearer invalid"}):
        found = openai_chat.read(Asked(headers, body=b"{}"))
        assert isinstance(found, Answer)
        assert found.status == 401


def test_images_stand_in_the_text_as_markdown() -> None:
    """Relays write them so; a model of links gives links."""
    content = openai_chat.answer(order(), MADE, None).body["choices"][0]["message"]["content"]
    assert content.count("![image](data:image/png;base64,") == 2
    linked = openai_chat.answer(order(model="url-x"), MADE, None).body["choices"][0]["message"]["content"]
    assert "![image](http://127.0.0.1/2.png)" in linked


def test_images_stand_beside_the_text_where_modalities_ask_so() -> None:
    """OpenRouter's way."""
    message = openai_chat.answer(order(modalities=["image", "text"]), MADE, None).body["choices"][0]["message"]
    assert "data:" not in message["content"]
    assert [image["image_url"]["url"][:22] for image in message["images"]] == ["data:image/png;base64,"] * 2


def test_it_has_words_for_every_fault_without_an_image() -> None:
    """No kind of the table ends in a crash of the sandbox; an unknown one does, loudly."""
    kinds = {
        kind for kind, fault in FAULTS.items() if CHAT in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    assert len(kinds) > 10
    for kind in kinds - SERVER_S_OWN:
        assert openai_chat.failed(order(), kind, 1.0).encoded()
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        openai_chat.failed(order(), "gremlins", 1.0)
    assert openai_chat.over_limit(order(), Excess("rpm", 10, 5.0)).status == 429
    assert "data" in openai_chat.models(Asked(KEY)).body
    assert openai_chat.stamp(1, 2)
