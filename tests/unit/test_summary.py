"""How a run went: the content of run.json, and the exit code."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from nanobatch.errors import AccountStopped, ModelGone, NoProvider
from nanobatch.events import JobFinished, Warned
from nanobatch.model import Status
from nanobatch.stopping import StopReason
from nanobatch.summary import KINDS_OF_FAILURE, Ledger, Totals, exit_code, joined
from tests.moments import bad, every_event, missed, ok, sent, summary

KEYS = [
    "run_id",
    "nanobatch",
    "started_at",
    "finished_at",
    "duration_seconds",
    "exit_code",
    "resume_after",
    "stop_reason",
    "sandbox",
    "inputs",
    "output",
    "gallery",
    "jobs",
    "ok",
    "cached",
    "refused",
    "failed",
    "unfinished",
    "resumed",
    "attempts",
    "saved_by_resume_usd",
    "saved_by_cache_usd",
    "images_per_minute",
    "cost_usd",
    "maybe_cost_usd",
    "cost_per_image_usd",
    "providers",
    "failures",
    "warnings",
    "hooks",
]
STOPS = {
    None: None,
    "quota": StopReason("quota", "spent", 5),
    "account": StopReason("account", "wrong key", 3),
    "limit": StopReason("limit", "budget", 4),
    "store": StopReason("store", "disk full", 5),
    "broken_pipe": StopReason("broken_pipe", "nobody reads", 5),
    "int": StopReason("interrupted", "interrupted", 130),
    "term": StopReason("interrupted", "interrupted", 143),
}


def ledger(*statuses: Status, code: str = "unsent") -> Ledger:
    found = Ledger()
    for number, status in enumerate(statuses):
        found.add(ok(number) if status in (Status.OK, Status.CACHED) else bad(number, status, "why", code))
    return found


@pytest.mark.parametrize("stop", STOPS.values(), ids=[str(name) for name in STOPS])
@pytest.mark.parametrize("given_up", [(), (Status.REFUSED,), (Status.FAILED,), (Status.REFUSED, Status.FAILED)])
def test_a_run_without_unfinished_jobs_is_complete(stop: StopReason | None, given_up: tuple[Status, ...]) -> None:
    """A stop that came after the last job changes nothing: 0, or 1 when some prompts have no image for good."""
    assert exit_code(ledger(Status.OK, Status.CACHED, *given_up), stop) == (1 if given_up else 0)


@pytest.mark.parametrize(
    ("stop", "others"),
    list(itertools.product(STOPS, [(), (Status.OK,), (Status.REFUSED,), (Status.FAILED, Status.OK)])),
)
def test_an_unfinished_job_decides(stop: str | None, others: tuple[Status, ...]) -> None:
    """While a job is unfinished the reason for stopping is the exit code; without one, running again helps."""
    reason = STOPS[stop]
    expected = reason.exit_code if reason else 5
    assert exit_code(ledger(Status.UNFINISHED, *others), reason) == expected


@pytest.mark.parametrize("code", [AccountStopped.code, ModelGone.code, NoProvider.code])
def test_jobs_that_no_account_takes_are_not_a_matter_of_time(code: str) -> None:
    """Without a stop, a job that no account accepts makes it 3: running again would not help."""
    assert exit_code(ledger(Status.UNFINISHED, code=code), None) == 3
    assert exit_code(ledger(Status.UNFINISHED, code=code), STOPS["int"]) == 130
    assert exit_code(ledger(Status.UNFINISHED, Status.FAILED, code="unsent"), None) == 5


def test_the_account_is_noticed_among_thousands_of_other_reasons() -> None:
    """The exit code does not depend on how many kinds of failure came before."""
    found = Ledger()
    for number in range(1000):
        found.add(bad(number, Status.FAILED, f"reason {number}"))
    found.add(bad(1001, Status.UNFINISHED, "wrong key", AccountStopped.code))
    assert exit_code(found, None) == 3
    assert len(found.reasons) == KINDS_OF_FAILURE


def test_a_failed_job_with_an_accounts_code_does_not_count() -> None:
    """Only what is unfinished decides whether the account is the matter."""
    found = ledger(Status.UNFINISHED)
    found.add(bad(2, Status.FAILED, "model gone", ModelGone.code))
    assert exit_code(found, None) == 5


def test_nothing_wanted_is_nothing_missing() -> None:
    """An empty run is complete."""
    assert exit_code(Ledger(), None) == 0


def test_the_keys_are_a_promise() -> None:
    """Scripts read run.json by these names, also for an empty run."""
    assert list(summary()) == KEYS
    assert list(summary(ok(1), bad(2))) == KEYS
    assert list(summary(ok(1))["providers"]["first"]) == ["images", "attempts", "cost_usd", "maybe_cost_usd", "errors"]
    assert list(summary(bad(1))["failures"][0]) == ["code", "message", "count"]
    json.dumps(summary(ok(1), bad(2)))


def test_the_figures_follow_from_the_records() -> None:
    """Counts per status, money, rate and times of a small run, computed by hand."""
    found = summary(ok(1), ok(2, maybe_cost_usd=0.5), ok(3, provider="second", cost_usd=0.05), bad(4))
    assert (found["jobs"], found["ok"], found["cached"], found["refused"], found["unfinished"]) == (4, 3, 0, 1, 0)
    assert (found["cost_usd"], found["maybe_cost_usd"], found["cost_per_image_usd"]) == (0.318, 0.5, 0.106)
    assert (found["duration_seconds"], found["images_per_minute"]) == (125.0, 1.44)
    assert (found["started_at"], found["exit_code"], found["resumed"]) == ("2026-09-21T14:13:20.000Z", 1, 0)
    assert {name: one["images"] for name, one in found["providers"].items()} == {"first": 2, "second": 1}


def test_images_of_earlier_runs_are_resumed() -> None:
    """What is in the manifest and was not made now came from earlier."""
    totals, final = Totals(), Ledger()
    for number in range(5):
        final.add(ok(number))
    totals(JobFinished(ok(4)))
    found = summary(totals=totals, final=final)
    assert (found["resumed"], found["saved_by_resume_usd"]) == (4, 0.536)


def test_resumed_is_never_negative() -> None:
    """A manifest that could not be read back whole does not turn counts around."""
    totals = Totals()
    totals(JobFinished(ok(4)))
    found = summary(totals=totals, final=Ledger())
    assert (found["resumed"], found["saved_by_resume_usd"]) == (0, 0.0)


def test_attempts_and_errors_are_counted_per_provider() -> None:
    """Every request that left, and what became of those that failed, by code."""
    totals = Totals()
    for event in (sent(1), missed(1), sent(1, "second"), missed(1, provider="second"), sent(2), missed(2)):
        totals(event)
    assert (totals.providers["first"].attempts, totals.providers["second"].attempts) == (2, 1)
    assert dict(totals.providers["first"].errors) == {"overloaded": 2}
    assert summary(totals=totals)["attempts"] == 3


def test_every_event_is_understood() -> None:
    """Counting takes every event of a run, and keeps the warnings."""
    totals = Totals()
    for event in (*every_event(), Warned("two")):
        totals(event)
    assert (totals.new_images, totals.warnings) == (1, ["careful", "two"])


def test_a_time_to_run_again_only_where_that_helps() -> None:
    """`resume_after` belongs to exit code 5 and to no other."""
    unfinished = bad(1, Status.UNFINISHED, "quota", "quota_spent")
    assert summary(unfinished, resume_after=1_790_000_000.0)["resume_after"] == "2026-09-21T14:13:20.000Z"
    assert summary(ok(1), resume_after=1_790_000_000.0)["resume_after"] is None
    assert summary(unfinished, stop=STOPS["limit"], resume_after=1_790_000_000.0)["resume_after"] is None


def test_a_clock_that_was_set_back_gives_no_negative_duration() -> None:
    """Wall-clock time may jump; durations and rates stay sane."""
    found = summary(ok(1), started=100.0, finished=50.0)
    assert (found["duration_seconds"], found["images_per_minute"]) == (0.0, 0.0)


def test_reasons_are_bounded_and_the_most_frequent_come_first() -> None:
    """Twenty kinds at most, however many texts the providers find."""
    records = [bad(number, message=f"reason {number}") for number in range(100)]
    found = summary(*records, *[bad(200 + number, message="reason 7") for number in range(9)])
    assert len(found["failures"]) == KINDS_OF_FAILURE
    assert found["failures"][0] == {"code": "refused", "message": "reason 7", "count": 10}


def test_two_runs_of_one_command_are_one_summary() -> None:
    """Money, attempts and warnings are added; what was there at first is what the first one found; the end is the last."""

    def run(**more: Any) -> dict[str, Any]:
        provider = {"images": 1, "attempts": 2, "cost_usd": 0.5, "maybe_cost_usd": 0.1, "errors": {"row_failed": 1}}
        return {
            "started_at": "a", "resumed": 0, "saved_by_resume_usd": 0.0, "duration_seconds": 30.0, "ok": 1, "cached": 0,
            "attempts": 2, "cost_usd": 0.5, "maybe_cost_usd": 0.1, "saved_by_cache_usd": 0.0, "warnings": ["w"], "exit_code": 5,
            "hooks": {"run": 1}, "providers": {"google": provider}, **more,
        }  # fmt: skip

    later = run(started_at="b", resumed=1, saved_by_resume_usd=0.5, ok=2, exit_code=0, warnings=["v"])
    both = joined(run(), later)
    assert (both["started_at"], both["exit_code"], both["resumed"], both["saved_by_resume_usd"]) == ("a", 0, 0, 0.0)
    assert (both["attempts"], both["cost_usd"], both["maybe_cost_usd"]) == (4, 1.0, 0.2)
    assert (both["cost_per_image_usd"], both["images_per_minute"]) == (0.5, 2.0)
    assert both["warnings"] == ["w", "v"]
    assert both["hooks"] == {"run": 2}
    assert both["providers"]["google"]["errors"] == {"row_failed": 2}
    assert joined(None, later) is later
