"""One job's journey, top to bottom: route, reserve, admit, send, examine, store, record, report.

Four orders are laws here. Retry surrounds the gate, and the gate surrounds the transport, so that a wait is slept
outside the slot. The slot comes before the token, because a token is spent when it is granted. The image is stored
before it is recorded. And it is recorded before it is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from nanobatch.attempts import AttemptsLedger, Landed, Line, OpenTask, Tally
from nanobatch.budget import Budget, Reservation
from nanobatch.clock import Clock, iso
from nanobatch.errors import (
    AccountStopped,
    DecodeError,
    ExchangeError,
    InputError,
    LimitReached,
    ModelGone,
    NanobatchError,
    QuotaSpent,
    Refused,
    Rejected,
    TaskOpen,
)
from nanobatch.events import AttemptFailed, AttemptStarted, JobFinished, Observer
from nanobatch.examination import Embed, examine
from nanobatch.exchange import converse
from nanobatch.images import mismatch
from nanobatch.limits.gate import LaneClosed, LaneDown, LaneParked, Permit
from nanobatch.limits.race import first_to_admit
from nanobatch.manifest import Manifest
from nanobatch.model import FREE, Cost, Job, Order, Record, Reference
from nanobatch.providers.base import Exchange, TaskProvider
from nanobatch.quests import Attempt, Landing, Quest, price_of, quota_cost, worst_price
from nanobatch.records import record_of, record_without_image
from nanobatch.retry import Decision, RetryPolicy
from nanobatch.routing import AllParked, Lane, NoneLeft, Router
from nanobatch.stopping import Stop, Stopped, StopReason
from nanobatch.stores.local import LocalStore
from nanobatch.stores.offload import Offload

ASLEEP_SECONDS = 300.0  # at once: a laptop that is closed meanwhile stops the clock of sleepers, not the provider's day
LoadReference = Callable[[str, Lane, str], Reference]  # by its digest, as the lane takes it with a model; blocks


@dataclass(slots=True)
class Pipeline:
    """What a job meets on its way."""

    router: Router
    retry: RetryPolicy
    budget: Budget
    store: LocalStore
    manifest: Manifest
    ledger: AttemptsLedger
    clock: Clock
    observe: Observer
    stop: Stop
    rng: random.Random
    past: dict[str, Tally]  # by job without an image: what earlier runs did for it, and this one when it ended
    charge: Callable[[str, float, float], None]  # provider, USD spent, USD possibly billed
    wait_for_quota: bool = False  # --on-quota wait
    fallback_on_refusal: bool = False
    load_reference: LoadReference | None = None
    embed: Embed | None = None  # --embed
    tasks: dict[str, OpenTask] = field(default_factory=dict)  # by job: ordered, by an earlier run or this one
    offload: Offload = field(default_factory=Offload)
    on_wire: set[asyncio.Task[None]] = field(default_factory=set)  # workers whose request may be billed
    _held: dict[str, Reservation] = field(default_factory=dict)  # by job: money for the open tasks of this run

    async def run(self, job: Job) -> Record:
        """Take one job to its record.

        Raises:
            Stopped: The run is stopping and the job was not finished.
            StoreError: An image or a record could not be written.
        """
        quest = Quest(job, replace(self.past.get(job.id, Tally())))

        def tell(error: ExchangeError, decision: Decision) -> None:
            self._tell_failure(quest, error, retry_in=decision.wait_seconds)
            self.stop.check()

        try:
            record = await self.retry.run(
                lambda _: self._attempt(quest), clock=self.clock, on_retry=tell, history=quest.history
            )
        except (Stopped, asyncio.CancelledError):
            self._write_off(job)
            if quest.tally.attempts:
                self.past[job.id] = quest.tally  # the record of what the run did not finish tells what it cost
            raise
        except ExchangeError as error:
            self._tell_failure(quest, error, retry_in=None)
            record = record_without_image(
                job, quest.tally, error, finished_at=iso(self.clock.wall()), open_usd=self._write_off(job)
            )
        self.manifest.append(record)
        self.observe(JobFinished(record))
        return record

    def keep_for(self, job: str, reservation: Reservation) -> None:
        """Take over money that was set aside when a job was ordered; it is settled when the job ends."""
        self._held[job] = reservation

    def is_crowded(self, job: Job) -> bool:
        """Tell whether a worker that takes this job would only make a long line longer."""
        return job.id not in self.tasks and self.router.is_crowded(job)

    def _write_off(self, job: Job) -> float:
        """Count a task that stays open after this run as possibly billed; return its price."""
        task = self.tasks.get(job.id)
        if task is None:
            return 0.0
        self.charge(task.provider, 0.0, task.worst_usd)
        if (held := self._held.pop(job.id, None)) is not None:  # others must not wait for this money
            self.budget.settle(held, possible_usd=task.worst_usd)
        return task.worst_usd

    async def _attempt(self, quest: Quest) -> Record:
        """Fetch what is ordered already, else find a lane and send.

        A lane that turns out to be parked, closed or down passes the job on to the next.
        """
        while True:
            self.stop.check()
            task = self.tasks.get(quest.job.id)
            lanes = await self._lanes_for(quest) if task is None else []
            try:
                return await (self._buy(quest, lanes) if task is None else self._collect(quest, task))
            except (LaneParked, LaneClosed, LaneDown):
                continue  # it happened while the job stood in line
            except (QuotaSpent, AccountStopped) as error:
                if quest.job.id in self.tasks:
                    raise  # nobody else can fetch it
                self._tell_failure(quest, error, retry_in=0.0)
            except Refused as error:
                quest.refused_by.add(error.provider or "")
                if not self.fallback_on_refusal or not self.router.can_take(quest.job, without=quest.refused_by):
                    raise
                quest.history.append(error)
                self._tell_failure(quest, error, retry_in=0.0)
            except ExchangeError as error:
                if (until := self.router.given_up()) is not None:
                    why = f"no provider serves anything: {error.message}"
                    self.stop.ask(StopReason("down", why, 5, resume_after=until))
                raise

    async def _buy(self, quest: Quest, lanes: list[Lane]) -> Record:
        """Reserve the worst price, pass the first gate that opens, send."""
        job, cost = quest.job, quota_cost(quest.job)
        worst = [worst_price(lane.seller.offer(job.params.model), job) for lane in lanes]
        reservation = await self._reserve(max(worst))
        try:
            place, ticket = await first_to_admit([lane.gate for lane in lanes], cost)
            lane = lanes[place]
            async with lane.gate.inside(ticket) as permit:
                self.stop.check()
                self.budget.shrink(reservation, worst[place])
                with self._on_the_wire():
                    order = await self._order(lane, job)
                    attempt = Attempt(quest, lane, lane.seller.offer(job.params.model), reservation, order)
                    return await self._send(attempt, cost, permit=permit)
        finally:
            if job.id not in self._held:
                self.budget.release(reservation)

    async def _collect(self, quest: Quest, task: OpenTask) -> Record:
        """Fetch the image of an order that is written down, from whichever run. This costs no quota."""
        job, lane = quest.job, self.router.named(task.provider)
        if lane is None or not isinstance(lane.provider, TaskProvider):
            raise AssertionError(f"{task.provider} cannot fetch what it sold; such tasks are closed before the run")
        try:
            ticket = await lane.gate.enter(FREE)
        except LaneClosed as closed:
            raise AccountStopped(closed.reason) from closed
        async with lane.gate.inside(ticket) as permit:
            self.stop.check()
            attempt = Attempt(
                quest,
                lane,
                lane.seller.offer(job.params.model),
                self._held.get(job.id, Reservation(0)),
                lane.seller.order(job),
                id=task.attempt,
                started=task.ordered_at,
            )
            with self._on_the_wire():
                return await self._hold(attempt, lane.provider.resume(attempt.order, task.task), permit=permit)

    async def _order(self, lane: Lane, job: Job) -> Order:
        """Say a job in the provider's words, with its reference images.

        Raises:
            Rejected: A reference image cannot be made to fit.
        """
        order = lane.seller.order(job)
        if not job.params.references or self.load_reference is None:
            return order
        load = self.load_reference
        try:
            found = [await asyncio.to_thread(load, digest, lane, job.params.model) for digest in job.params.references]
        except InputError as error:
            raise Rejected(f"a reference image cannot be sent: {error.message}") from error
        return replace(order, references=tuple(found))

    async def _lanes_for(self, quest: Quest) -> list[Lane]:
        """Return the lanes at whose gates the job waits; the first that opens serves it."""
        while True:
            try:
                return self.router.choose(quest.job, without=quest.refused_by, tired=quest.tired)
            except AllParked as parked:
                if not self.wait_for_quota:
                    self.stop.ask(
                        StopReason("quota", f"the quota is spent: {parked.reason}", 5, resume_after=parked.until)
                    )
                    raise Stopped from parked
                await self.clock.sleep(min(parked.until - self.clock.wall(), ASLEEP_SECONDS))
            except NoneLeft as none:
                if none.everybody:
                    self.stop.ask(StopReason("account", none.reason, AccountStopped.exit_code))
                    raise Stopped from none
                raise AccountStopped(none.reason) from none

    async def _reserve(self, worst_usd: float) -> Reservation:
        try:
            return await self.budget.reserve(worst_usd)
        except LimitReached as error:
            self.stop.ask(StopReason("limit", error.message, error.exit_code))
            raise Stopped from error

    @contextlib.contextmanager
    def _on_the_wire(self) -> Iterator[None]:
        """Mark the worker as one that a stopping run waits for."""
        task = asyncio.current_task()
        assert task is not None
        self.on_wire.add(task)
        try:
            yield
        finally:
            self.on_wire.discard(task)

    async def _send(self, attempt: Attempt, cost: Cost, *, permit: Permit) -> Record:
        """Write the intent and hold the exchange."""
        job, lane, tally = attempt.job, attempt.lane, attempt.quest.tally
        attempt.started = self.clock.wall()
        attempt.id = self.ledger.intend(job.id, lane.name, at=attempt.started, worst_usd=attempt.worst_usd, cost=cost)
        tally.attempts += 1
        self.observe(AttemptStarted(job.id, job.prompt.id, lane.name, tally.attempts))
        return await self._hold(attempt, lane.provider.exchange(attempt.order), permit=permit)

    async def _hold(self, attempt: Attempt, exchange: Exchange, *, permit: Permit) -> Record:
        """Hold an exchange to its end and write the outcome; an order that is still open has none yet."""
        job, lane = attempt.job, attempt.lane
        ordered = self.tasks.get(job.id)
        try:
            answer = await converse(
                exchange,
                lane.sender,
                permit=permit,
                clock=self.clock,
                rng=self.rng,
                note_task=lambda task: self._note_task(attempt, task),
                task=ordered.task if ordered is not None else None,
            )
            landing = await examine(answer, attempt, store=self.store, offload=self.offload, embed=self.embed)
        except ExchangeError as error:
            if isinstance(error, DecodeError) and job.id in self.tasks:
                error = TaskOpen(f"what came is not the image: {error.message}", http_status=error.http_status)
            error.provider = lane.name
            if isinstance(error, ModelGone):
                lane.gone[job.params.model] = error.message
            if not isinstance(error, TaskOpen):
                self._conclude(attempt, error.code, billed=error.billed, http_status=error.http_status)
            raise error  # noqa: TRY201 - it may be another one by now
        except NanobatchError as error:
            if job.id not in self.tasks:
                self._conclude(attempt, error.code, billed=None)
            raise
        except asyncio.CancelledError:
            if job.id not in self.tasks:
                self._conclude(attempt, "interrupted", billed=None)
            raise
        permit.settle()
        return self._land(attempt, landing)

    def _note_task(self, attempt: Attempt, task: str) -> None:
        """Write down what the provider calls the order, before anything else happens to it."""
        job, lane, now = attempt.job, attempt.lane, self.clock.wall()
        self.ledger.note_task(attempt.id, job.id, lane.name, task=task, at=now)
        self.tasks[job.id] = OpenTask(attempt.id, lane.name, task, attempt.worst_usd, attempt.started)
        self._held[job.id] = attempt.reservation

    def _land(self, attempt: Attempt, landing: Landing) -> Record:
        """Write the outcome with the place of the bytes, then rename them there. A kill in between loses nothing."""
        job, order, answer, facts = attempt.job, attempt.order, landing.answer, landing.facts
        cost_usd, basis = price_of(attempt.offer, job, answer)
        now = self.clock.wall()
        tally = attempt.quest.tally
        landed = Landed(
            part=landing.blob.path.name,
            file=self.manifest.free_name(job.key, facts.extension),
            sha256=landing.blob.sha256,
            bytes=landing.blob.size,
            mime=facts.mime,
            width=facts.width,
            height=facts.height,
            provider_model=answer.model or order.model,
            cost_usd=tally.cost_usd + cost_usd,
            cost_basis=basis,
            maybe_cost_usd=tally.maybe_usd,
            attempts=tally.attempts,
            warnings=attempt.quest.detours(attempt.lane.name)
            + answer.warnings
            + landing.warnings
            + mismatch(
                facts,
                pixels=order.pixels if order.aspect_ratio else None,
                size=job.params.size,
                aspect_ratio=job.params.aspect_ratio,
            ),
            started_at=iso(attempt.started),
            latency_seconds=round(now - attempt.started, 3),
        )
        self._conclude(attempt, "ok", billed=True, cost_usd=cost_usd, landed=landed)
        self.store.adopt(landing.blob.path, landed.file)
        return record_of(job, attempt.lane.name, landed, finished_at=iso(now))

    def _conclude(
        self,
        attempt: Attempt,
        code: str,
        *,
        billed: bool | None,
        cost_usd: float | None = None,
        http_status: int | None = None,
        landed: Landed | None = None,
    ) -> None:
        """Settle the money and write the outcome."""
        self.tasks.pop(attempt.job.id, None)
        self._held.pop(attempt.job.id, None)
        if cost_usd is None:
            cost_usd = (attempt.offer.price_usd(attempt.job.params.size) or 0.0) if billed else 0.0
        maybe_usd = attempt.worst_usd if billed is None else 0.0
        attempt.quest.tally.cost_usd += cost_usd
        attempt.quest.tally.maybe_usd += maybe_usd
        self.budget.settle(attempt.reservation, spent_usd=cost_usd, possible_usd=maybe_usd)
        self.charge(attempt.lane.name, cost_usd, maybe_usd)
        self.ledger.conclude(
            Line(
                kind="outcome",
                attempt=attempt.id,
                job=attempt.job.id,
                provider=attempt.lane.name,
                at=self.clock.wall(),
                code=code,
                billed=billed,
                cost_usd=cost_usd,
                maybe_usd=maybe_usd,
                http_status=http_status,
                landed=landed,
            )
        )

    def _tell_failure(self, quest: Quest, error: ExchangeError, *, retry_in: float | None) -> None:
        self.observe(
            AttemptFailed(
                job=quest.job.id,
                id=quest.job.prompt.id,
                provider=error.provider or "",
                attempt=quest.tally.attempts,
                code=error.code,
                message=error.message,
                http_status=error.http_status,
                retry_in_seconds=retry_in,
            )
        )
