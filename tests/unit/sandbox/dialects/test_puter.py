"""Puter's dialect: one call for everything, errors by their code."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nanobatch.sandbox.dialects import puter
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.faults import FAULTS, PUTER, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer k"}
IMAGE = b"\x89PNG\r\n\x1a\n\xfb\xff\xfe a cat"
PNG = base64.b64encode(IMAGE).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xfb\xff\xfe a dog").decode()
GIF = base64.b64encode(b"GIF89a a frog").decode()
MODEL = "gemini-3-pro-image-preview"
CALL = {"interface": "puter-image-generation", "driver": "ai-image", "method": "generate", "test_mode": False}
MADE = [Made(b"one", "http://127.0.0.1/1.png"), Made(b"two", "http://127.0.0.1/2.png")]
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def read(call: dict[str, Any] | None = None, headers: dict[str, str] = KEY, **arguments: Any) -> Order | Answer:
    body = CALL | {"args": {"prompt": "a cat", "model": MODEL, **arguments}} | (call or {})
    return puter.read(Asked(headers, body=json.dumps(body).encode()))


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
        ({"quality": "0.5K"}, (1024, 1024)),  # which this model does not have
        ({"quality": "0.5K", "model": "gemini-3.1-flash-image-preview"}, (512, 512)),
        ({"quality": "4K", "model": "gemini-2.5-flash-image"}, (1024, 1024)),
        ({"quality": "4K", "model": "gemini-3.1-flash-lite-image"}, (1024, 1024)),
        ({"ratio": {"w": 1, "h": 8}, "model": "gemini-3.1-flash-lite-image"}, (384, 3072)),
    ],
)
def test_ratio_and_quality_decide_the_pixels(arguments: dict[str, Any], pixels: tuple[int, int]) -> None:
    """What the model lacks is replaced without a word, as the vendor does."""
    found = order(**arguments)
    assert (found.drawing.width, found.drawing.height) == pixels


@pytest.mark.parametrize(("alias", "kind"), [("nano-banana", "png"), ("nano-banana-pro", "jpeg")])
def test_a_short_name_is_its_model(alias: str, kind: str) -> None:
    """It draws the files of the model behind it, under the name that was asked."""
    assert (order(model=alias).drawing.kind, order(model=alias).model) == (kind, alias)


def test_references_have_two_places() -> None:
    """One with its type, then several that tell theirs themselves; hashed in this order, in either alphabet."""
    safe = base64.urlsafe_b64encode(IMAGE).decode().rstrip("=")
    assert "_" in safe or "-" in safe
    assert order(input_image=safe, input_image_mime_type="image/png").references == (hashlib.sha256(IMAGE).hexdigest(),)
    found = order(input_image=JPEG, input_images=[PNG, safe]).references  # a type that is not told is looked for
    assert found[1] == found[2] == hashlib.sha256(IMAGE).hexdigest()
    assert found[0] == hashlib.sha256(base64.b64decode(JPEG)).hexdigest()
    assert len(order(input_images=[PNG] * 14).references) == 14


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ({"interface": "x"}, {}), ({"method": "x"}, {}), ({"driver": "x"}, {}), ({"driver": ["ai-image"]}, {}),
        ({"args": 5}, {}), ({"args": None}, {}), ({"prompt": "x"}, {}), ({"test_mode": "yes"}, {}),
        (None, {"size": "1K"}), (None, {"test_mode": True}), (None, {"prompt": ""}), (None, {"prompt": 5}),
        (None, {"model": "no-such"}), (None, {"model": 5}), (None, {"model": "gemini-3-pro-image"}),
        (None, {"quality": "8K"}), (None, {"quality": "1k"}), (None, {"quality": ["1K"]}),
        (None, {"ratio": "16:9"}), (None, {"ratio": {}}), (None, {"ratio": {"w": "16", "h": "9"}}),
        (None, {"ratio": {"w": True, "h": True}}), (None, {"ratio": {"w": 16}}),
        (None, {"input_images": 5}), (None, {"input_images": [5]}), (None, {"input_images": [None]}),
        (None, {"input_images": ["AAAA"]}), (None, {"input_images": ["!!!!"]}), (None, {"input_images": ["é"]}),
        (None, {"input_images": [GIF]}), (None, {"input_images": [PNG + "!!"]}), (None, {"input_images": [PNG] * 15}),
        (None, {"input_images": [PNG] * 14, "input_image": PNG}),
        (None, {"input_image": GIF, "input_image_mime_type": "image/gif"}),
        (None, {"input_image": PNG, "input_image_mime_type": "image/jpeg"}),
        (None, {"input_image": PNG, "input_image_mime_type": 5}), (None, {"input_image": 5}), (None, {"input_image": ""}),
    ],
)  # fmt: skip
def test_a_wrong_call_is_refused(call: dict[str, Any] | None, arguments: dict[str, Any]) -> None:
    """With the code of the service behind the door, and its status."""
    found = read(call, **arguments)
    assert isinstance(found, Answer)
    assert (found.status, found.body["code"], found.body["upstreamStatus"]) == (400, "upstream_bad_request", 400)
    assert found.body["message"] == found.body["error"]


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b"null", b"5", b"\xff"])
def test_a_body_that_is_no_call_is_refused(body: bytes) -> None:
    """With a 400 to whoever has a token, with a 401 to all others."""
    for headers, status in ((KEY, 400), ({}, 401)):
        found = puter.read(Asked(headers, body=body))
        assert isinstance(found, Answer)
        assert found.status == status


def test_the_token_may_stand_in_the_body() -> None:
    """As the vendor's own script sends it where headers cannot be set."""
    assert isinstance(read({"auth_token": "k"}, headers={}), Order)
    for token in ("invalid", "", None, 0):
        found = read({"auth_token": token}, headers={})
        assert isinstance(found, Answer)
        assert (found.status, found.body["code"]) == (401, "token_auth_failed")
    wrong = read({"auth_token": "k"}, headers={"Authorization": "Bearer invalid"})
    assert isinstance(wrong, Answer)
    assert wrong.status == 401


def test_a_test_call_gets_a_sample_for_free() -> None:
    """An image at once, not an order; a wrong call is wrong all the same."""
    found = read({"test_mode": True})
    assert isinstance(found, Answer)
    assert found.body["success"]
    sample = base64.b64decode(found.body["result"].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(sample)).size == (1, 1)
    refused = read({"test_mode": True}, quality="8K")
    assert isinstance(refused, Answer)
    assert refused.status == 400


def test_the_first_image_is_returned() -> None:
    """Also where it is a draft: the vendor's own habit. A model of links gives a link."""
    found = puter.answer(order(), MADE, None).body
    assert found["success"]
    assert base64.b64decode(found["result"].split(",", 1)[1]) == b"one"
    assert puter.answer(order(model="url-x"), MADE, None).body["result"] == "http://127.0.0.1/1.png"


@pytest.mark.parametrize(
    ("fault", "status", "code", "upstream"),
    [
        ("429", 429, "upstream_rate_limited", 429), ("429money", 402, "insufficient_funds", None),
        ("badkey", 401, "token_auth_failed", None), ("500", 400, "upstream_provider_unavailable", 500),
        ("503", 400, "upstream_provider_unavailable", 503), ("noimage", 400, "unknown_error", None),
        ("blocked", 400, "upstream_bad_request", 400),
    ],
)  # fmt: skip
def test_the_code_says_more_than_the_status(fault: str, status: int, code: str, upstream: int | None) -> None:
    """What breaks behind the door comes as a 400 that names the true status."""
    found = puter.failed(order(), fault, 1.0)
    assert (found.status, found.body["code"], found.body.get("upstreamStatus")) == (status, code, upstream)


def test_it_has_words_for_every_fault_without_an_image() -> None:
    """No kind of the table ends in a crash of the sandbox; an unknown one does, loudly."""
    kinds = {
        kind for kind, fault in FAULTS.items() if PUTER in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    assert len(kinds) > 10
    for kind in kinds - SERVER_S_OWN:
        assert puter.failed(order(), kind, 1.0).encoded()
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        puter.failed(order(), "gremlins", 1.0)
    found = puter.over_limit(order(), Excess("rpm", 10, 5.0))
    assert (found.status, found.body["code"]) == (429, "too_many_requests")
    assert puter.models(Asked(KEY)).status == 404
    assert puter.stamp(1, 2)


_NAMES = st.sampled_from([*sorted(puter._FIELDS | puter._OUTER), "w", "h", "other"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["1K", PNG, MODEL])
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=15
)


@given(_VALUES, st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_whatever_comes_is_read_or_refused(anything: Any, fields: dict[str, Any]) -> None:
    """No JSON makes the sandbox stumble."""
    arguments = {"prompt": "x", "model": MODEL} | fields
    for body in (anything, CALL | fields, CALL | {"args": arguments}):
        found = puter.read(Asked(KEY, body=json.dumps(body).encode()))
        assert isinstance(found, Order) or found.status in (200, 400)
