"""`nanobatch verify`, from outside: exit codes, JSON, and a repair that costs exactly what is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_server import Shell, TinyServer

KEYS = {
    "output", "running", "images", "bytes", "seconds", "counts", "problems", "unrecorded", "repair", "exit_code", "next",
}  # fmt: skip
PROBLEM = {"kind", "file", "why", "job", "id", "index", "found_at"}


@pytest.fixture
def server() -> Iterator[TinyServer]:
    server = TinyServer()
    yield server
    server.close()


@pytest.fixture
def shell(tmp_path: Path, server: TinyServer) -> Shell:
    shell = Shell(tmp_path / "work")
    shell.configure(server.url)
    shell.prompts("one", "two", "three", "four")
    assert shell.run("run", "p.csv", "-q").returncode == 0
    return shell


def found(shell: Shell, *options: str, code: int) -> Any:
    done = shell.run("verify", "p-images", "-O", "json", *options)
    assert (done.returncode, done.stderr) == (code, "")
    return json.loads(done.stdout)


def test_the_keys_are_a_promise(shell: Shell) -> None:
    """Scripts read them."""
    assert set(found(shell, code=0)) == KEYS
    (shell.cwd / "p-images/images/a.png").unlink()
    (problem,) = found(shell, code=1)["problems"]
    assert set(problem) == PROBLEM


def test_repair_then_run_sends_exactly_what_is_lost(shell: Shell, server: TinyServer) -> None:
    """The printed command, as it stands; afterwards every byte is right again, and the wrong ones are kept."""
    images = shell.cwd / "p-images/images"
    (images / "a.png").unlink()
    whole = (images / "b.png").read_bytes()
    (images / "b.png").write_bytes(whole[:-1] + b"?")
    server.prompts.clear()
    following = found(shell, "--repair", code=1)["next"]["command"]
    assert shell.bash(following).returncode == 0
    assert sorted(server.prompts) == ["one", "two"]
    assert found(shell, code=0)["problems"] == []
    assert (shell.cwd / "p-images/.nanobatch/set-aside/images/b.png").read_bytes() == whole[:-1] + b"?"


def test_for_people_it_names_files_and_the_command(shell: Shell) -> None:
    """In 80 columns, without colour."""
    shell.env["COLUMNS"] = "80"
    (shell.cwd / "p-images/images/c.png").write_bytes(b"")
    done = shell.run("verify", "p-images")
    assert done.returncode == 1
    for words in ("1 truncated", "images/c.png", "  nanobatch verify p-images --repair\n"):
        assert words in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout


def test_what_is_no_run_is_2(shell: Shell) -> None:
    """One sentence, and nothing is made or moved."""
    for name in ("nowhere", ".", "p.csv"):
        done = shell.run("verify", name, "--repair")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert not (shell.cwd / ".nanobatch").exists()
