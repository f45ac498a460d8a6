"""Words with their neighbours."""

from __future__ import annotations

import pytest

from tests.unit.meaning.test_words import keys


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a boy rides a horse", "a boy riding a horse"),
        ("two dogs run", "two dogs running"),
        ("a woman is holding a cup", "a woman holding a cup"),
        ("a dog that is small", "a dog small"),
        ("3 red balls", "3 red ball"),
        ("a man in a black hat", "a man wearing a black hat"),
        ("a woman dressed in a red coat", "a woman in a red coat"),
    ],
)
def test_what_neighbours_make_equal(one: str, other: str) -> None:
    """Forms of verbs where only a verb can stand, and number where a number says it."""
    assert keys(one) == keys(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a cook in a kitchen", "cooks in a kitchen"),
        ("watches on a table", "watching on a table"),
        ("a very old small house", "a very small old house"),
        ("a light blue car", "a blue light car"),
        ("a sheep in a field", "sheep in a field"),
        ("a Boeing 737 plane", "Boeing 737 planes"),
        ("an 8 bit game", "8 bit games"),
        ("a slightly open window", "an open window"),
        ("an eight-ball", "eight balls"),
        ("a cat in a hat", "a cat wearing a hat"),
        ("a man in a hat box", "a man wearing a hat box"),
        ("a man in a boat", "a man wearing a boat"),
        ("a man with a hat", "a man in a hat"),
    ],
)
def test_what_neighbours_keep_apart(one: str, other: str) -> None:
    """A plural without a number, a noun that looks like a verb, a degree and its adjective."""
    assert keys(one) != keys(other)


def test_a_shade_is_a_color_of_its_own() -> None:
    """What stands before a color makes another one of it."""
    assert keys("a dark red car") == "dark_red car"
    assert keys("an olive green bag") == "olive_green bag"
