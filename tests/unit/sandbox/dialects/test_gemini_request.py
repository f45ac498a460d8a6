"""The vendor's strictness, field by field."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.sandbox.dialects.gemini_request import InvalidError, read

PRO = "gemini-3-pro-image"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n pixel").decode()


def body(config: Any = None, **other: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "a cat"}]}], **other}
    return found | ({"generationConfig": config} if config is not None else {})


def image(**fields: Any) -> dict[str, Any]:
    return body({"imageConfig": fields})


def wrong(value: Any, model: str = PRO) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        read(model, value)
    return caught.value


def test_a_small_body_is_enough() -> None:
    """Only contents are needed; the rest has defaults."""
    order = read(PRO, {"contents": [{"parts": [{"text": "a cat"}]}]})
    assert (order.model, order.images, order.drawing.prompt) == (PRO, 1, "a cat")
    assert (order.drawing.width, order.drawing.height, order.drawing.kind) == (1408, 768, "jpeg")
    assert dict(order.details) == {"size": "1K", "references": 0, "thinks": False, "tier": "standard"}


def test_both_spellings_are_read() -> None:
    """Keys in camelCase and in snake_case mean the same."""
    snake = {
        "contents": [{"parts": [{"text": "a"}, {"inline_data": {"mime_type": "image/png", "data": PIXEL}}]}],
        "generation_config": {
            "response_modalities": ["IMAGE"], "image_config": {"aspect_ratio": "9:16", "image_size": "2K"},
        },
        "service_tier": "flex",
    }  # fmt: skip
    camel = {
        "contents": [{"parts": [{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": PIXEL}}]}],
        "generationConfig": {
            "responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "9:16", "imageSize": "2K"},
        },
        "serviceTier": "flex",
    }  # fmt: skip
    assert read(PRO, snake) == read(PRO, camel)
    assert (read(PRO, snake).drawing.width, read(PRO, snake).drawing.height) == (1536, 2752)
    assert read(PRO, snake).details["tier"] == "flex"


def test_all_words_make_the_prompt() -> None:
    """A conversation of several parts is one prompt, line by line."""
    contents = [
        {"role": "user", "parts": [{"text": "a cat"}, {"text": "on a mat"}]},
        {"role": "model", "parts": [{"text": "which cat?", "thoughtSignature": "c2ln"}]},
    ]
    assert read(PRO, {"contents": contents}).drawing.prompt == "a cat\non a mat\nwhich cat?"


@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padded", [True, False])
def test_references_come_in_either_alphabet(alphabet: Any, padded: bool) -> None:
    """Standard and URL-safe base64, with or without padding, as the vendor takes them."""
    data = alphabet(b"\x89PNG\r\n\x1a\n\xfb\xff\xfe\xfd").decode()
    data = data if padded else data.rstrip("=")
    parts = [{"inlineData": {"mimeType": "image/png", "data": data}}, {"fileData": {"fileUri": "https://x"}}]
    order = read(PRO, {"contents": [{"parts": parts}]})
    assert order.details["references"] == 2 * 258
    assert order.references[0] == hashlib.sha256(b"\x89PNG\r\n\x1a\n\xfb\xff\xfe\xfd").hexdigest()


def test_a_fifteenth_reference_is_too_many() -> None:
    """Fourteen are supported."""
    part = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    read(PRO, {"contents": [{"parts": [part] * 14}]})
    assert "fewer images" in str(wrong({"contents": [{"parts": [part] * 15}]}))


@pytest.mark.parametrize("data", ["!!!", "ab%d", 5, None, "a"])
def test_a_reference_that_is_not_base64_is_named(data: Any) -> None:
    """The place of the part is in the sentence."""
    error = wrong({"contents": [{"parts": [{"text": "x"}, {"inlineData": {"data": data}}]}]})
    assert str(error).endswith("Base64 decoding failed")
    assert error.field == "contents[0].parts[1].inline_data.data"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "contents is not specified"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": "a cat"}, "contents is not specified"),
        ({"contents": [{}]}, "contents[0].parts: contents.parts must not be empty"),
        ({"contents": [{"parts": []}]}, "contents.parts must not be empty"),
        ({"contents": ["a cat"]}, "Invalid value at 'contents[0]'"),
        ({"contents": [{"parts": [{}]}]}, "required oneof field 'data'"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 5"),
        ({"contents": [{"parts": [{"text": ""}]}]}, "must have a text parameter"),
        ([], "Invalid value at 'body'"),
        (None, "Invalid value at 'body'"),
        (5, "Invalid value at 'body'"),
    ],
)
def test_contents_are_needed(value: Any, sentence: str) -> None:
    """Nothing to draw, or no words where words belong, is an error."""
    assert sentence in str(wrong(value))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (body(prompt="x"), 'Unknown name "prompt": Cannot find field.'),
        (body(n=2), 'Unknown name "n": Cannot find field.'),
        (body({"aspectRatio": "1:1"}), "Unknown name \"aspectRatio\" at 'generation_config': Cannot find field."),
        (image(personGeneration="ALLOW_ALL"), "Unknown name \"personGeneration\" at 'generation_config.image_config'"),
        (image(quality="high"), 'Unknown name "quality"'),
        ({"contents": [{"parts": [{"text": "x"}], "name": "y"}]}, "Unknown name \"name\" at 'contents[0]'"),
        ({"contents": [{"parts": [{"image": "x"}]}]}, "Unknown name \"image\" at 'contents[0].parts[0]'"),
    ],
)
def test_an_unknown_field_is_named_with_its_place(value: Any, sentence: str) -> None:
    """A misspelt field is never ignored."""
    assert sentence in str(wrong(value))


def test_null_is_left_out() -> None:
    """Clients that send every field, empty, are understood."""
    value = body({"imageConfig": {"aspectRatio": None}, "seed": None}, systemInstruction=None, serviceTier=None)
    assert read(PRO, value) == read(PRO, body())


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (PRO, "1k"), (PRO, "512"), (PRO, "8K"), (PRO, 1), (PRO, ""), (PRO, ["1K"]),
        ("gemini-3.1-flash-lite-image", "2K"), ("gemini-nano-banana-2.1", "512"), ("any-relay", "1024"),
    ],
)  # fmt: skip
def test_a_size_that_the_model_lacks_is_refused(model: str, size: Any) -> None:
    """Sizes are upper case, and each model has its own."""
    error = wrong(image(imageSize=size), model)
    assert error.field == "generation_config.image_config.image_size"
    assert "must be one of" in str(error)


def test_the_oldest_model_takes_no_size_at_all() -> None:
    """Even its only size may not be said."""
    assert "not supported" in str(wrong(image(imageSize="1K"), "gemini-2.5-flash-image"))
    assert read("gemini-2.5-flash-image", image(aspectRatio="2:3")).drawing.height == 1248


@pytest.mark.parametrize(
    ("model", "ratio"),
    [(PRO, "1:8"), (PRO, "auto"), (PRO, "16x9"), (PRO, 1.5), (PRO, ["1:1"]), ("gemini-3.1-flash-image", "7:5")],
)
def test_a_ratio_that_the_model_lacks_is_refused(model: str, ratio: Any) -> None:
    """Ten ratios for some models, fourteen for others, never a word."""
    assert wrong(image(aspectRatio=ratio), model).field == "generation_config.image_config.aspect_ratio"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"responseModalities": ["Image"]}, "generation_config.response_modalities"),
        ({"responseModalities": [["IMAGE"]]}, "generation_config.response_modalities"),
        ({"responseModalities": "IMAGE"}, "generation_config.response_modalities"),
        ({"seed": 2**31}, "generation_config.seed"),
        ({"seed": "7"}, "generation_config.seed"),
        ({"seed": 1.5}, "generation_config.seed"),
        ({"seed": True}, "generation_config.seed"),
        ({"maxOutputTokens": "many"}, "generation_config.max_output_tokens"),
        ({"temperature": 2.1}, "temperature must be in the range"),
        ({"temperature": "hot"}, "temperature must be in the range"),
        ({"candidateCount": 2}, "Multiple candidates"),
        ({"imageConfig": []}, "Invalid value at 'generation_config.image_config'"),
        ([], "Invalid value at 'generation_config'"),
    ],
)
def test_wrong_values_are_refused(config: Any, sentence: str) -> None:
    """Types and ranges are the vendor's."""
    assert sentence in str(wrong(body(config)))


@pytest.mark.parametrize("seed", [0, -(2**31), 2**31 - 1])
def test_seeds_are_32_bits(seed: int) -> None:
    """The ends of the range are inside."""
    read(PRO, body({"seed": seed, "temperature": 2, "candidateCount": 1, "topP": 0.9}))


@pytest.mark.parametrize(("tier", "fine"), [("flex", True), ("PRIORITY", True), ("cheap", False), (5, False)])
def test_tiers_are_known(tier: Any, fine: bool) -> None:
    """The tier comes back as it was asked, in lower case."""
    if fine:
        assert read(PRO, body(serviceTier=tier)).details["tier"] == tier.lower()
    else:
        assert "service_tier" in str(wrong(body(serviceTier=tier)))


def test_words_alone_order_no_image() -> None:
    """Who asks for text gets text, and no bill for an image; no modalities at all are the default."""
    assert read(PRO, body({"responseModalities": ["TEXT"]})).images == 0
    assert read(PRO, body({"responseModalities": []})).images == 1
    assert read(PRO, body({"responseModalities": ["IMAGE"]})).images == 1


@pytest.mark.parametrize(("level", "thinks"), [("minimal", False), ("MINIMAL", False), ("high", True), ("low", True)])
def test_thinking_is_asked_for_by_level(level: str, thinks: bool) -> None:
    """Anything above the least level counts thoughts."""
    assert read(PRO, body({"thinkingConfig": {"thinkingLevel": level}})).details["thinks"] is thinks


_NAMES = st.sampled_from([
    "contents", "parts", "text", "inlineData", "data", "generationConfig", "imageConfig", "imageSize", "aspectRatio",
    "responseModalities", "seed", "thinkingConfig", "thinkingLevel", "serviceTier", "other",
])  # fmt: skip
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1K", "1:1"])
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=20
)


@given(_VALUES, st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_whatever_comes_is_read_or_refused(anything: Any, fields: dict[str, Any]) -> None:
    """No JSON makes the sandbox stumble: it becomes an order or an error that says why."""
    for value in (anything, body() | fields, body(anything), image(**fields)):
        with contextlib.suppress(InvalidError):
            assert read(PRO, value).images in (0, 1)
