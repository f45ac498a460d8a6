"""`nanobatch providers`, from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny_server import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


def test_a_table_for_people(shell: Shell) -> None:
    """Every provider is in it, with the variable that its key is looked for in; nothing needs to be set."""
    done = shell.run("providers")
    assert done.returncode == 0
    for word in ("google", "GEMINI_API_KEY", "kie", "20 in 10 s", "replicate", "nano-banana-pro", "0.134"):
        assert word in done.stdout
    assert done.stderr == ""


def test_json_for_programs(shell: Shell) -> None:
    """The same as data; keys are named, never shown."""
    shell.env["GEMINI_API_KEY"] = "AIza-secret-key"
    done = shell.run("providers", "-O", "json")
    found = json.loads(done.stdout)["providers"]
    assert (found[0]["name"], found[0]["used"], found[0]["key_found_in"]) == ("google", True, "GEMINI_API_KEY")
    assert "secret" not in done.stdout + done.stderr


def test_one_provider_in_full(shell: Shell) -> None:
    """Ids, ratios, limits, and where its prices come from."""
    done = shell.run("providers", "kie")
    assert done.returncode == 0
    for word in ("https://api.kie.ai", "google/nano-banana", "16:9", "8 reference images", "kie.ai/pricing"):
        assert word in done.stdout
    assert "laozhang" not in done.stdout
    assert [one["name"] for one in json.loads(shell.run("providers", "kie", "-O", "json").stdout)["providers"]] == [
        "kie"
    ]


def test_an_unknown_name_is_2(shell: Shell) -> None:
    """With the nearest one that exists."""
    done = shell.run("providers", "kye")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'kie'" in done.stderr


def test_a_broken_configuration_is_2(shell: Shell) -> None:
    """It is told as `run` tells it."""
    (shell.cwd / "nanobatch.yaml").write_text("providers:\n  google: {tear: 1}\n")
    done = shell.run("providers")
    assert done.returncode == 2
    assert "nanobatch.yaml:2" in done.stderr
    assert "tier" in done.stderr
