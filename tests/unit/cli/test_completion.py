"""Completion by the shells' own protocols: what Tab offers, through the real command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nanobatch.catalog import load_catalog
from nanobatch.cli import completion
from tests.tiny_server import PATIENCE_SECONDS, Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell in whose PATH `nanobatch` is a program."""
    shell = Shell(tmp_path / "work")
    program = shell.cwd / "nanobatch"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nanobatch "$@"\n')
    program.chmod(0o755)
    shell.env["PATH"] = f"{shell.cwd}:{shell.env['PATH']}"
    return shell


def in_bash(shell: Shell, *words: str) -> list[str]:
    """Let bash itself complete a command line, with the script that nanobatch gives it."""
    script = f"""
    eval "$(_NANOBATCH_COMPLETE=source_bash nanobatch)"
    complete -p nanobatch >/dev/null || exit 9
    COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
    _nanobatch_completion nanobatch
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], cwd=shell.cwd, env=shell.env, text=True, capture_output=True, timeout=PATIENCE_SECONDS,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.split("\n") if line]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ver"], {"verify"}),
        (["run", "--strat"], {"--strategy"}),
        (["run", "--strategy", ""], {"priority", "cheapest", "fastest"}),
        (["run", "--provider", "goo"], {"google"}),
        (["run", "p.csv", "-p", "lao"], {"laozhang"}),
        (["run", "--size", ""], {"512", "1K", "2K", "4K"}),
        (["run", "--size", "2"], {"2K"}),
        (["run", "--model", "nano-banana-p"], {"nano-banana-pro", "nano-banana-pro-preview"}),
        (["run", "--aspect-ratio", "21"], {"21:9"}),
        (["providers", "ki"], {"kie"}),
        (["estimate-cost", "--baseline", "open"], {"openai", "openrouter"}),
    ],
)  # fmt: skip
def test_bash_offers_what_fits(shell: Shell, words: list[str], offered: set[str]) -> None:
    """Commands, options, and values of options."""
    assert set(in_bash(shell, "nanobatch", *words)) == offered


def test_bash_falls_back_on_files(shell: Shell) -> None:
    """Where nanobatch has nothing to offer, the shell completes names of files."""
    assert in_bash(shell, "nanobatch", "run", "p") == []
    shell.env["_NANOBATCH_COMPLETE"] = "source_bash"
    assert "-o default" in shell.run().stdout


@pytest.mark.parametrize("kind", ["zsh", "fish"])
def test_other_shells_have_a_script_and_answers(shell: Shell, kind: str) -> None:
    """By the variables that their scripts set."""
    shell.env["_NANOBATCH_COMPLETE"] = f"source_{kind}"
    script = shell.run()
    assert script.returncode == 0
    assert f"_NANOBATCH_COMPLETE=complete_{kind}" in script.stdout
    shell.env |= {
        "_NANOBATCH_COMPLETE": f"complete_{kind}", "_TYPER_COMPLETE_ARGS": "nanobatch run --provider goo",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }  # fmt: skip
    answer = shell.run()
    assert "google" in answer.stdout
    assert "kie" not in answer.stdout


def test_every_provider_and_model_can_be_found() -> None:
    """With the variable of its key as a word of help; short names once something is typed."""
    catalog = load_catalog()
    assert [name for name, _ in completion.providers("")] == list(catalog.providers)
    assert dict(completion.providers("GOO")) == {"google": "GEMINI_API_KEY or GOOGLE_API_KEY"}
    assert list(completion.models("")) == [model.id for model in catalog.models.values()]
    aliases = {alias for model in catalog.models.values() for alias in model.aliases}
    assert aliases
    assert all(alias in completion.models(alias[:3]) for alias in aliases)


def test_shapes_come_from_tall_to_wide() -> None:
    """As a person looks for them."""
    found = completion.ratios("")
    assert found.index("9:16") < found.index("1:1") < found.index("16:9")
    assert set(found) == load_catalog().ratios
