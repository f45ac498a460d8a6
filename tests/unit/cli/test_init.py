"""`nanobatch init`, from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.cli.init import FILES, STARTER
from tests.tiny_server import Shell

SOURCES = {"prompts.csv": "prompts.example.csv", "nanobatch.yaml": "config.example.yaml"}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


def test_what_is_written_is_what_the_project_shows(shell: Shell, project_root: Path) -> None:
    """One source: the examples that the README points to are the files that a new user gets."""
    assert set(SOURCES) == set(FILES)
    done = shell.run("init")
    assert (done.returncode, done.stderr) == (0, "")
    for name, source in SOURCES.items():
        expected = (project_root / source).read_bytes()
        assert (STARTER / name).read_bytes() == expected
        assert (shell.cwd / name).read_bytes() == expected


def test_the_two_commands_work_as_they_stand(shell: Shell) -> None:
    """The first draws every image of the file, the second shows its price."""
    done = shell.run("init", "my shop")
    first, second = (line for line in done.stdout.splitlines() if line.startswith("  "))
    rehearsed = shell.bash(f"{first} --progress none")
    assert (rehearsed.returncode, rehearsed.stderr) == (0, "")
    assert rehearsed.stdout.startswith("12 of 12 images")
    shell.cwd = shell.cwd / "my shop"
    planned = shell.bash(second)
    assert planned.returncode == 0
    assert "expected cost $" in planned.stdout


def test_nothing_is_overwritten(shell: Shell) -> None:
    """The user's own file stays; the other one comes; both are told."""
    shell.write("prompts.csv", "prompt\nmine\n")
    done = shell.run("init")
    assert done.returncode == 0
    assert (shell.cwd / "prompts.csv").read_text() == "prompt\nmine\n"
    assert (shell.cwd / "nanobatch.yaml").exists()
    assert "wrote nanobatch.yaml" in done.stdout
    assert "left prompts.csv as it is" in done.stdout


def test_force_overwrites(shell: Shell, project_root: Path) -> None:
    """Only when asked."""
    shell.write("prompts.csv", "prompt\nmine\n")
    assert shell.run("init", "--force").returncode == 0
    assert (shell.cwd / "prompts.csv").read_bytes() == (project_root / "prompts.example.csv").read_bytes()


@pytest.mark.parametrize(("name", "words"), [("a-file", "is a file; name a folder"), ("a-file/x", "name a folder")])
def test_where_nothing_can_be_written_is_2(shell: Shell, name: str, words: str) -> None:
    """One sentence."""
    shell.write("a-file", "x")
    done = shell.run("init", name)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
