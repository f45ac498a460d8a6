"""The manifest's record of a job."""

from __future__ import annotations

import pytest

from nanobatch.attempts import Landed, Tally
from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    DecodeError,
    NanobatchError,
    NoImage,
    NotSent,
    QuotaSpent,
    Refused,
    Rejected,
    ServerFault,
    TaskOpen,
    Undelivered,
)
from nanobatch.model import Status
from nanobatch.records import record_of, record_without_image
from tests.harness import make_job

LANDED = Landed(
    part="p", file="images/a.png", sha256="ab", bytes=3, mime="image/png", width=8, height=4, provider_model="m",
    cost_usd=0.1340000001, cost_basis="price", maybe_cost_usd=0.2, attempts=3, warnings=("after a: refused",),
    started_at="then", latency_seconds=1.5,
)  # fmt: skip


def test_an_image_is_recorded_with_everything_about_it() -> None:
    """Where it is, what it is, who made it, and what it cost."""
    record = record_of(make_job(), "kie", LANDED, finished_at="now")
    assert (record.status, record.file, record.provider, record.provider_model) == (
        Status.OK, "images/a.png", "kie", "m",
    )  # fmt: skip
    assert (record.cost_usd, record.maybe_cost_usd, record.attempts) == (0.134, 0.2, 3)
    assert record.warnings == ("after a: refused",)
    assert (record.started_at, record.finished_at, record.latency_seconds) == ("then", "now", 1.5)
    assert record.error is None
    assert record.has_image


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("x"), Status.REFUSED),
        (Ambiguous("x"), Status.FAILED),
        (Rejected("x"), Status.FAILED),
        (NoImage("x"), Status.FAILED),
        (DecodeError("x"), Status.FAILED),
        (Undelivered("x"), Status.FAILED),
        (TaskOpen("x"), Status.UNFINISHED),
        (ServerFault("x"), Status.UNFINISHED),
        (QuotaSpent("x"), Status.UNFINISHED),
        (AccountStopped("x"), Status.UNFINISHED),
        (NotSent("x"), Status.UNFINISHED),
    ],
)
def test_what_running_again_helps_is_unfinished(error: NanobatchError, status: Status) -> None:
    """And what only `--retry-failed` would repeat is failed or refused; the status fits the error's exit code."""
    record = record_without_image(make_job(), Tally(), error, finished_at="now")
    assert record.status is status
    assert (status is Status.UNFINISHED) is (error.exit_code in (3, 5))
    assert not record.has_image


def test_money_without_an_image_is_kept() -> None:
    """What was paid, what may have been, and what an open task may cost."""
    error = TaskOpen("the image could not be fetched yet", http_status=503)
    error.provider = "kie"
    record = record_without_image(make_job(), Tally(2, 0.09, 0.1), error, finished_at=None, open_usd=0.09)
    assert (record.attempts, record.cost_usd, record.cost_basis, record.maybe_cost_usd) == (2, 0.09, "price", 0.19)
    assert record.provider == "kie"
    assert record.error is not None
    assert (record.error.code, record.error.http_status) == ("task_open", 503)
    assert record_without_image(make_job(), Tally(), NotSent("later"), finished_at=None).cost_basis == "none"
