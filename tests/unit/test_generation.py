"""What drives the engines: a plain deadline stops a run of any strategy, and the next run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.deadline import REASON
from nanobatch.sandbox.plan import Plan
from nanobatch.settings import Limits
from tests.simulation import Vendor, check, simulate


def paper() -> Vendor:
    return Vendor(limits=Limits(concurrency=2), plan=Plan(latency=(10.0, 10.0)))


@pytest.mark.parametrize("strategy", ["priority", "fastest", "cheapest"])
def test_a_run_stops_at_its_deadline(tmp_path: Path, strategy: str) -> None:
    """Two at once, 10 s each, 60 s: twelve are there, none is late, the others are named; then the rest is drawn."""
    vendor = paper()
    found = simulate(tmp_path, vendor, seed=3, prompts=20, strategy=strategy, deadline=61)
    check(found)
    assert (found.code, found.summary["ok"], found.summary["unfinished"]) == (4, 12, 8)
    assert found.seconds <= 61
    reasons = {record["error"]["message"] for record in found.records if record["error"]}
    assert reasons == {f"not sent: {REASON}"}
    again = simulate(tmp_path, vendor, seed=3, prompts=20, strategy=strategy, deadline=200)
    check(again)
    assert (again.code, again.summary["unfinished"]) == (0, 0)
    assert set(vendor.billed.values()) == {1}


def test_a_deadline_that_is_far_changes_nothing(tmp_path: Path) -> None:
    """The run is over when it is over."""
    found = simulate(tmp_path, paper(), seed=3, prompts=4, deadline=10_000)
    check(found)
    assert (found.code, found.summary["ok"]) == (0, 4)
    assert found.seconds < 30
