"""xAI's dialect: links by default, errors of two sentences."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.sandbox.dialects import xai
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.faults import FAULTS, XAI, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer k"}
MODEL = "grok-imagine-image"
MADE = [Made(b"one", "l1"), Made(b"two", "l2")]
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def read(body: Any) -> Order | Answer:
    return xai.read(Asked(KEY, body=json.dumps(body).encode()))


def order(**body: Any) -> Order:
    found = read({"model": MODEL, "prompt": "a cat", **body})
    assert isinstance(found, Order), found
    return found


@pytest.mark.parametrize(
    ("body", "pixels"),
    [
        ({}, (1024, 1024)),
        ({"aspect_ratio": "auto"}, (1024, 1024)),
        ({"aspect_ratio": "16:9"}, (1376, 768)),
        ({"aspect_ratio": "1:2", "resolution": "2k"}, (1408, 2816)),
        ({"aspect_ratio": "19.5:9"}, (1456, 672)),
    ],
)
def test_ratio_and_resolution_decide_the_pixels(body: dict[str, Any], pixels: tuple[int, int]) -> None:
    """Its own ratios, and resolutions in lower case."""
    drawing = order(**body).drawing
    assert ((drawing.width, drawing.height), drawing.kind) == (pixels, "jpeg")


def test_every_ratio_has_about_its_own_shape() -> None:
    """A megapixel each, within a few percent of the ratio."""
    for ratio, (width, height) in xai._RATIOS.items():
        wanted = 1.0 if ratio == "auto" else float(ratio.split(":")[0]) / float(ratio.split(":")[1])
        assert width / height == pytest.approx(wanted, rel=0.03), ratio
        assert 0.9e6 < width * height < 1.15e6, ratio


@pytest.mark.parametrize(
    "body",
    [
        {"size": "1024x1024"}, {"quality": "high"}, {"style": "vivid"}, {"aspect_ratio": "4:5"}, {"aspect_ratio": 1.0},
        {"resolution": "1K"}, {"resolution": "4k"}, {"n": 11}, {"n": True}, {"prompt": ""}, {"prompt": 5}, {"model": ""},
        {"response_format": "base64"}, {"image_url": "data:"},
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused_in_two_sentences(body: dict[str, Any]) -> None:
    """What sort of mistake, and which one."""
    found = read({"model": MODEL, "prompt": "a cat", **body})
    assert isinstance(found, Answer)
    assert (found.status, found.body["code"]) == (400, "Client specified an invalid argument")
    assert isinstance(found.body["error"], str)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """And never a crash."""
    found = xai.read(Asked(KEY, body=body))
    assert isinstance(found, Answer)
    assert found.status == 400


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer invalid-secret"}])
def test_without_a_key_nobody_passes(headers: dict[str, str]) -> None:
    """And the key is not repeated."""
    for found in (xai.read(Asked(headers, body=b"{}")), xai.models(Asked(headers))):
        assert isinstance(found, Answer)
        assert found.status == 400
        assert found.body["error"].startswith("Incorrect API key provided")
        assert "secret" not in str(found.body)
    assert "data" in xai.models(Asked(KEY)).body


def test_links_come_unless_base64_is_asked_for() -> None:
    """Each image with its type; the bill is in ticks."""
    body = xai.answer(order(n=2), MADE, None).body
    assert body["data"] == [{"url": "l1", "mime_type": "image/jpeg"}, {"url": "l2", "mime_type": "image/jpeg"}]
    assert body["usage"]["cost_in_usd_ticks"] == 2 * 200_000_000
    body = xai.answer(order(response_format="b64_json"), MADE[:1], None).body
    assert body["data"] == [{"b64_json": b"one", "mime_type": "image/jpeg"}]


def test_it_has_words_for_every_fault_without_an_image() -> None:
    """No kind of the table ends in a crash of the sandbox; an unknown one does, loudly."""
    kinds = {
        kind for kind, fault in FAULTS.items() if XAI in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    assert len(kinds) > 10
    for kind in kinds - SERVER_S_OWN:
        assert xai.failed(order(), kind, 1.0).encoded()
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        xai.failed(order(), "gremlins", 1.0)
    assert xai.stamp(1, 2)


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("429", 429, "Too many requests"), ("429money", 429, "used all available credits"),
        ("badkey", 400, "Incorrect API key"), ("blocked", 400, "rejected by content moderation"),
        ("safety", 400, "rejected by content moderation"), ("500", 500, "failed"), ("503", 503, "at capacity"),
        ("json200err", 200, "failed"),
    ],
)  # fmt: skip
def test_an_error_is_a_sentence_and_not_an_object(fault: str, status: int, words: str) -> None:
    """Clients that look for `error.message` find none."""
    found = xai.failed(order(), fault, 1.0)
    assert found.status == status
    assert words in found.body["error"]


def test_a_limit_tells_when_to_come_back_and_money_does_not() -> None:
    """Both are a 429; only one passes."""
    assert xai.over_limit(order(), Excess("rpm", 10, 4.2)).headers["retry-after"] == "5"
    assert xai.failed(order(), "429money", 1.0).headers == {}


_NAMES = st.sampled_from([*sorted(xai._FIELDS), "other"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("1:1")
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=15
)


@given(_VALUES, st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_whatever_comes_is_read_or_refused(anything: Any, fields: dict[str, Any]) -> None:
    """No JSON makes the sandbox stumble."""
    for body in (anything, {"model": MODEL, "prompt": "x"} | fields):
        found = read(body)
        assert isinstance(found, Order) or found.status == 400
