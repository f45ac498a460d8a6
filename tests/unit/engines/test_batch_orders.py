"""Ordering batches: nothing is ordered twice, whatever is lost on the way, and what was never ordered costs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanobatch.batch_assembly import JOURNAL
from nanobatch.batches.journal import BatchJournal
from nanobatch.engines.batch_office import ORDERED
from tests.batch_bench import BatchBench, bench
from tests.batch_server import error_row, image_row
from tests.harness import png

BUSY = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BatchBench]:
    with bench(tmp_path) as found:
        yield found


def lines(desk: BatchBench) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (desk.out / JOURNAL).read_text().splitlines()]


def rewind(desk: BatchBench, kind: str) -> None:
    """Cut the journal before the first line of a kind, as a kill at that moment would have."""
    path = desk.out / JOURNAL
    kept = path.read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(kept) if json.loads(line)["kind"] == kind)
    path.write_text("".join(kept[:place]))


def test_a_lost_reply_is_no_second_order(desk: BatchBench) -> None:
    """The batch is found in the list under its title, and not ordered again."""
    desk.vendor.lose_creates = 2
    assert desk.order()["exit_code"] == 0
    assert desk.vendor.calls["create"] == 3
    assert len(set(desk.titles())) == len(desk.titles()) == 3
    assert "the reply to an order was lost" in desk.warnings()
    desk.assert_everything_belongs()


@pytest.mark.parametrize("provider", ["google", "openai"])
def test_a_reply_that_names_nothing_is_a_lost_one(tmp_path: Path, provider: str) -> None:
    """An answer of 200 without a batch in it says nothing of whether there is one: it is looked for, not given up."""
    with bench(tmp_path, provider=provider) as desk:
        desk.vendor.empty_creates = 1
        assert desk.order()["exit_code"] == 0
        assert len(desk.vendor.jobs) == 3
        assert len(set(desk.titles())) == 3
        desk.assert_everything_belongs()


def test_a_list_that_lags_behind_is_asked_again(desk: BatchBench) -> None:
    """A batch that is not in the list yet may be there a moment later."""
    desk.vendor.lose_creates = 1
    desk.vendor.list_lag = 2
    assert desk.order()["exit_code"] == 0
    assert desk.vendor.calls["create"] == 3


def test_an_order_that_certainly_failed_is_repeated_under_its_title(desk: BatchBench) -> None:
    """After a 503 the batch is looked for; where it is not there, it is ordered once more."""
    desk.vendor.refuse_creates = [(503, BUSY)]
    assert desk.order()["exit_code"] == 0
    assert desk.vendor.calls["create"] == 4
    assert desk.vendor.calls["upload"] == 3
    assert len(desk.vendor.jobs) == 3


def test_a_vendor_that_takes_no_batch_loses_nothing(desk: BatchBench) -> None:
    """After several orders in vain the run ends with 5; the next one finds out, and orders."""
    desk.vendor.refuse_creates = [(503, BUSY)] * 3
    first = desk.order()
    assert (first["exit_code"], first["cost_usd"]) == (5, 0)
    assert desk.order()["exit_code"] == 0
    assert len(desk.vendor.jobs) == 3
    assert sum(record["maybe_cost_usd"] for record in desk.records().values()) == 0


def test_a_refused_batch_rejects_its_rows(desk: BatchBench) -> None:
    """A 400 is final for the rows of that batch, costs nothing, and leaves the others alone."""
    desk.vendor.refuse_creates = [(400, {"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}})]
    summary = desk.order()
    assert (summary["exit_code"], summary["failed"], summary["ok"]) == (1, 5, 7)
    record = desk.records()["r0"]
    assert "the batch was not taken" in record["error"]["message"]
    assert record["maybe_cost_usd"] == record["cost_usd"] == 0


def test_a_model_that_the_vendor_does_not_have_ends_those_rows(desk: BatchBench) -> None:
    """A 404 for a model is no reason to close the whole account, nor to ask for the images one by one."""
    desk.vendor.refuse_creates = [(404, {"error": {"code": 404, "message": "no such model", "status": "NOT_FOUND"}})]
    summary = desk.order()
    assert (summary["exit_code"], summary["failed"]) == (1, 5)


def test_a_wrong_key_stops_the_run(desk: BatchBench) -> None:
    """Exit 3, and nothing counts as ordered."""
    desk.vendor.refuse_creates = [(401, {"error": {"code": 401, "message": "no", "status": "UNAUTHENTICATED"}})]
    summary = desk.order()
    assert (summary["exit_code"], summary["maybe_cost_usd"]) == (3, 0)
    assert desk.order()["exit_code"] == 0
    assert len(desk.vendor.jobs) == 3


def test_an_upload_goes_on_after_a_break(desk: BatchBench) -> None:
    """The server says how much it has; the rest follows, and the rows are whole."""
    desk.vendor.cut_uploads = 2
    assert desk.order()["exit_code"] == 0
    desk.assert_everything_belongs()


def test_an_upload_in_vain_sets_nothing_aside(desk: BatchBench) -> None:
    """A vendor that takes no file has no order, so the day's money is there for whoever comes next."""
    desk.usage_keys = {"budget_usd_per_day": 5.0}
    desk.vendor.refuse_uploads = True
    assert desk.order()["exit_code"] == 5
    assert desk.day().all == 0
    desk.vendor.refuse_uploads = False
    assert desk.order()["exit_code"] == 0
    assert desk.day().all == desk.day().spent


@pytest.mark.parametrize("kind", ["uploaded", "creating"])
def test_killed_before_the_order(desk: BatchBench, kind: str) -> None:
    """A batch that was never ordered is taken back: its rows cost nothing and go into another batch."""
    desk.batch["rows"] = 20
    desk.vendor.refuse_creates = [(401, {"error": {"code": 401, "message": "no"}})]
    desk.order()
    rewind(desk, kind)
    assert desk.order()["exit_code"] == 0
    assert len(desk.vendor.jobs) == 1
    closed = [line for line in lines(desk) if line["kind"] == "closed"]
    assert [line["message"] for line in closed] == ["never ordered", "collected"]
    assert all(record["maybe_cost_usd"] == 0 for record in desk.records().values())


def test_killed_between_order_and_reply(desk: BatchBench) -> None:
    """A later process finds the batch by its title, collects it, and orders nothing."""
    desk.batch["rows"] = 20
    desk.order("submit")
    rewind(desk, "created")
    assert desk.order()["exit_code"] == 0
    assert len(desk.vendor.jobs) == 1
    desk.assert_everything_belongs()


def test_collecting_finds_what_may_exist(desk: BatchBench) -> None:
    """`collect` too looks for a batch whose reply nobody got."""
    desk.batch["rows"] = 20
    desk.order("submit")
    rewind(desk, "created")
    desk.collect()
    assert desk.collect()["exit_code"] == 0
    assert len(desk.vendor.jobs) == 1


def test_a_batch_that_is_there_twice_is_cancelled_once(desk: BatchBench) -> None:
    """A vendor that took an order twice is told to forget the second."""
    desk.batch["rows"] = 20
    desk.order("submit")
    [job] = desk.vendor.jobs.values()
    desk.vendor.jobs["batches/b99"] = type(job)("batches/b99", job.title, job.rows)
    rewind(desk, "created")
    desk.order("submit")
    assert desk.vendor.calls["cancel"] == 1
    assert "twice" in desk.warnings()


def test_the_key_goes_to_the_vendor_alone_and_into_no_file(desk: BatchBench) -> None:
    """Neither journal nor ledger nor plan holds the key or an upload's address."""
    desk.order()
    assert desk.vendor.keys == {"SECRET-0123456789-KEY"}
    for path in desk.out.rglob("*"):
        if path.is_file():
            assert b"SECRET" not in path.read_bytes()
            assert b"upload_id" not in path.read_bytes()


def test_reference_images_travel_in_the_rows(desk: BatchBench) -> None:
    """A row carries its reference as generateContent takes it; one that cannot be sent fails alone."""
    (desk.cwd / "ref.png").write_bytes(png())
    desk.prompts(3, references=str(desk.cwd / "ref.png"))
    assert desk.order()["exit_code"] == 0
    [job] = desk.vendor.jobs.values()
    assert all("inlineData" in row["request"]["contents"][0]["parts"][1] for row in job.rows)


def test_what_is_ordered_says_so(desk: BatchBench) -> None:
    """A row that failed in an earlier batch and is ordered again is no failure any more."""
    desk.batch["rows"] = 20
    desk.run_keys = {"retries": 0}
    desk.vendor.row = lambda key, prompt: error_row(key) if prompt == "prompt 3" else image_row(key, prompt)
    desk.order()
    assert "internal error" in desk.records()["r3"]["error"]["message"]
    desk.order("submit")
    record = desk.records()["r3"]
    assert (record["status"], record["error"]["message"]) == ("unfinished", ORDERED)
    assert record["maybe_cost_usd"] == pytest.approx(0.08375)


def test_the_journal_knows_what_happened(desk: BatchBench) -> None:
    """Everything is closed, and the manifest holds it."""
    desk.order()
    journal = BatchJournal(desk.out / JOURNAL)
    assert journal.open == []
    assert journal.is_finished
    assert [line["kind"] for line in lines(desk)][:4] == ["planned", "uploaded", "creating", "created"]
