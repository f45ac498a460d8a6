"""The list of commands, and the last border for errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from nanobatch import __version__
from nanobatch.cli.app import app, start
from tests.tiny_server import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


@pytest.fixture
def with_command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Add a command `probe` to the real app for one test, and call it."""
    before = list(app.registered_commands)

    def add(work: Callable[[], None]) -> None:
        app.command("probe")(work)
        monkeypatch.setattr(sys, "argv", ["nanobatch", "probe"])

    yield add
    app.registered_commands[:] = before


def raiser(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def test_a_bug_is_loud_and_has_its_own_code(
    with_command: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that nobody expected shows its lines, says what is safe, and ends with 70."""
    with_command(raiser(ZeroDivisionError("division by zero")))
    assert start() == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ZeroDivisionError: division by zero" in err
    assert f"nanobatch {__version__}: this is a bug. Everything finished is on disk" in err


def test_several_bugs_at_once_are_a_bug(
    with_command: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A group of errors, as concurrent work raises it, is shown as a whole."""
    with_command(raiser(ExceptionGroup("workers", [ValueError("a"), ValueError("b")])))
    assert start() == 70
    assert "ValueError: b" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (SystemExit(4), 4), (SystemExit(), 0), (typer.Exit(5), 5), (OSError(5, "I/O"), 70)],
)
def test_every_end_has_its_code(
    with_command: Callable[[Callable[[], None]], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
) -> None:
    """Ctrl-C before the run begins, a command's own code, an error of the system."""
    with_command(raiser(error))
    assert start() == code
    assert "Aborted" not in capsys.readouterr().err


def test_a_command_that_returns_has_succeeded(with_command: Callable[[Callable[[], None]], None]) -> None:
    """No news is good news."""
    with_command(lambda: None)
    assert start() == 0


@pytest.mark.parametrize("arguments", ["--help", "run --help", "run p.csv --dry-run", "run p.csv --dry-run -O json"])
def test_a_reader_that_goes_away_is_no_failure(shell: Shell, arguments: str) -> None:
    """Help or a plan into a closed pipe ends with 0 and without a word."""
    shell.prompts("fox")
    shell.env["GEMINI_API_KEY"] = "x"
    writer = f"until [ -e closed ]; do sleep 0.01; done; nanobatch {arguments}; echo $? >code"
    done = shell.bash(f"({writer}) | (exec 0<&-; touch closed); cat code")
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_help_lists_the_commands(shell: Shell) -> None:
    """Every command with its first sentence."""
    out = shell.run("--help").stdout
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in out.partition("Commands:")[2].splitlines() if line}
    assert list(lines) == [
        "init",
        "run",
        "estimate-cost",
        "providers",
        "doctor",
        "status",
        "verify",
        "gallery",
        "sandbox",
        "batch",
        "cache",
    ]
    assert lines["run"].startswith("Generate an image for every prompt")


def test_an_unknown_command_is_a_usage_error(shell: Shell) -> None:
    """A typing error names itself and ends with 2."""
    done = shell.run("rum")
    assert done.returncode == 2
    assert "rum" in done.stderr
    assert done.stdout == ""


def test_the_version_also_among_other_options(shell: Shell) -> None:
    """`--version` wins over what stands beside it."""
    done = shell.run("--version", "run")
    assert (done.returncode, done.stdout) == (0, f"nanobatch {__version__}\n")


def test_the_list_of_commands_ends_no_line_in_the_middle_of_a_sentence(shell: Shell) -> None:
    """In a terminal of 80 columns; a command whose first sentence is longer has a `short_help`."""
    shell.env["COLUMNS"] = "80"
    for group, least in (((), 9), (("batch",), 4), (("cache",), 3)):
        listed = shell.run(*group, "--help").stdout.split("Commands:")[1].strip().splitlines()
        assert len(listed) >= least
        assert [line for line in listed if line.endswith("...")] == []


def test_help_waits_for_nothing_but_the_command_line_itself() -> None:
    """Help and version are asked for by hand and by completion: no settings, no network library, no model of a run."""
    script = (
        "import sys, nanobatch.cli.app; "
        "heavy = 'httpx', 'aiohttp', 'yaml', 'msgspec', 'PIL', 'nanobatch.model', 'nanobatch.config', 'nanobatch.assembly'; "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
