"""Formats with tasks, from outside: what was ordered is fetched, whatever happens to polls, downloads and processes."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox_process import SandboxProcess, sandbox
from tests.tiny_server import Shell

ENDINGS = {"kie": "/kie", "fal": "/fal", "replicate": "/replicate"}
FETCHING = {"poll500": 0.1, "pollreset": 0.05, "poll429": 0.05, "download500": 0.05, "downloadcut": 0.05}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


def configure(shell: Shell, vendor: SandboxProcess, protocol: str, **run: Any) -> None:
    provider = {
        "protocol": protocol, "base_url": vendor.url + ENDINGS[protocol], "api_key": "k", "prices": {"1K": 0.09},
        "limits": {"concurrency": 64},
    }  # fmt: skip
    shell.write("nanobatch.yaml", json.dumps({"run": run, "providers": {"vendor": provider}}))


def rows(shell: Shell, count: int) -> None:
    shell.write("p.csv", "prompt\n" + "".join(f"fox number {number}\n" for number in range(count)))


@pytest.mark.parametrize("protocol", ENDINGS)
def test_fetching_that_fails_never_buys_again(shell: Shell, protocol: str) -> None:
    """Three polls or downloads in ten go wrong: every prompt has its image, and each was ordered once."""
    with sandbox(faults=FETCHING) as vendor:
        configure(shell, vendor, protocol)
        rows(shell, 25)
        done = shell.run("run", "p.csv", "--progress", "none")
        assert done.returncode == 0, done.stderr
        books = vendor.books()
        assert (books["creations"], books["twice"]) == (25, 0)
        assert sum(books["faults"].values()) > 0
        assert shell.summary()["ok"] == 25


def test_a_killed_run_fetches_the_same_tasks(shell: Shell) -> None:
    """Killed with -9 while all tasks are pending; the same command again orders nothing and gets everything."""
    with sandbox(latency="4-5") as vendor:
        configure(shell, vendor, "kie")
        rows(shell, 30)
        with shell.start("run", "p.csv", "--progress", "none") as process:
            ledger = shell.cwd / "p-images/.nanobatch/attempts.jsonl"
            while process.poll() is None and vendor.books()["polls"] < 30:  # each task is asked for once
                pass
            assert ledger.read_bytes().count(b'"kind":"task"') == 30
            process.send_signal(signal.SIGKILL)
        assert vendor.books()["creations"] == 30
        assert not list((shell.cwd / "p-images/images").glob("*"))
        done = shell.run("run", "p.csv", "--progress", "none")
        assert done.returncode == 0, done.stderr
        assert vendor.books()["creations"] == 30
        summary = shell.summary()
        assert (summary["ok"], summary["attempts"], summary["maybe_cost_usd"]) == (30, 0, 0)
        assert summary["cost_usd"] == pytest.approx(30 * 0.09)


def test_a_spoiled_vendor_leaves_tasks_for_the_next_run(shell: Shell) -> None:
    """Nothing can be fetched: the run ends with 5, its money counts as possibly billed, and the next one pays nothing."""
    with sandbox(faults={"download500": 1.0}) as vendor:
        configure(shell, vendor, "replicate", retries=0)
        rows(shell, 3)
        done = shell.run("run", "p.csv", "--progress", "none")
        assert done.returncode == 5, done.stderr
        assert shell.summary()["maybe_cost_usd"] == pytest.approx(0.27)
        vendor.plan(faults={})
        done = shell.run("run", "p.csv", "--progress", "none")
        assert done.returncode == 0, done.stderr
        assert vendor.books()["creations"] == 3
        summary = shell.summary()
        assert (summary["ok"], summary["cost_usd"], summary["maybe_cost_usd"]) == (3, pytest.approx(0.27), 0)
