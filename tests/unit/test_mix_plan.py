"""A mix from jobs to JSON: counted by kind, solved, and said with what it costs and whether it is in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from nanobatch.catalog import load_catalog
from nanobatch.manifest import fingerprint
from nanobatch.mix_lanes import MixLane, lanes_of
from nanobatch.mix_plan import MixPlan, as_deadline, mixed_estimate, plan_mix, plan_of, survey, too_dear, too_late
from nanobatch.model import Job
from nanobatch.settings import BatchSettings, Defaults, Limits, OutputSettings, ProviderSettings, RunSettings, Settings
from tests.harness import make_job, settings

HOUR = 3600.0


def paper(name: str, price: float, *, hours: float | None = None, slots: int = 10) -> ProviderSettings:
    """A provider of the gemini format that the catalog does not know, with batches or without."""
    batch = BatchSettings(factor=0.5, hours=hours) if hours else BatchSettings()
    return replace(settings(name, prices={"1K": price}, limits=Limits(concurrency=slots)), batch=batch)


def lanes(*providers: ProviderSettings) -> list[MixLane]:
    return lanes_of(Settings(Defaults(), RunSettings(), OutputSettings(), providers), load_catalog())


def jobs(number: int) -> list[Job]:
    return [make_job(index, model="house-model") for index in range(1, number + 1)]


def plan(wanted: Iterable[Job], deadline: float, *providers: ProviderSettings, **more: Any) -> MixPlan:
    return plan_mix(survey(wanted, lanes(*providers), **more), deadline)


def allocations(found: MixPlan) -> list[tuple[str, str, int, float]]:
    return [(a["provider"], a["lane"], a["images"], a["cost_usd"]) for a in found.shown(cached=0)["allocations"]]


def test_batches_when_there_is_time_for_them() -> None:
    """20 s an image and ten at once: without batches 2,000 images take 4,000 s."""
    provider = paper("a", 0.1, hours=24)
    assert allocations(plan(jobs(2000), 26 * HOUR, provider)) == [("a", "batch", 2000, 100.0)]
    assert allocations(plan(jobs(2000), 2 * HOUR, provider)) == [("a", "sync", 2000, 200.0)]


def test_a_part_of_the_slots_is_kept_free() -> None:
    """The cheap one could do 500 images in 1,000 s; it is given 466, because some have to be asked for again."""
    found = plan(jobs(600), 1000, paper("a", 0.1), paper("b", 0.2))
    assert allocations(found) == [("a", "sync", 466, 46.6), ("b", "sync", 134, 26.8)]
    tight = plan(jobs(990), 1000, paper("a", 0.1), paper("b", 0.2))
    assert (tight.in_time, allocations(tight)[0][2]) == (True, 500)


def test_what_is_done_cached_or_a_copy_needs_no_lane() -> None:
    """Ten jobs: one is on disk, one is in the cache, one is a copy of another."""
    wanted = jobs(10)
    wanted[2] = replace(wanted[2], twin=wanted[3].id)

    def known(some: Sequence[Job]) -> set[str]:
        return {job.id for job in some if job.id == wanted[1].id}

    found = plan(wanted, HOUR, paper("a", 0.1), done={fingerprint(wanted[0].id)}, known=known)
    census = found.census
    assert (census.jobs, census.already_done, census.cached, census.duplicates) == (10, 1, 1, 1)
    assert allocations(found) == [("a", "sync", 7, 0.7)]


def test_what_is_ordered_already_is_not_planned_again() -> None:
    """Three of ten are in open batches of an earlier run."""
    wanted = jobs(10)
    found = plan(wanted, HOUR, paper("a", 0.1), ordered={job.id for job in wanted[:3]})
    assert allocations(found) == [("a", "sync", 7, 0.7)]
    shown = mixed_estimate(found, inputs=[], output="out", skipped=0, sandbox=False, warnings=[], cached_unknown=None)
    assert (shown["to_send"], shown["warnings"]) == (
        7,
        ["3 images are ordered in batches already; the run collects them"],
    )


def test_what_is_too_late_is_said_with_what_would_do() -> None:
    """Time and price of the fastest mix, and a deadline that it keeps."""
    found = plan(jobs(1000), 600, paper("a", 0.1), paper("b", 0.2))
    shown = found.shown(cached=0)
    assert (found.in_time, shown["in_time"]) == (False, False)
    assert shown["duration_seconds"] == pytest.approx(1000, rel=0.005)
    sentence = too_late(shown)
    assert sentence is not None
    assert "no mix of lanes is done within 10m; the fastest takes 17m and costs about $150" in sentence
    assert "--deadline 18m" in sentence
    assert plan(jobs(1000), 18 * 60, paper("a", 0.1), paper("b", 0.2)).in_time


def test_a_plan_without_a_mix_has_the_same_keys() -> None:
    """Scripts read one shape, whatever the strategy."""
    found = {
        "strategy": "fastest", "providers": [{"name": "a", "images": 3, "cost_usd": 0.3}, {"name": "a", "images": 1, "cost_usd": 0.1}],
        "cost_usd": {"low": 0.4, "expected": 0.4, "high": 0.4}, "duration_seconds": 40.0, "already_done": 1, "cached": 2,
    }  # fmt: skip
    one = plan_of(found, (), deadline_seconds=30)
    assert list(one) == list(plan(jobs(1), HOUR, paper("a", 0.1)).shown(cached=0))
    assert one["allocations"] == [{"provider": "a", "lane": "sync", "images": 4, "cost_usd": 0.4}]
    assert plan_of(found, {"a"})["allocations"][0]["lane"] == "flex"
    assert plan_of(found, {"a"}, lane="batch")["allocations"][0]["lane"] == "batch"
    assert (one["in_time"], plan_of(found, ())["in_time"], plan_of(found, (), deadline_seconds=40)["in_time"]) == (
        False,
        True,
        True,
    )
    sentence = too_late(one)
    assert sentence is not None
    assert "with --strategy fastest it takes 40s and costs about $0.40" in sentence


def test_an_estimate_of_a_mix_has_the_keys_of_any_other() -> None:
    """`--dry-run` shows the same table, with the lane of each row."""
    found = mixed_estimate(
        plan(jobs(4), 26 * HOUR, paper("a", 0.1, hours=24)),
        inputs=["p.csv"], output="out", skipped=1, sandbox=False, warnings=["w"], cached_unknown="not asked",
    )  # fmt: skip
    assert (found["jobs"], found["to_send"], found["cached"], found["skipped_rows"]) == (4, 4, None, 1)
    assert found["providers"][0]["lane"] == "batch"
    assert found["providers"][0]["price_usd"] == {"1K": 0.05}
    assert (found["sizes"], found["bound_by"], found["warnings"]) == ({"1K": 4}, "batches", ["w", "not asked"])
    assert found["cost_usd"] == found["plan"]["cost_usd"] == {"low": 0.2, "expected": 0.2, "high": 0.2}


@pytest.mark.parametrize(
    ("provider", "wanted", "word"),
    [
        (paper("a", 0.1), 100, "concurrency"),
        (replace(paper("a", 0.1, slots=100), limits=Limits(rpm=5, concurrency=100)), 100, "rpm"),
        (paper("a", 0.1), 0, "nothing"),
    ],
)
def test_what_takes_the_time_has_a_name(provider: ProviderSettings, wanted: int, word: str) -> None:
    """The words that estimates use."""
    assert plan(jobs(wanted), HOUR, provider).bound_by == word


@pytest.mark.parametrize(
    ("seconds", "words"), [(44.2, "45s"), (600, "10m"), (601, "11m"), (7200, "2h"), (7300, "2.1h"), (93_600, "26h")]
)
def test_times_are_written_as_they_are_typed(seconds: float, words: str) -> None:
    """Rounded up, so that what is proposed is enough."""
    assert as_deadline(seconds) == words


def test_a_budget_is_measured_by_what_is_expected() -> None:
    """No budget, or enough of it, is no news."""
    costs = {"cost_usd": {"expected": 10.0}}
    assert (too_dear(costs, None), too_dear(costs, 10.0)) == (None, None)
    assert too_dear(costs, 9.0) == "this is expected to cost $10.00, and the budget is $9.00"
