"""What a lane's batches may weigh, and what becomes of jobs that are taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanobatch.batches.chunks import MEGABYTE, Lot
from nanobatch.batches.rows import RowDesk
from nanobatch.batches.wire_gemini import GeminiBatches
from nanobatch.catalog import load_catalog
from nanobatch.engines.batch_office import ASSUMED_TOKENS, NO_LIMIT, BatchLane
from nanobatch.limits import Gate
from nanobatch.routing import Lane, Seller
from nanobatch.settings import BatchSettings
from tests.batch_bench import BatchBench, bench
from tests.batch_server import image_row
from tests.fakes import ManualClock
from tests.harness import make_job, settings

PRO = Lot("google", "gemini-3-pro-image")


def lane(**batch: Any) -> BatchLane:
    wire = GeminiBatches("http://127.0.0.1:1/v1beta")
    nobody: Any = None
    desk = RowDesk(wire, nobody, lambda: Path("unused"))
    gate = Gate(ManualClock(), name="google", concurrency=4)
    one = Lane(Seller(settings("google"), load_catalog()), desk, desk, gate)
    return BatchLane(one, desk, wire, nobody, BatchSettings(**batch))


@pytest.fixture
def bench_(tmp_path: Path) -> Iterator[BatchBench]:
    with bench(tmp_path) as found:
        yield found


def test_the_tightest_limit_counts() -> None:
    """The vendor's bounds, the user's wishes, the account's tokens."""
    free = lane().limit(PRO)
    assert (free.output_bytes, free.rows, free.tokens) == (500 * MEGABYTE, 50_000, NO_LIMIT)
    assert free.input_bytes == GeminiBatches.bounds.input_bytes
    own = lane(rows=7, input_mb=3, output_mb=1, enqueued_tokens={"*": 9}).limit(PRO)
    assert (own.output_bytes, own.rows, own.tokens, own.input_bytes) == (MEGABYTE, 7, 9, 3 * MEGABYTE)


def test_enqueued_tokens_are_counted_by_model() -> None:
    """A model's own limit comes before that of all; one without any has none."""
    some = lane(enqueued_tokens={"gemini-3-pro-image": 5})
    assert some.enqueued_limit(PRO) == 5
    assert some.enqueued_limit(Lot("google", "gemini-nano-banana-2.1")) == NO_LIMIT


def test_tokens_follow_the_model() -> None:
    """And are assumed for one that nobody knows."""
    known, unknown = lane().weigh(make_job()), lane().weigh(make_job(model="house-model"))
    assert unknown.tokens - known.tokens == ASSUMED_TOKENS - 1120
    assert known.rows == 1


def test_what_is_taken_back_costs_nothing(bench_: BatchBench) -> None:
    """Batches without room at the end of a submission leave no money behind, and their jobs are ordered later."""
    bench_.vendor.enqueued_limit = 8_000
    first = bench_.order("submit")
    assert first["exit_code"] == 5
    assert len(bench_.vendor.jobs) == 1
    assert first["maybe_cost_usd"] == pytest.approx(5 * 0.08375)
    bench_.vendor.enqueued_limit = None
    assert bench_.order()["exit_code"] == 0
    assert sum(len(job.rows) for job in bench_.vendor.jobs.values()) == 12
    bench_.assert_everything_belongs()


def test_what_is_taken_back_was_no_attempt(bench_: BatchBench) -> None:
    """However often there was no room: a row that comes back with words alone is asked for again, as any other."""
    bench_.vendor.enqueued_limit = 100
    for _ in range(3):
        assert bench_.order("submit")["exit_code"] == 5
    assert {record["attempts"] for record in bench_.records().values()} == {0}
    bench_.vendor.enqueued_limit = None
    mute: set[str] = set()

    def row(key: str, prompt: str) -> Any:
        if prompt == "prompt 3" and key not in mute:
            mute.add(key)
            return {"key": key, "response": {"candidates": [{"content": {"parts": [{"text": "no"}]}}]}}
        return image_row(key, prompt)

    bench_.vendor.row = row
    assert bench_.order()["exit_code"] == 0
    records = bench_.records()
    assert (records["r0"]["attempts"], records["r3"]["attempts"]) == (1, 2)
