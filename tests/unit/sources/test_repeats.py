"""Tests of finding what occurs more than once."""

from __future__ import annotations

from nanobatch.sources.repeats import Repeats


def test_finds_repeats_and_how_often() -> None:
    """A number that came three times is two too many."""
    repeats = Repeats()
    for number in (5, 2**64 - 1, 5, 0, 7, 2**64 - 1, 5):
        repeats.add(number)
    assert list(repeats) == [5, 5, 2**64 - 1]


def test_single_numbers_are_no_repeats() -> None:
    """Zero and the largest number have places of their own."""
    repeats = Repeats()
    for number in (0, 1, 2**58, 2**63, 2**64 - 1):
        repeats.add(number)
    assert list(repeats) == []
