"""Tests of JSON Lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.sources.base import Problem, Row
from nanobatch.sources.jsonl import Jsonl
from nanobatch.sources.lines import PromptFile


def read(tmp_path: Path, content: str) -> list[Row | Problem]:
    path = tmp_path / "p.jsonl"
    path.write_text(content, encoding="utf-8")
    return list(Jsonl(PromptFile("p.jsonl", path, tmp_path)).rows())


def test_reads_objects_and_skips_blank_lines(tmp_path: Path) -> None:
    """Every object is a row with its own keys and JSON's own types; its line is counted over blank lines."""
    first, second = read(
        tmp_path, '\ufeff{"prompt": "fox", "seed": 7, "tags": ["a", {"b": null}]}\n\n  {"text": "ö"}  \n'
    )
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert first.values == {"prompt": "fox", "seed": 7, "tags": ["a", {"b": None}]}
    assert (second.values, second.origin.line) == ({"text": "ö"}, 3)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('["a"]', "a list"),
        ('"a"', "a text"),
        ("3", "a number"),
        ("1.5", "a number"),
        ("true", "true"),
        ("null", "null"),
    ],
)
def test_other_json_is_a_problem(tmp_path: Path, line: str, kind: str) -> None:
    """A line must hold an object, and the message says what it is instead."""
    (problem,) = read(tmp_path, f"{line}\n")
    assert isinstance(problem, Problem)
    assert f"not a JSON object but {kind}" in problem.reason


@pytest.mark.parametrize(
    "line", ['{"prompt": ', "{'prompt': 1}", '{"a": NaN}', '{"a": "\\ud800"}', '{"a": 1} {"b": 2}', "[" * 100_000]
)
def test_broken_json_is_a_problem_of_its_line(tmp_path: Path, line: str) -> None:
    """A broken, hostile or lone-surrogate line spoils itself only."""
    good, bad, last = read(tmp_path, f'{{"prompt": "a"}}\n{line}\n{{"prompt": "b"}}\n')
    assert isinstance(good, Row)
    assert isinstance(last, Row)
    assert isinstance(bad, Problem)
    assert bad.origin.line == 2
    assert bad.reason.startswith("not valid JSON")
