"""`batch status`: everything that is known, from the folder alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanobatch.cli.batch_status import show, standing
from nanobatch.errors import ConfigError
from tests.batch_bench import BatchBench, bench
from tests.tiny_server import Shell

KEYS = ["title", "name", "provider", "model", "images", "done", "failed", "state", "created_at", "looked_at", "message"]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BatchBench]:
    with bench(tmp_path) as found:
        yield found


def test_the_keys_are_a_promise(desk: BatchBench) -> None:
    """Scripts read them."""
    desk.order("submit")
    found = standing(desk.out)
    assert list(found) == ["folder", "open", "open_images", "batches"]
    assert (found["open"], found["open_images"]) == (3, 12)
    assert [list(one) for one in found["batches"]] == [KEYS] * 3
    assert {one["state"] for one in found["batches"]} == {"waiting"}


def test_asking_nobody_and_changing_nothing(desk: BatchBench, capsys: pytest.CaptureFixture[str]) -> None:
    """A status may be asked for at any time, beside a run too."""
    desk.order()
    calls = desk.vendor.calls.total()
    before = {path: path.stat().st_mtime_ns for path in desk.out.rglob("*")}
    assert show(desk.out, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["open"] == 0
    assert show(desk.out, as_json=False) == 0
    assert "nothing is open" in capsys.readouterr().out
    assert desk.vendor.calls.total() == calls
    assert {path: path.stat().st_mtime_ns for path in desk.out.rglob("*")} == before


def test_a_folder_without_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence, and the exit code of a usage error."""
    with pytest.raises(ConfigError):
        standing(tmp_path)
    (tmp_path / ".nanobatch").mkdir()
    assert show(tmp_path, as_json=False) == 2
    assert "nothing was ordered in batches" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "collect", "cancel"])
def test_what_is_no_output_folder_is_told_apart(tmp_path: Path, command: str) -> None:
    """A file, a name mistyped and a folder of something else: a sentence for each, and never a traceback."""
    (tmp_path / "prompts.txt").write_text("a red fox\n")
    shell = Shell(tmp_path)
    for name, words in (("prompts.txt", "is a file"), ("imges", "no such folder"), (".", "not the output of a run")):
        done = shell.run("batch", command, name)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert done.stderr.startswith("nanobatch: ")
        assert words in done.stderr


def test_the_table_cuts_no_name(desk: BatchBench, capsys: pytest.CaptureFixture[str]) -> None:
    """What a vendor calls a batch is what one asks it for, so it stands there whole."""
    desk.order("submit")
    names = [batch["name"] for batch in standing(desk.out)["batches"]]
    assert show(desk.out, as_json=False) == 0
    shown = capsys.readouterr().out
    assert "12 images in 3 open batches" in shown
    assert all(name in shown for name in names)
    assert "…" not in shown


@pytest.mark.parametrize("option", [("-O", "json"), ("--output", "json"), ("--json",)])
def test_json_is_asked_for_as_everywhere(desk: BatchBench, option: tuple[str, ...]) -> None:
    """`-O json`, as `status` and `verify` have it; `--json` came first and still works."""
    desk.order("submit")
    done = Shell(desk.cwd).run("batch", "status", "out", *option)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["open_images"] == 12
