"""How a run stands: from its files alone, at any moment of its life."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nanobatch.clock import iso
from nanobatch.errors import ConfigError
from nanobatch.folder import locked
from nanobatch.run_note import NOTE, RunNote, encoded
from nanobatch.run_status import REASONS, status_of
from tests.fakes import ManualClock


class Desk:
    """An output folder, made by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = ManualClock()
        (root / ".nanobatch").mkdir(parents=True)

    def ago(self, seconds: float) -> str:
        return iso(self.clock.wall() - seconds)

    def note(self, jobs: int, *, started_ago: float = 600.0, run_id: str = "r2", **more: Any) -> None:
        plain = RunNote(
            run_id, self.ago(started_ago), jobs, 0, sandbox=False, folder=str(self.root), cwd=str(Path.cwd()),
            command=("run", "p.csv", "-o", "out"),
        )  # fmt: skip
        (self.root / NOTE).write_bytes(encoded(msgspec.structs.replace(plain, **more)))

    def summary(self, **facts: Any) -> None:
        (self.root / "run.json").write_text(json.dumps({"run_id": "r2", "exit_code": 0} | facts))

    def record(self, number: int, status: str = "ok", *, finished_ago: float = 10.0, **more: Any) -> None:
        found = {"job": f"{number:016x}{number:016x}", "id": f"row-{number}", "status": status, "index": number}
        found |= {"finished_at": self.ago(finished_ago), **more}
        with (self.root / "manifest.jsonl").open("a") as file:
            file.write(json.dumps(found) + "\n")

    def attempt(self, number: int, code: str | None = "ok", *, task: bool = False, **more: Any) -> None:
        facts = {"attempt": f"a{number}", "provider": "google", "job": f"{number:016x}{number:016x}", "at": 1.0}
        lines: list[dict[str, Any]] = [facts | {"kind": "intent", "worst_usd": 0.2}]
        if task:
            lines.append(facts | {"kind": "task", "task": "t"})
        if code is not None:
            lines.append(facts | {"kind": "outcome", "code": code} | more)
        with (self.root / ".nanobatch/attempts.jsonl").open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def ask(self) -> dict[str, Any]:
        return status_of(self.root, self.clock)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "out")


def test_jobs_are_counted_by_their_newest_line(desk: Desk) -> None:
    """What nobody has come to yet is unfinished, too."""
    desk.note(10)
    for number, status in enumerate(("ok", "ok", "cached", "refused", "failed", "unfinished")):
        desk.record(number, status)
    desk.record(4, "ok")
    found = desk.ask()
    counts = {key: found[key] for key in ("jobs", "ok", "cached", "refused", "failed", "unfinished")}
    assert counts == {"jobs": 10, "ok": 3, "cached": 1, "refused": 1, "failed": 0, "unfinished": 5}


def test_money_is_what_the_ledger_says_of_all_runs(desk: Desk) -> None:
    """Also for attempts that gave no image, by provider."""
    desk.note(3)
    desk.attempt(1, cost_usd=0.134)
    desk.attempt(2, "decode_error", cost_usd=0.134)
    desk.attempt(3, "ambiguous", maybe_usd=0.2)
    found = desk.ask()
    assert (found["cost_usd"], found["maybe_cost_usd"]) == (0.268, 0.2)
    google = found["providers"]["google"]
    assert (google["images"], google["attempts"]) == (1, 3)
    assert google["errors"] == {"decode_error": 1, "ambiguous": 1}


def test_requests_without_an_end_are_open(desk: Desk) -> None:
    """On the wire when it was killed: possibly billed; with a task: to be fetched."""
    desk.note(3)
    desk.attempt(1)
    desk.attempt(2, None)
    desk.attempt(3, None, task=True)
    found = desk.ask()
    assert (found["open_requests"], found["open_tasks"], found["open_worst_usd"]) == (2, 1, 0.4)


def test_a_task_that_was_fetched_is_not_open(desk: Desk) -> None:
    """Its outcome ends it."""
    desk.attempt(1, "ok", task=True)
    assert desk.ask()["open_tasks"] == desk.ask()["open_requests"] == 0


def test_rate_and_time_left_are_of_the_last_minutes(desk: Desk) -> None:
    """30 images in the last five minutes are six a minute; 30 to go are five minutes."""
    desk.note(80, started_ago=3600)
    for number in range(20):
        desk.record(number, finished_ago=2000)
    for number in range(20, 50):
        desk.record(number, finished_ago=100)
    with locked(desk.root, desk.clock):
        found = desk.ask()
    assert (found["images_per_minute"], found["seconds_left"]) == (6.0, 300.0)
    assert found["state"] == "running"


def test_a_run_that_has_just_begun_is_timed_from_its_start(desk: Desk) -> None:
    """Ten images in its first 30 seconds are twenty a minute; what an earlier run made does not count."""
    desk.note(100, started_ago=30)
    for number in range(30):
        desk.record(number, finished_ago=40)
    for number in range(30, 40):
        desk.record(number, finished_ago=5)
    with locked(desk.root, desk.clock):
        assert desk.ask()["images_per_minute"] == 20.0


def test_nobody_knows_the_rate_of_one_image(desk: Desk) -> None:
    """No rate is better than a wrong one."""
    desk.note(10)
    desk.record(1)
    with locked(desk.root, desk.clock):
        found = desk.ask()
    assert found["images_per_minute"] is found["seconds_left"] is None


def test_the_holder_is_named_while_it_runs(desk: Desk) -> None:
    """And nobody afterwards, though the lock file stays."""
    desk.note(1)
    with locked(desk.root, desk.clock):
        found = desk.ask()
        assert found["running"] is True
        assert found["holder"]["pid"] is not None
        assert "goes on by itself" in found["next"]["why"]
    assert desk.ask()["running"] is False


def test_a_killed_run_is_told_from_one_that_ended(desk: Desk) -> None:
    """The note names a run that run.json does not know."""
    desk.note(5)
    desk.record(1)
    desk.summary(run_id="r1", exit_code=0, resume_after=None)
    found = desk.ask()
    assert found["state"] == "killed"
    assert found["exit_code"] is None
    assert found["next"]["command"] == "nanobatch run p.csv -o out"


def test_a_torn_last_line_hides_nothing_else(desk: Desk) -> None:
    """In the manifest and in the ledger."""
    desk.note(5)
    desk.record(1)
    desk.attempt(1, cost_usd=0.1)
    for name in ("manifest.jsonl", ".nanobatch/attempts.jsonl"):
        with (desk.root / name).open("a") as file:
            file.write('{"job": "0000')
    found = desk.ask()
    assert (found["ok"], found["cost_usd"]) == (1, 0.1)


def test_errors_come_by_reason_with_an_example(desk: Desk) -> None:
    """The most frequent first."""
    desk.note(6)
    for number in range(5):
        code = "refused" if number > 1 else "rejected"
        error = {"code": code, "message": f"because of {code}", "http_status": 400}
        desk.record(number, "refused" if number > 1 else "failed", error=error, provider="google")
    first, second = desk.ask()["failures"]
    assert (first["count"], first["message"], first["status"]) == (3, "because of refused", "refused")
    assert (second["count"], second["example"]) == (2, {"id": "row-0", "index": 0, "provider": "google"})


def test_reasons_are_bounded(desk: Desk) -> None:
    """A thousand different sentences do not make a thousand rows; they are counted."""
    for number in range(REASONS + 30):
        desk.record(number, "failed", error={"code": "rejected", "message": f"row {number} is odd"})
    found = desk.ask()
    assert (len(found["failures"]), found["other_failures"]) == (REASONS, 30)


def test_a_reason_that_was_overcome_is_gone(desk: Desk) -> None:
    """The newest line of the job has no error."""
    desk.record(1, "failed", error={"code": "rejected", "message": "no"})
    desk.record(1, "ok")
    assert desk.ask()["failures"] == []


@pytest.mark.parametrize(
    ("statuses", "facts", "command", "why"),
    [
        (["ok"], {"exit_code": 0}, "nanobatch verify", "all images are there"),
        (["ok", "refused"], {"exit_code": 1}, "nanobatch run p.csv -o out --retry-failed", "failed.jsonl"),
        (["unfinished"], {"exit_code": 3}, "nanobatch doctor --ping", "account"),
        (["unfinished"], {"exit_code": 4}, "nanobatch run p.csv -o out", "raise it"),
        (["unfinished"], {"exit_code": 5, "resume_after": "2026-11-25T08:00:00Z"}, "nanobatch run p.csv -o out", "after 2026-11-25"),
        (["unfinished"], {"exit_code": 5, "resume_after": "2026-11-25T08:00:00Z", "finished_at": "2026-11-25T08:00:00Z"}, "nanobatch run p.csv -o out", "go on"),
        (["unfinished"], {"exit_code": 130}, "nanobatch run p.csv -o out", "missing"),
    ],
)  # fmt: skip
def test_the_next_step_is_one_command(
    desk: Desk, statuses: list[str], facts: dict[str, Any], command: str, why: str
) -> None:
    """What a person should do depends on how the run ended."""
    desk.note(len(statuses))
    for number, status in enumerate(statuses):
        desk.record(number, status)
    desk.summary(**facts)
    following = desk.ask()["next"]
    assert following["command"].startswith(command)
    assert why in following["why"]


def test_a_folder_of_an_older_version_tells_what_it_can(desk: Desk) -> None:
    """Without a note, run.json says how many jobs there are."""
    desk.record(1)
    desk.summary(jobs=7, exit_code=5, inputs=["old.csv"], started_at="2026-11-23T00:00:00.000Z")
    found = desk.ask()
    assert (found["jobs"], found["unfinished"], found["state"]) == (7, 6, "ended")
    assert "old.csv" in found["next"]["command"]


def test_asking_changes_nothing(desk: Desk) -> None:
    """Not a byte, not a file, not a time."""
    desk.note(3)
    desk.record(1)
    desk.attempt(1)

    def snapshot() -> list[tuple[str, int, int]]:
        paths = sorted([desk.root, *desk.root.rglob("*")])
        return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]

    before = snapshot()
    desk.ask()
    assert snapshot() == before


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """Instead of reporting zero of zero."""
    with pytest.raises(ConfigError, match="is not the output of a run"):
        status_of(tmp_path, ManualClock())
