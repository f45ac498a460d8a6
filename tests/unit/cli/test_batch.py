"""The commands of `nanobatch batch`, and `run --batch`, as a shell sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch_bench import BatchBench, bench
from tests.batch_server import error_row, image_row
from tests.tiny_server import Shell


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BatchBench]:
    with bench(tmp_path / "w") as found:
        yield found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()


def shell(desk: BatchBench) -> Shell:
    desk.settings()  # writes the config
    return Shell(desk.cwd)


def test_a_night_in_cron(desk: BatchBench) -> None:
    """Submit, look, collect too early, collect, and once more: 0, 0, 5, 0, 0."""
    here = shell(desk)
    codes = [
        here.run("batch", *arguments).returncode
        for arguments in (
            ("submit", "p.csv", "-q"), ("status", "out"), ("collect", "out", "-q"), ("collect", "out", "-q"),
            ("collect", "out"),
        )
    ]  # fmt: skip
    assert codes == [0, 0, 5, 0, 0]
    desk.assert_everything_belongs()
    assert len(desk.vendor.jobs) == 3


def test_paths_on_standard_output_alone(desk: BatchBench) -> None:
    """A pipe gets a path for each image as it is collected."""
    ended = shell(desk).run("run", "p.csv", "--batch", "-O", "paths", "-q")
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == 12
    assert all(Path(line).suffix == ".png" for line in ended.stdout.splitlines())
    assert ended.stderr == ""


def test_the_plan_shows_half_the_price_and_a_day(desk: BatchBench) -> None:
    """--dry-run orders nothing."""
    ended = shell(desk).run("batch", "submit", "p.csv", "--dry-run", "-O", "json")
    plan = json.loads(ended.stdout)
    assert plan["cost_usd"]["low"] == pytest.approx(12 * 0.067)
    assert (plan["duration_seconds"], plan["bound_by"]) == (86_400, "batches")
    assert "up to 1 d 0 h, in batches" in shell(desk).run("run", "p.csv", "--batch", "--dry-run").stdout
    assert desk.vendor.calls.total() == 0


def test_rows_spill_only_with_consent(desk: BatchBench) -> None:
    """Without --spill a failing row is unfinished; with it, it is sent at once at the usual price, and said so."""
    desk.run_keys = {"retries": 0}
    desk.vendor.row = lambda key, prompt: error_row(key) if prompt == "prompt 3" else image_row(key, prompt)
    here = shell(desk)
    assert here.run("run", "p.csv", "--batch").returncode == 5
    ended = here.run("run", "p.csv", "--batch", "--spill", "sync")
    assert "one by one, at the usual price" in ended.stderr
    assert desk.vendor.calls["sync"] == 1
    assert ended.returncode == 0
    record = desk.records()["r3"]
    assert record["status"] == "ok"
    usual = (1120 * 120 + 10 * 2) / 1e6
    assert record["cost_usd"] == pytest.approx(usual)
    told = json.loads((desk.out / "run.json").read_text())
    assert told["cost_usd"] == pytest.approx(usual)  # of this command, whose batch had nothing to do


def test_run_json_tells_of_both_halves_of_a_spill(desk: BatchBench) -> None:
    """What the batches cost and what the rest cost, one by one, are one command."""
    desk.run_keys = {"retries": 0}
    desk.vendor.row = lambda key, prompt: error_row(key) if prompt == "prompt 3" else image_row(key, prompt)
    assert shell(desk).run("run", "p.csv", "--batch", "--spill", "sync").returncode == 0
    told = json.loads((desk.out / "run.json").read_text())
    usual = (1120 * 120 + 10 * 2) / 1e6
    assert told["cost_usd"] == pytest.approx(11 * usual / 2 + usual)
    assert (told["attempts"], told["resumed"], told["providers"]["google"]["images"]) == (13, 0, 12)


def test_mistakes_are_told(desk: BatchBench, tmp_path: Path) -> None:
    """--spill without --batch, a deadline that is none, a folder that is none: exit 2."""
    here = shell(desk)
    assert here.run("run", "p.csv", "--spill", "sync").returncode == 2
    assert here.run("run", "p.csv", "--batch", "--deadline", "soon").returncode == 2
    assert here.run("batch", "collect", "nowhere").returncode == 2
    (tmp_path / "w" / "empty").mkdir()
    ended = here.run("batch", "collect", "empty")
    assert ended.returncode == 2
    assert "empty is not the output of a run" in ended.stderr
    assert desk.vendor.calls.total() == 0


def test_cancelling_from_a_shell(desk: BatchBench) -> None:
    """What is open is cancelled; what was drawn is collected."""
    desk.vendor.looks = 1000
    here = shell(desk)
    here.run("batch", "submit", "p.csv", "-q")
    ended = here.run("batch", "cancel", "out", "-q")
    assert ended.returncode == 5
    assert "order it again" in ended.stderr
    assert sum(record["status"] == "ok" for record in desk.records().values()) == 5


@pytest.mark.parametrize("command", ["submit", "collect", "status", "cancel"])
def test_help_has_an_example(desk: BatchBench, command: str) -> None:
    """Every command shows how it is used."""
    assert f"nanobatch batch {command}" in shell(desk).run("batch", command, "--help").stdout
