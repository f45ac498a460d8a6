"""docs/recipes.md, as it stands: the commands of every recipe are run against the local providers.

Run: the command of the crontab line, by `sh`; ExecStart of the unit, by its words; the `run:` steps of the workflow that
call nanobatch, by `bash -e`; the makefile, by make; all `sh` blocks, by `bash -e`.
Only parsed: the five fields of the crontab line, the rest of the units (and checked by systemd-analyze where that is
installed), the rest of the workflow, and the PromQL line's metric names.
"""

from __future__ import annotations

import configparser
import http.server
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.sandbox_process import SandboxProcess, sandbox
from tests.tiny_server import PATIENCE_SECONDS, ROOT

TEXT = (ROOT / "docs/recipes.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL))
ROWS = 5


def blocks(recipe: str, language: str) -> list[str]:
    """Return the code blocks of a recipe."""
    return re.findall(rf"^```{language}\n(.*?)^```", RECIPES[recipe], flags=re.MULTILINE | re.DOTALL)


@dataclass
class House:
    """A home folder with a catalogue, in which `nanobatch` is a program and the provider is local."""

    home: Path
    vendor: SandboxProcess
    env: dict[str, str] = field(default_factory=dict)

    @property
    def here(self) -> Path:
        return self.home / "catalogue"

    def furnish(self) -> None:
        self.here.mkdir(parents=True)
        rows = "".join(f"row-{number},a fox number {number}\n" for number in range(ROWS))
        (self.here / "prompts.csv").write_text("id,prompt\n" + rows)
        provider = {"protocol": "gemini", "base_url": self.vendor.gemini, "api_key": "k", "prices": {"1K": 0.1}}
        (self.here / "nanobatch.yaml").write_text(json.dumps({"providers": {"local": provider}}))
        program = self.home / "bin/nanobatch"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nanobatch "$@"\n')
        program.chmod(0o755)
        self.env = {
            "HOME": str(self.home),
            "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
        }

    def run(self, *command: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.here,
            env=self.env,
            text=True,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
            **more,
        )

    def bash(self, script: str) -> subprocess.CompletedProcess[str]:
        done = self.run("bash", "-e", "-o", "pipefail", "-c", script)
        assert done.returncode == 0, done.stderr
        return done

    def images(self, folder: str = "images") -> int:
        return len([path for path in (self.here / folder / "images").iterdir() if path.is_file()])

    def summary(self) -> Any:
        return json.loads((self.here / "images/run.json").read_text())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with sandbox() as vendor:
        house = House(tmp_path / "home", vendor)
        house.furnish()
        yield house


def test_every_recipe_is_here() -> None:
    """A recipe that nobody tests is a rumour."""
    assert set(RECIPES) == {
        "cron", "systemd", "GitHub Actions", "make", "xargs", "A command for each image", "A message at the end",
        "Prometheus",
    }  # fmt: skip


def test_cron(house: House) -> None:
    """The line has five fields and a command; the command is silent when all is well, and tells the state if not."""
    (line,) = blocks("cron", "cron")
    found = re.fullmatch(r"((?:[\d*/,-]+ ){4}[\d*/,-]+) +(.+)\n", line)
    assert found
    assert "%" not in found[2], "cron would cut the line there"
    done = house.run("sh", "-c", found[2])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert house.images() == ROWS
    with (house.here / "prompts.csv").open("a") as file:
        file.write("late,one more\n")
    house.vendor.plan(faults={"safety": 1.0})
    done = house.run("sh", "-c", found[2])
    assert "1 refused" in done.stdout
    assert f"{ROWS} of {ROWS + 1}" in done.stdout


def test_systemd(house: House, tmp_path: Path) -> None:
    """The unit's command generates; 5 is no failure of the unit; both files are well formed."""
    service, timer = (configparser.ConfigParser(interpolation=None) for _ in range(2))
    for parser in (service, timer):
        parser.optionxform = str  # type: ignore[assignment,method-assign]
    texts = blocks("systemd", "ini")
    service.read_string(texts[0])
    timer.read_string(texts[1])
    unit = service["Service"]
    assert Path(unit["WorkingDirectory"].replace("%h", str(house.home))) == house.here
    assert house.run(*shlex.split(unit["ExecStart"])).returncode == 0
    assert house.images() == ROWS
    assert unit["SuccessExitStatus"] == "5"
    assert hasattr(signal, unit["KillSignal"])
    assert timer["Install"]["WantedBy"] == "timers.target"
    if (analyze := shutil.which("systemd-analyze")) is not None:
        for name, text in zip(("catalogue.service", "catalogue.timer"), texts, strict=True):
            (tmp_path / name).write_text(text)
        checked = house.run(
            analyze, "verify", "--user", *(str(tmp_path / name) for name in ("catalogue.service", "catalogue.timer"))
        )
        assert "Unknown" not in checked.stderr


def test_github_actions(house: House) -> None:
    """The steps that call nanobatch, in their order, with the page of the run as a file."""
    (text,) = blocks("GitHub Actions", "yaml")
    (job,) = yaml.safe_load(text)["jobs"].values()
    page = house.home / "page.md"
    house.env |= {"GITHUB_STEP_SUMMARY": str(page), "GEMINI_API_KEY": "k"}
    run = [step["run"] for step in job["steps"] if "run" in step]
    assert run[0] == "pip install nanobatch"
    assert len(run) == 3
    for script in run[1:]:
        house.bash(script)
    assert f"{ROWS} of {ROWS}" in page.read_text()
    (upload,) = (step for step in job["steps"] if "upload-artifact" in step.get("uses", ""))
    assert len(list((house.here / upload["with"]["path"]).iterdir())) == ROWS
    (cache,) = (step for step in job["steps"] if step.get("uses", "").startswith("actions/cache@"))
    assert (house.here / cache["with"]["path"] / "manifest.jsonl").exists()
    assert all("@v" in step["uses"] for step in job["steps"] if "uses" in step)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make(house: House) -> None:
    """Once; not again while nothing changed; again for a new row."""
    (text,) = blocks("make", "make")
    (house.here / "Makefile").write_text(text)
    target = "images/run.json"
    assert house.run("make", target).returncode == 0
    assert house.images() == ROWS
    assert "up to date" in house.run("make", target).stdout
    with (house.here / "prompts.csv").open("a") as file:
        file.write("late,one more\n")
    newer = (house.here / target).stat().st_mtime_ns + 1_000_000_000
    os.utime(house.here / "prompts.csv", ns=(newer, newer))
    assert house.run("make", target).returncode == 0
    assert house.images() == ROWS + 1


def test_xargs(house: House) -> None:
    """Every image is published once; several lists have a folder each."""
    paths, lists = blocks("xargs", "sh")
    house.bash(paths)
    assert len(list((house.here / "published").iterdir())) == ROWS
    (house.here / "lists").mkdir()
    for name in ("spring", "autumn colours", "winter"):
        (house.here / f"lists/{name}.csv").write_text("prompt\na leaf\na branch\n")
    house.bash(lists)
    assert [house.images(f"{name}-images") for name in ("spring", "autumn colours", "winter")] == [2, 2, 2]


def test_a_command_for_each_image(house: House) -> None:
    """Files are copied as they land; with a shell, by the environment."""
    copy, digests = blocks("A command for each image", "sh")
    house.bash(copy)
    assert {path.name for path in (house.here / "published").iterdir()} == {
        f"row-{number}.image" for number in range(ROWS)
    }
    assert house.summary()["hooks"] == {"run": ROWS, "failed": 0, "skipped": 0}
    house.bash(f"{digests.rstrip()} --fresh")
    lines = (house.here / "digests.txt").read_text().splitlines()
    manifest = [json.loads(line) for line in (house.here / "images/manifest.jsonl").read_text().splitlines()]
    assert sorted(lines) == sorted(f"{record['sha256']}  {record['id']}" for record in manifest)


def test_failing_commands_do_not_change_the_exit_code(house: House) -> None:
    """They are warnings, and they are counted; images are what the exit code tells about."""
    done = house.run("nanobatch", "run", "prompts.csv", "--out", "images", "--progress", "plain", "--exec", "false")
    assert done.returncode == 0
    assert house.summary()["hooks"] == {"run": ROWS, "failed": ROWS, "skipped": 0}
    assert any("--exec failed for row-" in warning for warning in house.summary()["warnings"])
    assert "warning: --exec failed for row-" in done.stderr


def test_ctrl_c_ends_the_commands(house: House) -> None:
    """A command that would take an hour does not keep the run."""
    script = "touch $IMAGE_ID.begun; exec sleep 3600"
    command = [
        "nanobatch",
        "run",
        "prompts.csv",
        "--out",
        "images",
        "--progress",
        "none",
        "--exec",
        f"sh -c '{script}'",
    ]
    with subprocess.Popen(
        command, cwd=house.here, env=house.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        waiter = threading.Event()
        for _ in range(3000):
            if list(house.here.glob("*.begun")) and house.images() == ROWS:
                break
            waiter.wait(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
    hooks = house.summary()["hooks"]
    assert hooks["failed"] >= 1
    assert hooks["failed"] + hooks["skipped"] == ROWS


def test_a_message_at_the_end(house: House) -> None:
    """What arrives is run.json; the address is in no file."""
    came: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        house.env["WEBHOOK"] = f"http://127.0.0.1:{server.server_port}/very-secret"
        (script,) = blocks("A message at the end", "sh")
        house.bash(script)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert came == [house.summary()]
    written = [path.read_bytes() for path in (house.here / "images").rglob("*") if path.is_file()]
    assert not any(b"very-secret" in data for data in written)


def test_a_message_that_nobody_takes_changes_nothing(house: House) -> None:
    """Exit code 0, one sentence on standard error, no address in it."""
    house.env["WEBHOOK"] = "ftp://127.0.0.1/very-secret"
    (script,) = blocks("A message at the end", "sh")
    refused = house.run("bash", "-c", script)
    assert refused.returncode == 2
    assert not (house.here / "images/images").exists()
    house.env["WEBHOOK"] = f"{house.vendor.url}/very-secret"  # a 404
    done = house.run("bash", "-c", script)
    assert done.returncode == 0
    assert done.stderr.startswith("nanobatch: the summary could not be posted to 127.0.0.1: HTTP 4")
    assert "secret" not in refused.stderr + done.stderr


def test_prometheus(house: House) -> None:
    """The figures are there at the end, and the alert speaks of metrics that exist."""
    folder = house.home / "textfiles"
    folder.mkdir()
    house.env["TEXTFILES"] = str(folder)
    (script,) = blocks("Prometheus", "sh")
    house.bash(script)
    text = (folder / "catalogue.prom").read_text()
    assert f'nanobatch_jobs{{output="{house.here}/images"}} {ROWS}\n' in text
    (alert,) = blocks("Prometheus", "promql")
    names = re.findall(r"nanobatch_\w+", alert)
    assert len(names) == 2
    assert all(f"\n{name}{{" in text for name in names)
