"""Quota that runs share, from outside: several processes, folders, and one that is killed."""

from __future__ import annotations

import datetime as dt
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.redis_process import redis_process
from tests.tiny_server import Reply, Shell, TinyServer, image

PATIENCE = threading.Event()  # is never set: a vendor that takes its time


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


@pytest.fixture
def server() -> Iterator[TinyServer]:
    found = TinyServer()
    yield found
    found.close()


def limited(shell: Shell, server: TinyServer, *, usage: dict[str, Any] | None = None, **limits: int) -> None:
    shell.configure(server.url)
    config = json.loads((shell.cwd / "nanobatch.yaml").read_text())
    config["providers"]["paper"]["limits"] = limits
    shell.write("nanobatch.yaml", json.dumps(config | {"usage": usage or {}}))


def rows(count: int, word: str) -> list[str]:
    return [f"{word} {number}" for number in range(count)]


def write(shell: Shell, name: str, count: int) -> str:
    shell.write(f"{name}.txt", "\n".join(rows(count, name)))
    return f"{name}.txt"


def state_folder(shell: Shell) -> Path:
    return Path(shell.env["HOME"]) / ".local" / "state" / "nanobatch"


def next_midnight() -> float:
    """Return when the day of a provider that the catalog does not know ends: it is counted in UTC."""
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    return dt.datetime.combine(tomorrow, dt.time(), dt.UTC).timestamp()


def test_three_runs_of_one_day_send_its_quota_together(shell: Shell, server: TinyServer) -> None:
    """In three folders: 12 + 12 + 6 of 30, the last with exit 5 and the moment at which the next day begins."""
    midnight = next_midnight()
    limited(shell, server, rpd=30, concurrency=4)
    codes = [shell.run("run", write(shell, name, 12)).returncode for name in ("one", "two", "three")]
    if next_midnight() != midnight:
        pytest.skip("midnight passed meanwhile")
    assert codes == [0, 0, 5]
    assert len(server.prompts) == 30
    resume = dt.datetime.fromisoformat(shell.summary("three-images")["resume_after"])
    assert midnight <= resume.timestamp() <= midnight + 120


def test_runs_at_once_never_send_more_than_the_day_has(shell: Shell, server: TinyServer) -> None:
    """Three that begin together."""
    limited(shell, server, rpd=30, concurrency=4)
    runs = [shell.start("run", write(shell, name, 20)) for name in ("one", "two", "three")]
    for run in runs:
        run.communicate()
    assert len(server.prompts) == 30
    assert {run.returncode for run in runs} <= {0, 5}
    assert any(run.returncode == 5 for run in runs)


def test_concurrency_holds_over_processes(shell: Shell, server: TinyServer) -> None:
    """Two runs, four requests at once: never five."""
    limited(shell, server, concurrency=4)
    now, most, lock = 0, 0, threading.Lock()

    def slow(_: str) -> Reply:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        PATIENCE.wait(0.15)
        with lock:
            now -= 1
        return image()

    server.script = slow
    runs = [shell.start("run", write(shell, name, 12)) for name in ("one", "two")]
    for run in runs:
        run.communicate()
        assert run.returncode == 0
    assert len(server.prompts) == 24
    assert most <= 4


def test_after_a_kill_the_rerun_begins_at_once(shell: Shell, server: TinyServer) -> None:
    """The slots of the dead process are free as soon as somebody looks."""
    limited(shell, server, concurrency=2)
    server.script = lambda _: Reply(hang=True)
    name = write(shell, "one", 4)
    with shell.start("run", name) as process:
        server.wait_for_requests(2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    server.script = lambda _: image()
    began = time.monotonic()
    assert shell.run("run", name).returncode == 0
    assert time.monotonic() - began < 30  # seconds after which silence alone would free them


def test_a_broken_ledger_is_a_warning(shell: Shell, server: TinyServer) -> None:
    """The run keeps the limits for itself and says so."""
    limited(shell, server, rpm=100, concurrency=4)
    state = state_folder(shell)
    state.mkdir(parents=True, exist_ok=True)
    (state / "usage.sqlite").write_bytes(b"no database" * 1000)
    done = shell.run("run", write(shell, "one", 3))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("this run keeps the limits for itself alone") == 1


def test_no_key_stands_in_the_ledger(shell: Shell, server: TinyServer) -> None:
    """Accounts are known by a digest."""
    limited(shell, server, rpm=100, concurrency=4)
    assert shell.run("run", write(shell, "one", 3)).returncode == 0
    config = json.loads((shell.cwd / "nanobatch.yaml").read_text())
    key = config["providers"]["paper"]["api_key"]
    for path in (state_folder(shell)).iterdir():
        assert key.encode() not in path.read_bytes()


def test_machines_share_through_redis(shell: Shell, server: TinyServer) -> None:
    """Two runs with nothing in common but the Redis send 30 together; the second pays from the same day's money."""
    with redis_process() as redis:
        limited(shell, server, usage={"url": redis.url, "budget_usd_per_day": 2.5}, rpd=30, concurrency=4)
        first = shell.run("run", write(shell, "one", 20))
        assert first.returncode == 0, first.stderr
        shell.env["XDG_STATE_HOME"] = str(shell.cwd / "another-machine")
        second = shell.run("run", write(shell, "two", 20))
        assert second.returncode == 4, second.stderr
        assert "$2.50 a day is used up" in second.stderr
        assert len(server.prompts) == 25
        limited(shell, server, usage={"url": redis.url}, rpd=30, concurrency=4)
        assert shell.run("run", write(shell, "three", 20)).returncode == 5
        assert len(server.prompts) == 30


def test_redis_that_dies_in_mid_run_costs_a_warning(shell: Shell, server: TinyServer) -> None:
    """The rest is done within the run's own limits."""
    with redis_process() as redis:
        limited(shell, server, usage={"url": redis.url}, rpm=1000, concurrency=2)

        def answer(_: str) -> Reply:
            if len(server.prompts) == 5:
                redis.kill()
            PATIENCE.wait(0.3)
            return image()

        server.script = answer
        done = shell.run("run", write(shell, "one", 16))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("this run keeps the limits for itself alone") == 1
    assert len(server.prompts) == 16


@pytest.mark.parametrize("url", ["redis://", "http://127.0.0.1:1", "hush-hush", "redis://:hush-hush@host:x/0"])
def test_an_address_that_is_none_is_named_without_its_password(shell: Shell, server: TinyServer, url: str) -> None:
    """Before anything is sent."""
    limited(shell, server, usage={"url": url}, concurrency=2)
    done = shell.run("run", write(shell, "one", 1))
    assert done.returncode == 2
    assert "usage.url must be an address like redis://" in done.stderr
    assert "hush" not in done.stderr
    assert server.prompts == []
