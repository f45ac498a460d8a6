"""One job's journey, with every turn it can take."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nanobatch.attempts import Tally
from nanobatch.errors import Ambiguous, LimitReached, Unsent
from nanobatch.events import AttemptFailed, AttemptStarted, JobFinished
from nanobatch.model import Record, Request, Response, Status
from nanobatch.settings import Limits
from nanobatch.stopping import Stopped
from tests.fakes import ManualClock
from tests.harness import Bench, PaperTasks, Step, failure, finish, make_job, png, success

pytestmark = pytest.mark.anyio
T = TypeVar("T")
DAY = [{"@type": "x/google.rpc.QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}]


@dataclass
class Fixture:
    root: Path
    clock: ManualClock = field(default_factory=ManualClock)

    def bench(self, *script: Step, others: dict[str, list[Step]] | None = None, **more: Any) -> Bench:
        jobs = more.pop("jobs", [make_job(1), make_job(2)])
        return Bench(self.root, self.clock, {"first": list(script), **(others or {})}, jobs, **more)

    async def through(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await something while time runs as fast as it can."""
        task = asyncio.ensure_future(work())
        for _ in range(2000):
            if task.done():
                break
            # Flushing happens in a thread, so the loop needs real turns, and time only moves when all wait.
            await asyncio.sleep(0.0005)
            deadline = self.clock.next_deadline
            if deadline is not None:
                await self.clock.advance(max(0.0, deadline - self.clock.now))
        return await task

    async def run(self, bench: Bench, number: int = 1) -> Record:
        return await self.through(lambda: bench.pipeline.run(bench.jobs[number - 1]))


@pytest.fixture
def on(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path / "out")


def ledger(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / ".nanobatch/attempts.jsonl").read_text().splitlines()]


async def test_an_image_is_stored_recorded_and_reported(on: Fixture) -> None:
    """The bytes are the provider's own; the record says everything about them; the event comes last."""
    bench = on.bench(success())
    record = await on.run(bench)
    data = (on.root / "images/row-1.png").read_bytes()
    assert data == png()
    assert record.status is Status.OK
    assert (record.file, record.bytes, record.sha256) == (
        "images/row-1.png",
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    assert (record.mime, record.width, record.height) == ("image/png", 8, 8)
    assert (record.provider, record.attempts, record.cost_usd, record.cost_basis) == ("first", 1, 0.134, "price")
    assert [type(event) for event in bench.seen.events] == [AttemptStarted, JobFinished]
    assert json.loads((on.root / "manifest.jsonl").read_text())["job"] == record.job


async def test_the_intent_is_on_disk_before_the_request_leaves(on: Fixture) -> None:
    """A kill while the request is on the wire leaves a line that says so, with the worst price."""
    found: list[dict[str, Any]] = []

    def look(_: Request) -> Response:
        found.extend(ledger(on.root))
        return success()

    await on.run(on.bench(look))
    assert [(line["kind"], line["worst_usd"]) for line in found] == [("intent", 0.134)]
    assert [line["kind"] for line in ledger(on.root)] == ["intent", "outcome"]


async def test_the_outcome_knows_the_bytes_before_they_have_their_name(on: Fixture) -> None:
    """The ledger's line is enough to find the image when the process dies before the rename."""
    await on.run(on.bench(success()))
    landed = ledger(on.root)[1]["landed"]
    assert landed["file"] == "images/row-1.png"
    assert landed["bytes"] == len(png())


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
async def test_what_billed_nothing_is_sent_again(on: Fixture, status: int) -> None:
    """A failure that certainly produced nothing is repeated, and costs nothing."""
    bench = on.bench(failure(status), success())
    record = await on.run(bench)
    assert (record.status, record.attempts, record.cost_usd, record.maybe_cost_usd) == (Status.OK, 2, 0.134, 0.0)
    [failed] = bench.events(AttemptFailed)
    assert failed.retry_in_seconds is not None
    assert failed.provider == "first"


async def test_not_before_the_servers_wish(on: Fixture) -> None:
    """After a 429 with a wish nothing is sent earlier than it says."""
    retry = [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "34.4s"}]
    bench = on.bench(failure(429, details=retry), success())
    before = on.clock.now
    await on.run(bench)
    assert on.clock.now - before >= 34.4


async def test_a_refusal_is_final_and_free(on: Fixture) -> None:
    """A refused prompt is never sent again, here or elsewhere."""
    bench = on.bench(finish("IMAGE_SAFETY"), others={"second": [success()]})
    record = await on.run(bench)
    assert record.status is Status.REFUSED
    assert record.error is not None
    assert "IMAGE_SAFETY" in record.error.message
    assert (bench.requests("first"), bench.requests("second"), record.cost_usd) == (1, 0, 0.0)


async def test_an_unknown_end_is_repeated_once_and_counted(on: Fixture) -> None:
    """A cut answer may have been billed: one repeat, and its worst price stays in the books."""
    bench = on.bench(Ambiguous("reset"), success())
    record = await on.run(bench)
    assert (record.status, record.attempts, record.cost_usd, record.maybe_cost_usd) == (Status.OK, 2, 0.134, 0.134)
    assert bench.budget.possible_usd == 0.134


async def test_two_unknown_ends_are_the_end(on: Fixture) -> None:
    """At most one repeat per job: the second unknown end fails it for good."""
    bench = on.bench(Ambiguous("reset"))
    record = await on.run(bench)
    assert (record.status, record.attempts, bench.requests("first")) == (Status.FAILED, 2, 2)
    assert record.maybe_cost_usd == 0.268


async def test_on_unknown_hold_sends_nothing_twice(on: Fixture) -> None:
    """Who would rather miss an image than pay twice says so."""
    bench = on.bench(Ambiguous("reset"), success(), on_unknown="hold")
    assert (await on.run(bench)).status is Status.FAILED
    assert bench.requests("first") == 1


async def test_bytes_that_are_no_image_are_bought_once_more(on: Fixture) -> None:
    """A broken image was paid; one more is bought, and both are in the price."""
    bench = on.bench(success(b"<html>no</html>"), success())
    record = await on.run(bench)
    assert (record.status, record.attempts, record.cost_usd) == (Status.OK, 2, 0.268)
    again = on.bench(success(png()[:-20]), jobs=[make_job(3)])
    record = await on.run(again)
    assert (record.status, record.cost_usd) == (Status.FAILED, 0.268)
    assert list((on.root / ".nanobatch/parts").iterdir()) == []


async def test_a_provider_that_stays_down_leaves_the_job_for_the_next_run(on: Fixture) -> None:
    """When retries are used up the job is unfinished, not failed: running again helps."""
    bench = on.bench(Unsent("connection refused"), retries=2)
    record = await on.run(bench)
    assert (record.status, record.attempts) == (Status.UNFINISHED, 3)
    assert record.error is not None
    assert record.error.code == "unsent"


async def test_a_spent_day_moves_the_job_to_the_next_provider(on: Fixture) -> None:
    """The first lane is parked until its reset; the job is served by the second, and the manifest says so."""
    bench = on.bench(failure(429, "quota", details=DAY), others={"second": [success()]})
    record = await on.run(bench)
    assert (record.status, record.provider) == (Status.OK, "second")
    assert (await on.run(bench, 2)).provider == "second"
    assert bench.requests("first") == 1


async def test_when_every_day_is_spent_the_run_stops_and_says_until_when(on: Fixture) -> None:
    """With `on_quota: stop` no lane is polled; the reason carries the time of the reset."""
    bench = on.bench(failure(429, "quota", details=DAY))
    with pytest.raises(Stopped):
        await on.run(bench)
    assert bench.stop.reason is not None
    assert (bench.stop.reason.kind, bench.stop.reason.exit_code) == ("quota", 5)
    assert bench.stop.reason.resume_after is not None
    assert on.clock.wall() < bench.stop.reason.resume_after <= on.clock.wall() + 25 * 3600


async def test_waiting_for_the_quota_sleeps_until_the_reset(on: Fixture) -> None:
    """With `on_quota: wait` the job goes on when the provider's day begins."""
    bench = on.bench(failure(429, "quota", details=DAY), success(), wait_for_quota=True)
    before = on.clock.now
    assert (await on.run(bench)).status is Status.OK
    assert on.clock.now - before > 60


class Laptop(ManualClock):
    """Is closed for a day whenever somebody begins a long sleep; the sleep itself goes on when it is opened."""

    async def sleep(self, seconds: float) -> None:
        if seconds > 100:
            self.wall_offset += 86_400
        await super().sleep(seconds)


async def test_who_sleeps_until_the_reset_wakes_with_the_machine(tmp_path: Path) -> None:
    """A closed laptop stops the clock of sleepers, not the provider's day: the run goes on minutes after it is opened."""
    on = Fixture(tmp_path / "out", Laptop())
    bench = on.bench(failure(429, "quota", details=DAY), success(), wait_for_quota=True)
    before = on.clock.now
    assert (await on.run(bench)).status is Status.OK
    assert on.clock.now - before <= 600


async def test_a_dead_account_ends_the_run_with_its_reason(on: Fixture) -> None:
    """A wrong key is tried once, not once per prompt."""
    bench = on.bench(failure(403, "Your API key was reported as leaked."))
    with pytest.raises(Stopped):
        await on.run(bench)
    assert bench.stop.reason is not None
    assert bench.stop.reason.exit_code == 3
    assert "leaked" in bench.stop.reason.message
    with pytest.raises(Stopped):
        await on.run(bench, 2)
    assert bench.requests("first") == 1


async def test_a_model_that_is_gone_harms_only_its_own_rows(on: Fixture) -> None:
    """A typing error in one row's model must not close the lane for the others."""
    bench = on.bench(failure(404, "models/x is not found"), success(), jobs=[make_job(1, model="x"), make_job(2)])
    first = await on.run(bench)
    assert (first.status, first.attempts) == (Status.UNFINISHED, 1)
    assert first.error is not None
    assert "models/x" in first.error.message
    assert (await on.run(bench, 2)).status is Status.OK


async def test_a_provider_that_cannot_honour_the_size_is_passed_over(on: Fixture) -> None:
    """A job goes only to a provider that has a price and the size for it."""
    bench = on.bench(
        success(), others={"second": [success()]}, jobs=[make_job(1, size="2K")], prices={"first": {"1K": 0.1}}
    )
    assert (await on.run(bench)).provider == "second"


async def test_a_row_that_names_its_provider_is_served_by_it_alone(on: Fixture) -> None:
    """The `provider` column pins a row."""
    bench = on.bench(success(), others={"second": [success()]}, jobs=[make_job(1, provider="second")])
    assert (await on.run(bench)).provider == "second"


async def test_the_budget_ends_the_run_before_the_request(on: Fixture) -> None:
    """The worst price is reserved before anything is sent; the image that does not fit is not asked for."""
    bench = on.bench(success(), budget_usd=0.2)
    assert (await on.run(bench)).status is Status.OK
    with pytest.raises(Stopped):
        await on.run(bench, 2)
    assert bench.stop.reason is not None
    assert (bench.stop.reason.kind, bench.stop.reason.exit_code) == ("limit", 4)
    assert bench.requests("first") == 1


async def test_reported_tokens_decide_the_price(on: Fixture) -> None:
    """A relay that reports what it charged is believed before the table."""
    bench = on.bench(success(usageMetadata={"promptTokenCount": 5}))
    assert (await on.run(bench)).cost_basis == "price"


async def test_earlier_attempts_stay_in_the_account(on: Fixture) -> None:
    """What a killed run may have paid for this job is in its record."""
    job = make_job(1)
    bench = on.bench(success(), jobs=[job], past={job.id: Tally(attempts=2, cost_usd=0.134, maybe_usd=0.134)})
    record = await on.run(bench)
    assert (record.attempts, record.cost_usd, record.maybe_cost_usd) == (3, 0.268, 0.134)


async def test_a_stopping_run_begins_nothing(on: Fixture) -> None:
    """A job that comes up after the stop is put down untouched."""
    bench = on.bench(success())
    bench.stop.reason = _reason()
    with pytest.raises(Stopped):
        await on.run(bench)
    assert bench.requests("first") == 0
    assert bench.events(AttemptStarted) == []


async def test_a_stopping_run_does_not_repeat(on: Fixture) -> None:
    """A failure after the stop is not retried; the job stays for the next run."""

    def stop(_: Request) -> Response:
        bench.stop.reason = _reason()
        return failure(503)

    bench = on.bench(stop, success())
    with pytest.raises(Stopped):
        await on.run(bench)
    assert bench.requests("first") == 1


async def test_a_cancelled_request_is_possibly_billed(on: Fixture) -> None:
    """Cut off on the wire: the ledger says so, and the money stays counted."""
    arrived = asyncio.Event()

    class Hanging:
        async def send(self, _: Request) -> Response:
            arrived.set()
            await asyncio.Event().wait()
            raise AssertionError

    bench = on.bench(success())
    bench.lanes[0].sender = Hanging()
    task = asyncio.ensure_future(bench.pipeline.run(bench.jobs[0]))
    await arrived.wait()
    assert len(bench.pipeline.on_wire) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.pipeline.on_wire == set()
    [outcome] = [line for line in ledger(on.root) if line["kind"] == "outcome"]
    assert (outcome["code"], outcome["maybe_usd"]) == ("interrupted", 0.134)
    assert bench.budget.possible_usd == 0.134


async def test_slots_come_back_after_every_end(on: Fixture) -> None:
    """A hundred jobs through one slot, failing in turn: nothing leaks."""
    script: list[Step] = [success(), failure(500), success(), finish("IMAGE_SAFETY"), Ambiguous("x"), success()]
    jobs = [make_job(number) for number in range(1, 31)]
    bench = on.bench(*script * 20, jobs=jobs, limits={"first": Limits(concurrency=1)})

    async def all_of_them() -> list[Record]:
        return list(await asyncio.gather(*(bench.pipeline.run(job) for job in jobs)))

    records = await on.through(all_of_them)
    assert len(records) == 30
    assert bench.lanes[0].gate.snapshot().in_flight == 0
    assert {record.status for record in records} <= {Status.OK, Status.REFUSED, Status.FAILED}


# Formats with tasks


def task_bench(on: Fixture, *script: Step, **more: Any) -> Bench:
    return on.bench(*script, providers={"first": PaperTasks()}, **more)


ORDERED = Response(200, {}, json={"task": "t-7"})
WAITING = Response(200, {}, json={"state": "waiting"})
DONE = Response(200, {}, json={"state": "done"})
DOWN = Response(500, {}, json={})


def fetched(data: bytes | None = None) -> Response:
    return Response(200, {}, json={"data": base64.b64encode(png() if data is None else data).decode()})


def orders(bench: Bench) -> int:
    return sum(request.method == "POST" for request in bench.senders["first"].requests)


async def test_a_task_is_on_disk_before_it_is_polled(on: Fixture) -> None:
    """A kill at the first poll finds what was ordered."""
    found: list[str] = []

    def look(_: Request) -> Response:
        found.extend(line["kind"] for line in ledger(on.root))
        return DONE

    record = await on.run(task_bench(on, ORDERED, look, fetched()))
    assert record.status is Status.OK
    assert found == ["intent", "task"]
    assert [line["kind"] for line in ledger(on.root)] == ["intent", "task", "outcome"]


async def test_a_task_that_cannot_be_polled_is_fetched_by_the_next_attempt(on: Fixture) -> None:
    """The retry fetches; it does not order. One order, one price, one attempt."""
    bench = task_bench(on, ORDERED, *[DOWN] * 5, WAITING, DONE, fetched())
    record = await on.run(bench)
    assert (record.status, record.attempts, record.cost_usd, record.maybe_cost_usd) == (Status.OK, 1, 0.134, 0.0)
    assert orders(bench) == 1
    assert [line["kind"] for line in ledger(on.root)] == ["intent", "task", "outcome"]
    assert bench.budget.spent_usd == 0.134


async def test_what_came_in_place_of_the_image_is_fetched_again(on: Fixture) -> None:
    """An expired link answers with a page: the task still has the image."""
    bench = task_bench(on, ORDERED, DONE, fetched(b"<html>expired</html>"), DONE, fetched())
    record = await on.run(bench)
    assert (record.status, record.attempts, record.cost_usd) == (Status.OK, 1, 0.134)
    assert orders(bench) == 1


async def test_a_task_that_stays_open_is_the_next_runs(on: Fixture) -> None:
    """Unfinished, possibly billed, and with its money set aside; the next run pays nothing and fetches the same."""
    bench = task_bench(on, ORDERED, DOWN, retries=1, budget_usd=1.0)
    record = await on.run(bench)
    assert (record.status, record.attempts, record.maybe_cost_usd) == (Status.UNFINISHED, 1, 0.134)
    assert record.error is not None
    assert record.error.code == "task_open"
    assert orders(bench) == 1
    assert bench.totals.providers["first"].maybe_cost_usd == 0.134
    with pytest.raises(LimitReached):
        await bench.budget.reserve(0.9)
    later = task_bench(on, DONE, fetched())
    found = await on.run(later)
    assert (found.status, found.attempts, found.cost_usd, found.maybe_cost_usd) == (Status.OK, 1, 0.134, 0.0)
    assert orders(later) == 0
    assert later.budget.spent_usd == 0.134
    assert later.folder.possibly_billed_usd == 0.0


async def test_a_task_is_left_to_the_next_run_when_this_one_is_cut_off(on: Fixture) -> None:
    """Cancelled while polling: no outcome is written, so the task is not lost."""
    polled = asyncio.Event()

    class Hanging:
        async def send(self, request: Request) -> Response:
            if request.method == "POST":
                return ORDERED
            polled.set()
            await asyncio.Event().wait()
            raise AssertionError

    bench = task_bench(on, DONE)
    bench.lanes[0].sender = Hanging()
    work = asyncio.ensure_future(bench.pipeline.run(bench.jobs[0]))
    await on.clock.advance(3)
    await polled.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [line["kind"] for line in ledger(on.root)] == ["intent", "task"]
    assert bench.totals.providers["first"].maybe_cost_usd == 0.134
    assert (await on.run(task_bench(on, DONE, fetched()))).status is Status.OK


async def test_a_task_is_counted_when_the_run_stops_between_two_attempts(on: Fixture) -> None:
    """Stopped while the job waits to ask again: its money is possibly billed, in the summary too."""
    bench = task_bench(on, ORDERED, DOWN)
    original = bench.pipeline.observe

    def stop_at_the_failure(event: Any) -> None:
        original(event)
        if isinstance(event, AttemptFailed):
            bench.stop.ask(_reason())

    bench.pipeline.observe = stop_at_the_failure
    with pytest.raises(Stopped):
        await on.run(bench)
    assert [line["kind"] for line in ledger(on.root)] == ["intent", "task"]
    assert bench.totals.providers["first"].maybe_cost_usd == 0.134
    assert bench.budget.possible_usd == 0.134
    assert (await on.run(task_bench(on, DONE, fetched()))).status is Status.OK


async def test_a_task_that_failed_at_the_vendor_is_ordered_again(on: Fixture) -> None:
    """Nothing was billed and nothing will come: the usual retry."""
    failed = Response(200, {}, json={"state": "failed"})
    bench = task_bench(on, ORDERED, failed, ORDERED, DONE, fetched())
    record = await on.run(bench)
    assert (record.status, record.attempts, record.cost_usd) == (Status.OK, 2, 0.134)
    assert orders(bench) == 2


async def test_a_refused_task_is_refused(on: Fixture) -> None:
    """The verdict comes with a poll, and is final."""
    bench = task_bench(on, ORDERED, Response(200, {}, json={"state": "refused"}))
    record = await on.run(bench)
    assert (record.status, record.cost_usd, record.maybe_cost_usd) == (Status.REFUSED, 0.0, 0.0)
    assert orders(bench) == 1


async def test_a_closed_lane_keeps_its_tasks_for_a_better_day(on: Fixture) -> None:
    """The account was stopped after the order: nobody else can fetch it, and it is not bought elsewhere."""
    bench = task_bench(on, ORDERED, DOWN, retries=0, others={"second": [success()]})
    assert (await on.run(bench)).status is Status.UNFINISHED
    again = task_bench(on, DONE, fetched(), others={"second": [success()]})
    again.lanes[0].gate.close("no credit")
    record = await on.run(again)
    assert record.status is Status.UNFINISHED
    assert again.requests("second") == 0
    assert [line["kind"] for line in ledger(on.root)] == ["intent", "task"]


async def test_fresh_forgets_tasks_but_not_their_price(on: Fixture) -> None:
    """Everything is ordered anew; what was open counts as possibly billed."""
    assert (await on.run(task_bench(on, ORDERED, DOWN, retries=0))).status is Status.UNFINISHED
    bench = task_bench(on, ORDERED, DONE, fetched(), fresh=True)
    assert bench.folder.possibly_billed_usd == 0.134
    assert (await on.run(bench)).status is Status.OK
    assert orders(bench) == 1


# Fallback


async def test_a_refusal_falls_back_only_when_asked(on: Fixture) -> None:
    """One bad row harms one row; whoever wants a second opinion says so, and the record tells."""
    bench = on.bench(finish("IMAGE_SAFETY"), others={"second": [success()]})
    assert (await on.run(bench)).status is Status.REFUSED
    assert bench.requests("second") == 0
    bench = on.bench(finish("IMAGE_SAFETY"), others={"second": [success()]}, fallback_on_refusal=True)
    record = await on.run(bench, 2)
    assert (record.status, record.provider) == (Status.OK, "second")
    assert "after first: refused" in record.warnings
    assert bench.requests("first") == 1


async def test_refused_by_all_is_refused(on: Fixture) -> None:
    """With nobody left to ask, the refusal stands."""
    bench = on.bench(finish("IMAGE_SAFETY"), others={"second": [finish("SAFETY")]}, fallback_on_refusal=True)
    record = await on.run(bench)
    assert record.status is Status.REFUSED
    assert (bench.requests("first"), bench.requests("second")) == (1, 1)


async def test_a_job_does_not_stay_with_a_lane_that_fails_it(on: Fixture) -> None:
    """Two failures on one lane are enough, also while its breaker is closed; the record tells the detour."""
    bench = on.bench(failure(503), others={"second": [success()]})
    record = await on.run(bench)
    assert (record.status, record.provider, record.attempts) == (Status.OK, "second", 3)
    assert record.warnings[:1] == ("after first: overloaded",)


async def test_the_only_lane_is_asked_however_tired(on: Fixture) -> None:
    """With nobody else there is no detour."""
    bench = on.bench(failure(503), failure(503), failure(503), success())
    record = await on.run(bench)
    assert (record.status, record.attempts) == (Status.OK, 4)
    assert not any("after" in warning for warning in record.warnings)


async def test_the_cheapest_takes_the_job_at_its_own_price(on: Fixture) -> None:
    """Priority decides only between equal prices."""
    prices = {"first": {"1K": 0.134}, "second": {"1K": 0.05}}
    bench = on.bench(success(), others={"second": [success()]}, prices=prices, strategy="cheapest")
    record = await on.run(bench)
    assert (record.provider, record.cost_usd) == ("second", 0.05)


async def test_the_fastest_reserves_for_the_dearest_and_pays_for_its_own(on: Fixture) -> None:
    """Nobody knows yet which gate opens first, so the budget must cover any; what is left over comes back."""
    prices = {"first": {"1K": 0.05}, "second": {"1K": 0.9}}
    bench = on.bench(success(), others={"second": [success()]}, prices=prices, strategy="fastest", budget_usd=1.0)
    record = await on.run(bench)
    assert (record.provider, record.cost_usd) == ("first", 0.05)
    assert (await bench.budget.reserve(0.95)).amount == 950_000


def _reason() -> Any:
    from nanobatch.stopping import StopReason  # noqa: PLC0415

    return StopReason("interrupted", "interrupted", 130)
