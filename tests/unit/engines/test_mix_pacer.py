"""Mixes that are corrected while whole runs go on, on virtual time: 60 images, and answers as they really are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from nanobatch.catalog import Terms, load_catalog
from nanobatch.deadline import Deadline
from nanobatch.engines.mix_desk import MixDesk
from nanobatch.engines.mix_pacer import AT_RISK, MixPacer
from nanobatch.events import AttemptFailed, AttemptStarted, LaneChanged, Warned
from nanobatch.limits import Gate
from nanobatch.mix_lanes import lanes_of
from nanobatch.mix_plan import plan_mix, survey
from nanobatch.providers import load
from nanobatch.routing import Lane
from nanobatch.sandbox.plan import Plan
from nanobatch.settings import Defaults, Limits, OutputSettings, RunSettings, Settings
from nanobatch.stopping import Stop
from tests.fakes import ManualClock, RecordingObserver
from tests.harness import ScriptedSender, make_job, settings
from tests.simulation import Found, Vendor, check, simulate


def cheap(latency: float, **more: object) -> Vendor:
    """Two slots, $0.10; the catalog says 22 s an answer."""
    plan = Plan(latency=(latency, latency), **more)  # type: ignore[arg-type]
    return Vendor("cheap", limits=Limits(concurrency=2), price=0.1, plan=plan)


def dear(latency: float = 20.0) -> Vendor:
    """Ten slots, $0.30."""
    return Vendor("dear", limits=Limits(concurrency=10), priority=2, price=0.3, plan=Plan(latency=(latency, latency)))


def mixed(root: Path, *vendors: Vendor, deadline: float, prompts: int = 60, **more: object) -> Found:
    found = simulate(root, *vendors, seed=1, prompts=prompts, strategy="cheapest", deadline=deadline, **more)  # type: ignore[arg-type]
    check(found)
    return found


def test_at_the_assumed_rate_the_plan_holds(tmp_path: Path) -> None:
    """600 s have room for 50 images in two slots of 22 s, a twentieth kept free; the others are bought dearly."""
    one, other = cheap(22.0), dear()
    found = mixed(tmp_path, one, other, deadline=600)
    assert (found.code, found.summary["ok"]) == (0, 60)
    assert one.billed.total() == pytest.approx(50, abs=4)
    assert found.seconds <= 600


def test_a_lane_that_is_slower_than_planned_gets_help(tmp_path: Path) -> None:
    """Its answers take 50 s: it has room for 24, and the run is in time, because the dear lane opens up."""
    one, other = cheap(50.0), dear()
    found = mixed(tmp_path, one, other, deadline=600)
    assert (found.code, found.summary["ok"]) == (0, 60)
    assert one.billed.total() == pytest.approx(22, abs=3)
    assert found.seconds <= 600


def test_a_lane_that_is_faster_than_planned_keeps_the_work(tmp_path: Path) -> None:
    """Its answers take 5 s: only what was due to the dear lane before anybody knew is bought there."""
    one, other = cheap(5.0), dear()
    found = mixed(tmp_path, one, other, deadline=600)
    assert (found.code, found.summary["ok"]) == (0, 60)
    assert other.billed.total() <= 2
    assert found.seconds <= 200


def test_a_lane_that_fails_is_replaced(tmp_path: Path) -> None:
    """The cheap one answers nothing but 503; everything is drawn in time by the other."""
    one, other = cheap(5.0, faults={"503": 1.0}), dear()
    found = mixed(tmp_path, one, other, deadline=900)
    assert (found.code, found.summary["ok"], one.billed.total()) == (0, 60, 0)
    assert found.seconds <= 900


def test_what_is_late_is_told_and_stops(tmp_path: Path) -> None:
    """Somebody has insisted: everything is used, a sentence says that it is at risk, and the end is exit 4."""
    one, other = cheap(22.0), dear(20.0)
    found = mixed(tmp_path, one, other, deadline=60)
    assert found.code == 4
    assert 20 <= found.summary["ok"] < 60
    assert found.seconds <= 62
    assert [event.message for event in found.events if isinstance(event, Warned)] == [AT_RISK]
    left = [record for record in found.records if record["status"] == "unfinished"]
    assert len(left) == 60 - found.summary["ok"]
    assert all("the deadline has passed" in record["error"]["message"] for record in left)
    again = mixed(tmp_path, one, other, deadline=3600)
    assert (again.code, again.summary["unfinished"]) == (0, 0)
    assert max((one.billed + other.billed).values()) == 1


def test_the_plan_is_told_when_it_opens_a_lane(tmp_path: Path) -> None:
    """One line for each lane that gets something, when it first does."""
    found = mixed(tmp_path, cheap(22.0), dear(), deadline=600)
    told = [event.message for event in found.events if isinstance(event, LaneChanged) and "the plan" in event.message]
    assert len(told) == 2
    assert told[0].endswith("images to cheap/sync")


def test_a_killed_mix_goes_on(tmp_path: Path) -> None:
    """Killed in the middle, and run again with a new deadline: nothing that was recorded is bought twice."""
    one, other = cheap(10.0), dear(10.0)
    simulate(tmp_path, one, other, seed=1, prompts=30, strategy="cheapest", deadline=600, kill_at=60)
    found = mixed(tmp_path, one, other, deadline=600, prompts=30)
    assert (found.code, found.summary["jobs"]) == (0, 30)
    assert (one.billed + other.billed).total() <= 30 + 12  # those on the wire at the kill


@pytest.mark.parametrize("seed", range(8))
def test_whatever_goes_wrong_the_promises_hold(tmp_path: Path, seed: int) -> None:
    """Faults of all kinds, an honest vendor and a bad one: what is billed is in the books, and nothing begins late."""
    faults = {"429": 0.1, "503": 0.2, "reset-after": 0.05, "hang": 0.03, "noimage": 0.05, "safety": 0.05}
    bad = Vendor(
        "bad", limits=Limits(concurrency=4), price=0.1, plan=Plan(latency=(1.0, 30.0), faults=faults, seed=seed)
    )
    found = simulate(tmp_path, bad, dear(), seed=seed, prompts=60, strategy="cheapest", deadline=400)
    check(found)
    assert found.code in (0, 1, 4)
    assert found.seconds <= 400 + 60  # the timeout of what was on the wire
    assert found.summary["ok"] + found.summary["refused"] + found.summary["failed"] >= 55


def test_a_tier_that_only_fails_leaves_its_jobs_to_the_usual_one() -> None:
    """Five times 503 from flex: the next attempt of the same job asks the same account at its usual price."""
    clock, entry = ManualClock(), load_catalog().providers["google"]
    given = replace(settings("google"), terms=Terms("google", entry, protocol="gemini"))
    wanted = lanes_of(Settings(Defaults(), RunSettings(), OutputSettings(), (given,)), load_catalog())
    job = make_job()
    plan = plan_mix(survey([job], wanted), 3600)
    desk = MixDesk(iter([job]), plan.census.table, images=[1], accounts={"google/flex": "google"}, stop=Stop())
    gate = Gate(clock, name="google", concurrency=4)
    lanes = {lane.name: Lane(lane.seller, load("gemini"), ScriptedSender([]), gate) for lane in wanted}
    pacer = MixPacer(desk, plan, lanes, Deadline(clock, 3600), clock, RecordingObserver())
    assert pacer.lane_of(job) is None  # nobody has it yet
    asyncio.run(pacer.look())
    assert asyncio.run(desk.next("google")) == job
    assert pacer.lane_of(job) is lanes["google/flex"]
    for _ in range(5):
        pacer.note(AttemptStarted(job.id, "row-1", "google", 1))
        pacer.note(AttemptFailed(job.id, "row-1", "google", 1, "overloaded", "no room", 503, 1.0))
    assert pacer.lane_of(job) is lanes["google/sync"]
    pacer.note(AttemptStarted(job.id, "row-1", "google", 6))
    pacer.note(AttemptFailed(job.id, "row-1", "google", 6, "overloaded", "no room", 503, 1.0))
    assert (pacer.pace.of("google/flex").failures, pacer.pace.of("google/sync").failures) == (5, 1)
