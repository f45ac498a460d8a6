"""`nanobatch doctor`, from outside, against a sandbox that refuses keys which begin with "invalid"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox_process import sandbox
from tests.tiny_server import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


def config(shell: Shell, **providers: dict[str, Any]) -> None:
    (shell.cwd / "nanobatch.yaml").write_text(json.dumps({"providers": providers}))


def test_without_a_key_it_says_which_to_set(shell: Shell) -> None:
    """The first thing that a new user sees, and exit code 3."""
    done = shell.run("doctor")
    assert done.returncode == 3
    assert "GEMINI_API_KEY" in done.stdout
    assert done.stderr == ""


def test_with_a_key_all_is_well(shell: Shell) -> None:
    """Nothing is sent without --ping: the key need not be a real one."""
    shell.env["GEMINI_API_KEY"] = "some-key"
    done = shell.run("doctor", "-O", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["exit_code"]) == (0, 0)
    assert {check["name"] for check in found["checks"]} >= {"python", "disk", "catalog", "configuration", "keys"}
    assert "some-key" not in done.stdout


def test_a_broken_configuration_is_2(shell: Shell) -> None:
    """With its line."""
    (shell.cwd / "nanobatch.yaml").write_text("run:\n  retires: 3\n")
    done = shell.run("doctor")
    assert done.returncode == 2
    assert "nanobatch.yaml:2" in done.stdout


def test_a_ping_asks_every_format_at_no_cost(shell: Shell) -> None:
    """Each provider answers its free call; the books stay empty."""
    with sandbox() as vendor:
        suffixes = {
            "gemini": "/v1beta", "openai": "/v1", "openai-chat": "/v1", "kie": "/kie", "openrouter": "/openrouter/api/v1",
            "replicate": "/replicate", "together": "/together/v1", "xai": "/xai/v1", "fal": "/fal", "puter": "/puter",
        }  # fmt: skip
        providers = {
            f"my-{protocol}": {"protocol": protocol, "base_url": vendor.url + suffix, "api_key": "good"}
            for protocol, suffix in suffixes.items()
        }
        config(shell, **providers)
        done = shell.run("doctor", "--ping", "-O", "json")
        assert done.returncode == 0, done.stdout
        pings = {check["name"]: check for check in json.loads(done.stdout)["checks"] if "ping" in check["name"]}
        assert len(pings) == len(providers)
        for protocol in set(suffixes) - {"fal", "puter"}:
            assert "the key is accepted" in pings[f"ping my-{protocol}"]["message"]
        assert vendor.books()["images"] == 0


def test_refused_keys_are_3_unless_one_works(shell: Shell) -> None:
    """All refused: fix the keys. One that works is enough to run."""
    with sandbox() as vendor:
        bad = {"protocol": "gemini", "base_url": vendor.gemini, "api_key": "invalid-key"}
        config(shell, bad=bad)
        done = shell.run("doctor", "--ping")
        assert done.returncode == 3
        assert "invalid-key" not in done.stdout
        config(shell, bad=bad, good=bad | {"api_key": "fine"})
        assert shell.run("doctor", "--ping").returncode == 0


def test_nobody_there_is_5(shell: Shell) -> None:
    """The address is named, because it is the first suspect."""
    config(shell, mine={"protocol": "gemini", "base_url": "http://127.0.0.1:9/v1beta", "api_key": "k"})
    done = shell.run("doctor", "--ping")
    assert done.returncode == 5
    assert "127.0.0.1:9" in done.stdout
