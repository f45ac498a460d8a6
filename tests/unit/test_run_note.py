"""The note of a run's start, and the command that goes on with it."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nanobatch.run_note import NOTE, RunNote, command_to_go_on, encoded, read_note, read_summary, without_secrets


def note(**changes: Any) -> RunNote:
    plain = RunNote("r1", "2026-11-24T10:00:00.000Z", 10, 0, sandbox=False, folder="/x/out", cwd=os.getcwd())  # noqa: PTH109
    return msgspec.structs.replace(plain, **changes)


def leave(root: Path, found: RunNote) -> Path:
    (root / NOTE).parent.mkdir(parents=True, exist_ok=True)
    (root / NOTE).write_bytes(encoded(found))
    return root


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    """All of it, in any script."""
    written = note(command=("run", "ünïcode 日本.csv"), inputs=("ünïcode 日本.csv",))
    assert read_note(leave(tmp_path, written)) == written


def test_half_a_character_in_a_name_does_not_stop_the_run(tmp_path: Path) -> None:
    """Options may hold bytes that are no UTF-8; the note is not worth a run."""
    found = read_note(leave(tmp_path, note(command=("run", "p.csv", "--only", "a\udcff"))))
    assert found is not None
    assert found.command[-1] == "a?"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run_id": 3}', b"\xff\xfe"])
def test_a_damaged_note_is_no_note(tmp_path: Path, content: bytes) -> None:
    """It only helps; nothing depends on it."""
    leave(tmp_path, note())
    (tmp_path / NOTE).write_bytes(content)
    assert read_note(tmp_path) is None


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"{"])
def test_a_damaged_summary_is_empty(tmp_path: Path, content: bytes | None) -> None:
    """A kill may have left anything."""
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    assert read_summary(tmp_path) == {}


def test_addresses_that_open_something_are_not_written_down() -> None:
    """Who knows a webhook's address may post there."""
    secret = "https://hooks.example/T0/B1/secret"
    for typed in (["--notify", secret], [f"--notify={secret}"]):
        shown = without_secrets(["run", "p.csv", *typed, "-o", "out"])
        assert secret not in " ".join(shown)
        assert shown[-2:] == ("-o", "out")
        assert "URL" in " ".join(shown)


def test_going_on_is_the_command_as_it_was_typed(tmp_path: Path) -> None:
    """Quoted for a shell."""
    leave(tmp_path, note(command=("run", "my prompts.csv", "-t", "a {b}'s")))
    assert shlex.split(command_to_go_on(tmp_path)) == ["nanobatch", "run", "my prompts.csv", "-t", "a {b}'s"]


def test_going_on_never_sends_everything_again(tmp_path: Path) -> None:
    """--fresh was for that run."""
    leave(tmp_path, note(command=("run", "p.csv", "--fresh", "--retry-failed")))
    assert command_to_go_on(tmp_path) == "nanobatch run p.csv --retry-failed"
    assert command_to_go_on(tmp_path, only_missing=True) == "nanobatch run p.csv"


@pytest.mark.parametrize("typed", [("--limit", "3"), ("--limit=3",), ("--only", "--fresh"), ("--only=x*",)])
def test_what_chose_a_part_is_left_out_where_the_whole_is_meant(tmp_path: Path, typed: tuple[str, ...]) -> None:
    """With its value."""
    leave(tmp_path, note(command=("run", *typed, "p.csv")))
    assert command_to_go_on(tmp_path, only_missing=True) == "nanobatch run p.csv"


def test_an_option_is_added_once(tmp_path: Path) -> None:
    """--retry-failed may be there already."""
    leave(tmp_path, note(command=("run", "p.csv", "--retry-failed")))
    assert command_to_go_on(tmp_path, extra="--retry-failed") == "nanobatch run p.csv --retry-failed"


def test_elsewhere_the_command_goes_there_first(tmp_path: Path) -> None:
    """Its paths are those of the folder where it was typed."""
    leave(tmp_path, note(command=("run", "p.csv"), cwd="/srv/my catalogue"))
    assert command_to_go_on(tmp_path) == "cd '/srv/my catalogue' && nanobatch run p.csv"


def test_a_line_that_is_read_anywhere_names_its_folder(tmp_path: Path) -> None:
    """A page is opened from wherever it lies."""
    leave(tmp_path, note(command=("run", "p.csv"), cwd=str(Path.cwd())))
    assert command_to_go_on(tmp_path) == "nanobatch run p.csv"
    assert command_to_go_on(tmp_path, anywhere=True) == f"cd {shlex.quote(str(Path.cwd()))} && nanobatch run p.csv"


def test_without_a_command_one_is_put_together(tmp_path: Path) -> None:
    """A folder of an older version, or of a program that used the library."""
    assert command_to_go_on(tmp_path) == f"nanobatch run PROMPTS --out {tmp_path}"
    (tmp_path / "run.json").write_text(json.dumps({"inputs": ["a.csv", "b.csv"], "sandbox": True}))
    assert command_to_go_on(tmp_path) == f"nanobatch run a.csv b.csv --out {tmp_path} --sandbox"
    leave(tmp_path, note(inputs=("c.csv",)))
    assert command_to_go_on(tmp_path) == f"nanobatch run c.csv --out {tmp_path}"
