"""Parts of a prompt that are about the whole picture."""

from __future__ import annotations

import pytest

from nanobatch.meaning.lexicon import load_lexicon
from nanobatch.meaning.looks import cut_kind, cut_setting, whole
from nanobatch.meaning.roles import Word
from nanobatch.meaning.tokens import tokens_of
from nanobatch.meaning.words import words_of

LEXICON = load_lexicon()


def part(text: str) -> list[Word]:
    return words_of(tokens_of(text, LEXICON.kinds["units"]), LEXICON).words


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("studio lighting", "studio lighting"),
        ("on a white background", "white background"),
        ("white backdrop", "white background"),
        ("soft light", "soft lighting"),
        ("photograph", "photo"),
        ("4k", "4k"),
        ("at night", "night"),
        ("85mm lens", None),
        ("red hair", None),
        ("a large painting", None),
        ("wearing a hat", None),
        ("black", None),
        ("with a studio light", None),
        ("Monet style", None),
    ],
)
def test_what_is_about_the_whole(text: str, key: str | None) -> None:
    """Kind, setting, light and quality; never what may belong to one thing in the picture."""
    words = part(f"x {text}")[1:] if text == "Monet style" else part(text)
    assert whole(words, LEXICON) == key


def test_the_kind_is_cut_from_the_beginning() -> None:
    """A studio photo of red sneakers: the kind, and the sneakers. One kind only."""
    rest, looks = cut_kind(part("a studio photo of red sneakers"), LEXICON)
    assert ([word.text for word in rest], looks) == (["red", "sneaker"], ["studio photo"])
    assert cut_kind(part("an illustration depicting a fox"), LEXICON).looks == ["illustration"]
    rest, looks = cut_kind(part("a photo of a painting of a dog"), LEXICON)
    assert ([word.key for word in rest][1:3], looks) == (["painting", "of"], ["photo"])


@pytest.mark.parametrize("text", ["two photos of a cat", "a man in front of a photo", "a bowl of soup", "photo of"])
def test_what_is_no_kind_stays(text: str) -> None:
    """A number of pictures, a picture in the picture, a bowl of soup."""
    assert cut_kind(part(text), LEXICON).looks == []


def test_the_setting_is_cut_from_the_end() -> None:
    """On a white background, in pixel art style, in the style of pixel art."""
    assert cut_setting(part("a cup on a white background"), LEXICON).looks == ["white background"]
    one, other = part("a cup in pixel art style"), part("a cup in the style of pixel art")
    assert cut_setting(one, LEXICON) == cut_setting(other, LEXICON)
    assert cut_setting(one, LEXICON).looks
    assert cut_setting(part("a bridge at night"), LEXICON).looks == ["night"]


@pytest.mark.parametrize(
    "text",
    ["a man with a red light", "a cat on a photo", "a cat on a sofa", "a cat in anime style and a dog in retro style"],
)
def test_what_is_no_setting_stays(text: str) -> None:
    """Things that somebody has or is on, and a style of one of two."""
    assert cut_setting(part(text), LEXICON).looks == []
