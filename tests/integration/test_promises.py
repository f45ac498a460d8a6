"""The promises of the README, kept by the real command against a real provider on loopback."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tests.sandbox_process import SandboxProcess, sandbox

PATIENCE_SECONDS = 60.0
KEY = "sk-secret-of-the-integration-tests"


@dataclass
class Desk:
    """A working folder with a prompt file, a configuration and the command."""

    root: Path
    checkout: Path

    @property
    def out(self) -> Path:
        return self.root / "out"

    def prompts(self, count: int, text: str = "prompt number {}") -> None:
        with (self.root / "prompts.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["prompt", "sku"])
            writer.writerows([text.format(number), f"sku-{number}"] for number in range(count))

    def config(
        self, *vendors: tuple[str, SandboxProcess, str], run: dict[str, Any] | None = None, **limits: Any
    ) -> None:
        providers = {
            name: {
                "protocol": protocol,
                "base_url": vendor.gemini if protocol == "gemini" else vendor.openai,
                "api_key": KEY,
                "limits": {"concurrency": 20, **limits},
                "prices": {"1K": 0.134},
            }
            for name, vendor, protocol in vendors
        }
        (self.root / "nanobatch.yaml").write_text(yaml.safe_dump({"providers": providers, "run": run or {}}))

    def start(self, *options: str) -> subprocess.Popen[str]:
        environment = dict(os.environ, PYTHONPATH=str(self.checkout))
        command = [sys.executable, "-m", "nanobatch", "run", "prompts.csv", "-o", "out", "--progress", "none", *options]
        return subprocess.Popen(
            command, cwd=self.root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*options)
        with process:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def manifest(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "manifest.jsonl").read_text().splitlines()]

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "run.json").read_text())
        return found


@pytest.fixture
def desk(tmp_path: Path, project_root: Path) -> Desk:
    return Desk(tmp_path, project_root)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something real has happened in another process."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def assert_whole(desk: Desk, count: int) -> None:
    """Every job has its record, in input order, and its file has the bytes that the record says."""
    manifest = desk.manifest()
    assert [record["index"] for record in manifest] == list(range(1, count + 1))
    assert len({record["job"] for record in manifest}) == count
    for record in manifest:
        assert record["status"] == "ok", record
        data = (desk.out / record["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (record["bytes"], record["sha256"])


def test_kill_dash_nine_loses_nothing_and_doubles_nothing(desk: Desk) -> None:
    """Killed four times at different moments: all images are there, and none was bought twice beyond the wire."""
    count, concurrency = 240, 20
    desk.prompts(count)
    with sandbox(latency="0.05-0.2") as vendor:
        desk.config(("local", vendor, "gemini"), concurrency=concurrency)
        kills = 0
        for goal in (1, 30, 90, 150):
            process = desk.start()
            until(lambda goal=goal: lines_of(desk.out / "manifest.jsonl") >= goal, f"{goal} jobs ended")  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        last = desk.run()
        books = vendor.books()
    assert kills == 4
    assert last.returncode == 0, last.stderr
    assert_whole(desk, count)
    assert 0 <= books["images"] - count <= kills * concurrency
    assert list(desk.out.rglob("*.part")) == []
    ledger = map(json.loads, (desk.out / ".nanobatch/attempts.jsonl").read_text().splitlines())
    on_wire = [line for line in ledger if line.get("code") == "interrupted"]
    assert books["images"] - count <= len(on_wire) <= kills * concurrency


def test_running_again_sends_nothing(desk: Desk) -> None:
    """The same command a second time finds everything done, and costs nothing."""
    desk.prompts(12)
    with sandbox() as vendor:
        desk.config(("local", vendor, "gemini"))
        assert desk.run().returncode == 0
        before = vendor.books()["requests"]
        again = desk.run("-O", "json")
        assert vendor.books()["requests"] == before
    summary = json.loads(again.stdout)
    assert (summary["ok"], summary["resumed"], summary["cost_usd"], summary["attempts"]) == (12, 12, 0, 0)


def test_a_part_of_the_input_does_not_forget_the_rest(desk: Desk) -> None:
    """After a run with --limit or --only the manifest still has every image that was paid before it."""
    desk.prompts(6)
    with sandbox() as vendor:
        desk.config(("local", vendor, "gemini"))
        assert desk.run().returncode == 0
        for choice in (("--limit", "2"), ("--only", "0003*"), ("--limit", "1", "--only", "*number-1")):
            assert desk.run("--no-cache", *choice).returncode == 0
            assert_whole(desk, 6)
        assert desk.run("--no-cache").returncode == 0
        assert vendor.books()["images"] == 6
    assert not list((desk.out / ".nanobatch").glob("replaced/*"))


FAULTS = (
    *("429", "500", "503", "reset", "truncate", "html200", "html502"),
    *("badb64", "noimage", "json200err", "slowdrip", "thought", "multi", "signature"),
)


def test_one_request_in_four_failing_leaves_an_image_or_a_reason(desk: Desk) -> None:
    """With every known fault at once each prompt ends as an image or with a sentence that says why not."""
    count = 150
    desk.prompts(count)
    with sandbox(faults=dict.fromkeys(FAULTS, 0.018), retry_after=1, seed=11) as vendor:
        desk.config(("local", vendor, "gemini"), run={"retries": 8})
        ended = desk.run()
    manifest = desk.manifest()
    statuses = Counter(record["status"] for record in manifest)
    assert ended.returncode in (0, 1), ended.stderr
    assert len(manifest) == count
    assert statuses["ok"] >= count * 0.97
    assert all(record["error"]["message"] for record in manifest if record["status"] != "ok")
    for record in manifest:
        if record["status"] == "ok":
            with Image.open(desk.out / record["file"]) as image:
                image.load()


def test_every_image_belongs_to_its_row(desk: Desk) -> None:
    """Under load and failures no picture lands under another prompt's name: the bytes follow from the words."""
    count = 60
    desk.prompts(count)
    books = desk.root / "books.jsonl"
    faults = {"503": 0.1, "thought": 0.2, "multi": 0.2}
    with sandbox(latency="0-0.05", faults=faults, retry_after=1, seed=3, books=books) as vendor:
        desk.config(("local", vendor, "gemini"), run={"retries": 8})
        assert desk.run().returncode == 0
    creations = map(json.loads, books.read_text().splitlines())
    drawn = {creation["sha256"]: creation["prompt"] for creation in creations}
    assert len(drawn) >= count
    for record in desk.manifest():
        assert drawn[record["sha256"]] == record["prompt"] == f"prompt number {record['columns']['sku'][4:]}"


def test_no_minute_sees_more_than_its_quota(desk: Desk) -> None:
    """Against a server that counts a rolling window strictly: no 429, also over a restart within the minute."""
    desk.prompts(30)
    with sandbox(rpm=40) as vendor:
        desk.config(("local", vendor, "gemini"), rpm=40)
        assert desk.run().returncode == 0
        desk.prompts(35, "another prompt {}")
        # Ten more fit into this minute; the rest must wait, so the run is stopped while it waits.
        process = desk.start()
        until(lambda: vendor.books()["requests"] >= 40, "the quota is used")
        process.send_signal(signal.SIGINT)
        process.communicate()
        books = vendor.books()
    assert process.returncode == 130
    assert (books["requests"], sum(books["violations"].values())) == (40, 0)


def test_a_dead_provider_hands_over_to_the_next(desk: Desk) -> None:
    """The first provider's account stops; the second, of another format, does the work; the manifest says who."""
    desk.prompts(20)
    with sandbox(faults={"leaked": 1.0}) as first, sandbox() as second:
        desk.config(("first", first, "gemini"), ("second", second, "openai"))
        ended = desk.run()
        assert first.books()["requests"] <= 20
    assert ended.returncode == 0, ended.stderr
    assert {record["provider"] for record in desk.manifest()} == {"second"}
    assert_whole(desk, 20)


def test_ctrl_c_keeps_what_is_on_the_wire(desk: Desk) -> None:
    """Interrupted once: no new request leaves, and those on the wire become images."""
    desk.prompts(100)
    with sandbox(latency=0.5) as vendor:
        desk.config(("local", vendor, "gemini"), concurrency=5)
        process = desk.start()
        until(lambda: vendor.books()["requests"] >= 8, "requests are on the wire")
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=PATIENCE_SECONDS)
        books = vendor.books()
    statuses = Counter(record["status"] for record in desk.manifest())
    assert process.returncode == 130
    assert "Traceback" not in complaint
    assert statuses["ok"] == books["images"]
    assert statuses.total() == 100
    assert desk.summary()["exit_code"] == 130


def test_the_key_is_nowhere(desk: Desk) -> None:
    """After a run with failures, log and events, no file, no line and no URL holds the key."""
    desk.prompts(15)
    with sandbox(faults={"500": 0.2, "reset": 0.1}, seed=5) as vendor:
        desk.config(("local", vendor, "gemini"))
        ended = desk.run("-v", "--log-file", "log.txt", "--events", "events.jsonl", "-O", "jsonl")
        assert vendor.books()["keys_in_query"] == 0
    found = [path for path in desk.root.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert found == [desk.root / "nanobatch.yaml"]
    assert KEY not in ended.stdout + ended.stderr


def test_a_full_disk_stops_in_order(desk: Desk) -> None:
    """When images find no place the run stops with a sentence and exit code 5, and the next run places what was paid."""
    desk.prompts(40)
    desk.out.mkdir()
    with sandbox(latency="0.01-0.05") as vendor:
        desk.config(("local", vendor, "gemini"), concurrency=4)
        images = desk.out / "images"
        process = desk.start()
        until(lambda: lines_of(desk.out / "manifest.jsonl") >= 5, "five jobs ended")
        images.rename(desk.out / "moved")
        images.write_text("a file where the folder was")
        _, complaint = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 5, complaint
        assert "cannot write" in complaint
        assert "Traceback" not in complaint
        images.unlink()
        (desk.out / "moved").rename(images)
        assert desk.run().returncode == 0
        books = vendor.books()
    assert_whole(desk, 40)
    assert books["images"] == 40, "images that found no place were bought again"
