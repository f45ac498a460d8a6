"""One job's journey, top to bottom: route, reserve, admit, send, examine, store, record, report.

Four orders are laws here. Retry surrounds the gate, and the gate surrounds the transport, so that a wait is slept
outside the slot. The slot comes before the token, because a token is spent when it is granted. The image is stored
before it is recorded. And it is recorded before it is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from nanobatch.attempts import AttemptsLedger, Landed, Line, Tally
from nanobatch.budget import Budget, Reservation
from nanobatch.catalog import Offer
from nanobatch.clock import Clock, iso
from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    DecodeError,
    ExchangeError,
    LimitReached,
    ModelGone,
    NanobatchError,
    NoImage,
    QuotaSpent,
    Refused,
    Rejected,
    Undelivered,
)
from nanobatch.events import AttemptFailed, AttemptStarted, JobFinished, Observer
from nanobatch.exchange import converse
from nanobatch.images import inspect, materialise, mismatch
from nanobatch.limits.gate import LaneClosed, LaneParked, Permit
from nanobatch.manifest import Manifest
from nanobatch.model import Answer, Blob, Cost, Failure, ImageFacts, Job, Order, Record, Status
from nanobatch.retry import Decision, RetryPolicy
from nanobatch.routing import AllParked, Lane, NoneLeft, Router
from nanobatch.stopping import Stop, Stopped, StopReason
from nanobatch.stores.local import LocalStore

_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Landing:
    """An answer whose image is whole, still as a part."""

    answer: Answer
    blob: Blob
    facts: ImageFacts


@dataclass(slots=True)
class Attempt:
    """One sending of one job, from its intent to its outcome."""

    job: Job
    lane: Lane
    offer: Offer
    reservation: Reservation
    tally: Tally
    id: str = ""
    started: float = 0.0  # wall-clock seconds

    @property
    def worst_usd(self) -> float:
        """The most that this attempt may cost."""
        return worst_price(self.offer, self.job)


def worst_price(offer: Offer, job: Job) -> float:
    """Return the most that one image of a job may cost at a provider, in USD.

    The preflight has refused offers without a price, so a missing one is a bug here.
    """
    price = offer.worst_price_usd(job.params.size)
    if price is None:
        raise AssertionError(f"{offer.provider} has no price for {job.params}")
    return price


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
    past: Mapping[str, Tally]  # what earlier runs did for jobs that have no image yet
    charge: Callable[[str, float, float], None]  # provider, USD spent, USD possibly billed
    wait_for_quota: bool = False  # --on-quota wait
    on_wire: set[asyncio.Task[None]] = field(default_factory=set)  # workers whose request may be billed

    async def run(self, job: Job) -> Record:
        """Take one job to its record.

        Raises:
            Stopped: The run is stopping and the job was not finished.
            StoreError: An image or a record could not be written.
        """
        tally = replace(self.past.get(job.id, Tally()))
        history: list[ExchangeError] = []

        def tell(error: ExchangeError, decision: Decision) -> None:
            self._tell_failure(job, error, attempt=tally.attempts, retry_in=decision.wait_seconds)
            self.stop.check()

        try:
            record = await self.retry.run(
                lambda _: self._attempt(job, tally), clock=self.clock, on_retry=tell, history=history
            )
        except ExchangeError as error:
            self._tell_failure(job, error, attempt=tally.attempts, retry_in=None)
            record = record_without_image(job, tally, error, finished_at=iso(self.clock.wall()))
        self.manifest.append(record)
        self.observe(JobFinished(record))
        return record

    async def _attempt(self, job: Job, tally: Tally) -> Record:
        """Find a lane and send; a lane that turns out to be parked or closed passes the job on to the next."""
        while True:
            self.stop.check()
            lane = await self._lane_for(job)
            try:
                return await self._enter(job, lane, tally)
            except (LaneParked, LaneClosed):
                continue  # it happened while the job stood in line
            except (QuotaSpent, AccountStopped) as error:
                self._tell_failure(job, error, attempt=tally.attempts, retry_in=0.0)
            except ExchangeError as error:
                if (until := self.router.given_up()) is not None:
                    self.stop.ask(StopReason("down", f"no provider answers: {error.message}", 5, resume_after=until))
                raise

    async def _enter(self, job: Job, lane: Lane, tally: Tally) -> Record:
        """Reserve the worst price, pass the gate, send."""
        offer, order = lane.seller.offer(job.params.model), lane.seller.order(job)
        reservation = await self._reserve(worst_price(offer, job))
        attempt = Attempt(job, lane, offer, reservation, tally)
        try:
            async with lane.gate.admit(_quota_cost(order)) as permit:
                self.stop.check()
                with self._on_the_wire():
                    return await self._send(attempt, order, permit=permit)
        finally:
            self.budget.release(reservation)

    async def _lane_for(self, job: Job) -> Lane:
        while True:
            try:
                return self.router.choose(job)
            except AllParked as parked:
                if not self.wait_for_quota:
                    self.stop.ask(
                        StopReason("quota", f"the quota is spent: {parked.reason}", 5, resume_after=parked.until)
                    )
                    raise Stopped from parked
                await self.clock.sleep(parked.until - self.clock.wall())
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

    async def _send(self, attempt: Attempt, order: Order, *, permit: Permit) -> Record:
        """Write the intent, hold the exchange, write the outcome."""
        job, lane = attempt.job, attempt.lane
        attempt.started = self.clock.wall()
        attempt.id = self.ledger.intend(
            job.id, lane.name, at=attempt.started, worst_usd=attempt.worst_usd, cost=_quota_cost(order)
        )
        attempt.tally.attempts += 1
        self.observe(AttemptStarted(job.id, job.prompt.id, lane.name, attempt.tally.attempts))
        try:
            answer = await converse(
                lane.provider.exchange(order), lane.sender, permit=permit, clock=self.clock, rng=self.rng
            )
            landing = await self._examine(answer)
        except ExchangeError as error:
            error.provider = lane.name
            if isinstance(error, ModelGone):
                lane.gone[job.params.model] = error.message
            self._conclude(attempt, error.code, billed=error.billed, http_status=error.http_status)
            raise
        except NanobatchError as error:
            self._conclude(attempt, error.code, billed=None)
            raise
        except asyncio.CancelledError:
            self._conclude(attempt, "interrupted", billed=None)
            raise
        permit.settle()
        return self._land(attempt, order, landing)

    async def _examine(self, answer: Answer) -> Landing:
        """Check that the image is one, and whole; drop drafts."""
        blob = materialise(answer.picture, self.store.new_part)
        for draft in answer.drafts:
            if isinstance(draft.data, Blob):
                draft.data.path.unlink(missing_ok=True)
        try:
            facts = await asyncio.to_thread(self._inspect_and_flush, blob)
        except ExchangeError:
            blob.path.unlink(missing_ok=True)
            raise
        return Landing(answer, blob, facts)

    def _inspect_and_flush(self, blob: Blob) -> ImageFacts:
        facts = inspect(blob.path)
        self.store.flush(blob.path)
        return facts

    def _land(self, attempt: Attempt, order: Order, landing: Landing) -> Record:
        """Write the outcome with the place of the bytes, then rename them there. A kill in between loses nothing."""
        job, answer, facts = attempt.job, landing.answer, landing.facts
        cost_usd, basis = _price(attempt.offer, job, answer)
        now = self.clock.wall()
        tally = attempt.tally
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
            warnings=answer.warnings
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
        if cost_usd is None:
            cost_usd = (attempt.offer.price_usd(attempt.job.params.size) or 0.0) if billed else 0.0
        maybe_usd = attempt.worst_usd if billed is None else 0.0
        attempt.tally.cost_usd += cost_usd
        attempt.tally.maybe_usd += maybe_usd
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

    def _tell_failure(self, job: Job, error: ExchangeError, *, attempt: int, retry_in: float | None) -> None:
        self.observe(
            AttemptFailed(
                job=job.id,
                id=job.prompt.id,
                provider=error.provider or "",
                attempt=attempt,
                code=error.code,
                message=error.message,
                http_status=error.http_status,
                retry_in_seconds=retry_in,
            )
        )


def _quota_cost(order: Order) -> Cost:
    return Cost(tokens=max(1, len(order.prompt) // _CHARACTERS_PER_TOKEN))


def _price(offer: Offer, job: Job, answer: Answer) -> tuple[float, str]:
    """Return what an image cost, and whether reported tokens or the table say so."""
    if answer.usage is not None:
        by_usage = offer.usage_cost_usd(answer.usage)
        if by_usage is not None:
            return by_usage, "usage"
    return offer.price_usd(job.params.size) or 0.0, "price"


def record_of(job: Job, provider: str, landed: Landed, *, finished_at: str) -> Record:
    """Write the record of a job whose image is in its place."""
    return Record(
        job=job.id,
        id=job.prompt.id,
        variant=job.variant,
        index=job.prompt.index,
        prompt=job.prompt.text,
        params=job.params.as_dict(),
        columns=dict(job.prompt.columns),
        status=Status.OK,
        file=landed.file,
        sha256=landed.sha256,
        bytes=landed.bytes,
        mime=landed.mime,
        width=landed.width,
        height=landed.height,
        provider=provider,
        provider_model=landed.provider_model,
        attempts=landed.attempts,
        cost_usd=round(landed.cost_usd, 6),
        cost_basis=landed.cost_basis,
        maybe_cost_usd=round(landed.maybe_cost_usd, 6),
        warnings=landed.warnings,
        started_at=landed.started_at,
        finished_at=finished_at,
        latency_seconds=landed.latency_seconds,
    )


def record_without_image(
    job: Job,
    tally: Tally,
    error: NanobatchError,
    *,
    finished_at: str | None,
) -> Record:
    """Write the record of a job that ended without an image."""
    match error:
        case Refused():
            status = Status.REFUSED
        case Ambiguous() | Rejected() | NoImage() | DecodeError() | Undelivered():
            status = Status.FAILED
        case _:
            status = Status.UNFINISHED
    provider = error.provider if isinstance(error, ExchangeError) else None
    http_status = error.http_status if isinstance(error, ExchangeError) else None
    return Record(
        job=job.id,
        id=job.prompt.id,
        variant=job.variant,
        index=job.prompt.index,
        prompt=job.prompt.text,
        params=job.params.as_dict(),
        columns=dict(job.prompt.columns),
        status=status,
        provider=provider,
        attempts=tally.attempts,
        cost_usd=round(tally.cost_usd, 6),
        cost_basis="price" if tally.cost_usd else "none",
        maybe_cost_usd=round(tally.maybe_usd, 6),
        finished_at=finished_at,
        error=Failure(error.code, error.message, http_status),
    )
