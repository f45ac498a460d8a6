"""The plan that is kept: the jobs come back as they were, and what is ordered stays in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nanobatch.batches.plan import About, StoredPlan, keep
from nanobatch.errors import ConfigError
from nanobatch.manifest import fingerprint
from nanobatch.model import Job
from tests.harness import make_job


@dataclass
class Paper:
    """A planner of paper; the first `chosen` jobs are chosen."""

    all: list[Job]
    chosen: int = 99

    def jobs(self, *, everything: bool = False) -> Iterator[Job]:
        return iter(self.all if everything else self.all[: self.chosen])

    def fingerprints(self, *, everything: bool = False) -> Iterator[int]:
        return (fingerprint(job.id) for job in self.jobs(everything=everything))


def jobs(*numbers: int) -> list[Job]:
    found = [make_job(number) for number in numbers]
    return [replace(job, prompt=replace(job.prompt, columns={"sku": "ä", "n": 3})) for job in found]


def kept(path: Path, planner: Paper, ordered: set[str] | None = None, earlier: list[Job] | None = None) -> StoredPlan:
    return keep(path, planner, About(("p.csv",), 2, limit=7), ordered=ordered or set(), earlier=earlier or [])


def test_jobs_come_back_as_they_were(tmp_path: Path) -> None:
    """In their order, with columns, and with what the input was."""
    stored = kept(tmp_path / "x" / "plan", Paper(jobs(1, 2, 3)))
    assert list(stored.jobs()) == jobs(1, 2, 3)
    assert list(stored.fingerprints()) == [fingerprint(job.id) for job in jobs(1, 2, 3)]
    again = StoredPlan(tmp_path / "x" / "plan")
    assert again.about == About(("p.csv",), 2, limit=7)
    assert "2 jobs" in repr(again)


def test_what_was_left_out_is_known_as_such(tmp_path: Path) -> None:
    """--limit and --only hold for whoever collects."""
    stored = kept(tmp_path / "plan", Paper(jobs(1, 2, 3), chosen=1))
    assert list(stored.jobs()) == jobs(1)
    assert list(stored.jobs(everything=True)) == jobs(1, 2, 3)
    assert len(list(stored.fingerprints(everything=True))) == 3


def test_ordered_jobs_outlive_their_rows(tmp_path: Path) -> None:
    """A job that a later input does not have any more stays until it is collected; others go."""
    first = kept(tmp_path / "plan", Paper(jobs(1, 2, 3)))
    ordered = {jobs(2)[0].id, jobs(3)[0].id}
    second = kept(tmp_path / "plan", Paper(jobs(4, 3)), ordered, list(first.jobs(everything=True)))
    assert list(second.jobs()) == jobs(4, 3, 2)


def test_single_jobs_are_found_by_their_ids(tmp_path: Path) -> None:
    """Without reading everything, and an unknown id is no job."""
    stored = kept(tmp_path / "plan", Paper(jobs(*range(1, 50))))
    wanted = [jobs(7)[0].id, "f" * 32, jobs(48)[0].id]
    assert stored.pick(wanted) == {job.id: job for job in jobs(7, 48)}
    assert stored.pick([]) == {}


@pytest.mark.parametrize("text", [None, "", "nonsense\n{}\n"])
def test_without_a_plan_there_is_nothing_to_collect(tmp_path: Path, text: str | None) -> None:
    """A sentence says what to do first."""
    if text is not None:
        (tmp_path / "plan").write_text(text)
    with pytest.raises(ConfigError, match="submit one first"):
        StoredPlan(tmp_path / "plan")
