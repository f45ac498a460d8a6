"""Vertex AI's batches from beginning to end against the sandbox: a bucket, shuffled shards, every misfortune, kills."""

from __future__ import annotations

import hashlib
import json
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from nanobatch.batch_assembly import JOURNAL
from nanobatch.batches.journal import read_batches
from tests.harness import png
from tests.sandbox_process import SandboxProcess, sandbox
from tests.tiny_server import KEY, PATIENCE_SECONDS, Shell
from tests.unit.test_google_credentials import TokenService, key_file, private_key, service

__all__ = ["key_file", "private_key", "service"]  # fixtures

ROWS = 120
LATER = 3600.0


@dataclass
class Bench:
    """A folder with prompts, and a Vertex AI of paper."""

    shell: Shell
    vendor: SandboxProcess

    @property
    def out(self) -> Path:
        return self.shell.cwd / "out"

    def configure(self, *, auth: str = "bearer", **batch: Any) -> None:
        provider: dict[str, Any] = {
            "base_url": f"{self.vendor.url}/v1beta1/projects/p/locations/global", "auth": auth,
            "batch": {
                "bucket": "gs://bucket/staging", "storage_url": self.vendor.url, "poll_seconds": 0.05, **batch,
            },
        }  # fmt: skip
        if auth != "google":
            provider["api_key"] = KEY
        config = {"output": {"dir": "out"}, "providers": {"vertex": provider}}
        self.shell.write("nanobatch.yaml", json.dumps(config))

    def prompts(self, count: int, **columns: str) -> None:
        head = ",".join(["id", "prompt", *columns])
        rows = [",".join([f"r{number}", f"prompt {number}", *columns.values()]) for number in range(count)]
        self.shell.write("p.csv", "\n".join([head, *rows, ""]))

    def ask(self, path: str, *, method: str = "GET") -> Any:
        headers = {"authorization": f"Bearer {KEY}"}
        request = urllib.request.Request(self.vendor.url + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return json.loads(answer.read() or b"null")

    def objects(self) -> list[str]:
        return [item["name"] for item in self.ask("/storage/v1/b/bucket/o").get("items", [])]

    def kill_at(self, point: str, *arguments: str) -> None:
        """Run until a request waits at a point of a batch's life, kill the process, and let the vendor go on."""
        self.vendor.plan(hold=[point])
        with self.shell.start(*arguments) as process:
            try:
                assert self.ask(f"/__held?point={point}")["held"]
                process.send_signal(signal.SIGKILL)
                process.wait(PATIENCE_SECONDS)
            finally:
                process.kill()
                self.vendor.plan(hold=[])

    def records(self) -> dict[str, dict[str, Any]]:
        lines = (self.out / "manifest.jsonl").read_text().splitlines()
        return {record["id"]: record for record in map(json.loads, lines)}

    def assert_everything_belongs(self, count: int) -> None:
        """Each image carries the digest of its own row's prompt, and its bytes were billed."""
        records = self.records()
        assert len(records) == count
        for record in records.values():
            assert record["status"] == "ok", record
            data = (self.out / record["file"]).read_bytes()
            assert hashlib.sha256(record["prompt"].encode()).hexdigest().encode() in data


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with sandbox() as vendor:
        vendor.plan(batch_wait=0, batch_run=0)
        found = Bench(Shell(tmp_path / "w"), vendor)
        found.configure(rows=40)
        yield found


def test_all_misfortunes_together(bench: Bench) -> None:
    """Shuffled shards, failing and spoiled rows, lost replies, cut uploads and downloads, a kill in each phase."""
    bench.prompts(ROWS)
    bench.vendor.plan(
        first={
            "orderlost": 2,
            "listlag": 1,
            "downloadcut": 3,
            "uploadcut": 2,
            "upload503": 1,
            "500": 7,
            "rowmissing": 2,
        },
    )
    for point in ("upload", "order", "poll", "download"):
        bench.kill_at(point, "run", "p.csv", "--batch", "-q")
    ended = bench.shell.run("run", "p.csv", "--batch", "-q")
    assert ended.returncode == 0, ended.stderr
    bench.assert_everything_belongs(ROWS)
    books = bench.vendor.books()
    assert (books["batches_twice"], books["twice"]) == (0, 2)  # two rows were left out, and drawn again
    assert books["images"] == books["half_price"] == ROWS + 2
    assert sum(books["faults"].values()) == 2 + 1 + 3 + 2 + 1 + 7 + 2
    records = bench.records().values()
    assert all(0.06 < record["cost_usd"] < 0.08 for record in records)  # half of 0.134, and the words beside it
    left = bench.objects()
    assert len(left) <= 1, left  # of the batch that was killed before it was ordered


@pytest.mark.parametrize("made", [True, False])
def test_an_order_whose_reply_never_came(bench: Bench, *, made: bool) -> None:
    """Whether or not the job exists of which the process never heard, there is one in the end."""
    bench.prompts(5)
    if made:
        bench.vendor.plan(first={"orderlost": 1})
        assert bench.shell.run("batch", "submit", "p.csv", "-q").returncode == 0
    else:
        bench.kill_at("order", "batch", "submit", "p.csv", "-q")
        assert read_batches(bench.out / JOURNAL)[0].popitem()[1].standing == "unknown"
        assert bench.shell.run("batch", "submit", "p.csv", "-q").returncode == 0
    (bench.shell.cwd / "p.csv").unlink()
    assert bench.shell.run("batch", "collect", "out", "-q").returncode == 0
    bench.assert_everything_belongs(5)
    assert bench.vendor.books()["batches"] == 1


@pytest.mark.parametrize("point", ["poll", "download"])
def test_killed_while_collecting(bench: Bench, point: str) -> None:
    """Another process collects from the folder alone, and the bucket is empty when it has."""
    bench.prompts(7)
    assert bench.shell.run("batch", "submit", "p.csv", "-q").returncode == 0
    (bench.shell.cwd / "p.csv").unlink()
    bench.kill_at(point, "batch", "collect", "out", "-q")
    assert bench.shell.run("batch", "collect", "out", "-q").returncode == 0
    bench.assert_everything_belongs(7)
    assert bench.vendor.books()["batches"] == 1
    assert bench.objects() == []


def test_cancelled(bench: Bench) -> None:
    """A job that waits ends without cost; its rows are unfinished, and may be ordered again."""
    bench.prompts(4)
    bench.vendor.plan(batch_wait=LATER)
    assert bench.shell.run("batch", "submit", "p.csv", "-q").returncode == 0
    codes = [bench.shell.run("batch", command, "out", "-q").returncode for command in ("cancel", "collect")]
    assert codes[-1] == 5
    assert bench.vendor.books()["images"] == 0
    assert {record["status"] for record in bench.records().values()} == {"unfinished"}
    assert sum(record["maybe_cost_usd"] for record in bench.records().values()) == 0


@pytest.mark.parametrize("fault", ["batchexpire", "batchcancel"])
def test_what_was_drawn_before_the_end_is_collected(bench: Bench, fault: str) -> None:
    """The rest goes into another job of the same run; nothing is drawn twice."""
    bench.prompts(8)
    bench.vendor.plan(first={fault: 1})
    assert bench.shell.run("run", "p.csv", "--batch", "-q").returncode == 0
    bench.assert_everything_belongs(8)
    books = bench.vendor.books()
    assert (books["batches"], books["images"], books["twice"]) == (2, 8, 0)


def test_results_that_are_gone_are_not_bought_again(bench: Bench) -> None:
    """They were paid: the run says so and ends, and only --retry-failed buys them."""
    bench.prompts(3)
    bench.vendor.plan(first={"resultsgone": 1})
    assert bench.shell.run("run", "p.csv", "--batch", "-q").returncode == 1
    assert {record["error"]["code"] for record in bench.records().values()} == {"undelivered"}
    assert bench.vendor.books()["batches"] == 1


def test_one_of_two_shards_is_gone(bench: Bench) -> None:
    """Its rows were paid and end as such, whichever shard it is; the rows of the other have their images."""
    bench.prompts(6)
    assert bench.shell.run("batch", "submit", "p.csv", "-q").returncode == 0
    bench.kill_at("download", "batch", "collect", "out", "-q")
    [first] = [name for name in bench.objects() if name.endswith("predictions_0.jsonl")]
    bench.ask(f"/storage/v1/b/bucket/o/{quote(first, safe='')}", method="DELETE")
    assert bench.shell.run("batch", "collect", "out", "-q").returncode == 1
    codes = [record["error"] and record["error"]["code"] for record in bench.records().values()]
    assert Counter(codes) == {None: 3, "undelivered": 3}
    assert bench.vendor.books()["batches"] == 1


def test_references_come_back_with_the_rows_and_go_nowhere(bench: Bench) -> None:
    """A row's image is its own, though the line repeats the references before it."""
    (bench.shell.cwd / "ref.png").write_bytes(png())
    bench.prompts(4, references="ref.png")
    assert bench.shell.run("run", "p.csv", "--batch", "-q").returncode == 0
    bench.assert_everything_belongs(4)
    assert list(bench.out.rglob("*.part")) == []


def test_without_a_bucket(bench: Bench) -> None:
    """One sentence says what is missing and how to set it; nothing is sent."""
    bench.prompts(1)
    bench.shell.write("nanobatch.yaml", json.dumps({"providers": {"vertex": {"project": "p"}}}))
    ended = bench.shell.run("run", "p.csv", "--batch", "-p", "vertex")
    assert ended.returncode == 2
    assert "providers.vertex.batch.bucket" in ended.stderr
    assert bench.vendor.books()["requests"] == 0


def test_credentials_of_google_cloud(bench: Bench, key_file: Path, service: TokenService) -> None:
    """Jobs and storage are asked with the token that a service account's key is exchanged for."""
    bench.prompts(2)
    bench.configure(auth="google")
    bench.shell.env["GOOGLE_APPLICATION_CREDENTIALS"] = str(key_file)
    ended = bench.shell.run("run", "p.csv", "--batch", "-q")
    assert ended.returncode == 0, ended.stderr
    bench.assert_everything_belongs(2)
    assert len(service.asked) == 1


def test_out_of_the_box(bench: Bench) -> None:
    """With --sandbox there is nothing to configure."""
    bench.prompts(3)
    bench.shell.write("nanobatch.yaml", json.dumps({"providers": {"vertex": {"batch": {"poll_seconds": 0.05}}}}))
    ended = bench.shell.run("run", "p.csv", "--batch", "-p", "vertex", "--sandbox", "-o", "out", "-q")
    assert ended.returncode == 0, ended.stderr
    bench.assert_everything_belongs(3)
