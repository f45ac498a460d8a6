"""The ledger of requests that may cost money."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.attempts import RECENT_SECONDS, AttemptsLedger, Landed, Line, OpenTask, Past, read_past
from nanobatch.model import Cost

NOW = 1_790_000_000.0
LANDED = Landed(part="a.part", file="images/a.png", sha256="00", bytes=3, mime="image/png", width=1, height=1)


def never(_: str) -> bool:
    return False


def past(path: Path, *, recorded: bool = False) -> Past:
    return read_past(path, now=NOW, recorded=lambda _: recorded)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "attempts.jsonl"


def outcome(attempt: str, job: str, code: str, **more: object) -> Line:
    return Line(kind="outcome", attempt=attempt, job=job, provider="google", at=NOW, code=code, **more)  # type: ignore[arg-type]


def test_a_missing_ledger_is_an_empty_past(path: Path) -> None:
    """The first run knows of nothing."""
    assert past(path) == Past()


def test_an_intent_without_an_outcome_was_on_the_wire(path: Path) -> None:
    """A killed process leaves intents; the next run finds exactly those, and counts them once."""
    ledger = AttemptsLedger(path)
    first = ledger.intend("job-1", "google", at=NOW, worst_usd=0.134, cost=Cost())
    ledger.intend("job-2", "google", at=NOW, worst_usd=0.134, cost=Cost())
    ledger.conclude(outcome(first, "job-1", "server_fault"))
    found = past(path)
    assert [line.job for line in found.interrupted] == ["job-2"]
    assert AttemptsLedger(path).close_interrupted(found, at=NOW) == {"job-2": 0.134}
    again = past(path)
    assert again.interrupted == []
    assert again.tallies["job-2"].maybe_usd == 0.134
    assert again.tallies["job-2"].attempts == 1


def test_a_landed_image_that_nobody_recorded_is_offered(path: Path) -> None:
    """Killed between the last byte and the manifest: the bytes are found again and nothing is bought twice."""
    ledger = AttemptsLedger(path)
    attempt = ledger.intend("job-1", "google", at=NOW, worst_usd=0.134, cost=Cost())
    ledger.conclude(outcome(attempt, "job-1", "ok", billed=True, cost_usd=0.134, landed=LANDED))
    assert past(path).landed == {"job-1": ("google", LANDED)}
    assert past(path, recorded=True).landed == {}
    assert past(path).tallies == {}


def test_a_settled_run_needs_no_recovery(path: Path) -> None:
    """After a run ended, its images are the manifest's business: a deleted image is not resurrected."""
    ledger = AttemptsLedger(path)
    attempt = ledger.intend("job-1", "google", at=NOW, worst_usd=0.134, cost=Cost())
    ledger.conclude(outcome(attempt, "job-1", "ok", landed=LANDED))
    ledger.settle(at=NOW)
    assert past(path).landed == {}


def test_failures_add_up_over_runs(path: Path) -> None:
    """Attempts, money and possible money of a job without an image are remembered."""
    for cost_usd, maybe_usd in ((0.134, 0.0), (0.0, 0.15)):
        ledger = AttemptsLedger(path)
        attempt = ledger.intend("job-1", "google", at=NOW, worst_usd=0.15, cost=Cost())
        ledger.conclude(outcome(attempt, "job-1", "decode_error", cost_usd=cost_usd, maybe_usd=maybe_usd))
        ledger.close()
    tally = past(path).tallies["job-1"]
    assert (tally.attempts, tally.cost_usd, tally.maybe_usd) == (2, 0.134, 0.15)


def test_recent_use_of_the_quota_is_remembered_by_provider(path: Path) -> None:
    """A restart within the minute, or within the provider's day, knows what was spent already."""
    ledger = AttemptsLedger(path)
    for provider, at in (("google", NOW - RECENT_SECONDS - 1), ("google", NOW - 30), ("openai", NOW - 3600)):
        ledger.intend("job", provider, at=at, worst_usd=0.0, cost=Cost(requests=1, images=1, tokens=9))
    assert past(path).spends == {
        "google": [(NOW - 30, Cost(1, 1, 9))],
        "openai": [(NOW - 3600, Cost(1, 1, 9))],
    }


def test_a_torn_outcome_leaves_the_attempt_possibly_billed(path: Path) -> None:
    """An outcome that was cut by the kill does not count."""
    ledger = AttemptsLedger(path)
    attempt = ledger.intend("job-1", "google", at=NOW, worst_usd=0.134, cost=Cost())
    ledger.conclude(outcome(attempt, "job-1", "ok", landed=LANDED))
    ledger.close()
    path.write_bytes(path.read_bytes()[:-5])
    found = past(path)
    assert [line.job for line in found.interrupted] == ["job-1"]
    assert found.landed == {}


def ordered(path: Path, job: str = "job-1") -> str:
    ledger = AttemptsLedger(path)
    attempt = ledger.intend(job, "kie", at=NOW, worst_usd=0.09, cost=Cost())
    ledger.note_task(attempt, job, "kie", task="t-1", at=NOW)
    ledger.close()
    return attempt


def test_an_order_whose_task_is_known_is_not_lost(path: Path) -> None:
    """Killed while polling: the next run knows where to fetch the image, and counts nothing as lost."""
    attempt = ordered(path)
    found = past(path)
    assert found.tasks == {"job-1": OpenTask(attempt, "kie", "t-1", 0.09, NOW)}
    assert found.interrupted == []
    assert found.tallies["job-1"].attempts == 1


@pytest.mark.parametrize("code", ["ok", "refused", "interrupted"])
def test_an_outcome_closes_the_task(path: Path, code: str) -> None:
    """Fetched, refused or given up: nobody asks again."""
    attempt = ordered(path)
    AttemptsLedger(path).conclude(outcome(attempt, "job-1", code))
    assert past(path).tasks == {}
    assert past(path).interrupted == []


def test_a_task_of_a_recorded_job_is_not_fetched(path: Path) -> None:
    """The image is there already, from elsewhere: what was ordered counts as possibly billed."""
    ordered(path)
    assert past(path, recorded=True).tasks == {}
    assert len(past(path, recorded=True).interrupted) == 1


def test_a_kill_between_the_reply_and_the_note_is_an_interruption(path: Path) -> None:
    """A torn last line is as if it had not been written: nobody knows the task."""
    ordered(path)
    text = path.read_bytes()
    path.write_bytes(text[: text.rindex(b"t-1")])
    found = past(path)
    assert found.tasks == {}
    assert [line.job for line in found.interrupted] == ["job-1"]


def test_tasks_that_nobody_can_fetch_are_counted(path: Path) -> None:
    """Their provider is gone from the configuration: the money is not forgotten."""
    ordered(path)
    found, ledger = past(path), AttemptsLedger(path)
    assert ledger.give_up_tasks(found, lambda job, task: (job, task.provider) != ("job-1", "kie")) == 1
    assert ledger.close_interrupted(found, at=NOW) == {"job-1": 0.09}
    assert past(path).tasks == {}
    assert past(path).tallies["job-1"].maybe_usd == 0.09


def test_a_task_may_be_known_before_the_order(tmp_path: Path) -> None:
    """An intent that names its task stays open until its outcome: whoever comes next can fetch it."""
    ledger = AttemptsLedger(tmp_path / "a")
    attempt = ledger.intend("j1", "google", at=5.0, worst_usd=0.08, cost=Cost(0, 0, 0), task="batch:t")
    ledger.close()
    past = read_past(tmp_path / "a", now=6.0, recorded=lambda _: False)
    assert past.interrupted == []
    assert past.tasks["j1"] == OpenTask(attempt, "google", "batch:t", 0.08, 5.0)
