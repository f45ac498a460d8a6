"""Tests of plain text files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nanobatch.errors import InputError
from nanobatch.sources.base import Row
from nanobatch.sources.lines import PromptFile
from nanobatch.sources.text import Text


def file_of(tmp_path: Path, content: str) -> PromptFile:
    path = tmp_path / "p.txt"
    path.write_text(content)
    return PromptFile("p.txt", path, tmp_path)


def test_every_line_is_a_prompt(tmp_path: Path) -> None:
    """Blank lines are skipped and counted; quotes, commas and braces are text."""
    rows = list(Text(file_of(tmp_path, 'a "red", fox\n \n\n{x}\n'), lambda *_: None).rows())
    assert [(row.values["prompt"].strip(), row.origin.line) for row in rows if isinstance(row, Row)] == [
        ('a "red", fox', 1),
        ("{x}", 4),
    ]


def test_the_one_column_is_judged(tmp_path: Path) -> None:
    """A template that wants more than the prompt is refused before the first line."""

    def refuse(file: str, header: Sequence[str]) -> None:
        raise InputError(f"{file} has only {header}")

    with pytest.raises(InputError, match="prompt"):
        next(Text(file_of(tmp_path, "fox\n"), refuse).rows())
