"""Forms of words."""

from __future__ import annotations

import pytest

from nanobatch.meaning.forms import Form, form_of, forms_of_verb


@pytest.mark.parametrize(
    ("word", "lemma"),
    [
        ("cats", "cat"), ("boxes", "box"), ("puppies", "puppy"), ("women", "woman"), ("leaves", "leaf"),
        ("shoes", "shoe"), ("potatoes", "potato"), ("dresses", "dress"), ("movies", "movie"), ("churches", "church"),
    ],
)  # fmt: skip
def test_a_plural_is_one_of_its_singular(word: str, lemma: str) -> None:
    """The lemma is the singular, and what was a plural stays known as one."""
    assert form_of(word) == Form(lemma, is_plural=True)


@pytest.mark.parametrize("word", ["cat", "dress", "bus", "lens", "tennis", "us", "gas", "christmas"])
def test_an_s_alone_makes_no_plural(word: str) -> None:
    """Words that end in s by nature stay as they are."""
    assert form_of(word) == Form(word)


@pytest.mark.parametrize(
    ("verb", "ing", "s"),
    [
        ("ride", "riding", "rides"), ("run", "running", "runs"), ("lie", "lying", "lies"), ("see", "seeing", "sees"),
        ("catch", "catching", "catches"), ("carry", "carrying", "carries"), ("play", "playing", "plays"),
        ("sleep", "sleeping", "sleeps"), ("go", "going", "goes"),
    ],
)  # fmt: skip
def test_a_verb_has_its_forms(verb: str, ing: str, s: str) -> None:
    """As they are spelled, with doubled letters and changed endings."""
    assert ing in forms_of_verb(verb).ing
    assert forms_of_verb(verb).s == s
