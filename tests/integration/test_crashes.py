"""The process dies at its k-th write, rename or flush: whatever k is, the next run ends whole and buys nothing twice."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dying import DIED, DYING
from tests.sandbox_process import SandboxProcess, sandbox

PROMPTS = 5
CONCURRENCY = 2


def run(folder: Path, checkout: Path, *, die_at: int | None, out: str = "out") -> int:
    environment = dict(os.environ, PYTHONPATH=str(checkout), XDG_CACHE_HOME=str(folder / "cache"))
    arguments = ["run", "prompts.csv", "-o", out, "--progress", "none"]
    command = [sys.executable, "-m", "nanobatch", *arguments]
    if die_at is not None:
        command = [sys.executable, "-c", DYING, str(die_at), *arguments]
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode


def prepare(folder: Path, vendor: SandboxProcess) -> None:
    folder.mkdir()
    (folder / "prompts.csv").write_text("prompt\n" + "".join(f"prompt {number}\n" for number in range(PROMPTS)))
    (folder / "nanobatch.yaml").write_text(
        f"providers:\n  local: {{protocol: gemini, base_url: '{vendor.gemini}', api_key: key, prices: {{1K: 0.1}}, "
        f"limits: {{concurrency: {CONCURRENCY}}}}}\n"
    )


def assert_whole(out: Path, status: str = "ok") -> None:
    manifest = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [record["index"] for record in manifest] == list(range(1, PROMPTS + 1))
    for record in manifest:
        assert record["status"] == status
        assert hashlib.sha256((out / record["file"]).read_bytes()).hexdigest() == record["sha256"]
    assert len(list((out / "images").iterdir())) == PROMPTS
    assert list(out.rglob("*.part")) == []


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_death_at_any_change_of_the_disk(tmp_path: Path, project_root: Path, first: int) -> None:
    """For k = 1, 2, 3 ... until a run survives: nothing is lost, and only what was on the wire may be bought again."""
    survived = False
    tried = 0
    for step in range(first, 400, 4 * 3):
        folder = tmp_path / str(step)
        with sandbox() as vendor:
            prepare(folder, vendor)
            died = run(folder, project_root, die_at=step) == DIED
            after_death = vendor.books()["images"]
            assert run(folder, project_root, die_at=None) == 0
            books = vendor.books()
        assert_whole(folder / "out")
        assert books["images"] - PROMPTS <= (CONCURRENCY if died else 0), f"died at {step}, {after_death} bought before"
        tried += died
        if not died:
            survived = True
            break
    assert survived
    assert tried >= 3


@pytest.mark.parametrize("first", [1, 2, 3])
def test_death_while_images_come_from_the_cache(tmp_path: Path, project_root: Path, first: int) -> None:
    """For k = 1, 2, 3 ... until a run survives: the next run has every image, and nobody was asked for one."""
    folder = tmp_path / "cached"
    tried = 0
    with sandbox() as vendor:
        prepare(folder, vendor)
        assert run(folder, project_root, die_at=None, out="earlier") == 0
        for step in range(first, 400, 3 * 3):
            died = run(folder, project_root, die_at=step) == DIED
            assert run(folder, project_root, die_at=None) == 0
            assert_whole(folder / "out", "cached")
            (folder / "out").rename(folder / f"out-{step}")
            tried += died
            if not died:
                break
        assert vendor.books()["requests"] == PROMPTS
    assert tried >= 3
