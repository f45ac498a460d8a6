"""Together's dialect: sides as numbers, links by default."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.sandbox.dialects import together
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.faults import FAULTS, TOGETHER, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer k"}
MODEL = "black-forest-labs/FLUX.1-schnell"
PNG = b"\x89PNG\r\n\x1a\n a cat"
URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
MADE = [Made(b"one", "l1"), Made(b"two", "l2")]
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def read(body: Any) -> Order | Answer:
    return together.read(Asked(KEY, body=json.dumps(body).encode()))


def order(**body: Any) -> Order:
    found = read({"model": MODEL, "prompt": "a cat", **body})
    assert isinstance(found, Order), found
    return found


def test_sides_are_numbers_of_pixels() -> None:
    """From 64 to 2048, a square without any."""
    assert (order().drawing.width, order().drawing.height) == (1024, 1024)
    drawing = order(width=64, height=2048, steps=4, seed=2**40, guidance_scale=3.5).drawing
    assert (drawing.width, drawing.height, drawing.kind) == (64, 2048, "jpeg")
    assert order(output_format="png").drawing.kind == "png"


def test_an_image_to_start_from_is_hashed() -> None:
    """There is one at most."""
    assert order(image_url=URI).references == (hashlib.sha256(PNG).hexdigest(),)
    assert order(image_url=None).references == ()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"size": "1024x1024"}, "size"), ({"aspect_ratio": "1:1"}, "aspect_ratio"), ({"width": 1000}, "width"),
        ({"width": 48}, "width"), ({"height": 2064}, "height"), ({"width": True}, "width"), ({"width": "64"}, "width"),
        ({"height": 64.0}, "height"), ({"steps": 0}, "steps"), ({"steps": 51}, "steps"), ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"), ({"n": 5}, "n"), ({"n": 0}, "n"), ({"response_format": "b64"}, "response_format"),
        ({"output_format": "webp"}, "output_format"), ({"prompt": ""}, "prompt"), ({"model": 5}, "model"),
        ({"model": None}, "model"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(body: dict[str, Any], param: str) -> None:
    """With a 400 in OpenAI's envelope."""
    found = read({"model": MODEL, "prompt": "a cat", **body})
    assert isinstance(found, Answer)
    assert (found.status, found.body["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    "image", ["https://x.org/a.png", "", 5, ["x"], URI.replace("png", "jpeg", 1), "data:text/plain,x"]
)
def test_an_image_that_is_none_is_refused(image: Any) -> None:
    """The sandbox downloads nothing."""
    found = read({"model": MODEL, "prompt": "a cat", "image_url": image})
    assert isinstance(found, Answer)
    assert found.status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """And never a crash."""
    found = together.read(Asked(KEY, body=body))
    assert isinstance(found, Answer)
    assert found.status == 400


def test_without_a_key_nobody_passes() -> None:
    """As at OpenAI."""
    for headers in ({}, {"Authorization": "Bearer invalid"}):
        found = together.read(Asked(headers, body=b"{}"))
        assert isinstance(found, Answer)
        assert found.status == 401
        assert together.models(Asked(headers)).status == 401
    assert "data" in together.models(Asked(KEY)).body


@pytest.mark.parametrize(
    ("form", "key"), [(None, "url"), ("url", "url"), ("base64", "b64_json"), ("b64_json", "b64_json")]
)
def test_links_come_unless_base64_is_asked_for(form: str | None, key: str) -> None:
    """The older name of base64 is understood, too."""
    body = together.answer(order(n=2, response_format=form), MADE, None).body
    assert [sorted(entry) for entry in body["data"]] == [sorted(["index", key])] * 2
    assert [entry["index"] for entry in body["data"]] == [0, 1]
    assert body["data"][1][key] == ("l2" if key == "url" else b"two")


def test_it_has_words_for_every_fault_without_an_image() -> None:
    """No kind of the table ends in a crash of the sandbox; an unknown one does, loudly."""
    kinds = {
        kind for kind, fault in FAULTS.items()
        if TOGETHER in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }  # fmt: skip
    assert len(kinds) > 10
    for kind in kinds - SERVER_S_OWN:
        assert together.failed(order(), kind, 1.0).encoded()
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        together.failed(order(), "gremlins", 1.0)
    assert together.failed(order(), "noimage", 1.0).body["data"] == []
    assert together.failed(order(), "nullcandidates", 1.0).body["data"] is None
    assert together.over_limit(order(), Excess("rpm", 10, 5.0)).status == 429
    assert together.stamp(1, 2)


_NAMES = st.sampled_from([*sorted(together._FIELDS), "other"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=15
)


@given(_VALUES, st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_whatever_comes_is_read_or_refused(anything: Any, fields: dict[str, Any]) -> None:
    """No JSON makes the sandbox stumble."""
    for body in (anything, {"model": MODEL, "prompt": "x"} | fields):
        found = read(body)
        assert isinstance(found, Order) or found.status == 400
