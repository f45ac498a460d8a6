"""`--metrics`: the exposition format, the figures, and a file that is never half there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import ConfigError
from nanobatch.events import AttemptFailed, AttemptStarted, JobFinished, RunFinished, RunStarted
from nanobatch.model import Record, Status
from nanobatch.reporters.metrics import EVERY_SECONDS, MetricsFile
from tests.fakes import ManualClock

SAMPLE = re.compile(r'^([a-z_:][a-z0-9_:]*)\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (-?[0-9.e+-]+)$')
STARTED = RunStarted("r1", "/srv/out", 10, 4, ("google", "kie"))
SUMMARY = {
    "exit_code": 5, "maybe_cost_usd": 0.2, "resume_after": "2026-11-25T08:00:00.000Z", "ok": 6, "cached": 0, "refused": 1,
    "failed": 0, "unfinished": 3,
}  # fmt: skip


def finished(number: int, status: Status = Status.OK, provider: str = "google") -> JobFinished:
    return JobFinished(
        Record(
            job=f"j{number}", id=f"{number}", variant=0, index=number, status=status, provider=provider, cost_usd=0.134
        )
    )


def attempt(number: int, provider: str = "google") -> AttemptStarted:
    return AttemptStarted(f"j{number}", f"{number}", provider, 1)


class Desk:
    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self.path = path
        self.file = MetricsFile(path, self.clock)

    def read(self) -> dict[str, float]:
        """Parse as Prometheus does: HELP and TYPE once and before the samples, every line well formed."""
        found: dict[str, float] = {}
        known = ""
        text = self.path.read_text()
        assert text.endswith("\n")
        for line in text.splitlines():
            if line.startswith("# HELP "):
                known = line.split()[2]
                assert f"# TYPE {known} " in text
                assert text.count(f"# TYPE {known} ") == 1
            elif not line.startswith("# TYPE "):
                match = SAMPLE.match(line)
                assert match, line
                assert match[1] == known
                labels = re.sub(r'output="(?:[^"\\]|\\.)*",?', "", match[2])
                key = match[1].removeprefix("nanobatch_") + (f"{{{labels}}}" if labels else "")
                assert key not in found
                found[key] = float(match[3])
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "run.prom")


def test_the_figures_are_those_of_the_run(desk: Desk) -> None:
    """Jobs, attempts, failures and money, by provider."""
    desk.file(STARTED)
    for event in (attempt(1), attempt(2), attempt(3, "kie"), finished(1), finished(2)):
        desk.file(event)
    desk.file(AttemptFailed("j9", "9", "kie", 1, "overloaded", "busy"))
    desk.clock.now += EVERY_SECONDS
    desk.file.tick()
    found = desk.read()
    expected = {
        "running": 1, "jobs": 10, 'jobs_ended{status="ok"}': 6, 'in_flight{provider="kie"}': 1,
        'in_flight{provider="google"}': 0, 'images_total{provider="google"}': 2, 'images_total{provider="kie"}': 0,
        'attempts_total{provider="google"}': 2, 'attempt_failures_total{provider="kie",code="overloaded"}': 1,
        'cost_usd_total{provider="google"}': 0.268,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert "exit_code" not in found


def test_the_end_is_the_summarys(desk: Desk) -> None:
    """Exit code, counts of all jobs, and when to run again, in seconds since 1970."""
    desk.file(STARTED)
    desk.file(RunFinished(SUMMARY))
    found = desk.read()
    assert (found["running"], found["exit_code"], found["maybe_cost_usd"]) == (0, 5, 0.2)
    assert (found['jobs_ended{status="ok"}'], found['jobs_ended{status="unfinished"}']) == (6, 3)
    assert found["resume_after_timestamp_seconds"] == 1_795_593_600
    assert found["finished_timestamp_seconds"] == pytest.approx(desk.clock.wall())


def test_it_is_written_at_intervals(desk: Desk) -> None:
    """At the start, then every 15 seconds, not at every event."""
    desk.file(STARTED)
    before = desk.read()["updated_timestamp_seconds"]
    desk.file(finished(1))
    desk.file.tick()
    assert desk.read()["updated_timestamp_seconds"] == before
    desk.clock.now += EVERY_SECONDS
    desk.file.tick()
    assert desk.read()["updated_timestamp_seconds"] == before + EVERY_SECONDS


def test_the_file_is_replaced_as_a_whole(desk: Desk, tmp_path: Path) -> None:
    """Whoever has it open reads the old one to its end; nothing else is left in the collector's folder."""
    desk.file(STARTED)
    with desk.path.open() as reader:
        desk.file(RunFinished(SUMMARY))
        assert "nanobatch_running" in reader.read()
    assert [path.name for path in tmp_path.iterdir()] == ["run.prom"]


@pytest.mark.parametrize("name", ['a "b"', "back\\slash", "line\nbreak", "日本"])
def test_labels_are_escaped(tmp_path: Path, name: str) -> None:
    """A folder may be called anything."""
    desk = Desk(tmp_path / "x.prom")
    desk.file(RunStarted("r", f"/srv/{name}", 1, 0, ("google",)))
    assert desk.read()["jobs"] == 1


@pytest.mark.parametrize("name", ["nowhere/x.prom", "."])
def test_a_place_that_cannot_be_written_is_told_before_the_run(tmp_path: Path, name: str) -> None:
    """One sentence."""
    with pytest.raises(ConfigError, match="--metrics: .* cannot be written"):
        MetricsFile(tmp_path / name, ManualClock())


def test_a_provider_without_a_name_has_a_label(desk: Desk) -> None:
    """A job that nobody could take failed all the same."""
    desk.file(STARTED)
    none: dict[str, Any] = {"provider": ""}
    desk.file(AttemptFailed("j1", "1", attempt=0, code="not_sent", message="", **none))
    desk.file(RunFinished(SUMMARY))
    assert desk.read()['attempt_failures_total{provider="none",code="not_sent"}'] == 1
