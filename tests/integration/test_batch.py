"""Batches from beginning to end: hundreds of images through every misfortune, a real process killed in each phase."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanobatch.batch_assembly import JOURNAL
from nanobatch.batches.journal import read_batches
from tests.batch_bench import BatchBench, bench
from tests.dying import DIED, DYING
from tests.sandbox_process import sandbox
from tests.tiny_server import PATIENCE_SECONDS, Shell


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


@pytest.mark.parametrize("provider", ["google", "openai"])
def test_all_misfortunes_together(tmp_path: Path, project_root: Path, provider: str) -> None:
    """Shuffled rows, one in twenty failing, two lost replies, three cut downloads, and a kill -9 in each phase.

    The script compares the folder with the sandbox's books; benchmarks/README.md has its figures for 5,000 prompts.
    """
    script = project_root / "benchmarks" / "batch_kills.py"
    options = ["--prompts", "120", "--rows", "25", "--provider", provider, "--folder", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "120 of 120 images, each with the digest of its own prompt" in ended.stdout
    assert ended.stdout.count("killed at") == 4


def test_an_account_with_an_enqueued_limit(tmp_path: Path) -> None:
    """280 images where 400,000 tokens may be enqueued: batches follow one another, and never meet a 429."""
    with sandbox(enqueued_tokens=400_000, batch_wait=0, batch_run=0.5) as vendor:
        batch = {"enqueued_tokens": 400_000, "output_mb": 10**6, "rows": 140, "poll_seconds": 0.2}
        google = {"base_url": vendor.gemini, "api_key": "k", "batch": batch}
        config = {"defaults": {"model": "nano-banana-pro"}, "providers": {"google": google}}
        (tmp_path / "nanobatch.yaml").write_text(json.dumps(config))
        (tmp_path / "p.csv").write_text("prompt\n" + "".join(f"a fox {number}\n" for number in range(280)))
        ended = Shell(tmp_path).run("run", "p.csv", "--batch", "-o", "out", "-y", "-q")
        assert ended.returncode == 0, ended.stderr
        books = vendor.books()
        assert (books["images"], books["half_price"], books["batches_twice"]) == (280, 280, 0)
        assert books["violations"] == {}
        assert books["refusals"] == {}
        assert 140 * 1120 < books["most_enqueued"] <= 400_000
        assert books["batches"] >= 2


def test_an_account_whose_queue_is_smaller_than_we_know(tmp_path: Path) -> None:
    """OpenAI lets a batch fail that its queue has no room for: it is ordered again later, and no attempt is counted."""
    with sandbox(enqueued_tokens=30, batch_wait=0, batch_run=0.3) as vendor:
        provider = {"base_url": vendor.openai, "api_key": "k", "batch": {"rows": 10, "poll_seconds": 0.05}}
        config = {"defaults": {"model": "gpt-image-2"}, "run": {"retries": 0}, "providers": {"openai": provider}}
        (tmp_path / "nanobatch.yaml").write_text(json.dumps(config))
        (tmp_path / "p.csv").write_text("prompt\n" + "".join(f"a fox {number}\n" for number in range(20)))
        ended = Shell(tmp_path).run("run", "p.csv", "--batch", "-o", "out", "-y", "-q", "-O", "json")
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["attempts"] >= 20
        books = vendor.books()
        assert (books["images"], books["violations"]["enqueued_tokens"] > 0) == (20, True)
        records = [json.loads(line) for line in (tmp_path / "out/manifest.jsonl").read_text().splitlines()]
        assert {record["attempts"] for record in records} == {1}


def test_in_the_sandbox_from_the_folder_alone(tmp_path: Path) -> None:
    """`submit --sandbox` and `collect`, in processes of their own: the sandbox's batches outlive it."""
    (tmp_path / "p.csv").write_text("prompt\na fox\na heron\n")
    shell_ = Shell(tmp_path)
    assert shell_.run("batch", "submit", "p.csv", "--sandbox", "-o", "out", "-q").returncode == 0
    (tmp_path / "p.csv").unlink()
    ended = shell_.run("batch", "collect", "out", "-q")
    while ended.returncode == 5:
        ended = shell_.run("batch", "collect", "out", "-q")
    assert ended.returncode == 0, ended.stderr
    books = [json.loads(line) for line in (tmp_path / "out/.nanobatch/sandbox-books.jsonl").read_text().splitlines()]
    assert [line["factor"] for line in books] == [0.5, 0.5]


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
