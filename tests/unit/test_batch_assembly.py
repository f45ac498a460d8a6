"""What holds a run through batches together: no other run beside open batches, the kept plan, the money set aside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nanobatch.assembly import run
from nanobatch.batch_assembly import PLAN, begin, check_none_is_open, open_batches, prepare_collection
from nanobatch.batches.terms import for_batches
from nanobatch.clock import SystemClock
from nanobatch.engines.batch import Mode
from nanobatch.errors import ConfigError
from nanobatch.preparation import Request, prepare
from nanobatch.stopping import Stop, StopReason
from tests.batch_bench import BatchBench, bench


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BatchBench]:
    with bench(tmp_path) as found:
        yield found


def test_a_usual_run_keeps_off_open_batches(desk: BatchBench) -> None:
    """It would buy what is ordered already; the sentence says what to do."""
    desk.order("submit")
    prepared = prepare(Request((str(desk.cwd / "p.csv"),)), desk.settings())
    with pytest.raises(ConfigError, match="12 images .* batch collect"):
        asyncio.run(run(prepared, clock=SystemClock(), observe=desk.events.append, tick=lambda: None, stop=Stop()))
    assert len(open_batches(desk.out)) == 3
    desk.collect()
    desk.collect()
    check_none_is_open(desk.out)


def test_everything_again_waits_for_open_batches(desk: BatchBench) -> None:
    """--fresh beside open batches would pay twice."""
    desk.order("submit")
    with pytest.raises(ConfigError, match="--fresh"):
        desk.order("run", fresh=True)


def test_the_sandbox_is_not_asked_for_paid_batches(desk: BatchBench) -> None:
    """It knows none of them, so they would be given up as lost; where the plan is lost, nobody can tell."""
    desk.vendor.looks = 10
    desk.order("submit")
    settings = replace(for_batches(desk.settings()), sandbox=True)
    prepared = prepare(Request((str(desk.cwd / "p.csv"),), batch="run"), settings)
    with pytest.raises(ConfigError, match="open at your providers; collect them first"):
        begin(prepared)
    assert len(open_batches(desk.out)) == 3
    (desk.out / PLAN).unlink()
    begin(prepare(Request((str(desk.cwd / "p.csv"),), batch="run"), for_batches(desk.settings()))).close(
        at=0.0, finished=False
    )


def test_without_an_order_there_is_nothing_to_collect(desk: BatchBench) -> None:
    """A folder of usual runs, or none at all."""
    assert open_batches(desk.out) == []
    with pytest.raises(ConfigError, match="submit one first"):
        prepare_collection(desk.out, desk.settings(), mode=Mode.COLLECT)


def test_what_is_ordered_counts_against_the_budget(desk: BatchBench) -> None:
    """A later run with a budget orders only what fits beside it."""
    desk.batch["jobs"] = 1
    desk.order("submit")
    desk.batch["jobs"] = 9
    desk.run_keys = {"budget_usd": 0.45}
    summary = desk.order("submit")
    assert len(desk.vendor.jobs) == 1
    assert summary["exit_code"] == 5  # the money may come free when the first batch turns out cheaper
    assert summary["maybe_cost_usd"] == pytest.approx(5 * 0.08375)


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_looking_again_and_again_takes_nothing_from_the_day(desk: BatchBench, *, is_elsewhere: bool) -> None:
    """What is ordered is set aside once, however often somebody looks, and settled once; on another machine, too."""
    desk.usage_keys = {} if is_elsewhere else {"budget_usd_per_day": 5.0}
    desk.vendor.looks = 3
    desk.order("submit")
    desk.usage_keys = {"budget_usd_per_day": 5.0}
    ordered = 0.0 if is_elsewhere else 12 * 0.08375
    for _ in range(3):
        assert desk.collect()["exit_code"] == 5
        assert desk.day().reserved == pytest.approx(ordered * 1e6)
    assert desk.collect()["exit_code"] == 0
    assert desk.day().all == desk.day().spent == pytest.approx(12 * (1120 * 120 + 10 * 2) / 2, abs=12)


def test_a_plan_that_is_lost_is_made_again_of_its_prompts(desk: BatchBench) -> None:
    """As after a power failure: what is ordered is collected. Other prompts would give up paid images, and do not."""
    desk.order("submit")
    (desk.out / PLAN).unlink()
    desk.prompts(3)
    with pytest.raises(ConfigError, match="there is no plan of batches here"):
        desk.order("submit")
    assert len(open_batches(desk.out)) == 3
    desk.prompts(12)
    assert desk.order("submit")["exit_code"] == 0
    assert len(desk.vendor.jobs) == 3
    desk.collect()
    assert desk.collect()["exit_code"] == 0
    desk.assert_everything_belongs()


def test_only_a_part_is_ordered(desk: BatchBench) -> None:
    """--limit holds for the order, and for whoever collects."""
    assert desk.order("submit", limit=4)["exit_code"] == 0
    assert sum(len(job.rows) for job in desk.vendor.jobs.values()) == 4
    desk.collect()
    assert desk.collect()["jobs"] == 4
    assert desk.order()["exit_code"] == 0
    assert sum(len(job.rows) for job in desk.vendor.jobs.values()) == 12


def test_a_stop_leaves_everything_to_the_next_run(desk: BatchBench) -> None:
    """Asked to stop before it has begun, a run orders nothing; while it waits, it keeps what is ordered."""
    desk.vendor.looks = 10_000
    prepared_stop = Stop()

    async def interrupted() -> int:
        from nanobatch.batches.terms import for_batches  # noqa: PLC0415

        request = Request((str(desk.cwd / "p.csv"),), batch="run")
        prepared = prepare(request, for_batches(desk.settings()))

        def tick() -> None:
            if len(desk.vendor.jobs) == 3:
                prepared_stop.ask(StopReason("interrupted", "interrupted", 130))

        summary = await run(prepared, clock=SystemClock(), observe=desk.events.append, tick=tick, stop=prepared_stop)
        return int(summary["exit_code"])

    assert asyncio.run(interrupted()) == 130
    records = [json.loads(line) for line in (desk.out / "manifest.jsonl").read_text().splitlines()]
    assert {record["error"]["message"] for record in records} == {"ordered in a batch that is not collected yet"}
    desk.vendor.looks = 0
    assert desk.order()["exit_code"] == 0
    assert len(desk.vendor.jobs) == 3
    desk.assert_everything_belongs()


def test_openai_goes_the_same_way(tmp_path: Path) -> None:
    """Another vendor, other files, the same promises."""
    with bench(tmp_path, provider="openai") as desk:
        desk.vendor.lose_creates = 1
        summary = desk.order()
        assert summary["exit_code"] == 0
        assert desk.vendor.keys == {"Bearer SECRET-0123456789-KEY"}
        assert len(set(desk.titles())) == 3
        desk.assert_everything_belongs()
        assert summary["cost_usd"] == pytest.approx(12 * 0.19 / 2)
