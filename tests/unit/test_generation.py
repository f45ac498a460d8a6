"""What drives the engines: a plain deadline stops a run of any strategy, and the next run goes on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, cast

import pytest

from nanobatch.deadline import REASON, Deadline
from nanobatch.generation import Generation
from nanobatch.mix_assembly import Mixing
from nanobatch.sandbox.plan import Plan
from nanobatch.settings import Limits
from nanobatch.stopping import Stop
from tests.fakes import ManualClock
from tests.simulation import Vendor, check, simulate
from tests.unit.test_deadline import drawn


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


@pytest.mark.parametrize("is_mix", [True, False])
def test_how_long_a_batch_took_says_nothing_of_an_answer(is_mix: bool) -> None:
    """In a mix, images that no lane of the desk was asked for come out of batches: hours must not count as usual."""
    clock, none = ManualClock(), cast("Any", None)
    deadline = Deadline(clock, 20_000, assumed=20)
    work = Mixing(none, [], Stop()) if is_mix else None
    generation = Generation(
        none, none, none, clock, lambda _: None, Stop(), lambda: None, random.Random(1), none, todo=5, work=work,
        deadline=deadline,
    )  # fmt: skip
    asyncio.run(clock.advance(8000))
    for _ in range(5):
        generation.note(drawn(7200.0))
    assert deadline.usual_seconds == (20 if is_mix else 7200)
