"""docs/library.md: its example is a file that is run here, and what the page says of a process is true of one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import nanobatch
from nanobatch import events, library
from tests.sandbox_process import sandbox
from tests.tiny_server import ROOT, Shell

PAGE = (ROOT / "docs/library.md").read_text("utf-8")
EXAMPLE = ROOT / "docs/examples/catalogue.py"
CTRL_C = """\
import nanobatch
nanobatch.run([f"fox {number}" for number in range(9)], out="images", on_event=lambda event: print(type(event).__name__, flush=True))
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


def python(shell: Shell, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=shell.cwd, env=shell.env, text=True, capture_output=True, check=False
    )


def test_the_page_holds_the_example(shell: Shell) -> None:
    """To the letter."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    assert blocks[1] == EXAMPLE.read_text("utf-8")


def test_the_example_runs(shell: Shell) -> None:
    """Twice: the second time nothing is sent; standard output has what the page's reader expects."""
    first, again = python(shell, str(EXAMPLE)), python(shell, str(EXAMPLE))
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    lines = first.stdout.splitlines()
    assert re.fullmatch(r"3 pictures for about \$\d\.\d\d", lines[0])
    assert [line.split()[0] for line in lines[1:]] == ["mug-01", "hat-07", "pen-12"]
    assert sorted(first.stderr.splitlines()) == ["hat-07: ok", "mug-01: ok", "pen-12: ok"]
    assert (again.stdout.splitlines()[1:], again.stderr) == (lines[1:], "")


def test_the_first_lines_run(shell: Shell) -> None:
    """Two images, two paths, and not a word more."""
    script = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)[0]
    done = python(shell, "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert [(shell.cwd / line).exists() for line in done.stdout.splitlines()] == [True, True]


def test_ctrl_c_ends_a_program_in_order(shell: Shell) -> None:
    """The images on the wire are kept, and the program gets its KeyboardInterrupt."""
    with sandbox(latency=0.3) as vendor:
        shell.configure(vendor.gemini, grace_seconds=30)
        with subprocess.Popen(
            [sys.executable, "-c", CTRL_C], cwd=shell.cwd, env=shell.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as program:  # fmt: skip
            assert program.stdout is not None
            started = 0
            while started < 2:
                started += program.stdout.readline() == "AttemptStarted\n"
            program.send_signal(signal.SIGINT)
            _, told = program.communicate(timeout=60)
        assert told.rstrip().endswith("KeyboardInterrupt")
        summary = json.loads((shell.cwd / "images/run.json").read_text())
        assert (summary["ok"], summary["exit_code"], summary["maybe_cost_usd"]) == (2, 130, 0)
        assert vendor.books()["images"] == 2


def test_importing_the_package_loads_nothing(shell: Shell) -> None:
    """The command line must start fast: the library comes with the first of its names."""
    script = "import nanobatch, sys; print(len([name for name in sys.modules if name.startswith('nanobatch')]))"
    assert python(shell, "-c", script).stdout == "1\n"
    script = "import sys; from nanobatch import run; print('typer' in sys.modules)"
    assert python(shell, "-c", script).stdout == "False\n"


def test_the_page_names_everything() -> None:
    """Functions, events, and what a result has."""
    public = [name for name in nanobatch.__all__ if not name.startswith("_") and name != "Prompts"]
    assert len(public) > 6
    assert [name for name in public if name not in PAGE] == []
    kinds = [kind.__name__ for kind in events.Event.__args__]
    assert [name for name in kinds if f"`{name}`" not in PAGE] == []
    members = [name for name in dir(library.Result) if not name.startswith("_")]
    assert [name for name in members if f"result.{name}" not in PAGE] == []
