"""The door of one lane: every attempt asks here once, and enters when the provider's limits allow it.

Order is law. A closed, parked or silent lane is asked about first; then comes the slot; the token comes last, because
a token is spent when it is granted and nothing may wait after it. All waiters stand in one line, first come, first
served. Only its head sets an alarm, for the moment at which its wait can end, and looks again when it rings; everybody
else is told. An exchange that already has its slot and needs more tokens goes first: it finishes what was begun.

This is the one async part of the limits; the arithmetic lives in the modules beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from math import inf

from nanobatch.clock import Clock
from nanobatch.errors import ExchangeError, LaneEffect, Unsent
from nanobatch.events import Event, LaneChanged, Observer
from nanobatch.limits.circuit_breaker import BreakerState, CircuitBreaker
from nanobatch.limits.daily_quota import PACIFIC
from nanobatch.limits.health import LaneClosed, LaneDown, LaneHealth, LaneParked, LaneState, Moment, Verdict
from nanobatch.limits.line import Line, Ticket
from nanobatch.limits.permit import Permit
from nanobatch.limits.quota import Quota
from nanobatch.limits.share import Demand, Share
from nanobatch.model import Cost

__all__ = ["Gate", "GateSnapshot", "LaneClosed", "LaneDown", "LaneParked", "LaneState", "Permit"]


@dataclass(frozen=True, slots=True)
class GateSnapshot:
    """One gate at one moment, for display and routing."""

    name: str
    in_flight: int
    limit: int  # as adapted
    maximum: int  # as configured
    waiting: int
    failed_probes: int  # in a row: how long a provider has served nothing
    state: LaneState


class Gate:
    """Admit the requests of one lane within its quotas, its concurrency and its health.

    Args:
        clock: Time and sleep.
        name: The provider, for events.
        concurrency: Requests in flight at once, at most.
        rpm: Requests per minute.
        ipm: Images per minute.
        tpm: Tokens per minute.
        rpd: Requests per day of `zone`.
        zone: Where the provider's day ends.
        margin_seconds: Added to the minute; at least the jitter of the way to the provider.
        window_seconds: In which the provider counts requests, at the rate of `rpm`.
        breaker: Another than the default one.
        sends_away: Whoever waits is told `LaneDown` when the provider stops answering, because others may serve it.
        observer: Receives a `LaneChanged` for every change of the lane.
        share: Makes this process's part of the limits, where others work on the same account; see `at_work`.

    Example:
        async with gate.admit(request.cost) as permit:
            response = await transport.send(request)
            await permit.spend(poll.cost)
            ...
    """

    def __init__(  # noqa: PLR0913 - the keys of `limits` in the configuration
        self,
        clock: Clock,
        *,
        name: str,
        concurrency: int,
        rpm: int | None = None,
        ipm: int | None = None,
        tpm: int | None = None,
        rpd: int | None = None,
        zone: str = PACIFIC,
        margin_seconds: float = 1.0,
        window_seconds: float = 60.0,
        breaker: CircuitBreaker | None = None,
        sends_away: bool = False,
        observer: Observer | None = None,
        share: Callable[[Quota], Share] | None = None,
    ) -> None:
        self.name = name
        self._sends_away = sends_away
        self._clock = clock
        self._quota = Quota(
            rpm=rpm, ipm=ipm, tpm=tpm, rpd=rpd, zone=zone, margin_seconds=margin_seconds, window_seconds=window_seconds
        )
        self._health = LaneHealth(self._quota, concurrency=concurrency, breaker=breaker)
        self._observer = observer or _nobody
        self._share = share(self._quota) if share is not None else None
        self._in_flight = 0
        self._line = Line()
        self._leader: Ticket | None = None  # the last head that looked at its wait,
        self._alarm_at = inf  # and when its alarm rings (monotonic seconds)
        self._told_parked_until = -inf

    def __repr__(self) -> str:
        seen = self.snapshot()
        return (
            f"<Gate {seen.name} {seen.state.kind}: {seen.in_flight} of {seen.limit} in flight, {seen.waiting} waiting>"
        )

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Share the limits with other processes while the block lasts. Without it a gate that shares admits nobody."""
        if self._share is None:
            yield
            return
        async with self._share.at_work(self._demand, self._dispatch):
            yield

    @contextlib.asynccontextmanager
    async def admit(self, cost: Cost) -> AsyncIterator[Permit]:
        """Wait for this request's turn and hold a slot while the exchange lasts.

        An `ExchangeError` that leaves the block is settled on the way; other exceptions say nothing of the provider.

        Raises:
            LaneParked: The daily quota is spent, before or while waiting.
            LaneClosed: The account was stopped, before or while waiting.
            ConfigError: The cost exceeds a limit by itself.
        """
        async with self.inside(await self.enter(cost)) as permit:
            yield permit

    async def enter(self, cost: Cost) -> Ticket:
        """Wait for this request's turn and take its slot. Whoever enters goes `inside`, or leaves with `give_back`.

        Raises:
            LaneParked: The daily quota is spent, before or while waiting.
            LaneClosed: The account was stopped, before or while waiting.
            LaneDown: The provider stopped answering while waiting, and the gate sends away.
            ConfigError: The cost exceeds a limit by itself.
        """
        ticket = Ticket(cost, holds_slot=False)
        await self._acquire(ticket)
        return ticket

    def give_back(self, ticket: Ticket) -> None:
        """Leave without having sent anything: the slot and the quota are there for the next."""
        self._leave(ticket)

    @contextlib.asynccontextmanager
    async def inside(self, ticket: Ticket) -> AsyncIterator[Permit]:
        """Hold the slot while the exchange lasts.

        An `ExchangeError` that leaves the block is settled on the way; other exceptions say nothing of the provider.
        """
        permit = Permit(self, ticket)
        try:
            yield permit
        except ExchangeError as error:
            permit.settle(error)
            raise
        else:
            permit.settle()
        finally:
            self._release(ticket)

    def is_free(self, cost: Cost) -> bool:
        """Tell whether `enter` would grant this cost at once."""
        moment = self._moment()
        if len(self._line) or self._health.stop(moment, cost) is not None:
            return False
        return self._delay(Ticket(cost, holds_slot=False), moment.now) <= 0

    def state(self) -> LaneState:
        """Tell how the lane stands, without waiting."""
        return self._health.state(self._moment())

    def snapshot(self) -> GateSnapshot:
        """Count what is in flight and waiting."""
        return GateSnapshot(
            name=self.name,
            in_flight=self._in_flight,
            limit=self._health.limit.current,
            maximum=self._health.limit.maximum,
            waiting=len(self._line),
            failed_probes=self._health.failed_probes,
            state=self.state(),
        )

    def remember(self, spends: Iterable[tuple[float, Cost]]) -> None:
        """Count what earlier runs took from the same quotas: pairs of wall-clock seconds and cost."""
        moment = self._moment()
        self._quota.remember(moment.now, moment.wall, spends=spends)
        self._dispatch()

    def park(self, until: float, reason: str) -> None:
        """Take no paid request before `until` (wall-clock seconds); those who wait are told at once."""
        self._publish(self._health.park(until, reason))

    def close(self, reason: str) -> None:
        """Take nothing more in this run; those who wait are told at once."""
        self._publish(self._health.close(reason))

    # What permits ask for (permit.Keeper)

    async def follow_up(self, cost: Cost) -> Ticket:
        """Take the cost of a further request of an exchange that holds its slot."""
        ticket = Ticket(cost, holds_slot=True, started_at=self._clock.monotonic())
        if cost.requests or cost.images or cost.tokens:
            await self._acquire(ticket)
        return ticket

    def judge(self, ticket: Ticket, error: ExchangeError | None) -> None:
        """Learn from the end of a request."""
        if isinstance(error, Unsent) and ticket.receipt is not None:
            self._refund(ticket)  # nobody has counted it
        is_paid = ticket.receipt is not None and ticket.cost.requests > 0
        verdict = Verdict(error, ticket.started_at, self._in_flight, is_paid)
        self._publish(self._health.judge(self._moment(), verdict))
        if self._share is not None and error is not None:
            self._warn_others(self._share, error, ticket.started_at)

    def settle_tokens(self, ticket: Ticket, actual: int) -> None:
        """Correct the tokens of a request to what the provider reported."""
        if ticket.receipt is not None:
            self._quota.settle_tokens(self._clock.monotonic(), ticket.receipt, actual=actual)
            if self._share is not None:
                self._share.settle_tokens(ticket.lease, actual=actual)
            self._dispatch()

    # The line

    async def _acquire(self, ticket: Ticket) -> None:
        """Stand in line until granted. Whoever leaves in any other way leaves no trace."""
        self._quota.check(ticket.cost)
        self._line.join(ticket)
        try:
            await self._turn(ticket)
        except BaseException:
            self._leave(ticket)
            raise

    async def _turn(self, ticket: Ticket) -> None:
        self._dispatch()
        while ticket.receipt is None and ticket.refusal is None:
            await self._news(ticket)
            self._dispatch()
        refusal = ticket.refusal or self._health.stop(self._moment(), Cost(requests=0))  # closed since it was granted
        if refusal is not None:
            raise refusal

    async def _news(self, ticket: Ticket) -> None:
        """Sleep until something concerns this ticket. The head also wakes when its own wait can end."""
        ticket.news = asyncio.get_running_loop().create_future()
        delay = inf
        if ticket is self._line.head:
            now = self._clock.monotonic()
            delay = self._delay(ticket, now)
            self._leader, self._alarm_at = ticket, now + delay
        if delay == inf:
            await ticket.news
            return
        async with asyncio.TaskGroup() as group:
            alarm = group.create_task(self._alarm(delay, ticket))
            await ticket.news
            alarm.cancel()

    async def _alarm(self, delay_seconds: float, ticket: Ticket) -> None:
        await self._clock.sleep(delay_seconds)
        ticket.tell()

    def _dispatch(self) -> None:
        """Grant to as many as may enter now, in order; make sure that the head looks again in time."""
        moment = self._moment()
        while (head := self._line.head) is not None:
            if self._health.stop(moment, head.cost) is not None:
                self._turn_away(moment)
            elif (delay := self._delay(head, moment.now)) > 0:
                if moment.now + delay < (self._alarm_at if head is self._leader else inf):
                    head.tell()
                return
            else:
                self._grant(head, moment)

    def _delay(self, ticket: Ticket, now: float) -> float:
        """Return the seconds until this ticket could enter; infinity where only an event can tell."""
        if not ticket.holds_slot:
            if (pause := self._health.breaker.delay(now)) > 0:
                return pause
            if self._in_flight >= self._slots():
                return inf
        delay = self._quota.delay(now, ticket.cost)
        if delay > 0 or self._share is None:
            return delay
        return 0.0 if self._share.covers(now, ticket.cost) else inf

    def _slots(self) -> int:
        """Return how many may be in flight now; ask the other processes for more where they hold them."""
        limit = self._health.limit.current
        if self._share is None or self._in_flight >= limit or self._share.slots >= limit:
            return limit
        if self._in_flight >= self._share.slots:
            self._share.need_slot()
        return self._share.slots

    def _demand(self) -> Demand:
        """Tell what would enter if only the limits allowed it."""
        insiders, newcomers = self._line.costs(self._health.limit.current)
        return Demand(insiders, newcomers, len(self._line) - len(insiders), self._in_flight, self._health.limit.current)

    def _refund(self, ticket: Ticket) -> None:
        if ticket.receipt is not None:
            self._quota.refund(ticket.receipt)
            if self._share is not None:
                self._share.give_back(ticket.lease)

    def _warn_others(self, share: Share, error: ExchangeError, started_at: float) -> None:
        if error.effect is LaneEffect.DRAIN:
            share.tell_blocked(self._quota.drained_for(self._clock.monotonic()))
        elif error.effect is LaneEffect.PARK:
            moment = self._moment()
            share.tell_day_spent(moment.wall - (moment.now - started_at))

    def _grant(self, ticket: Ticket, moment: Moment) -> None:
        self._line.leave(ticket)
        ticket.receipt = self._quota.spend(moment.now, moment.wall, cost=ticket.cost)
        if self._share is not None:
            ticket.lease = self._share.take(ticket.cost)
        ticket.started_at = moment.now
        if not ticket.holds_slot:
            self._in_flight += 1
            if self._health.breaker.state is BreakerState.OPEN:
                self._health.breaker.on_probe_started(moment.now)
                ticket.is_probe = True
        ticket.tell()

    def _turn_away(self, moment: Moment) -> None:
        for ticket in list(self._line):
            if refusal := self._health.stop(moment, ticket.cost):
                ticket.refusal = refusal
                self._line.leave(ticket)
                ticket.tell()
                if isinstance(refusal, LaneParked):
                    self._tell(LaneState("parked", refusal.until, refusal.reason))

    def _leave(self, ticket: Ticket) -> None:
        """Give back what was granted and never used, or the place in the line."""
        self._refund(ticket)
        if ticket.receipt is not None and not ticket.holds_slot:
            self._release(ticket)
        else:
            self._line.leave(ticket)
            self._dispatch()

    def _release(self, ticket: Ticket) -> None:
        self._in_flight -= 1
        if ticket.is_probe:
            self._health.breaker.on_probe_cancelled()
        self._dispatch()

    def _moment(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.wall())

    def _publish(self, changes: list[LaneState]) -> None:
        for change in changes:
            self._tell(change)
            if change.faulty and self._sends_away:
                self._send_away(change)
        self._dispatch()

    def _send_away(self, change: LaneState) -> None:
        for ticket in list(self._line):
            if not ticket.holds_slot and ticket.cost.requests:  # what is ordered is fetched here or nowhere
                ticket.refusal = LaneDown(change.reason)
                self._line.leave(ticket)
                ticket.tell()

    def _tell(self, change: LaneState) -> None:
        if change.kind == "parked" and change.until is not None:
            if change.until <= self._told_parked_until:
                return
            self._told_parked_until = change.until
        self._observer(LaneChanged(self.name, change.kind, change.reason, change.until))


def _nobody(_: Event) -> None:
    """Observe nothing."""
