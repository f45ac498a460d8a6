"""What commands write to standard output."""

from __future__ import annotations

import json

import pytest

from nanobatch.cli.reporting import answer


def test_json_is_whole_and_leaves_out_what_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get data, in the words of every script."""
    answer({"a": "é", "detailed": True}, as_json=True, render=str)
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": "é"}
    assert "é" in out


def test_text_is_drawn_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """What looks like markup is a word like any other."""
    answer({"a": 1}, as_json=False, render=lambda found: f"[red]{found['a']}[/red]")
    assert capsys.readouterr().out == "[red]1[/red]\n"
