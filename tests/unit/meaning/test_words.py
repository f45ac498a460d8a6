"""Words as they count."""

from __future__ import annotations

import pytest

from nanobatch.meaning.lexicon import load_lexicon
from nanobatch.meaning.roles import Role
from nanobatch.meaning.tokens import plain, tokens_of
from nanobatch.meaning.words import words_of

LEXICON = load_lexicon()


def keys(text: str) -> str:
    words = words_of(tokens_of(plain(text), LEXICON.kinds["units"]), LEXICON).words
    return " ".join(word.key for word in words if word.role is not Role.ARTICLE)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a grey couch", "gray sofa"),
        ("two couches", "2 sofa"),
        ("couches", "sofa+"),
        ("cell phones on desks", "mobile_phone+ on desk+"),
        ("a dog next to a bike", "dog beside bicycle"),
        ("please generate a cat", "cat"),
        ("Make-up on a table", "make up on table"),
        ("there is a cat", "cat"),
        ("can't fly", "can not fly"),
        ("the king's dog", "king 's dog"),
        ("a hot dog", "hot_dog"),
        ("woods and wood", "forest and wood"),
    ],
)
def test_words_are_read(text: str, found: str) -> None:
    """Spelling, synonyms, numbers and requests."""
    assert keys(text) == found


def test_a_name_has_no_synonyms() -> None:
    """A capital within a sentence marks a name; in a title it marks nothing."""
    assert keys("a poster of Guy in town") == "poster of guy in town"
    assert keys("a poster of a guy") == "poster of man"
    assert keys("Poster Of A Guy In Town") == "poster of man in town"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a portrait of Rose", "a portrait of a rose"),
        ("a map of Turkey", "a map of a turkey"),
        ("Rose in a garden", "A rose in a garden"),
        ("a Jaguar on a road", "a jaguar on a road"),
    ],
)
def test_a_thing_with_a_capital_is_somebody(one: str, other: str) -> None:
    """Rose is no rose; Paris is nothing else in lower case."""
    assert keys(one) != keys(other)
    assert keys("a street in Paris") == keys("a street in paris")
    assert keys("Rose petals") == keys("rose petals")
    assert keys("A Portrait Of A Rose") == keys("a portrait of a rose")


def test_capitals_on_a_sign_are_kept() -> None:
    """They are perhaps to be read in the picture."""
    assert keys("an OPEN sign") != keys("an open sign")
    assert keys("a USB cable") == keys("a usb cable")


def test_the_embedding_gets_what_was_written() -> None:
    """In one spelling and case, synonyms as they are."""
    tokens = tokens_of("A Grey Couch, by the Sea", LEXICON.kinds["units"])
    assert words_of(tokens, LEXICON).text == "gray couch by sea"
