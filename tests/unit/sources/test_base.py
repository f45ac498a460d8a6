"""Tests of what every source shares."""

from __future__ import annotations

from nanobatch.model import Origin
from nanobatch.sources.base import QUOTED_CHARACTERS, Problem, quoted


def test_problem_reads_as_file_line_reason() -> None:
    """A problem is one line that an editor can jump to."""
    assert str(Problem(Origin("p.csv", 7), "the prompt is empty")) == "p.csv:7: the prompt is empty"


def test_quoted_keeps_short_values() -> None:
    """A short value is shown whole."""
    assert quoted("9K") == "'9K'"


def test_quoted_cuts_long_values() -> None:
    """A megabyte in a cell does not become a megabyte in a message."""
    shown = quoted("x" * 1_000_000)
    assert len(shown) == QUOTED_CHARACTERS
    assert shown.endswith("…")


def test_quoted_disarms_control_characters() -> None:
    """What a message quotes can neither command the terminal nor turn the direction of reading."""
    assert quoted("\x1b]0;pwn\x07\u202e").isprintable()
