"""`usage.budget_usd_per_day`, from outside: runs in different folders, and one that is killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny_server import Reply, Shell, TinyServer, image


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


@pytest.fixture
def server() -> Iterator[TinyServer]:
    found = TinyServer()
    yield found
    found.close()


def limited(shell: Shell, server: TinyServer, usd_per_day: float) -> None:
    shell.configure(server.url)
    config = json.loads((shell.cwd / "nanobatch.yaml").read_text())
    shell.write("nanobatch.yaml", json.dumps(config | {"usage": {"budget_usd_per_day": usd_per_day}}))


def test_a_second_run_in_another_folder_spends_the_rest_of_the_day(shell: Shell, server: TinyServer) -> None:
    """At ten cents an image a day of 45 cents has four, whichever run asks for them."""
    limited(shell, server, 0.45)
    shell.prompts("one", "two", "three")
    assert shell.run("run", "p.csv", "--out", "first").returncode == 0
    done = shell.run("run", "p.csv", "--out", "second", "--fresh")
    assert done.returncode == 4, done.stderr
    assert "budget of $0.45 a day is used up" in done.stderr
    assert shell.summary("second")["exit_code"] == 4
    assert len(server.prompts) == 4


def test_what_a_killed_run_had_on_the_wire_counts_as_spent(shell: Shell, server: TinyServer) -> None:
    """Two requests of ten cents were under way; of a day of 25 cents nothing is left for a third."""
    limited(shell, server, 0.25)
    shell.prompts("one", "two")
    server.script = lambda _: Reply(hang=True)
    with shell.start("run", "p.csv", "--out", "first") as process:
        server.wait_for_requests(2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    server.script = lambda _: image()
    done = shell.run("run", "p.csv", "--out", "second")
    assert done.returncode == 4, done.stderr
    assert "$0.200 set aside by other runs" in done.stderr
    assert len(server.prompts) == 2


def test_the_sandbox_does_not_count(shell: Shell, server: TinyServer) -> None:
    """What it draws costs nothing."""
    limited(shell, server, 0.05)
    shell.prompts("one", "two")
    assert shell.run("run", "p.csv", "--sandbox").returncode == 0
    assert shell.run("run", "p.csv", "--out", "real").returncode == 4
    assert server.prompts == []
