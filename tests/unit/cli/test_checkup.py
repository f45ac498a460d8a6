"""What the doctor shows; the command itself is tried in test_doctor.py."""

from __future__ import annotations

import io
import json
import sys
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


def test_a_terminal_without_these_marks_gets_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cron's standard output is often ASCII; that must not end the command."""
    monkeypatch.chdir(tmp_path)
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding="ascii"))
    assert examine(None, ping=False, as_json=False) == 3
    sys.stdout.flush()
    shown = screen.getvalue().decode("ascii")
    assert shown.startswith("ok  python")
    assert "x   configuration" in shown


def test_a_proxy_that_cannot_be_used_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A SOCKS proxy is told in a sentence, not in a traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert examine(None, ping=True, as_json=True) == 2
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert "ALL_PROXY must begin with http" in checks["ping"]["message"]


def test_missing_credentials_stop_one_ping_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A provider that cannot be asked does not keep the others from being asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    (tmp_path / "nanobatch.yaml").write_text(
        "providers:\n  vertex: {base_url: 'http://127.0.0.1:9/v1beta1/projects/p/locations/global/publishers/google'}\n"
        "  openai: {api_key: k, base_url: 'http://127.0.0.1:9/v1'}\n"
    )
    examine(None, ping=True, as_json=True)
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert "GOOGLE_APPLICATION_CREDENTIALS" in checks["ping vertex"]["message"]
    assert "is base_url" in checks["ping openai"]["message"]


def test_the_exit_code_is_in_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the shell sees, programs read."""
    monkeypatch.chdir(tmp_path)
    code = examine(None, ping=False, as_json=True)
    assert code == 3  # no key
    assert json.loads(capsys.readouterr().out)["exit_code"] == 3
