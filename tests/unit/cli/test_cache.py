"""`nanobatch cache`, as a user types it; what it prints and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.redis_process import redis_process
from tests.tiny_server import Shell, TinyServer, image

STATS = [
    "where", "images", "refusals", "expired", "oldest", "image_bytes", "worth_usd", "kept_images", "kept_bytes",
    "meanings", "hits", "saved_usd",
]  # fmt: skip


@pytest.fixture
def server() -> Iterator[TinyServer]:
    server = TinyServer(lambda _: image())
    yield server
    server.close()


@pytest.fixture
def shell(tmp_path: Path, server: TinyServer) -> Shell:
    shell = Shell(tmp_path / "work")
    shell.configure(server.url)
    shell.prompts("one", "two")
    return shell


def stats(shell: Shell) -> dict[str, Any]:
    done = shell.run("cache", "stats", "-O", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    assert list(found) == STATS
    return found


def test_counted_pruned_and_cleared(shell: Shell, server: TinyServer) -> None:
    """From two runs to an empty cache; the folders stay as they are."""
    assert stats(shell)["images"] == 0
    assert shell.run("run", "p.csv", "-o", "a", "-q").returncode == 0
    assert shell.run("run", "p.csv", "-o", "b", "-q").returncode == 0
    found = stats(shell)
    assert (found["images"], found["hits"], found["saved_usd"], found["worth_usd"]) == (2, 2, 0.2, 0.2)
    text = shell.run("cache", "stats").stdout
    assert "2 times, $0.200 saved" in text

    for folder in ("a", "b"):
        next((shell.cwd / folder / "images").iterdir()).unlink()
    pruned = json.loads(shell.run("cache", "prune", "-O", "json").stdout)
    assert pruned["expired"] == 0
    assert pruned["gone"] in (0, 1)  # the two folders list their files in any order
    assert shell.run("cache", "prune", "--older-than", "0s").stdout.startswith(f"dropped {2 - pruned['gone']} too old")
    assert stats(shell)["images"] == 0

    assert shell.run("run", "p.csv", "-o", "c", "-q").returncode == 0
    assert shell.run("cache", "clear").stdout == "dropped 2; 0.0 MB freed\n"
    assert (stats(shell)["images"], stats(shell)["hits"]) == (0, 0)
    assert len(list((shell.cwd / "c" / "images").iterdir())) == 2
    assert len(server.prompts) == 4


def test_a_teams_cache_has_the_same_commands(shell: Shell) -> None:
    """Where cache.url says, without its password on any screen."""
    with redis_process(password="hidden") as redis:
        config = shell.cwd / "nanobatch.yaml"
        url = redis.url.replace("redis://", "redis://:hidden@")
        config.write_text(json.dumps({**json.loads(config.read_text()), "cache": {"url": url}}))
        assert shell.run("run", "p.csv", "-o", "a", "-q").returncode == 0
        found = stats(shell)
        assert (found["images"], found["kept_images"]) == (2, 1)  # equal images travel once
        assert "hidden" not in shell.run("cache", "stats").stdout
        assert json.loads(shell.run("cache", "clear", "--yes", "-O", "json").stdout)["dropped"] == 2
    gone = shell.run("cache", "stats")
    assert gone.returncode == 5
    assert gone.stderr.startswith("nanobatch: the cache in the Redis at 127.0.0.1:")
    assert "hidden" not in gone.stderr


def test_mistakes_are_sentences(shell: Shell) -> None:
    """An age that is none, and a configuration that is not there."""
    wrong = shell.run("cache", "prune", "--older-than", "soon")
    assert wrong.returncode == 2
    assert "must be a duration" in wrong.stderr
    assert shell.run("cache", "stats", "-c", "none.yaml").returncode == 2
