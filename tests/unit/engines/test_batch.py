"""The batch engine: everything is ordered once, waits its time, is collected, and what another batch may do is tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanobatch.batch_assembly import open_batches
from nanobatch.engines.batch import Mode
from tests.batch_bench import BatchBench, bench
from tests.batch_server import error_row, image_row, refused_row


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BatchBench]:
    with bench(tmp_path) as found:
        yield found


def test_all_images_come_through_batches_at_half_the_price(desk: BatchBench) -> None:
    """Twelve rows in batches of five: three batches, and every image is its row's own, though results come shuffled."""
    summary = desk.order()
    assert summary["exit_code"] == 0
    assert len(desk.vendor.jobs) == 3
    desk.assert_everything_belongs()
    assert summary["cost_usd"] == pytest.approx(12 * (1120 * 120 + 10 * 2) / 1e6 / 2)
    assert summary["maybe_cost_usd"] == 0
    assert summary["attempts"] == 12


def test_nothing_is_left_lying_about(desk: BatchBench) -> None:
    """Files of rows and of results are gone when they are of no use any more, here and at the vendor's."""
    desk.order()
    assert list((desk.out / ".nanobatch/batches").iterdir()) == []
    assert list((desk.out / ".nanobatch/parts").iterdir()) == []
    assert desk.vendor.calls["delete"] == 3


def test_the_same_command_again_orders_nothing(desk: BatchBench) -> None:
    """Resume holds for batches too."""
    desk.order()
    assert desk.order()["exit_code"] == 0
    assert len(desk.vendor.jobs) == 3


@pytest.mark.parametrize("prefix", ["BATCH_STATE_", "JOB_STATE_"])
def test_submit_then_collect(desk: BatchBench, prefix: str) -> None:
    """`submit` ends with 0 when all is ordered; `collect` with 5 while it is drawn, and with 0 when it is here."""
    desk.vendor.prefix = prefix
    desk.vendor.looks = 1
    submitted = desk.order("submit")
    assert (submitted["exit_code"], submitted["unfinished"]) == (0, 12)
    assert submitted["maybe_cost_usd"] == pytest.approx(12 * 0.134 / 2 * 1.25)
    (desk.cwd / "p.csv").unlink()  # another machine has the folder alone
    early = desk.collect()
    assert early["exit_code"] == 5
    assert early["resume_after"] is not None
    assert desk.collect()["exit_code"] == 0
    desk.assert_everything_belongs()
    assert len(desk.vendor.jobs) == 3


def test_submitting_twice_orders_once(desk: BatchBench) -> None:
    """What is in an open batch is not ordered again, whoever asks."""
    desk.order("submit")
    again = desk.order("submit")
    assert again["exit_code"] == 0
    assert len(desk.vendor.jobs) == 3


def test_new_rows_are_ordered_beside_open_batches(desk: BatchBench) -> None:
    """A longer file orders what is new; a shorter one does not lose what is ordered."""
    desk.order("submit")
    desk.prompts(14)
    desk.order("submit")
    desk.prompts(1)
    desk.order("submit")
    assert sum(len(job.rows) for job in desk.vendor.jobs.values()) == 14
    desk.collect()
    desk.collect()
    desk.assert_everything_belongs("r0", "r11", "r13")


def test_failed_rows_go_into_the_next_batch(desk: BatchBench) -> None:
    """A row that came back with a fault is asked for again, once the others are here; nobody else is."""
    failed: set[str] = set()

    def row(key: str, prompt: str) -> Any:
        if prompt.endswith("3") and key not in failed:
            failed.add(key)
            return error_row(key)
        return image_row(key, prompt)

    desk.vendor.row = row
    summary = desk.order()
    assert summary["exit_code"] == 0
    assert len(desk.vendor.jobs) == 4
    desk.assert_everything_belongs()
    assert desk.records()["r3"]["attempts"] == 2


def test_rows_that_keep_failing_end_unfinished(desk: BatchBench) -> None:
    """After --retries batches a row waits for the next run; it cost nothing."""
    desk.run_keys = {"retries": 2}
    desk.vendor.row = lambda key, prompt: error_row(key) if prompt == "prompt 3" else image_row(key, prompt)
    summary = desk.order()
    record = desk.records()["r3"]
    assert summary["exit_code"] == 5
    assert (record["status"], record["error"]["code"], record["attempts"]) == ("unfinished", "row_failed", 3)
    assert record["cost_usd"] == record["maybe_cost_usd"] == 0
    desk.assert_everything_belongs(*(f"r{number}" for number in range(12) if number != 3))


def test_refused_rows_are_refused_for_good(desk: BatchBench) -> None:
    """The content rules are no accident that another batch would mend."""
    desk.vendor.row = lambda key, prompt: refused_row(key) if prompt == "prompt 3" else image_row(key, prompt)
    summary = desk.order()
    assert summary["exit_code"] == 1
    assert desk.records()["r3"]["status"] == "refused"
    assert len(desk.vendor.jobs) == 3


def test_an_account_without_room_makes_chunks_wait(desk: BatchBench) -> None:
    """Batches follow one another under the enqueued limit, without a single 429."""
    desk.provider_keys = {"models": {"nano-banana-pro": "gemini-3-pro-image"}}
    desk.batch["enqueued_tokens"] = 17_000
    desk.vendor.enqueued_limit = 17_000
    assert desk.order()["exit_code"] == 0
    assert desk.vendor.statuses[429] == 0
    assert len(desk.vendor.jobs) == 3


def test_an_unknown_limit_is_met_and_waited_for(desk: BatchBench) -> None:
    """A 429 on an order means later; the uploaded file is used again and nothing is ordered twice."""
    desk.vendor.enqueued_limit = 8_000
    assert desk.order()["exit_code"] == 0
    assert desk.vendor.statuses[429] > 0
    assert len(desk.vendor.jobs) == 3
    assert desk.vendor.calls["upload"] == 3
    desk.assert_everything_belongs()


def test_a_submission_without_room_says_so(desk: BatchBench) -> None:
    """`submit` orders what fits and ends with 5; the next call orders the rest."""
    desk.batch["jobs"] = 2
    first = desk.order("submit")
    assert first["exit_code"] == 5
    assert len(desk.vendor.jobs) == 2
    desk.collect()
    desk.collect()
    assert desk.order("submit")["exit_code"] == 0
    assert sum(len(job.rows) for job in desk.vendor.jobs.values()) == 12


def test_the_budget_is_reserved_when_ordering(desk: BatchBench) -> None:
    """Rows for which there is no money are not ordered; exit 4, and what was ordered is collected."""
    desk.run_keys = {"budget_usd": 0.45}  # five rows at their worst price of 0.08375
    summary = desk.order()
    assert summary["exit_code"] == 4
    ordered = sum(len(job.rows) for job in desk.vendor.jobs.values())
    assert summary["ok"] == ordered
    assert 5 <= ordered <= 6
    assert summary["cost_usd"] <= 0.45


def test_a_deadline_cancels_what_is_late(desk: BatchBench) -> None:
    """What is drawn by then is collected; the rest is unfinished, and the exit code is that of a limit."""
    desk.vendor.looks = 10_000
    summary = desk.order(deadline_seconds=0.05)
    assert summary["exit_code"] == 4
    assert desk.vendor.calls["cancel"] == 3
    assert summary["ok"] == 5  # half of each batch was drawn
    assert len(desk.vendor.jobs) == 3


def test_cancelling_keeps_what_was_drawn(desk: BatchBench) -> None:
    """`cancel` asks the vendor; `collect` fetches what there is and the others say why they have none."""
    desk.vendor.looks = 10_000
    desk.order("submit")
    desk.collect(Mode.CANCEL)
    summary = desk.collect()
    assert summary["ok"] == 5
    errors = [record["error"]["message"] for record in desk.records().values() if record["error"]]
    assert errors
    assert all("was cancelled" in message for message in errors)


def test_a_key_of_another_account_loses_nothing(desk: BatchBench) -> None:
    """A batch that is not known yet or not to this key stays open; the right key collects it."""
    desk.order("submit")
    desk.vendor.forget = True
    assert desk.collect()["exit_code"] == 5
    desk.vendor.forget = False
    desk.collect()
    assert desk.collect()["exit_code"] == 0
    desk.assert_everything_belongs()


def test_a_batch_that_is_given_up_may_have_been_billed(desk: BatchBench) -> None:
    """Cancelling a batch that nobody knows ends it; its rows are not bought again without being asked."""
    desk.order("submit")
    desk.vendor.forget = True
    summary = desk.collect(Mode.CANCEL)
    assert summary["failed"] == 12
    assert summary["maybe_cost_usd"] == pytest.approx(12 * 0.134 / 2 * 1.25)
    assert desk.order("submit")["exit_code"] == 1
    assert len(desk.vendor.jobs) == 3


@pytest.mark.parametrize("budget", [None, 0.6])
def test_a_run_does_not_wait_for_whom_it_does_not_ask(desk: BatchBench, budget: float | None) -> None:
    """Batches at a provider that is not used any more are told, and stay open; the run ends when its own are here.

    The money that is set aside for them comes free in no time that this run could wait for.
    """
    desk.order("submit", limit=6)
    desk.provider_name = "other"
    desk.run_keys = {"budget_usd": budget}
    assert desk.order()["exit_code"] == 5
    assert "batches at google are open" in desk.warnings()
    assert len(open_batches(desk.out)) == 2
    own = [key for key, record in desk.records().items() if record["status"] == "ok"]
    assert own == [f"r{number}" for number in range(6, 12)][: None if budget is None else len(own)]
    desk.assert_everything_belongs(*own)
    desk.provider_name = "google"
    desk.run_keys = {}
    assert desk.order()["exit_code"] == 0
    assert sum(len(job.rows) for job in desk.vendor.jobs.values()) == 12
