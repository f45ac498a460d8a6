"""The cache in whole runs: real processes, a real vendor's double, folders that come and go."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.batch_bench import bench
from tests.redis_process import RedisProcess, redis_process
from tests.sandbox_process import SandboxProcess, sandbox

PRICE = 0.1


@dataclass
class Machine:
    """A user's machine: prompts, a configuration, a cache folder."""

    here: Path
    vendor: SandboxProcess
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, *prompts: str, cache: str = "{}") -> None:
        self.here.mkdir(exist_ok=True)
        (self.here / "p.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in prompts))
        (self.here / "nanobatch.yaml").write_text(
            f"cache: {cache}\nproviders:\n  local: {{protocol: gemini, base_url: '{self.vendor.gemini}', api_key: key, "
            f"prices: {{1K: {PRICE}}}, limits: {{concurrency: 4}}}}\n"
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.here / "cache"), **self.environment}
        command = [sys.executable, "-m", "nanobatch", *arguments]
        return subprocess.Popen(
            command, cwd=self.here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def call(self, *arguments: str, code: int = 0) -> str:
        """Run a command and return its standard output."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        assert process.returncode == code, err
        return out

    def run(self, out: str, *more: str, code: int = 0) -> dict[str, Any]:
        """Run into a folder and return the summary."""
        found: dict[str, Any] = json.loads(
            self.call("run", "p.jsonl", "-o", out, "-O", "json", "--progress", "none", *more, code=code)
        )
        return found

    def images(self, out: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.here / out / "images").iterdir()}

    def records(self, out: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.here / out / "manifest.jsonl").read_text().splitlines()]

    @property
    def requests(self) -> int:
        found: int = self.vendor.books()["requests"]
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with sandbox() as vendor:
        yield Machine(tmp_path / "machine", vendor)


def test_the_same_file_in_a_new_folder_costs_nothing(machine: Machine) -> None:
    """No request, every image present and identical, and the summary says what was saved; one edit is one request."""
    machine.write("a fox", "a cat", "a cat", "a dog")
    first = machine.run("first")
    assert (first["ok"], first["cached"], first["saved_by_cache_usd"]) == (4, 0, 0.0)
    second = machine.run("second")
    assert machine.requests == 4
    assert machine.images("second") == machine.images("first")
    assert (second["ok"], second["cached"], second["cost_usd"], second["attempts"]) == (0, 4, 0.0, 0)
    assert second["saved_by_cache_usd"] == pytest.approx(first["cost_usd"])
    machine.write("a fox", "a cat", "a cat", "a dog at night")
    third = machine.run("third")
    assert machine.requests == 5
    assert (third["ok"], third["cached"]) == (1, 3)
    assert len(machine.images("third")) == 4


def test_a_person_reads_what_was_saved(machine: Machine) -> None:
    """The summary in words."""
    machine.write("a fox", "a cat")
    machine.call("run", "p.jsonl", "-o", "first")
    out = machine.call("run", "p.jsonl", "-o", "second")
    assert "2 of 2 images (2 from the cache)" in out
    assert "$0.200 saved by the cache" in out


def test_every_way_of_reporting_knows_cached_images(machine: Machine) -> None:
    """Paths, records, status, verify and the next run of the folder."""
    machine.write("a fox", "a cat")
    machine.run("first")
    paths = machine.call("run", "p.jsonl", "-o", "paths", "-O", "paths", "--progress", "none").splitlines()
    assert len(paths) == 2
    assert all((machine.here / path).exists() for path in paths)
    lines = machine.call("run", "p.jsonl", "-o", "lines", "-O", "jsonl", "--progress", "none").splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["cached", "cached"]
    status = json.loads(machine.call("status", "lines", "-O", "json"))
    assert (status["cached"], status["unfinished"]) == (2, 0)
    assert json.loads(machine.call("verify", "lines", "-O", "json"))["images"] == 2
    again = machine.run("lines")
    assert (again["cached"], again["resumed"], again["saved_by_cache_usd"]) == (2, 2, 0.0)
    assert (machine.here / "lines" / "failed.jsonl").read_text() == ""
    assert machine.requests == 2


def test_options_that_ask_again(machine: Machine) -> None:
    """--no-cache neither looks nor remembers; --fresh does not look, and remembers."""
    machine.write("a fox")
    machine.run("one", "--no-cache")
    machine.run("two")
    assert machine.requests == 2
    machine.run("three", "--fresh")
    assert machine.requests == 3
    machine.run("four")
    assert machine.requests == 3
    machine.write("a fox", cache="{enabled: false}")
    machine.run("five")
    assert machine.requests == 4
    machine.run("six", "--cache")
    assert machine.requests == 4


def test_part_of_the_input_is_part_of_the_lookup(machine: Machine) -> None:
    """--limit and --only bring what they choose, and nothing else."""
    machine.write("a fox", "a cat", "a dog")
    machine.run("all")
    assert machine.run("some", "--limit", "2")["cached"] == 2
    assert machine.run("other", "--only", "*dog*")["cached"] == 1
    assert machine.requests == 3


def test_refusals_are_remembered(machine: Machine) -> None:
    """A nightly run does not ask forbidden things again, and ends as it did then; --retry-failed does ask."""
    machine.vendor.plan(faults={"blocked": 1.0})
    machine.write("a fox")
    first = machine.run("first", code=1)
    before = machine.requests
    second = machine.run("second", code=1)
    assert (second["refused"], machine.requests) == (1, before)
    assert second["failures"] == first["failures"]
    assert json.loads((machine.here / "second" / "failed.jsonl").read_text())["prompt"] == "a fox"
    machine.vendor.plan(faults={})
    assert machine.run("second", "--retry-failed")["ok"] == 1
    assert machine.run("third")["cached"] == 1


def test_own_copies_outlive_the_folders(machine: Machine) -> None:
    """With keep_images the folder may go."""
    machine.write("a fox", cache="{keep_images: true}")
    machine.run("first")
    before = machine.images("first")
    for path in (machine.here / "first" / "images").iterdir():
        path.unlink()
    assert machine.run("second")["cached"] == 1
    assert (machine.images("second"), machine.requests) == (before, 1)


def test_processes_share_one_cache(machine: Machine) -> None:
    """Four at once: nobody breaks it for the others, and what all of them drew is found afterwards."""
    machine.write(*(f"prompt {number}" for number in range(12)))
    started = [
        machine.start("run", "p.jsonl", "-o", f"at-once-{number}", "--progress", "none", "--only", f"*{number}")
        for number in range(4)
    ]
    for process in started:
        with process:
            _, err = process.communicate(timeout=60)
        assert (process.returncode, "warning" in err) == (0, False), err
    before = machine.requests
    found = machine.run("later")
    assert found["cached"] == before
    assert found["warnings"] == []


@pytest.mark.parametrize("harm", ["rubbish", "folder", "file"])
def test_a_cache_that_cannot_be_used_costs_a_warning(machine: Machine, harm: str) -> None:
    """The run ends as well as without one."""
    machine.write("a fox")
    folder = machine.here / "cache" / "nanobatch"
    if harm == "file":
        (machine.here / "cache").write_text("no folder")
    elif harm == "folder":
        (folder / "images.sqlite").mkdir(parents=True)
    else:
        folder.mkdir(parents=True)
        (folder / "images.sqlite").write_bytes(b"rubbish" * 1000)
    found = machine.run("out")
    assert (found["ok"], len(found["warnings"])) == (1, 1)
    assert "the run goes on without it" in found["warnings"][0]


def test_equal_rows_share_their_image(machine: Machine) -> None:
    """--dedupe asks once for what stands there three times; every row has its file, and resume finds all of them."""
    machine.write("a fox", "a cat", "a fox", "a fox")
    plan = json.loads(machine.call("run", "p.jsonl", "-o", "out", "--dedupe", "--dry-run", "-O", "json"))
    assert (plan["to_send"], plan["duplicates"]) == (2, 2)
    found = machine.run("out", "--dedupe")
    assert (machine.requests, found["ok"], found["cached"]) == (2, 2, 2)
    records = machine.records("out")
    assert [record["sha256"] == records[0]["sha256"] for record in records] == [True, False, True, True]
    assert len(machine.images("out")) == 4
    assert machine.run("out", "--dedupe")["resumed"] == 4
    machine.run("variants")
    assert machine.requests == 4, "copies are not what the cache knows of the variants"


def test_a_plan_knows_the_cache_and_leaves_it_alone(machine: Machine) -> None:
    """`--dry-run` and `estimate-cost` count what is there already; not a byte of the cache changes."""
    machine.write("a fox", "a cat")
    machine.run("first")
    machine.write("a fox", "a cat", "a dog")
    folder = machine.here / "cache" / "nanobatch"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    plan = json.loads(machine.call("run", "p.jsonl", "-o", "second", "--dry-run", "-O", "json"))
    assert (plan["cached"], plan["to_send"]) == (2, 1)
    estimate = json.loads(machine.call("estimate-cost", "p.jsonl", "-o", "second", "-O", "json"))
    assert (estimate["plan"]["cached"], estimate["plan"]["cached_unknown"]) == (2, None)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not (machine.here / "second").exists()


@pytest.fixture
def redis() -> Iterator[RedisProcess]:
    with redis_process() as server:
        yield server


def test_another_machine_pays_nothing(tmp_path: Path, machine: Machine, redis: RedisProcess) -> None:
    """Two machines, each with a disk of its own, and one Redis: images and refusals of the one are the other's."""
    cache = f"{{url: '{redis.url}'}}"
    machine.write("a fox", "a cat", cache=cache)
    machine.run("first")
    other = Machine(tmp_path / "other", machine.vendor)
    other.write("a fox", "a cat", cache=cache)
    before = machine.images("first")
    (machine.here / "first" / "images").rename(tmp_path / "out-of-reach")
    found = other.run("second")
    assert (found["cached"], found["cost_usd"], machine.requests) == (2, 0.0, 2)
    assert other.images("second") == before
    assert not (machine.here / "cache").exists()


def test_a_redis_that_dies_costs_a_warning(machine: Machine, redis: RedisProcess) -> None:
    """Killed in mid-run: the run ends well, and says it once."""
    machine.vendor.plan(latency=0.3)
    machine.write(*(f"prompt {number}" for number in range(16)), cache=f"{{url: '{redis.url}'}}")
    with machine.start("run", "p.jsonl", "-o", "out", "-O", "paths", "--progress", "plain") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        redis.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.count("the run goes on without it") == 1
    assert len(machine.images("out")) == 16


def test_a_redis_that_hangs_costs_a_second(machine: Machine, redis: RedisProcess) -> None:
    """It holds its connections and answers nothing: nobody waits for it."""
    machine.write("a fox", cache=f"{{url: '{redis.url}'}}")
    redis.freeze()
    found = machine.run("out")
    assert (found["ok"], len(found["warnings"])) == (1, 1)
    assert found["duration_seconds"] < 20


def test_a_plan_does_not_ask_a_redis(machine: Machine) -> None:
    """Where nobody listens it is as quick, and says that it does not know."""
    machine.write("a fox", cache="{url: 'redis://127.0.0.1:1/0'}")
    estimate = json.loads(machine.call("estimate-cost", "p.jsonl", "-O", "json"))
    assert estimate["plan"]["cached"] is None
    assert "does not ask the Redis at 127.0.0.1:1" in estimate["plan"]["cached_unknown"]
    plan = json.loads(machine.call("run", "p.jsonl", "--dry-run", "-O", "json"))
    assert plan["cached"] is None


def test_batches_order_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the cache has is in no batch, whoever drew it; what batches drew is in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for folder, rows, ordered in (("one", 3, 3), ("two", 5, 2)):
        (tmp_path / folder).mkdir()
        with bench(tmp_path / folder) as desk:
            desk.prompts(rows)
            assert desk.order()["exit_code"] == 0
            assert sum(len(job.rows) for job in desk.vendor.jobs.values()) == ordered
            assert len(list((desk.out / "images").iterdir())) == rows


def test_equal_rows_of_a_batch_are_ordered_once(tmp_path: Path) -> None:
    """Submitted, collected later from the folder alone, and copied then."""
    with bench(tmp_path) as desk:
        (tmp_path / "p.csv").write_text("id,prompt\na,prompt 1\nb,prompt 1\nc,prompt 2\n")
        submitted = desk.order("submit", dedupe=True)
        assert (submitted["exit_code"], submitted["unfinished"]) == (0, 3)
        assert sum(len(job.rows) for job in desk.vendor.jobs.values()) == 2
        while desk.collect()["exit_code"] != 0:
            pass
        records = desk.records()
        assert {key: record["status"] for key, record in records.items()} == {"a": "ok", "b": "cached", "c": "ok"}
        assert records["a"]["sha256"] == records["b"]["sha256"]


def test_other_words_share_an_image_where_that_is_wanted(machine: Machine) -> None:
    """A paraphrase reuses the image and says so; near-misses are drawn, and a plan lists the match beforehand."""
    on = "{semantic: {enabled: true}}"
    machine.write("a cat sleeping on a sofa", "3 red balls", "a man with a beard", cache=on)
    machine.run("first")
    machine.write("A sleeping cat on the couch", "4 red balls", "a man without a beard", cache=on)
    plan = json.loads(machine.call("run", "p.jsonl", "-o", "second", "--dry-run", "-O", "json"))
    [row] = plan["semantic"]
    assert (plan["cached"], plan["to_send"], row["taken"], row["other_prompt"]) == (
        1,
        2,
        True,
        "a cat sleeping on a sofa",
    )
    assert "0.87 taken: A sleeping cat on the couch" in machine.call("run", "p.jsonl", "-o", "second", "--dry-run")
    second = machine.run("second")
    assert (second["ok"], second["cached"], machine.requests) == (2, 1, 5)
    first_record, record = machine.records("first")[0], machine.records("second")[0]
    assert record["warnings"] == [f"semantic:0.87 of {first_record['job']}"]
    assert (record["status"], record["cost_usd"], record["sha256"]) == ("cached", 0.0, first_record["sha256"])
    assert json.loads(machine.call("verify", "second", "-O", "json"))["images"] == 3
    assert json.loads(machine.call("cache", "stats", "-O", "json"))["meanings"] == 5
    again = machine.run("second")
    assert (again["resumed"], machine.requests) == (3, 5)


def test_other_words_are_other_images_unless_somebody_wants_it(machine: Machine) -> None:
    """Off by default, and what was found by meaning is not remembered as exact."""
    on = "{semantic: {enabled: true}}"
    machine.write("a cat on a sofa", cache=on)
    machine.run("first")
    machine.write("a cat on a couch", cache=on)
    assert machine.run("second")["cached"] == 1
    machine.write("a cat on a couch")
    assert machine.run("third")["cached"] == 0
    machine.write("the cat on a couch", cache="{semantic: {enabled: true, threshold: 0.99}}")
    assert machine.run("fourth")["cached"] == 0
    assert machine.requests == 3


def test_a_changed_image_is_not_taken_by_its_meaning(machine: Machine) -> None:
    """It is verified by its digest as any hit is, and drawn anew."""
    on = "{semantic: {enabled: true}}"
    machine.write("a cat on a sofa", cache=on)
    machine.run("first")
    [path] = (machine.here / "first" / "images").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    machine.write("a cat on a couch", cache=on)
    assert (machine.run("second")["ok"], machine.requests) == (1, 2)


def test_damaged_meanings_cost_one_warning(machine: Machine) -> None:
    """The exact cache still answers, and the run goes on."""
    on = "{semantic: {enabled: true}}"
    machine.write("a cat on a sofa", "a dog", cache=on)
    machine.run("first")
    database = sqlite3.connect(machine.here / "cache" / "nanobatch" / "images.sqlite")
    with database:
        database.execute("UPDATE meanings SET vector = x'00'")
    database.close()
    machine.write("a cat on a couch", "a dog", cache=on)
    with machine.start("run", "p.jsonl", "-o", "second", "-O", "json", "--progress", "plain") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert (json.loads(out)["ok"], json.loads(out)["cached"], machine.requests) == (1, 1, 3)
    assert err.count("a row of the semantic cache is none") == 1


def test_a_team_finds_by_meaning_what_this_machine_has_drawn(machine: Machine) -> None:
    """With a Redis, meanings are this machine's own, and entries and images are the team's."""
    with redis_process() as server:
        on = f"{{url: '{server.url}', semantic: {{enabled: true}}}}"
        machine.write("a cat on a sofa", cache=on)
        machine.run("first")
        shutil.rmtree(machine.here / "first")
        machine.write("a cat on a couch", cache=on)
        assert machine.run("second")["cached"] == 1
        machine.call("cache", "clear", "--yes")
        machine.write("the cat on a couch", cache=on)
        assert machine.run("third")["cached"] == 0
