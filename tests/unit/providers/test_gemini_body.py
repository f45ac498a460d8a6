"""What generateContent is sent: the words, the references, the options in their places."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from nanobatch.model import Order, Reference
from nanobatch.providers import gemini_body
from nanobatch.providers.gemini_body import TOKENS_PER_REFERENCE, cost_of

CAT = Reference(b"\xff\xd8cat", "image/jpeg", "ca" * 32)
DOG = Reference(b"\x89PNGdog", "image/png", "d0" * 32)


def sent(order: Order) -> dict[str, Any]:
    return gemini_body.body_of_order(order)


def test_the_example_works() -> None:
    """The function's example runs as it is printed."""
    result = doctest.testmod(gemini_body)
    assert result.attempted > 0
    assert result.failed == 0


def test_what_is_not_asked_is_not_sent() -> None:
    """No size, ratio or seed of our own: models refuse fields that they do not know."""
    assert sent(Order("a red fox", "m")) == {
        "contents": [{"role": "user", "parts": [{"text": "a red fox"}]}],
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]},
    }


@pytest.mark.parametrize("size", ["512", "1K", "2K", "4K"])
def test_sizes_are_spelt_as_the_wire_wants_them(size: str) -> None:
    """The K is upper case, and 512 stands for itself."""
    assert sent(Order("x", "m", size=size))["generationConfig"]["imageConfig"] == {"imageSize": size}


def test_a_seed_of_zero_is_a_seed() -> None:
    """Zero is a number that somebody asked for."""
    assert sent(Order("x", "m", seed=0))["generationConfig"]["seed"] == 0


def test_options_are_merged_key_by_key() -> None:
    """An option adds to what is there or replaces one value; a list is replaced whole."""
    options = {
        "generationConfig": {"imageConfig": {"imageSize": "4K"}, "topP": 0.9},
        "responseModalities": ["IMAGE"],
        "tools": [{"googleSearch": {}}],
    }
    body = sent(Order("x", "m", size="1K", aspect_ratio="1:1", options=options))
    assert body["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "imageConfig": {"aspectRatio": "1:1", "imageSize": "4K"},
        "topP": 0.9,
    }
    assert body["tools"] == [{"googleSearch": {}}]


def test_options_are_left_alone() -> None:
    """A thousand orders share one mapping of options; none of them changes it."""
    options = {"generationConfig": {"imageConfig": {"a": 1}}, "safetySettings": [{"b": 2}]}
    for size in ("1K", "2K"):
        sent(Order("x", "m", size=size, aspect_ratio="1:1", options=options))
    assert options == {"generationConfig": {"imageConfig": {"a": 1}}, "safetySettings": [{"b": 2}]}


def test_options_beat_what_the_order_says() -> None:
    """What the user wrote into the options is what the user wants."""
    body = sent(Order("x", "m", seed=1, options={"seed": 2, "contents": "mine"}))
    assert body["generationConfig"]["seed"] == 2
    assert body["contents"] == "mine"


@pytest.mark.parametrize("size", [None, "2K"])
def test_options_of_the_image_find_their_place(size: str | None) -> None:
    """What Vertex AI takes inside imageConfig may be written without knowing where it goes."""
    output = {"mimeType": "image/png"}
    options = {"personGeneration": "ALLOW_NONE", "imageOutputOptions": output, "prominentPeople": "BLOCK"}
    body = sent(Order("x", "m", size=size, options=options))
    known = {} if size is None else {"imageSize": size}
    assert body["generationConfig"]["imageConfig"] == known | options
    assert set(body) == {"contents", "generationConfig"}


def test_an_image_config_written_out_goes_before_its_short_form() -> None:
    """Two ways to say the same meet in one object; the longer way was written on purpose."""
    options = {"personGeneration": "A", "prominentPeople": "B", "imageConfig": {"personGeneration": "C"}}
    assert sent(Order("x", "m", options=options))["generationConfig"]["imageConfig"] == {
        "personGeneration": "C",
        "prominentPeople": "B",
    }


def test_references_follow_the_words_in_their_order() -> None:
    """The model is told "the first image" and "the second": their order is the user's; the bytes are sent as they are."""
    assert sent(Order("put the cat on the dog", "m", references=(CAT, DOG)))["contents"] == [
        {
            "role": "user",
            "parts": [
                {"text": "put the cat on the dog"},
                {"inlineData": {"mimeType": "image/jpeg", "data": b"\xff\xd8cat"}},
                {"inlineData": {"mimeType": "image/png", "data": b"\x89PNGdog"}},
            ],
        }
    ]


def test_the_same_reference_twice_is_sent_twice() -> None:
    """Nothing is taken out of what the user listed."""
    assert len(sent(Order("x", "m", references=(CAT, CAT)))["contents"][0]["parts"]) == 3


@pytest.mark.parametrize(
    ("references", "tokens"), [((), 100), ((CAT,), 100 + TOKENS_PER_REFERENCE), ((CAT, DOG), 2340)]
)
def test_an_order_takes_tokens_from_the_quota(references: tuple[Reference, ...], tokens: int) -> None:
    """Words and references are estimated for providers that limit tokens per minute; it is one request for one image."""
    cost = cost_of(Order("x" * 400, "m", references=references))
    assert (cost.requests, cost.images, cost.tokens) == (1, 1, tokens)
