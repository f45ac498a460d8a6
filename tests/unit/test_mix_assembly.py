"""Runs that follow a mix, through batches and at once in one folder, against a vendor of paper that sells both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from nanobatch.assembly import run
from nanobatch.batch_assembly import open_batches
from nanobatch.batches.terms import for_batches
from nanobatch.clock import SystemClock
from nanobatch.engines.batch import Mode
from nanobatch.events import Event, JobFinished
from nanobatch.preparation import Request, dry_run, prepare
from nanobatch.stopping import Stop, StopReason
from tests.batch_bench import BatchBench, bench
from tests.batch_server import error_row

HOURS = 0.0005  # 1.8 s: how long the user says that batches take


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BatchBench]:
    with bench(tmp_path) as found:
        found.run_keys = {"strategy": "cheapest"}
        found.batch = {"rows": 5, "poll_seconds": 0.01, "hours": HOURS}
        found.provider_keys = {"limits": {"concurrency": 4}, "prices": {"1K": 0.134}}
        yield found


def mix(desk: BatchBench, deadline: float, *, stop_after: int | None = None) -> Mapping[str, Any]:
    """Call `run --strategy cheapest --deadline`; it may be interrupted after so many images."""
    stop, images = Stop(), 0

    def observe(event: Event) -> None:
        nonlocal images
        desk.events.append(event)
        images += isinstance(event, JobFinished) and event.record.has_image
        if images == stop_after:
            stop.ask(StopReason("interrupted", "interrupted", 130))

    prepared = prepare(Request((str(desk.cwd / "p.csv"),), deadline_seconds=deadline), desk.settings())
    return asyncio.run(run(prepared, clock=SystemClock(), observe=observe, tick=lambda: None, stop=stop))


def ordered(desk: BatchBench) -> int:
    return sum(len(job.rows) for job in desk.vendor.jobs.values())


def costs(desk: BatchBench) -> list[float]:
    return sorted(record["cost_usd"] for record in desk.records().values())


def test_what_fits_goes_into_batches(desk: BatchBench) -> None:
    """There is time for batches: all twelve at half the price, and nothing is left open."""
    summary = mix(desk, 3600)
    assert (summary["exit_code"], summary["ok"], ordered(desk)) == (0, 12, 12)
    assert costs(desk) == [pytest.approx(0.067)] * 12
    assert open_batches(desk.out) == []
    desk.assert_everything_belongs()


def test_the_rest_is_sent_at_the_same_time(desk: BatchBench) -> None:
    """One batch of five may be open within the deadline; the other seven go one by one, in the same folder."""
    desk.batch |= {"jobs": 1, "output_mb": 20, "hours": 1}
    summary = mix(desk, 1.5 * 3600)
    assert (summary["exit_code"], summary["ok"], ordered(desk)) == (0, 12, 5)
    assert costs(desk) == [pytest.approx(0.067)] * 5 + [pytest.approx(0.134)] * 7
    assert summary["cost_usd"] == pytest.approx(5 * 0.067 + 7 * 0.134)
    assert summary["providers"]["google"]["images"] == 12
    desk.assert_everything_belongs()


def test_without_time_for_batches_nothing_is_ordered(desk: BatchBench) -> None:
    """And the folder has no trace of any."""
    desk.batch["hours"] = 24
    summary = mix(desk, 3600)
    assert (summary["exit_code"], summary["ok"], ordered(desk)) == (0, 12, 0)
    assert not (desk.out / ".nanobatch/batches.jsonl").exists()
    desk.assert_everything_belongs()


def test_batches_that_are_late_are_cancelled_and_sent_one_by_one(desk: BatchBench) -> None:
    """Never over by itself: what was drawn is collected, the others are bought at the usual price, in time."""
    desk.vendor.looks = 10**6
    summary = mix(desk, 67)
    assert (summary["exit_code"], summary["ok"]) == (0, 12)
    assert desk.vendor.calls["cancel"] == 3
    assert "they are cancelled, and their rows are sent one by one" in desk.warnings()
    assert costs(desk) == [pytest.approx(0.067)] * 5 + [pytest.approx(0.134)] * 7  # half of each batch was drawn
    assert open_batches(desk.out) == []
    desk.assert_everything_belongs()


def test_rows_that_come_to_nothing_are_sent_at_once(desk: BatchBench) -> None:
    """They do not wait for another batch, of which nobody knows when it would come."""
    desk.vendor.row = lambda key, _: error_row(key)
    summary = mix(desk, 3600)
    assert (summary["exit_code"], summary["ok"], ordered(desk)) == (0, 12, 12)
    assert costs(desk) == [pytest.approx(0.134)] * 12
    assert {record["attempts"] for record in desk.records().values()} == {2}


def test_an_account_that_takes_no_batches_sells_one_by_one(desk: BatchBench) -> None:
    """The run goes on without them, and says so."""
    desk.vendor.refuse_creates = [
        (403, {"error": {"code": 403, "message": "no batches", "status": "PERMISSION_DENIED"}})
    ] * 9
    summary = mix(desk, 3600)
    assert (summary["exit_code"], summary["ok"], ordered(desk)) == (0, 12, 0)
    assert "no more batches" in desk.warnings()
    assert costs(desk) == [pytest.approx(0.134)] * 12


def test_an_interrupted_mix_is_collected_by_the_next(desk: BatchBench) -> None:
    """What was ordered stays ordered; the same command collects it and buys nothing twice."""
    desk.batch |= {"jobs": 1, "output_mb": 20, "hours": 1}
    desk.vendor.looks = 10**6
    summary = mix(desk, 1.5 * 3600, stop_after=3)
    assert summary["exit_code"] == 130
    assert len(open_batches(desk.out)) == 1
    request = Request((str(desk.cwd / "p.csv"),), deadline_seconds=1.5 * 3600)
    planned = dry_run(prepare(request, desk.settings()))
    assert planned["to_send"] == 12 - planned["already_done"] - 5
    desk.vendor.looks = 1
    again = mix(desk, 1.5 * 3600)
    assert (again["exit_code"], again["unfinished"]) == (0, 0)
    assert len(costs(desk)) == 12
    assert sum(cost == pytest.approx(0.067) for cost in costs(desk)) >= 5
    assert desk.vendor.calls["cancel"] == 0
    desk.assert_everything_belongs()


def test_any_later_process_can_collect_what_a_mix_has_ordered(desk: BatchBench) -> None:
    """`batch collect` needs the folder alone, as after `batch submit`."""
    desk.vendor.looks = 10**6
    desk.batch |= {"jobs": 1, "output_mb": 20, "hours": 1}
    assert mix(desk, 1.5 * 3600, stop_after=3)["exit_code"] == 130
    desk.vendor.looks = 1
    desk.collect(Mode.COLLECT)
    desk.collect(Mode.COLLECT)
    assert open_batches(desk.out) == []
    assert sum(record["status"] == "ok" for record in desk.records().values()) >= 5


def test_one_budget_holds_for_both(desk: BatchBench) -> None:
    """Rows and requests reserve from the same money; exit 4, and nothing is over it."""
    desk.batch |= {"jobs": 1, "output_mb": 20, "hours": 1}
    desk.run_keys |= {"budget_usd": 0.8}
    summary = mix(desk, 1.5 * 3600)
    assert summary["exit_code"] == 4
    assert 0.5 <= summary["cost_usd"] <= 0.8
    assert summary["maybe_cost_usd"] == 0


def test_a_flex_lane_is_another_way_through_the_same_gate(desk: BatchBench) -> None:
    """One slot for both: some are asked of the cheaper tier, some of the usual one, and never two at once."""
    desk.batch["hours"] = 24
    desk.provider_keys = {"limits": {"concurrency": 1}}  # with the catalog's prices, which know a flex tier
    summary = mix(desk, 600)
    assert (summary["exit_code"], summary["ok"], ordered(desk)) == (0, 12, 0)
    halves = sum(cost < 0.1 for cost in costs(desk))
    assert 1 <= halves <= 12
    assert summary["cost_usd"] == pytest.approx(sum(costs(desk)))
    desk.assert_everything_belongs()


def test_batches_of_an_earlier_run_are_given_up_in_time_too(desk: BatchBench) -> None:
    """They were ordered by a run that was interrupted, and never come: the next one buys their rows at once."""
    desk.vendor.looks = 10**6
    prepared = prepare(Request((str(desk.cwd / "p.csv"),), batch="submit"), for_batches(desk.settings()))
    stop, clock = Stop(), SystemClock()
    asyncio.run(run(prepared, clock=clock, observe=desk.events.append, tick=lambda: None, stop=stop))
    assert len(open_batches(desk.out)) == 3
    summary = mix(desk, 67)
    assert (summary["exit_code"], summary["ok"], open_batches(desk.out)) == (0, 12, [])
    assert "they are cancelled" in desk.warnings()
    assert costs(desk) == [pytest.approx(0.067)] * 5 + [pytest.approx(0.134)] * 7
    desk.assert_everything_belongs()
