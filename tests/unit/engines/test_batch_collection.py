"""Collecting batches: a key names a row, and nothing else does; what is missing, doubled or foreign shifts nobody."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanobatch.batch_assembly import JOURNAL
from nanobatch.engines import batch_collection
from tests.batch_bench import BatchBench, bench
from tests.batch_server import drawn, error_row, image_row


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BatchBench]:
    with bench(tmp_path, run_keys={"retries": 0}, batch={"rows": 20, "poll_seconds": 0.01}) as found:
        yield found


def test_missing_doubled_and_foreign_rows_shift_nobody(desk: BatchBench) -> None:
    """One row missing, one twice, one that nobody asked for: the others keep their own images."""

    def row(key: str, prompt: str) -> Any:
        match prompt:
            case "prompt 1":
                return None
            case "prompt 2":
                return [image_row(key, prompt), image_row(key, "another")]
            case "prompt 3":
                return [image_row(key, prompt), image_row("f" * 32, "foreign")]
            case _:
                return image_row(key, prompt)

    desk.vendor.row, desk.vendor.shuffle = row, False
    summary = desk.order()
    records = desk.records()
    assert summary["exit_code"] == 5
    assert records["r1"]["status"] == "unfinished"
    assert "no row for this job" in records["r1"]["error"]["message"]
    assert records["r1"]["maybe_cost_usd"] == pytest.approx(0.134 / 2 * 1.25)
    desk.assert_everything_belongs(*(f"r{number}" for number in range(12) if number != 1))
    assert "a second answer for r2" in desk.warnings()
    assert "belongs to no job" in desk.warnings()
    assert list((desk.out / ".nanobatch/parts").iterdir()) == []


def test_lines_that_cannot_be_read_harm_their_own_row(desk: BatchBench) -> None:
    """Half a line and a line of text are told; rows before and after them are whole."""
    desk.order("submit")
    [job] = desk.vendor.jobs.values()
    results = desk.vendor.results

    def broken(one: Any) -> bytes:
        found = results(one).splitlines(keepends=True)
        return b"".join([*found[:3], b'{"key": "x", \n', b"<html>\n", b"\n", *found[4:]])

    desk.vendor.results = broken  # type: ignore[method-assign, assignment]
    desk.vendor.advance(job)
    desk.collect()
    desk.collect()
    assert sorted(record["status"] for record in desk.records().values()) == ["ok"] * 11 + ["unfinished"]
    assert desk.warnings().count("cannot be read") == 2


def test_a_picture_that_is_none_was_paid(desk: BatchBench) -> None:
    """A row whose image is broken costs what it cost, and another batch may do better."""

    def row(key: str, prompt: str) -> Any:
        line = image_row(key, prompt)
        if prompt == "prompt 4":
            part = line["response"]["candidates"][0]["content"]["parts"][0]
            part["inlineData"]["data"] = base64.b64encode(drawn(prompt)[:-20]).decode()
        return line

    desk.vendor.row = row
    assert desk.order()["exit_code"] == 5
    record = desk.records()["r4"]
    assert (record["status"], record["error"]["code"]) == ("unfinished", "row_failed")
    assert record["cost_usd"] == pytest.approx(0.067)


def test_words_alone_are_asked_again_only_so_often(desk: BatchBench) -> None:
    """A row without an image fails for good after two more batches."""
    desk.run_keys = {"retries": 9}
    words = {"candidates": [{"content": {"parts": [{"text": "I would rather not"}]}, "finishReason": "STOP"}]}
    desk.vendor.row = lambda key, prompt: (
        {"key": key, "response": words} if prompt == "prompt 4" else image_row(key, prompt)
    )
    assert desk.order()["exit_code"] == 1
    record = desk.records()["r4"]
    assert (record["status"], record["error"]["code"], record["attempts"]) == ("failed", "no_image", 3)


def test_cut_downloads_go_on(desk: BatchBench) -> None:
    """After a break only the rest is asked for, and the file is whole."""
    desk.vendor.cut_downloads = 3
    assert desk.order()["exit_code"] == 0
    assert [bool(asked) for asked in desk.vendor.ranges] == [False, True, True, True]
    desk.assert_everything_belongs()


def test_results_are_found_at_their_second_address(desk: BatchBench) -> None:
    """A 404 at one address is no reason to call a paid result gone."""
    desk.vendor.downloads_elsewhere = True
    assert desk.order()["exit_code"] == 0
    desk.assert_everything_belongs()


def test_results_that_are_gone_are_not_bought_again(desk: BatchBench) -> None:
    """Deleted after 48 hours: the rows were paid; whether to buy them again is for the user to say."""
    desk.vendor.lose_file = True
    summary = desk.order()
    assert (summary["exit_code"], summary["failed"]) == (1, 12)
    record = desk.records()["r0"]
    assert record["error"]["code"] == "undelivered"
    assert "collect within that time" in record["error"]["message"]
    assert record["cost_usd"] == pytest.approx(0.067)
    desk.order()
    assert len(desk.vendor.jobs) == 1
    desk.vendor.lose_file = False
    assert desk.order(retry_failed=True)["exit_code"] == 0


def test_results_are_not_gone_because_the_key_is_of_another_account(desk: BatchBench) -> None:
    """To such a key a file that is there is not found; nor is its batch, which tells them apart. The right key collects."""
    desk.batch["rows"] = 20
    desk.order("submit")
    [job] = desk.vendor.jobs.values()
    seen = {"kind": "seen", "at": 1.0, "batch": job.title, "phase": "succeeded", "files": ["files/batches-b1"]}
    with (desk.out / JOURNAL).open("a") as journal:  # an earlier process was killed before it had fetched them
        journal.write(json.dumps(seen) + "\n")
    desk.vendor.forget = desk.vendor.lose_file = True
    assert desk.collect()["exit_code"] == 5
    assert {record["status"] for record in desk.records().values()} == {"unfinished"}
    desk.vendor.forget = desk.vendor.lose_file = False
    job.state = "SUCCEEDED"
    desk.vendor.files["files/batches-b1"] = desk.vendor.results(job)
    assert desk.collect()["exit_code"] == 0
    desk.assert_everything_belongs()


@pytest.mark.parametrize(("state", "word"), [("FAILED", "failed"), ("EXPIRED", "expired")])
def test_batches_that_come_to_nothing_say_why(desk: BatchBench, state: str, word: str) -> None:
    """What is drawn is kept; the rest is unfinished at no cost, and the next run orders it."""
    desk.vendor.ends = state
    summary = desk.order()
    assert summary["exit_code"] == 5
    assert summary["ok"] == (6 if state == "EXPIRED" else 0)
    messages = [record["error"]["message"] for record in desk.records().values() if record["error"]]
    assert all(word in message for message in messages)
    assert all(record["maybe_cost_usd"] == 0 for record in desk.records().values())
    desk.vendor.ends = "SUCCEEDED"
    assert desk.order()["exit_code"] == 0
    desk.assert_everything_belongs()


def test_the_codes_of_rows_are_read_as_grpc_and_as_http(desk: BatchBench) -> None:
    """3 and 400 are a rejection; 13 and 503 pass."""
    codes = {"prompt 0": 3, "prompt 1": 400, "prompt 2": 13, "prompt 3": 503}
    desk.vendor.row = lambda key, prompt: error_row(key, codes[prompt]) if prompt in codes else image_row(key, prompt)
    desk.order()
    records = desk.records()
    assert [records[f"r{number}"]["error"]["code"] for number in range(4)] == [
        "rejected", "rejected", "row_failed", "row_failed",
    ]  # fmt: skip


def test_many_rows_are_landed_in_groups(desk: BatchBench) -> None:
    """More rows than are landed together all come through."""
    desk.batch["rows"] = 200
    desk.prompts(2 * batch_collection.LANDING_TOGETHER + 7)
    assert desk.order()["exit_code"] == 0
    desk.assert_everything_belongs()
    assert len(desk.records()) == 2 * batch_collection.LANDING_TOGETHER + 7


def test_a_second_reading_collects_only_what_is_left(desk: BatchBench) -> None:
    """A process that died half way had recorded some rows; the next one does not touch them."""
    desk.order()
    ledger = desk.out / ".nanobatch/attempts.jsonl"
    journal = desk.out / ".nanobatch/batches.jsonl"
    manifest = desk.out / "manifest.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    outcomes = [line for line in lines if json.loads(line)["kind"] == "outcome"]
    kept = outcomes[:5]
    jobs = {json.loads(line)["job"] for line in kept}
    ledger.write_text("".join([*[line for line in lines if json.loads(line)["kind"] == "intent"], *kept]))
    recorded = [line for line in manifest.read_text().splitlines(keepends=True) if json.loads(line)["job"] in jobs]
    manifest.write_text("".join(recorded))
    for path in (desk.out / "images").iterdir():
        if not any(path.name in line for line in recorded):
            path.unlink()
    journal.write_text(
        "".join(
            line
            for line in journal.read_text().splitlines(keepends=True)
            if json.loads(line)["kind"] not in ("closed", "finished")
        )
    )
    assert desk.collect()["exit_code"] == 0
    desk.assert_everything_belongs()
    assert desk.warnings().count("second answer") == 0
    assert desk.vendor.calls["create"] == 1
