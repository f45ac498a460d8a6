"""Whole runs on virtual time: what a day of quota, a thousand seeds and a kill at any moment do to the promises."""

from __future__ import annotations

import datetime as dt
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nanobatch.events import AttemptStarted, Event
from nanobatch.sandbox.plan import Plan
from nanobatch.settings import Limits
from tests.simulation import KILLED, NOON, PRICE, Vendor, check, simulate

PACIFIC = ZoneInfo("America/Los_Angeles")
EVERYTHING = {
    "429": 0.04, "500": 0.04, "503": 0.04, "blocked": 0.04, "safety": 0.03, "noimage": 0.03, "thought": 0.05,
    "reset": 0.03, "reset-after": 0.03, "truncate": 0.02, "hang": 0.02, "html502": 0.02, "cutimage": 0.03, "snake": 0.05,
}  # fmt: skip
MONEY = {"blocked": 0.1, "safety": 0.1, "thought": 0.15, "hang": 0.1, "reset-after": 0.05, "503": 0.05}


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[object], Path]:
    """Make a folder for each simulation."""

    def make(name: object) -> Path:
        path = tmp_path / str(name)
        path.mkdir()
        return path

    return make


Folder = Callable[[object], Path]


def pacific_day(wall: float) -> tuple[int, float]:
    """Return the provider's day and the seconds that are left of it."""
    here = dt.datetime.fromtimestamp(wall, PACIFIC)
    midnight = dt.datetime.combine(here.date() + dt.timedelta(days=1), dt.time(), PACIFIC)
    return here.date().toordinal(), midnight.timestamp() - wall


def test_a_run_is_a_function_of_its_seed(folder: Folder) -> None:
    """The same seed gives the same events at the same moments; another one does not."""

    def story(name: str, seed: int) -> tuple[list[tuple[float, str]], float]:
        vendor = Vendor(plan=Plan(latency=(1.0, 9.0), faults=EVERYTHING, seed=seed))
        found = simulate(folder(name), vendor, seed=seed, prompts=25)
        check(found)
        return [(at, prompt) for at, prompt in zip(vendor.times, vendor.billed, strict=False)], found.seconds

    first = story("a", 5)
    assert story("b", 5) == first
    assert story("c", 6) != first


@pytest.mark.parametrize("seed", range(12))
def test_whatever_goes_wrong_every_prompt_has_an_end(folder: Folder, seed: int) -> None:
    """An image or a reason; nothing twice but by rule; all that was billed is in the books of the run."""
    vendor = Vendor(plan=Plan(latency=(1.0, 9.0), faults=EVERYTHING, seed=seed))
    found = simulate(folder(seed), vendor, seed=seed, prompts=40)
    check(found)
    assert found.code in (0, 1)
    assert found.summary["unfinished"] == 0
    assert max(vendor.billed.values()) <= 3  # an ambiguous one is sent again once; a broken image is bought once more


def _day_total(root: Path) -> int:
    with sqlite3.connect(root / "state" / "nanobatch" / "spending.sqlite") as database:
        (total,) = database.execute("SELECT total(spent + possible + reserved) FROM spending").fetchone()
    database.close()
    return int(total)


@pytest.mark.parametrize("block", range(10))
def test_a_dollar_is_never_exceeded(folder: Folder, block: int) -> None:
    """A thousand runs with 64 workers, refusals, drafts and timeouts: $1.00 at $0.134 is seven images at most."""
    for seed in range(block * 100, block * 100 + 100):
        vendor = Vendor(limits=Limits(concurrency=64), plan=Plan(latency=(1.0, 30.0), faults=MONEY, seed=seed))
        found = simulate(folder(seed), vendor, seed=seed, prompts=16, budget=1.0)
        summary = found.summary
        assert summary["cost_usd"] + summary["maybe_cost_usd"] <= 1.0 + 1e-9, f"seed {seed}"
        assert vendor.spent_usd <= 1.0, f"seed {seed}"
        check(found)
        if found.code == 4:
            assert summary["cost_usd"] + summary["maybe_cost_usd"] > 1.0 - PRICE, f"seed {seed}"
            assert summary["unfinished"] > 0, f"seed {seed}"


@pytest.mark.parametrize("seed", range(20))
def test_the_day_is_never_exceeded_at_any_moment(folder: Folder, seed: int) -> None:
    """Spent, possibly billed and set aside together, at every attempt, over two runs and a kill."""
    root, most = folder(seed), 0

    def watch(event: Event) -> None:
        nonlocal most
        if isinstance(event, AttemptStarted):
            most = max(most, _day_total(root))

    vendor = Vendor(limits=Limits(concurrency=64), plan=Plan(latency=(1.0, 30.0), faults=MONEY, seed=seed))
    killed = simulate(root, vendor, seed=seed, prompts=5, a_day=1.0, kill_at=seed % 7 + 0.5, name="one")
    second = simulate(root, vendor, seed=seed, prompts=30, a_day=1.0, watch=watch, name="two", start=NOON + 60)
    assert killed.code in (0, KILLED)
    assert most <= 1_000_000
    assert vendor.spent_usd <= 1.0
    assert second.code in (1, 4)
    check_of_second = second.summary["cost_usd"] + second.summary["maybe_cost_usd"]
    assert check_of_second <= 1.0


@pytest.mark.parametrize("date", ["2026-11-24", "2026-11-01", "2027-03-14"], ids=["plain", "25 hours", "23 hours"])
def test_three_runs_of_one_day_send_its_quota_together(folder: Folder, date: str) -> None:
    """100 a day: 60, 40 and none; exit 5 and the provider's own midnight, also where the clocks change."""
    root = folder(date)
    day = dt.date.fromisoformat(date)
    midnight = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), PACIFIC).timestamp()
    vendor = Vendor(limits=Limits(concurrency=16, rpd=100), plan=Plan(latency=(1.0, 3.0), rpd=100, seed=1))
    codes, oks = [], []
    for hour, name in ((0.5, "one"), (11, "two"), (22.5, "three")):
        begin = midnight - 24 * 3600 + hour * 3600 if hour > 1 else _first_minute(day)
        before = vendor.spent_usd
        found = simulate(root, vendor, seed=1, prompts=60, start=begin, day=pacific_day, name=name)
        check(found, billed_before_usd=before)
        codes.append(found.code)
        oks.append(found.summary["ok"])
        if found.code == 5:
            resume = dt.datetime.fromisoformat(found.summary["resume_after"]).timestamp()
            assert midnight <= resume <= midnight + 60
    assert codes == [0, 5, 5]
    assert oks == [60, 40, 0]
    assert not vendor.violations
    later = simulate(root, vendor, seed=1, prompts=60, start=resume, day=pacific_day, name="three")
    assert (later.code, later.summary["ok"]) == (0, 60)
    assert not vendor.violations


def _first_minute(day: dt.date) -> float:
    return dt.datetime.combine(day, dt.time(0, 1), PACIFIC).timestamp()


def test_days_of_quota_pass_in_a_second(folder: Folder) -> None:
    """A run that waits uses each day's quota to its last request and begins again after midnight."""
    vendor = Vendor(limits=Limits(concurrency=16, rpd=100), plan=Plan(latency=(1.0, 3.0), rpd=100, seed=1))
    found = simulate(folder("w"), vendor, seed=1, prompts=250, on_quota="wait", day=pacific_day)
    check(found)
    assert found.code == 0
    assert sorted(vendor.days.values()) == [50, 100, 100]
    assert found.seconds > 24 * 3600


@pytest.mark.parametrize("seed", range(15))
def test_killed_at_any_moment_it_loses_only_what_was_on_the_wire(folder: Folder, seed: int) -> None:
    """Three kills; then one run has everything, and every image that was billed is in its books."""
    root, rng = folder(seed), random.Random(seed)
    vendor = Vendor(limits=Limits(concurrency=4), plan=Plan(latency=(1.0, 9.0), seed=seed))
    at = NOON
    for _ in range(3):
        seconds = rng.uniform(0.5, 15.0)
        killed = simulate(root, vendor, seed=seed, prompts=20, start=at, kill_at=seconds)
        assert killed.code in (0, KILLED)
        at += seconds + 1
    found = simulate(root, vendor, seed=seed, prompts=20, start=at)
    check(found)
    assert (found.code, found.summary["ok"]) == (0, 20)
    assert vendor.billed.total() <= 20 + 3 * 4


def test_a_strict_minute_is_used_up_and_never_exceeded(folder: Folder) -> None:
    """No 429 and at least 97 % of what whole windows allow, over an hour."""
    vendor = Vendor(limits=Limits(concurrency=64, rpm=60), plan=Plan(latency=(1.0, 20.0), rpm=60, seed=1))
    found = simulate(folder("m"), vendor, seed=1, prompts=3600)
    check(found)
    assert found.summary["ok"] == 3600
    assert found.seconds <= 3600 / 0.97


def test_two_providers_are_used_together_and_one_outlives_the_other(folder: Folder) -> None:
    """The one whose day is spent is left alone; the other does the rest."""
    small = Vendor("small", Limits(concurrency=4, rpd=20), 1, plan=Plan(latency=(1.0, 3.0), rpd=20, seed=1))
    large = Vendor("large", Limits(concurrency=4), 2, price=0.2, plan=Plan(latency=(1.0, 3.0), seed=1))
    found = simulate(folder("two"), small, large, seed=1, prompts=60)
    check(found)
    assert found.summary["ok"] == 60
    assert (small.billed.total(), large.billed.total()) == (20, 40)


def test_a_provider_that_refuses_everything_is_left_to_the_next_run(folder: Folder) -> None:
    """Nothing but 429s, with a wish or without: the run ends after minutes, not never, and says when to come back."""
    vendor = Vendor(limits=Limits(concurrency=8), plan=Plan(latency=(1.0, 2.0), faults={"429": 1.0}, seed=1))
    found = simulate(folder("shut"), vendor, seed=1, prompts=500)
    check(found)
    assert found.code == 5
    assert found.summary["unfinished"] == 500
    assert found.seconds < 1200
    assert vendor.asked < 100
    assert dt.datetime.fromisoformat(found.summary["resume_after"]).timestamp() >= NOON + found.seconds - 1


def test_work_moves_on_from_a_provider_that_refuses_everything(folder: Folder) -> None:
    """A relay whose own quota is empty for hours holds up nobody who has another provider."""
    shut = Vendor("shut", Limits(concurrency=8), 1, plan=Plan(latency=(1.0, 2.0), faults={"429": 1.0}, seed=1))
    open_ = Vendor("open", Limits(concurrency=4), 2, price=0.2, plan=Plan(latency=(1.0, 3.0), seed=1))
    found = simulate(folder("move"), shut, open_, seed=1, prompts=600)
    check(found)
    assert (found.code, open_.billed.total()) == (0, 600)
    assert found.seconds < 2 * 600 * 2.0 / 4
    assert shut.asked < 60
