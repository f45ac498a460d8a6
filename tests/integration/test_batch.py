"""Batches from beginning to end: hundreds of images through every misfortune, a real process killed in each phase."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanobatch.batch_assembly import JOURNAL
from nanobatch.batches.journal import read_batches
from tests.batch_bench import BatchBench, bench
from tests.batch_server import error_row, image_row
from tests.dying import DIED, DYING
from tests.tiny_server import PATIENCE_SECONDS, Shell

HALF_PRICE = (1120 * 120 + 10 * 2) / 1e6 / 2


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BatchBench]:
    (tmp_path / "w").mkdir()
    with bench(tmp_path / "w") as found:
        yield found


def shell(desk: BatchBench) -> Shell:
    desk.settings()
    return Shell(desk.cwd)


def kill_while(desk: BatchBench, path: str, *arguments: str) -> None:
    """Run until a request to a path has come that is not answered; kill the process; let the vendor go on."""
    desk.vendor.hold, desk.vendor.hold_path = threading.Event(), path
    with shell(desk).start(*arguments) as process:
        try:
            while not any(path in seen for seen in desk.vendor.seen):
                assert desk.vendor.arrived.acquire(timeout=PATIENCE_SECONDS), f"{path} was never asked for"
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            desk.vendor.hold.set()
    desk.vendor.hold = None
    desk.vendor.seen.clear()


def test_all_misfortunes_together(desk: BatchBench) -> None:
    """500 shuffled rows, one in twenty failing, two lost replies, three cut downloads, and a kill in each phase."""
    desk.prompts(500)
    desk.batch["rows"] = 120
    desk.vendor.lose_creates, desk.vendor.cut_downloads = 2, 3
    failed: set[str] = set()

    def row(key: str, prompt: str) -> Any:
        if int(prompt.split()[1]) % 20 == 7 and key not in failed:
            failed.add(key)
            return error_row(key)
        return image_row(key, prompt)

    desk.vendor.row = row
    for phase in ("POST /upload", ":batchGenerateContent", "GET /v1beta/batches/b", ":download"):
        kill_while(desk, phase, "run", "p.csv", "--batch", "-q")
    ended = shell(desk).run("run", "p.csv", "--batch", "-q")
    assert ended.returncode == 0, ended.stderr
    assert len(desk.records()) == 500
    desk.assert_everything_belongs()
    assert len(failed) == 25
    assert len(set(desk.titles())) == len(desk.titles())
    rows = sum(len(job.rows) for job in desk.vendor.jobs.values())
    assert rows == 500 + 25
    records = desk.records().values()
    assert sum(record["cost_usd"] for record in records) == pytest.approx(500 * HALF_PRICE)
    assert sum(record["maybe_cost_usd"] for record in records) == 0


@pytest.mark.parametrize("is_made", [True, False])
def test_killed_while_an_order_is_on_the_wire(desk: BatchBench, is_made: bool) -> None:
    """Whether or not the vendor made the batch of which the process never heard, there is one in the end."""
    desk.batch["rows"] = 20
    if not is_made:
        desk.vendor.refuse_creates = [(429, {"error": {"code": 429, "message": "busy"}})]
    kill_while(desk, ":batchGenerateContent", "batch", "submit", "p.csv", "-q")
    assert read_batches(desk.out / JOURNAL)[0].popitem()[1].standing == "unknown"
    assert shell(desk).run("batch", "submit", "p.csv", "-q").returncode == 0
    assert len(desk.vendor.jobs) == 1
    codes = [shell(desk).run("batch", "collect", "out", "-q").returncode for _ in range(2)]
    assert codes == [5, 0]
    desk.assert_everything_belongs()


@pytest.mark.parametrize("phase", ["GET /v1beta/batches/b", ":download"])
def test_killed_while_collecting(desk: BatchBench, phase: str) -> None:
    """Another process collects from the folder alone."""
    desk.vendor.looks = 0
    shell(desk).run("batch", "submit", "p.csv", "-q")
    (desk.cwd / "p.csv").unlink()
    kill_while(desk, phase, "batch", "collect", "out", "-q")
    assert shell(desk).run("batch", "collect", "out", "-q").returncode == 0
    desk.assert_everything_belongs()
    assert desk.vendor.calls["create"] == 3


def test_interrupted_by_a_person(desk: BatchBench) -> None:
    """Ctrl-C ends the wait at once with 130; what is ordered stays ordered."""
    desk.vendor.looks = 10**6
    with shell(desk).start("run", "p.csv", "--batch", "-q") as process:
        while desk.vendor.calls["poll"] < 4:
            assert desk.vendor.arrived.acquire(timeout=PATIENCE_SECONDS)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
    desk.vendor.looks = 0
    assert shell(desk).run("batch", "collect", "out", "-q").returncode == 0
    assert len(desk.vendor.jobs) == 3
    desk.assert_everything_belongs()


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_death_at_any_change_of_the_disk(
    tmp_path: Path, project_root: Path, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For k = 1, 2, 3 ... until a run survives: every batch is made once, no image is lost, none is bought twice."""
    tried = 0
    for step in range(first, 500, 4 * 5):
        folder = tmp_path / str(step)
        folder.mkdir()
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        with bench(folder, batch={"rows": 4, "poll_seconds": 0.01}) as desk:
            desk.prompts(6)
            desk.settings()
            environment = dict(os.environ, PYTHONPATH=str(project_root))
            command = [sys.executable, "-c", DYING, str(step), "run", "p.csv", "--batch", "--progress", "none"]
            died = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert "Traceback" not in died.stderr, died.stderr
            assert desk.order()["exit_code"] == 0
            desk.assert_everything_belongs()
            assert sum(len(job.rows) for job in desk.vendor.jobs.values()) == 6, f"died at {step}"
            assert sum(record["maybe_cost_usd"] for record in desk.records().values()) == 0
            assert list(desk.out.rglob("*.part")) == []
        if died.returncode != DIED:
            break
        tried += 1
    assert tried >= 3
