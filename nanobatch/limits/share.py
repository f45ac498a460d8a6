"""This process's part of an account's limits, where other processes work on the same account.

A gate asks its share without waiting: is there a slot, is there quota? What is there was leased from the ledger, a
little ahead of its use. A loop beside the gate exchanges with the ledger when something is missing, gives back what is
not used, and says now and then that the process is alive. Under load one exchange serves a quarter of a second.

A ledger that fails must not stop a run: it goes on alone, within its own limits, says so once, and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from nanobatch.clock import Clock
from nanobatch.errors import LedgerError
from nanobatch.limits.account import LEASE_SECONDS, Answer, Ask, Meter, Returned
from nanobatch.limits.daily_quota import DailyQuota
from nanobatch.model import FREE, Cost

_BEAT_SECONDS = 10.0  # between two words of a process that needs nothing
_RETRY_SECONDS = 0.05
_LOOK_SECONDS = 1.0  # between two questions of one that waits
_ALONE_SECONDS = 10.0  # until a ledger that failed is tried again


class Ledger(Protocol):
    """Where accounts are kept."""

    async def exchange(self, account: str, ask: Ask) -> Answer:
        """Do one exchange with an account, alone.

        Raises:
            LedgerError: The ledger cannot be used now.
        """
        ...


@dataclass(slots=True, eq=False)
class Block:
    """What one exchange leased."""

    at: float  # by the ledger's clock
    until: float  # monotonic seconds of ours, after which it is given back
    days: frozenset[str]
    left: Cost


@dataclass(frozen=True, slots=True)
class Demand:
    """What a gate would take now."""

    insiders: Sequence[Cost]  # of those who hold a slot
    newcomers: Sequence[Cost]  # the first of them
    waiting: int  # all newcomers
    in_flight: int
    limit: int  # slots that the gate would use, as adapted


Lease = list[tuple[Block, Cost]]


@dataclass(slots=True)
class _Needs:
    """What the gate misses, and since when the ledger says that asking may help (monotonic seconds)."""

    missing: bool = False
    ask_at: float = -inf


class Share:
    """One process's leases on one account.

    Args:
        ledger: Shared with the others.
        account: Its name there, which tells no key.
        holder: A name for this process, different from all others.
        meters: The limits per window.
        per_day: Requests per day.
        concurrency: Requests at once, of all processes.
        day: Says which day it is for the provider.
        clock: Time and sleep.
        warn: Told once when the ledger fails.
    """

    def __init__(  # noqa: PLR0913 - the limits of an account
        self,
        ledger: Ledger,
        account: str,
        *,
        holder: str,
        meters: Sequence[Meter],
        per_day: int | None,
        concurrency: int,
        day: DailyQuota,
        clock: Clock,
        warn: Callable[[str], None],
    ) -> None:
        self._ledger, self._account, self._holder = ledger, account, holder
        self._meters, self._per_day, self._concurrency = meters, per_day, concurrency
        self._kinds: frozenset[str] = frozenset()  # what must be leased; requests always, so that blocks can be counted
        if meters or per_day is not None:
            self._kinds = frozenset(meter.kind for meter in meters) | {"requests"}
        self._day, self._clock, self._warn = day, clock, warn
        self._blocks: deque[Block] = deque()
        self._returned: list[Returned] = []
        self._telling = 0  # how many of them an exchange under way tells
        self._slots = 0
        self._fair_slots = concurrency
        self._quota, self._places = _Needs(), _Needs()
        self._wake = asyncio.Event()
        self._alone_until = -inf
        self._is_alone = False
        self._blocked_for = 0.0
        self._spent_days: frozenset[str] = frozenset()  # to be told
        self._is_leaving = False
        self._said_at = -inf
        self._taken, self._taken_since = 0, clock.monotonic()
        self._rate = 0.0  # requests a second, lately

    # What a gate asks, without waiting

    @property
    def slots(self) -> int:
        """How many may be in flight in this process."""
        return self._concurrency if self._is_alone else min(self._slots, self._fair_slots)

    def need_slot(self) -> None:
        """Ask the ledger for a slot, as soon as that may help."""
        self._call(self._places)

    def covers(self, now: float, cost: Cost) -> bool:
        """Tell whether leased quota pays this cost; where it does not, ask the ledger for more."""
        if self._is_alone or not self._takes(cost):
            return True
        self._expire(now)
        if all(sum(getattr(block.left, kind) for block in self._blocks) >= getattr(cost, kind) for kind in self._kinds):
            return True
        self._call(self._quota)
        return False

    def take(self, cost: Cost) -> Lease:
        """Use leased quota that `covers` has found."""
        lease: Lease = []
        if not self._takes(cost):
            return lease
        if self._is_alone:
            self._owe(cost)
            return lease
        self._taken += 1
        missing = self._part(cost)
        for block in self._blocks:
            part = Cost(*(min(getattr(missing, kind), getattr(block.left, kind)) for kind in _KINDS))
            if part != FREE:
                block.left, missing = _minus(block.left, part), _minus(missing, part)
                lease.append((block, part))
            if missing == FREE:
                break
        return lease

    def _owe(self, cost: Cost) -> None:
        """Remember what was taken without the ledger; it is told when it answers again."""
        part, days = self._part(cost), self._days()
        news = self._returned[self._telling :]
        if news and news[-1].days == days and news[-1].cost.requests <= 0:
            part = _minus(part, self._returned.pop().cost)
        self._returned.append(Returned(0.0, _minus(FREE, part), days))

    def give_back(self, lease: Lease) -> None:
        """Return what nobody has counted: the request was never sent."""
        for block, part in lease:
            self._returned.append(Returned(block.at, part, block.days))
        lease.clear()

    def settle_tokens(self, lease: Lease, *, actual: int) -> None:
        """Correct leased tokens to what the provider counted."""
        excess = sum(part.tokens for _, part in lease) - actual
        if "tokens" not in self._kinds or not lease or not excess:
            return
        block = lease[-1][0]
        self._returned.append(Returned(block.at, Cost(requests=0, images=0, tokens=excess), frozenset()))

    def tell_blocked(self, seconds: float) -> None:
        """Let everybody wait who works on the account: the provider said so."""
        self._blocked_for = max(self._blocked_for, seconds)
        self._wake.set()

    def tell_day_spent(self) -> None:
        """Let everybody know that the provider calls the day spent. Around midnight it means the one that ends."""
        self._spent_days |= frozenset(sorted(self._days())[:1])
        self._wake.set()

    # The loop beside the gate

    @contextlib.asynccontextmanager
    async def at_work(self, demand: Callable[[], Demand], on_news: Callable[[], None]) -> AsyncIterator[None]:
        """Exchange with the ledger while the block lasts; then give everything back.

        Args:
            demand: What the gate would take now.
            on_news: Called when that may have changed what the gate can do.
        """
        error: Exception | None = None
        async with asyncio.TaskGroup() as group:
            loop = group.create_task(self._loop(demand, on_news))
            try:
                yield
            except Exception as caught:  # noqa: BLE001 - it goes on below, as itself and in no group
                error = caught
            finally:
                self._is_leaving = True
                self._wake.set()  # an exchange under way ends first, or what it leases would be lost
                await loop
                await self._leave()
        if error is not None:
            raise error

    async def _loop(self, demand: Callable[[], Demand], on_news: Callable[[], None]) -> None:
        while await self._pause():
            ask = self._compose(demand())
            try:
                self._apply(await self._ledger.exchange(self._account, ask), ask)
            except LedgerError as error:
                self._go_alone(error, ask)
            on_news()

    async def _pause(self) -> bool:
        """Sleep until the next exchange is due: the gate needs something, or it is time to say something.

        Returns:
            Whether there is to be one: not after the end.
        """
        while not self._is_leaving and (delay := self._next_at() - self._clock.monotonic()) > 0:
            self._wake.clear()
            async with asyncio.TaskGroup() as group:
                waits = [group.create_task(self._wake.wait()), group.create_task(self._clock.sleep(delay))]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        return not self._is_leaving

    def _next_at(self) -> float:
        if self._is_alone:
            return self._alone_until
        due = [self._said_at + _BEAT_SECONDS]
        due += [needs.ask_at for needs in (self._quota, self._places) if needs.missing]
        if self._blocked_for or self._spent_days:
            due.append(-inf)
        if self._blocks or self._returned:
            due.append(self._said_at + 2 * LEASE_SECONDS)
        if self._slots:
            due.append(self._said_at + (LEASE_SECONDS if self._slots > self._fair_slots else _LOOK_SECONDS))
        return min(due)

    def _compose(self, demand: Demand) -> Ask:
        """Say what is needed; give back what is not."""
        now = self._clock.monotonic()
        self._expire(now)
        self._measure(now)
        useful = min(demand.limit, demand.in_flight + demand.waiting)
        keep = max(demand.in_flight, min(self._slots, self._fair_slots, useful))
        covered = sum(block.left.requests for block in self._blocks)
        insiders = [cost for cost in demand.insiders if self._takes(cost)]
        free = max(0, demand.limit - demand.in_flight)
        newcomers = [cost for cost in demand.newcomers if self._takes(cost)]
        ask = Ask(
            holder=self._holder,
            meters=self._meters,
            concurrency=self._concurrency,
            days=self._days(),
            per_day=self._per_day,
            costs=[*insiders, *newcomers][covered:],
            insiders=max(0, len(insiders) - covered),
            entering=max(0, len(insiders) + min(free, len(newcomers)) - covered),
            ahead=int(self._rate * LEASE_SECONDS),
            slots=keep,
            in_flight=demand.in_flight + max(0, covered - len(insiders)),
            wants_slots=max(0, useful - keep),
            returned=tuple(self._returned),
            blocked_for=self._blocked_for,
            spent_days=self._spent_days,
        )
        self._quota.missing = self._places.missing = False
        self._telling = len(self._returned)
        return ask

    def _apply(self, answer: Answer, ask: Ask) -> None:
        now = self._clock.monotonic()
        del self._returned[: self._telling]
        self._telling = 0
        if self._blocked_for == ask.blocked_for:  # else somebody told more meanwhile
            self._blocked_for = 0.0
        self._spent_days -= ask.spent_days
        is_first = self._said_at == -inf  # it was before anybody stood in line
        self._is_alone, self._said_at = False, now
        self._slots, self._fair_slots = answer.slots, answer.fair_slots
        if answer.granted:
            leased = [self._part(cost) for cost in ask.costs[: answer.granted]]
            total = Cost(*(sum(getattr(cost, kind) for cost in leased) for kind in _KINDS))
            self._blocks.append(Block(answer.at, now + LEASE_SECONDS, ask.days, total))
        got_slots = answer.slots > ask.slots
        self._quota.ask_at = now + _wait(answer.quota_in, got=is_first or got_slots or answer.granted > 0)
        self._places.ask_at = now + _wait(answer.slots_in, got=is_first or got_slots)
        for day, spent in answer.days.items():
            unused = sum(block.left.requests for block in self._blocks if day in block.days)
            self._day.correct(dt.date.fromisoformat(day), spent - unused)

    def _go_alone(self, error: LedgerError, ask: Ask) -> None:
        if not self._is_alone:
            self._warn(f"{error.message}; until it answers, this run keeps the limits for itself alone")
        # Nobody knows whether it was done: what is given back twice lets too much through, what is owed twice does not.
        owed = [item for item in ask.returned if item.cost.requests < 0 or item.cost.tokens < 0]
        self._returned[: self._telling] = owed
        self._telling = 0
        self._blocks.clear()
        self._is_alone = True
        self._alone_until = self._clock.monotonic() + _ALONE_SECONDS

    async def _leave(self) -> None:
        """Give everything back. A ledger that does not take it will find out by itself that the holder is gone."""
        self._expire(inf)
        ask = Ask(self._holder, self._meters, self._concurrency, returned=tuple(self._returned), leaves=True)
        with contextlib.suppress(LedgerError):
            await self._ledger.exchange(self._account, ask)

    def _call(self, needs: _Needs) -> None:
        if not needs.missing:
            needs.missing = True
            self._wake.set()

    def _expire(self, now: float) -> None:
        while self._blocks and (self._blocks[0].until <= now or self._blocks[0].left == FREE):
            block = self._blocks.popleft()
            if block.left != FREE:
                self._returned.append(Returned(block.at, block.left, block.days))

    def _measure(self, now: float) -> None:
        """Follow how fast the gate takes: the old rate counts half, so that one quiet moment does not forget it."""
        if (elapsed := now - self._taken_since) >= LEASE_SECONDS:
            self._rate = (self._rate + self._taken / elapsed) / 2
            self._taken, self._taken_since = 0, now

    def _days(self) -> frozenset[str]:
        if self._per_day is None:
            return frozenset()
        return frozenset(day.isoformat() for day in self._day.days(self._clock.wall()))

    def _takes(self, cost: Cost) -> bool:
        return any(getattr(cost, kind) for kind in self._kinds)

    def _part(self, cost: Cost) -> Cost:
        """Return what of a cost must be leased."""
        return Cost(*(getattr(cost, kind) if kind in self._kinds else 0 for kind in _KINDS))


_KINDS = ("requests", "images", "tokens")  # the fields of a cost, in their order


def _wait(seconds: float, *, got: bool) -> float:
    """Return when to ask again: an exchange that gave nothing is never repeated at once."""
    return min(max(seconds, 0.0 if got else _RETRY_SECONDS), _LOOK_SECONDS)


def _minus(cost: Cost, part: Cost) -> Cost:
    return Cost(cost.requests - part.requests, cost.images - part.images, cost.tokens - part.tokens)
