"""Numbers in words."""

from __future__ import annotations

import pytest

from nanobatch.meaning.numbers import Number, number_at


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3", Number("3", 1)), ("three red balls", Number("3", 1)), ("twenty one tulips", Number("21", 2)),
        ("twenty tulips", Number("20", 1)), ("a dozen eggs", Number("12", 2)), ("dozen", Number("12", 1)),
        ("two dozen eggs", Number("24", 2)), ("2 dozen", Number("24", 2)), ("half a dozen eggs", Number("6", 3)),
        ("half dozen eggs", Number("6", 2)), ("a half dozen", Number("6", 3)), ("a pair of parrots", Number("2", 3)),
        ("couple of swans", Number("2", 2)), ("a trio of singers", Number("3", 3)), ("a hundred ants", Number("100", 2)),
        ("one hundred and five ants", Number("105", 4)), ("two thousand", Number("2000", 2)), ("zero", Number("0", 1)),
    ],
)  # fmt: skip
def test_a_number_is_read(text: str, found: Number) -> None:
    """Digits, words, dozens and groups come to the same number, and say how many words they take."""
    assert number_at(text.split()) == found


@pytest.mark.parametrize(
    "text", ["a cat", "a pair of red shoes", "pair of glasses", "a couple in love", "half a moon", "a trio", "hundreds"]
)
def test_what_only_looks_like_one_is_none(text: str) -> None:
    """A pair of shoes is not two of them, a couple may be people."""
    assert number_at(text.split()) is None
