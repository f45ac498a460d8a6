"""What all processes together take from one account: the arithmetic of the shared ledger.

The state is small and plain, so that any store which can replace a value atomically can keep it. One exchange does
everything: it gives back, asks for slots and quota, and tells that the asker is alive. Quota is leased in blocks, a
moment before it is used; whoever dies with a block wastes it for a minute and never lets anybody exceed the limit.

Among several who wait, the one that has had the least comes first. What somebody had before the others came counts for
one window at most, so that nobody starves for longer than that.

Pure: time is an argument, in wall-clock seconds of whoever keeps the store.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from nanobatch.model import Cost

LEASE_SECONDS = 0.25  # a block is used within this time or given back; added to the window
ALIVE_SECONDS = 45.0  # without a word for longer, a process is dead and its slots are free
_FRESH_SECONDS = 2.5  # who has not asked for longer does not wait any more
_CELLS_PER_WINDOW = 600
_FAIR_SECONDS = 0.05  # until somebody who waits behind others asks again
_BACK_SECONDS = 1.0  # until somebody looks whether others gave back what they had leased
_SLOT_SECONDS = 0.25  # until somebody looks whether others gave up a slot
_AHEAD = 10  # one part in so many of what is left may be leased before it is needed
_STEPS = 256  # in which what is left is dealt out
_DAYS_KEPT = 3


class Cell(msgspec.Struct, array_like=True):
    """What was taken within a short time and comes back together."""

    first: float
    last: float
    amount: int


class Holder(msgspec.Struct, array_like=True):
    """One process at work on the account."""

    seen: float = 0.0
    slots: int = 0
    level: float = 0.0  # requests it has had, as far as they count for fairness
    wants: int = 0  # requests that wait
    wants_slots: int = 0


class Account(msgspec.Struct):
    """What is known of an account."""

    meters: dict[str, list[Cell]] = {}
    days: dict[str, int] = {}
    holders: dict[str, Holder] = {}
    blocked_until: float = 0.0
    asked_at: float = 0.0  # last, by the clock of then


@dataclass(frozen=True, slots=True)
class Meter:
    """A limit per window on one kind of thing: `requests`, `images` or `tokens` (the fields of a cost)."""

    kind: str
    capacity: int
    period_seconds: float  # the window and the margin


@dataclass(frozen=True, slots=True)
class Returned:
    """Part of a lease that was not used; negative amounts were used without having been leased."""

    at: float  # when it was leased
    cost: Cost
    days: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ask:
    """What one process says and wants.

    The costs stand in the order of its line: first those that hold a slot already, then the newcomers.
    """

    holder: str
    meters: Sequence[Meter]
    concurrency: int
    days: frozenset[str] = frozenset()  # on which a request counts now
    per_day: int | None = None
    costs: Sequence[Cost] = ()
    insiders: int = 0  # how many of the costs need no slot
    entering: int = 0  # how many of them could be sent now, as far as the process itself is concerned
    ahead: int = 0  # how many more may be leased, if there is plenty
    slots: int = 0  # held from now on
    in_flight: int = 0  # with those whose quota is leased already
    wants_slots: int = 0
    returned: Sequence[Returned] = ()
    blocked_for: float = 0.0  # seconds for which the provider asked everybody to wait
    spent_days: frozenset[str] = frozenset()  # that are over, as the provider says
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What it gets."""

    at: float  # now, as the ledger sees it
    granted: int = 0  # how many of the costs
    slots: int = 0  # held now
    fair_slots: int = 0  # as many as it should keep while others wait
    quota_in: float = 0.0  # seconds until asking for more may help
    slots_in: float = 0.0
    days: Mapping[str, int] = field(default_factory=dict)  # requests of all processes, on the days asked for


def _nobody(_holder: str) -> bool:
    return False


def exchange(account: Account, ask: Ask, now: float, *, is_gone: Callable[[str], bool] = _nobody) -> Answer:
    """Do what one process asks, in place.

    Args:
        account: Changed.
        ask: What it says and wants.
        now: Wall-clock seconds of whoever keeps the account.
        is_gone: Tells of a holder's name whether that process is certainly dead.
    """
    for name in [name for name in account.holders if name != ask.holder and is_gone(name)]:
        del account.holders[name]
    return _Exchange(account, ask, now).run()


@dataclass(slots=True)
class _Exchange:
    """One exchange."""

    account: Account
    ask: Ask
    now: float
    _left: dict[str, int] = field(default_factory=dict)  # by kind: what the window still holds

    def run(self) -> Answer:
        """Take back, then give."""
        account, ask, now = self.account, self.ask, self.now
        self._forget()
        for item in ask.returned:
            self._take_back(item)
        if ask.per_day is not None:
            for day in ask.spent_days:
                account.days[day] = max(ask.per_day, account.days.get(day, 0))
        if ask.leaves:
            account.holders.pop(ask.holder, None)
            return Answer(now)
        if ask.blocked_for > 0:
            account.blocked_until = max(account.blocked_until, now + ask.blocked_for)
        me = account.holders.setdefault(ask.holder, Holder())
        me.seen, me.slots = now, ask.slots
        me.wants, me.wants_slots = ask.entering, ask.wants_slots
        self._catch_up(me)
        scarce = self._is_scarce(me)
        granted, quota_in, slots_in = self._give_both(me) if scarce else self._give_slots_first(me)
        me.level += granted
        me.wants = max(0, me.wants - granted)
        return Answer(
            at=now,
            granted=granted,
            slots=me.slots,
            fair_slots=ask.concurrency if scarce else self._fair_slots(me),
            quota_in=quota_in,
            slots_in=slots_in,
            days={day: account.days.get(day, 0) for day in ask.days},
        )

    # What time and others give back

    def _forget(self) -> None:
        account, now = self.account, self.now
        if now < account.asked_at:  # the clock was set back: what is on lasts as long as it would have
            account.blocked_until -= account.asked_at - now
            for who in account.holders.values():
                who.seen = min(who.seen, now)
        account.asked_at = now
        for name in [name for name, who in account.holders.items() if who.seen <= now - ALIVE_SECONDS]:
            del account.holders[name]
        for meter in self.ask.meters:
            cells = account.meters.setdefault(meter.kind, [])
            for cell in cells:  # a clock that was ahead and is right again must not block for ever
                cell.first, cell.last = min(cell.first, now), min(cell.last, now)
            gone = 0
            while gone < len(cells) and cells[gone].last + meter.period_seconds <= now:
                gone += 1
            del cells[:gone]
            self._left[meter.kind] = meter.capacity - sum(cell.amount for cell in cells)
        for day in sorted(account.days)[:-_DAYS_KEPT]:
            if day not in self.ask.days:  # as after days of a clock that was ahead
                del account.days[day]

    def _take_back(self, item: Returned) -> None:
        for meter in self.ask.meters:
            amount = getattr(item.cost, meter.kind)
            if amount < 0:
                self._put(meter, -amount)
                continue
            for cell in reversed(self.account.meters[meter.kind]):
                if cell.first <= item.at <= cell.last:
                    back = min(amount, cell.amount)
                    cell.amount -= back
                    self._left[meter.kind] += back
                    break
        for day in item.days:
            self.account.days[day] = max(0, self.account.days.get(day, 0) - item.cost.requests)

    # Whose turn it is

    def _rivals(self, me: Holder) -> list[Holder]:
        """Return who else waits for something just now."""
        holders = self.account.holders.values()
        fresh = [who for who in holders if who is not me and who.seen > self.now - _FRESH_SECONDS]
        return [who for who in fresh if who.wants or who.wants_slots]

    def _catch_up(self, me: Holder) -> None:
        """Let a newcomer, or somebody who rested, begin at most one window behind the others."""
        capacity = next((meter.capacity for meter in self.ask.meters if meter.kind == "requests"), None)
        levels = [who.level for who in self._rivals(me) if who.wants]
        if capacity is not None and levels and me.wants:
            me.level = max(me.level, min(levels) - capacity)

    def _is_scarce(self, me: Holder) -> bool:
        """Tell whether quota is what all wait for: then slots are given with it, to whoever has had the least."""
        wanted = me.wants + sum(who.wants for who in self._rivals(me))
        return bool(me.wants) and self._room() < min(wanted, self.ask.concurrency)

    def _room(self) -> int:
        """Return how many requests like the first in line the quota still holds."""
        cost = self.ask.costs[0]
        room = [
            max(0, self._left[meter.kind]) // amount
            for meter in self.ask.meters
            if (amount := getattr(cost, meter.kind)) > 0
        ]
        if self.ask.per_day is not None and cost.requests:
            room.append(self._left_today() // cost.requests)
        return min(room, default=len(self.ask.costs) + self.ask.concurrency)

    # Where quota is scarce

    def _give_both(self, me: Holder) -> tuple[int, float, float]:
        """Grant my part of the quota, with the slots for it; return the number, and when to ask again for each."""
        ask = self.ask
        me.slots = min(ask.slots, ask.in_flight)  # one without quota would keep somebody waiting who had less
        if (pause := self.account.blocked_until - self.now) > 0:
            return 0, pause, pause
        free = self._free_slots()
        rivals = [(who.level, who.wants) for who in self._rivals(me) if who.wants]
        part = _deal(min(self._room(), free + ask.insiders), (me.level, me.wants), rivals)
        granted = 0
        while granted < min(part, ask.insiders + free) and self._fits(ask.costs[granted]):
            self._spend(ask.costs[granted])
            granted += 1
        me.slots += max(0, granted - ask.insiders)
        if granted == ask.entering:
            return granted, 0.0, 0.0
        if not self._fits(ask.costs[granted]):
            wait = self._fits_in(ask.costs[granted])
        else:
            wait = _FAIR_SECONDS if granted == part else _SLOT_SECONDS
        return granted, wait, wait

    # Where there is plenty

    def _give_slots_first(self, me: Holder) -> tuple[int, float, float]:
        """Give a fair part of the slots, then quota to all who have one; return as above."""
        ask = self.ask
        slots_in = self._give_slots(me)
        if not ask.costs:
            return 0, 0.0, slots_in
        if (pause := self.account.blocked_until - self.now) > 0:
            return 0, pause, slots_in
        needed = min(ask.entering, ask.insiders + max(0, me.slots - ask.in_flight))
        granted = 0
        while granted < needed and self._fits(ask.costs[granted]):
            self._spend(ask.costs[granted])
            granted += 1
        if granted < needed:
            return granted, self._fits_in(ask.costs[granted]), slots_in
        return granted + self._lease_ahead(ask.costs[needed:]), 0.0, slots_in

    def _give_slots(self, me: Holder) -> float:
        """Give as many of the slots wanted as are free and fair; return the seconds until there may be more."""
        if not me.wants_slots:
            return 0.0
        rivals = [(float(who.slots), who.wants_slots) for who in self._rivals(me) if who.wants_slots]
        gained = max(0, _deal(self._free_slots(), (float(me.slots), me.wants_slots), rivals))
        me.slots += gained
        me.wants_slots -= gained
        return _SLOT_SECONDS if me.wants_slots else 0.0

    def _free_slots(self) -> int:
        return max(0, self.ask.concurrency - sum(who.slots for who in self.account.holders.values()))

    def _fair_slots(self, me: Holder) -> int:
        """Return how many slots may be kept while others wait for one."""
        if not any(who.wants_slots for who in self._rivals(me)):
            return self.ask.concurrency
        others = [(0.0, who.slots + who.wants_slots) for who in self.account.holders.values() if who is not me]
        return max(1, _deal(self.ask.concurrency, (0.0, me.slots + me.wants_slots), others))

    def _lease_ahead(self, costs: Sequence[Cost]) -> int:
        """Lease for those next in line, where there is plenty: the last of a window must not lie with somebody idle."""
        plenty = min([left // _AHEAD for left in self._left.values()], default=0)
        if self.ask.per_day is not None:
            plenty = min(plenty, self._left_today() // (2 * _AHEAD))
        if not self.ask.meters:
            plenty = self.ask.ahead if self.ask.per_day is None else self._left_today() // (2 * _AHEAD)
        count = 0
        for cost in costs[: min(self.ask.ahead, plenty)]:
            if not self._fits(cost):
                break
            self._spend(cost)
            count += 1
        return count

    def _fits(self, cost: Cost) -> bool:
        if self.ask.per_day is not None and cost.requests > self._left_today():
            return False
        return all(self._left[meter.kind] >= getattr(cost, meter.kind) for meter in self.ask.meters)

    def _fits_in(self, cost: Cost) -> float:
        """Return the seconds until a cost fits. On a spent day only what others give back can help."""
        if self.ask.per_day is not None and cost.requests > self._left_today():
            return _BACK_SECONDS
        waits = [0.0]
        for meter in self.ask.meters:
            missing = getattr(cost, meter.kind) - self._left[meter.kind]
            for cell in self.account.meters[meter.kind]:
                if missing <= 0:
                    break
                missing -= cell.amount
                waits.append(cell.last + meter.period_seconds - self.now)
        return max(waits)

    def _left_today(self) -> int:
        spent = max((self.account.days.get(day, 0) for day in self.ask.days), default=0)
        return max(0, (self.ask.per_day or 0) - spent)

    def _spend(self, cost: Cost) -> None:
        for meter in self.ask.meters:
            if amount := getattr(cost, meter.kind):
                self._put(meter, amount)
        if self.ask.per_day is not None:
            for day in self.ask.days:
                self.account.days[day] = self.account.days.get(day, 0) + cost.requests

    def _put(self, meter: Meter, amount: int) -> None:
        cells = self.account.meters[meter.kind]
        self._left[meter.kind] -= amount
        if cells and self.now - cells[-1].first <= meter.period_seconds / _CELLS_PER_WINDOW:
            cells[-1].last = self.now
            cells[-1].amount += amount
        else:
            cells.append(Cell(self.now, self.now, amount))


def _deal(room: int, mine: tuple[float, int], others: Sequence[tuple[float, int]]) -> int:
    """Deal out `room` things one by one, each to whoever has had the least and still wants; return my part.

    Args:
        room: How many there are.
        mine: What I have had, and how many more I want.
        others: The same of the others. Between equals I come first.
    """
    if room >= mine[1] + sum(wanted for _, wanted in others):
        return mine[1]
    step = max(1, room // _STEPS)
    heap = [(level, place, wanted) for place, (level, wanted) in enumerate([mine, *others]) if wanted > 0]
    heapq.heapify(heap)
    part = 0
    while room > 0 and heap:
        level, place, wanted = heapq.heappop(heap)
        given = min(step, wanted, room)
        room -= given
        if place == 0:
            part += given
        if wanted > given:
            heapq.heappush(heap, (level + given, place, wanted - given))
    return part
