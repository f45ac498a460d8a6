"""`nanobatch status`, from outside: while a run goes on, after a kill, and in a pipe."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_server import Reply, Shell, TinyServer, image, refusal

KEYS = {
    "output", "running", "holder", "state", "run_id", "started_at", "finished_at", "exit_code", "stop_reason",
    "resume_after", "sandbox", "jobs", "ok", "cached", "refused", "failed", "unfinished", "images_per_minute",
    "seconds_left", "cost_usd", "maybe_cost_usd", "open_requests", "open_tasks", "open_worst_usd", "providers",
    "failures", "other_failures", "next",
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[TinyServer]:
    server = TinyServer(
        lambda prompt: Reply(hang=True) if "slow" in prompt else refusal() if "bad" in prompt else image()
    )
    yield server
    server.close()


@pytest.fixture
def shell(tmp_path: Path, server: TinyServer) -> Shell:
    shell = Shell(tmp_path / "work")
    shell.configure(server.url)
    return shell


def asked(shell: Shell) -> dict[str, Any]:
    done = shell.run("status", "p-images", "-O", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    assert set(found) == KEYS
    return found


def test_while_it_runs_and_after_a_kill(shell: Shell, server: TinyServer) -> None:
    """Running: who, and what is on the wire. Killed: what is possibly billed, and a command that goes on, and works."""
    shell.prompts("one", "two", "slow", "slow too", "five")
    with shell.start("run", "p.csv", "--progress", "none") as process:
        server.wait_for_requests(4)
        running = asked(shell)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert running["state"] == "running"
    assert running["holder"]["pid"] == process.pid
    assert running["open_requests"] == 2
    assert running["jobs"] == 5

    with (shell.cwd / "p-images/manifest.jsonl").open("a") as file:
        file.write('{"job":"12')
    killed = asked(shell)
    assert (killed["state"], killed["running"], killed["open_requests"]) == ("killed", False, 2)
    assert (killed["ok"], killed["unfinished"]) == (2, 3)
    assert killed["open_worst_usd"] > 0
    assert killed["next"]["command"] == "nanobatch run p.csv --progress none"

    server.script = lambda _: image()
    assert shell.bash(killed["next"]["command"]).returncode == 0
    assert asked(shell)["next"]["command"] == "nanobatch verify p-images"


def test_for_people_it_fits_80_columns(shell: Shell) -> None:
    """Without colour, without a line that a narrow terminal would break."""
    shell.env["COLUMNS"] = "80"
    shell.prompts("one", "bad " + "long words " * 20, "two")
    assert shell.run("run", "p.csv", "--progress", "none").returncode == 1
    done = shell.run("status", "p-images")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    for words in ("2 of 3", "1 refused", "why there is no image", "next: ", "--retry-failed"):
        assert words in done.stdout


def test_a_reader_that_has_seen_enough_is_no_failure(shell: Shell) -> None:
    """`status DIR | head -1`."""
    shell.prompts("one")
    shell.run("run", "p.csv", "--progress", "none")
    done = shell.bash("nanobatch status p-images | head -n 1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("folder")


@pytest.mark.parametrize("name", ["nothing", ".", "p.csv"])
def test_what_is_no_run_is_2(shell: Shell, name: str) -> None:
    """One sentence that says what to do."""
    shell.prompts("one")
    done = shell.run("status", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_a_run_that_starts_while_somebody_asks_starts(shell: Shell) -> None:
    """Asking takes the lock for a moment; a run waits that moment out."""
    shell.prompts("one")
    shell.run("run", "p.csv", "--progress", "none")
    asking = "(for i in 1 2 3 4 5 6; do nanobatch status p-images >/dev/null; done) & "
    done = shell.bash(
        asking + "nanobatch run p.csv -q && nanobatch run p.csv -q && nanobatch run p.csv -q; code=$?; wait; exit $code"
    )
    assert (done.returncode, done.stderr) == (0, "")
