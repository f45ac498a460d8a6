"""The command as it is started: quick where nothing is to be done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import nanobatch
from tests.tiny_server import Shell

LOADED = """
import json, sys
sys.argv = ["nanobatch", {arguments}]
from nanobatch.__main__ import main
try:
    main()
except SystemExit as done:
    code = done.code
else:
    code = 0
sys.stderr.write(json.dumps([code, sorted(name for name in sys.modules if "." not in name)]))
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


def loaded(shell: Shell, *arguments: str) -> tuple[int, set[str], str]:
    script = LOADED.format(arguments=", ".join(map(repr, arguments)))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=shell.cwd, env=shell.env, capture_output=True, text=True, check=True
    )
    code, names = json.loads(done.stderr)
    return code, set(names), done.stdout


def test_the_version_needs_no_command_line_library(shell: Shell) -> None:
    """`--version` is answered before typer, or anything else that is slow, is imported."""
    code, names, out = loaded(shell, "--version")
    assert (code, out) == (0, f"nanobatch {nanobatch.__version__}\n")
    assert "nanobatch" in names
    assert not names & {"typer", "click", "rich", "asyncio", "msgspec", "yaml", "httpx", "logging"}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["sandbox", "-h"], ["--version", "-h"]])
def test_help_needs_no_engine(shell: Shell, arguments: list[str]) -> None:
    """Help waits for typer and for nothing that a run needs."""
    code, names, out = loaded(shell, *arguments)
    assert code == 0
    assert out
    assert "typer" in names
    assert not names & {"httpx", "aiohttp", "yaml", "msgspec", "pybase64", "PIL", "tenacity", "asyncio"}


def test_the_module_is_the_command(shell: Shell) -> None:
    """`python -m nanobatch` answers, and its exit code arrives."""
    assert shell.run("--version").stdout == f"nanobatch {nanobatch.__version__}\n"
    assert shell.run("run").returncode == 2
