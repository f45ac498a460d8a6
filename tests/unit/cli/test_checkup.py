"""What the doctor shows; the command itself is tried in test_doctor.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from nanobatch.cli.checkup import examine, render


def test_each_check_is_a_line_with_its_mark(capsys: pytest.CaptureFixture[str]) -> None:
    """Good, doubtful and bad can be told apart without colours."""
    checks = [
        {"name": "disk", "status": "ok", "message": "plenty"},
        {"name": "keys", "status": "warning", "message": "[red]two[/red]"},
        {"name": "ping a", "status": "problem", "message": "refused"},
    ]
    Console(width=80, markup=False).print(render({"checks": checks}))
    good, doubtful, bad = capsys.readouterr().out.splitlines()
    assert (good[0], doubtful[0], bad[0]) == ("✓", "!", "✗")
    assert "[red]two[/red]" in doubtful


def test_the_exit_code_is_in_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the shell sees, programs read."""
    monkeypatch.chdir(tmp_path)
    code = examine(None, ping=False, as_json=True)
    assert code == 3  # no key
    assert json.loads(capsys.readouterr().out)["exit_code"] == 3
