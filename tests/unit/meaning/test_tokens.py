"""A prompt in pieces."""

from __future__ import annotations

import pytest

from nanobatch.meaning.tokens import Kind, Token, plain, tokens_of

UNITS = frozenset({"mm", "cm"})


def pieces(text: str) -> list[tuple[str, str]]:
    return [(token.kind.value, token.text) for token in tokens_of(plain(text), UNITS)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a red-brown fox.", "word:a word:red word:brown word:fox"),
        ("a 50mm lens", "word:a number:50 word:mm word:lens"),
        ("4K, 16:9", "word:4K pause:, number:16:9"),
        ("SKU AB-12-X", "word:SKU code:AB-12-X"),
        ("f/1.8", "code:f/1.8"),
        ("a 35-year-old", "word:a number:35 word:year word:old"),
        ("a man-eating plant", "word:a word:man-eating word:plant"),
        ("1920s cars", "word:1920s word:cars"),
        ("“Open” and 'Shut'", "quote:\"Open\" word:and quote:'Shut'"),
        ("the king's dog", "word:the word:king's word:dog"),
        ("cat & dog", "word:cat word:& word:dog"),
        ("red; blue — green\ngold!", "word:red pause:, word:blue pause:, word:green pause:, word:gold"),
        ("(red:1.3)", "sign:( word:red sign:: number:1.3 sign:)"),
        ("$5", "sign:$ number:5"),
        ("50% off", "number:50% word:off"),
        ("", ""),
        ("...", ""),
    ],
)
def test_pieces(text: str, found: str) -> None:
    """Words, numbers, codes, quotes and signs, each as it is written; pauses at the end are none."""
    assert " ".join(f"{kind}:{piece}" for kind, piece in pieces(text)) == found


def test_characters_that_look_alike_are_one() -> None:
    """Typographic quotes, full-width letters and unusual blanks are what a keyboard has."""
    assert plain(" ａ\u00a0‘b’ ") == "a 'b'"


def test_case_and_the_sign_for_and_do_not_count() -> None:
    """What is compared is folded."""
    assert Token(Kind.WORD, "Straße").folded == "strasse"
    assert Token(Kind.WORD, "&").folded == "and"
