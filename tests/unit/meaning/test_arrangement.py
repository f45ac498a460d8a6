"""The order of words, where it counts and where it does not."""

from __future__ import annotations

import pytest

from nanobatch.meaning.arrangement import arranged, as_written
from nanobatch.meaning.lexicon import load_lexicon
from nanobatch.meaning.tokens import tokens_of
from nanobatch.meaning.words import words_of

LEXICON = load_lexicon()


def said(text: str) -> str:
    return arranged(words_of(tokens_of(text, LEXICON.kinds["units"]), LEXICON).words, LEXICON)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a big red ball", "a red big ball"),
        ("a small, red ball", "a small red ball"),
        ("an old and rusty car", "a rusty old car"),
        ("cats, dogs and birds", "cats, dogs, and birds"),
        ("a cat sleeping on a mat", "a sleeping cat on a mat"),
        ("a cat, sitting on a mat", "a cat sitting on a mat"),
        ("a cat and a dog", "a dog and a cat"),
        ("a cup, white background, studio lighting", "studio lighting, a cup, white background"),
        ("photo of a cup on a white background", "a cup, photo, white background"),
        ("two cats sleeping", "two sleeping cats"),
    ],
)
def test_order_that_says_nothing(one: str, other: str) -> None:
    """Adjectives before one noun, looks of the whole, commas that join, what somebody does alone."""
    assert said(one) == said(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a man feeding a big dog", "a big man feeding a dog"),
        ("a cat, black, a dog, white", "a cat, white, a dog, black"),
        ("a cat, dark background, a dog, light background", "a cat, light background, a dog, dark background"),
        (
            "a cat on a dark background, a dog on a light background",
            "a cat on a light background, a dog on a dark background",
        ),
        ("a woman watching a smiling child", "a smiling woman watching a child"),
        ("a woman, holding a cup, a man", "a man, holding a cup, a woman"),
        ("a red and blue flag", "a red blue flag"),
        ("an orange glass", "a glass orange"),
        ("a cat on a painting", "a painting of a cat"),
        ("a tall man and a short woman", "a short man and a tall woman"),
        ("a cat with a hat and a dog", "a dog with a hat and a cat"),
        ("a moth in light", "a moth with a light"),
        ("a cat, a hat", "a hat, a cat"),
        ("a cat and a dog, from left to right", "a dog and a cat, from left to right"),
        ("a close-up of a cat, a dog far away", "a cat, a dog far away, close-up"),
    ],
)
def test_order_that_says_who_and_what(one: str, other: str) -> None:
    """Nothing moves across a verb, a relation or a noun, and nothing that may belong to one of two things."""
    assert said(one) != said(other)


def test_as_written_moves_nothing() -> None:
    """Only articles go."""
    words = words_of(tokens_of("a red big ball, soft light", LEXICON.kinds["units"]), LEXICON).words
    assert as_written(words) == "red big ball | soft light"
