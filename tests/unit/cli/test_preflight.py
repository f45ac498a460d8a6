"""What stops a run before its first request, from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny_server import Shell, TinyServer


@pytest.fixture
def server() -> Iterator[TinyServer]:
    running = TinyServer()
    yield running
    running.close()


@pytest.fixture
def shell(tmp_path: Path, server: TinyServer) -> Shell:
    found = Shell(tmp_path / "work")
    found.configure(server.url)
    found.prompts("fox", "owl", "elk")  # two at once, 22 s each as the catalog says: 44 s
    return found


@pytest.mark.parametrize("strategy", ["cheapest", "priority", "fastest"])
def test_a_late_run_does_not_begin(shell: Shell, server: TinyServer, strategy: str) -> None:
    """Exit 4 before anything is sent or written, with what would be in time."""
    before = shell.files()
    late = shell.run("run", "p.csv", "--strategy", strategy, "--deadline", "10s")
    assert late.returncode == 4
    assert "within 10s" in late.stderr
    assert "costs about $0.30" in late.stderr
    assert (server.prompts, shell.files()) == ([], before)


def test_a_late_plan_is_shown_and_4(shell: Shell) -> None:
    """`--dry-run` ends as the run would."""
    late = shell.run("run", "p.csv", "--strategy", "cheapest", "--deadline", "10s", "--dry-run", "-O", "json")
    assert late.returncode == 4
    assert json.loads(late.stdout)["plan"]["in_time"] is False
    good = shell.run("run", "p.csv", "--strategy", "cheapest", "--deadline", "5m", "--dry-run", "-O", "json")
    assert good.returncode == 0
    assert json.loads(good.stdout)["plan"]["allocations"] == [
        {"provider": "paper", "lane": "sync", "images": 3, "cost_usd": 0.3}
    ]


def test_batches_keep_their_own_deadline(shell: Shell) -> None:
    """With --batch it says when to cancel, not whether to begin."""
    shell.env["GEMINI_API_KEY"] = "k"
    done = shell.run("run", "p.csv", "--batch", "-p", "google", "--deadline", "10h", "--dry-run", "-O", "json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)["plan"]
    assert (plan["allocations"][0]["lane"], plan["in_time"]) == ("batch", False)
