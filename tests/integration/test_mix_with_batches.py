"""Where a mix and its batches meet: nothing is bought twice, nothing is forgotten, whatever becomes of the batches."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from nanobatch.assembly import run
from nanobatch.attempts import AttemptsLedger
from nanobatch.batch_assembly import open_batches
from nanobatch.batches.terms import for_batches
from nanobatch.clock import SystemClock
from nanobatch.events import AttemptStarted, Event, LaneChanged, Observer
from nanobatch.folder import ATTEMPTS, open_folder
from nanobatch.mix_assembly import begin_mix
from nanobatch.model import FREE
from nanobatch.preparation import Request, prepare
from nanobatch.stopping import Stop, StopReason
from tests.batch_bench import BatchBench, bench
from tests.batch_server import error_row, image_row, refused_row
from tests.integration.test_batch import kill_while

HOURS = 0.0005  # 1.8 s: how long the user says that batches take


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BatchBench]:
    with bench(tmp_path) as found:
        found.run_keys = {"strategy": "cheapest"}
        found.batch = {"rows": 5, "poll_seconds": 0.01, "hours": HOURS}
        found.provider_keys = {"limits": {"concurrency": 4}, "prices": {"1K": 0.134}}
        yield found


def mix(
    desk: BatchBench,
    deadline: float,
    *,
    limit: int | None = None,
    observe: Observer | None = None,
    stop: Stop | None = None,
) -> Mapping[str, Any]:
    """Call `run --strategy cheapest --deadline`."""
    request = Request((str(desk.cwd / "p.csv"),), deadline_seconds=deadline, limit=limit)
    prepared = prepare(request, desk.settings())
    watch = observe or desk.events.append

    async def go() -> Mapping[str, Any]:
        return await run(prepared, clock=SystemClock(), observe=watch, tick=lambda: None, stop=stop or Stop())

    with contextlib.closing(prepared.references):
        return asyncio.run(asyncio.wait_for(go(), 60))


def test_a_file_that_cannot_be_uploaded_is_sent_one_by_one(desk: BatchBench) -> None:
    """Its batch stands in the journal, but nothing of it was ordered; afterwards nothing is open."""
    desk.batch["rows"] = 20
    desk.vendor.refuse_uploads = True
    summary = mix(desk, 3600)
    assert (summary["exit_code"], summary["ok"], desk.vendor.calls["sync"]) == (0, 12, 12)
    assert open_batches(desk.out) == []
    desk.assert_everything_belongs()


def test_rows_of_an_earlier_batch_are_sent_once(desk: BatchBench) -> None:
    """They come back before the input is read as far as they stand in it; it does not give them a second time."""
    desk.prompts(700)
    desk.batch |= {"rows": 1000}
    desk.vendor.row = lambda key, _: error_row(key)
    settings = for_batches(desk.settings())
    prepared = prepare(Request((str(desk.cwd / "p.csv"),), batch="submit", only="r6?9"), settings)
    asyncio.run(run(prepared, clock=SystemClock(), observe=desk.events.append, tick=lambda: None, stop=Stop()))
    assert sum(len(batch.jobs) for batch in open_batches(desk.out)) == 10
    desk.events.clear()
    desk.batch["hours"] = 24
    summary = mix(desk, 3600)
    assert (summary["exit_code"], summary["ok"]) == (0, 700)
    asked = Counter(event.id for event in desk.events if isinstance(event, AttemptStarted))
    assert max(asked.values()) == 1
    assert desk.vendor.calls["sync"] == 700


def test_what_an_earlier_run_could_not_order_is_sent(desk: BatchBench) -> None:
    """It was killed just before its order: the batch does not exist, and its rows are as all others."""
    desk.batch["rows"] = 20
    desk.vendor.refuse_creates = [(429, {"error": {"code": 429, "message": "busy"}})]
    kill_while(desk, ":batchGenerateContent", "batch", "submit", "p.csv", "-q")
    assert len(open_batches(desk.out)) == 1
    desk.batch["hours"] = 24
    summary = mix(desk, 60)
    assert (summary["exit_code"], summary["ok"], desk.vendor.calls["sync"]) == (0, 12, 12)
    assert open_batches(desk.out) == []


def test_a_refusal_in_a_batch_is_final(desk: BatchBench) -> None:
    """Also where another provider sells batches: no row is asked for by itself."""
    desk.run_keys |= {"fallback_on_refusal": True}
    desk.more_providers = {"other": desk.as_another()}
    desk.vendor.row = lambda key, prompt: refused_row(key) if prompt == "prompt 3" else image_row(key, prompt)
    summary = mix(desk, 3600)
    assert (summary["refused"], summary["ok"]) == (1, 11)


def test_open_batches_of_other_rows_are_not_sent(desk: BatchBench) -> None:
    """`--limit` says what this run is about: rows of an open batch beyond it are nothing that it buys."""
    desk.vendor.row = lambda key, _: error_row(key)
    desk.order("submit")
    desk.batch["hours"] = 24
    summary = mix(desk, 3600, limit=4)
    assert desk.vendor.calls["sync"] == 4
    assert summary["ok"] == 4


def test_batches_that_take_all_the_time_are_in_time(desk: BatchBench) -> None:
    """As the plan says before the run: the moments of the start do not make everything twice as dear."""
    summary = mix(desk, HOURS * 3600)
    assert (summary["ok"], desk.vendor.calls["sync"]) == (12, 0)
    assert summary["cost_usd"] == pytest.approx(12 * 0.067)


def test_nothing_is_cancelled_for_whom_nobody_can_send(desk: BatchBench) -> None:
    """The providers have stopped answering: what is ordered is waited for, and stays ordered for the next run."""
    desk.batch |= {"jobs": 1, "output_mb": 20}
    desk.vendor.looks = 10**6
    stop = Stop()

    def observe(event: Event) -> None:
        if isinstance(event, AttemptStarted):
            stop.ask(StopReason("down", "nobody answers", 5))

    summary = mix(desk, 3.5, observe=observe, stop=stop)
    assert (summary["exit_code"], desk.vendor.calls["cancel"]) == (5, 0)
    assert len(open_batches(desk.out)) == 1


def test_what_is_ordered_by_itself_is_for_no_batch(desk: BatchBench) -> None:
    """A task of an earlier run is fetched at the desk; the mix does not keep it waiting until its batches are back."""
    tasks = {"protocol": "kie", "base_url": desk.server.root, "api_key": "k", "prices": {"1K": 0.2}}
    desk.more_providers = {"kie": {**tasks, "models": {"nano-banana-pro": "nano-banana-pro"}}}
    prepared = prepare(Request((str(desk.cwd / "p.csv"),), deadline_seconds=3600), desk.settings())
    [first, *others] = prepared.planner.jobs()
    (desk.out / ".nanobatch").mkdir(parents=True)
    ledger = AttemptsLedger(desk.out / ATTEMPTS)
    attempt = ledger.intend(first.id, "kie", at=time.time(), worst_usd=0.2, cost=FREE)
    ledger.note_task(attempt, first.id, "kie", task="t1", at=time.time())
    ledger.close()
    mixing = begin_mix(prepared, Stop())
    clock, wanted = SystemClock(), prepared.planner.fingerprints
    folder = open_folder(desk.out, clock, wanted=wanted, can_fetch=mixing.can_fetch)
    _, images, earlier = mixing._plan(folder, 3600)
    assert (images, earlier) == ([1], [])
    assert [job.id for job in others if mixing._is_of_batches(job.id)] == [job.id for job in others]
    assert not mixing._is_of_batches(first.id)
    folder.ledger.close()


def test_an_interrupted_mix_counts_what_is_open_once(desk: BatchBench) -> None:
    """Rows of an open batch are possibly billed at their worst price; the next run, and `batch cancel`, end that."""
    desk.batch |= {"rows": 20}
    desk.vendor.looks = 10**6
    stop = Stop()

    def observe(event: Event) -> None:
        if isinstance(event, LaneChanged) and "are ordered" in event.message:
            stop.ask(StopReason("interrupted", "interrupted", 130))

    summary = mix(desk, 3600, observe=observe, stop=stop)
    assert summary["exit_code"] == 130
    assert summary["maybe_cost_usd"] == pytest.approx(12 * 0.067)
    desk.vendor.looks = 1
    summary = mix(desk, 3600)
    assert (summary["exit_code"], summary["ok"], desk.vendor.calls["create"]) == (0, 12, 1)
    assert (summary["cost_usd"], summary["maybe_cost_usd"]) == (pytest.approx(12 * 0.067), 0)
