"""The user's limits on money, of a run and of a day: a request is sent only after its worst price was reserved.

Amounts are kept in whole millionths of a dollar, so that a thousand additions of $0.134 are exact.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from nanobatch.errors import LimitReached
from nanobatch.spending import DayTotals

_MICRO = 1_000_000


def micro(usd: float) -> int:
    """Turn dollars into whole millionths."""
    return round(usd * _MICRO)


class DayMoney(Protocol):
    """What all runs spend in a day, wherever that is kept; see `DaySpending`."""

    @property
    def limit(self) -> int:
        """What they may spend, in millionths of a dollar."""
        ...

    def today(self) -> str:
        """Return the day of now."""
        ...

    def take(self, amount: int) -> str | None:
        """Set an amount aside; return the day on which it counts, or None where the day has no room for it."""
        ...

    @property
    def run(self) -> str:
        """How this run is called there."""
        ...

    def adopt(self, day: str, run: str, amount: int) -> bool:
        """Go on with an amount that another run has set aside on a day; tell whether it is there."""
        ...

    def settle(self, day: str, amount: int, *, spent: int = 0, possible: int = 0, run: str | None = None) -> None:
        """Replace what this run, or the one that is named, has set aside by what became of it."""
        ...

    def totals(self, day: str | None = None) -> DayTotals:
        """Add up what all runs have done on a day."""
        ...


@dataclass(slots=True)
class Reservation:
    """Money set aside for one request, in millionths of a dollar; nothing once it is settled."""

    amount: int
    day: str | None = None  # on which it counts, where there is a limit for days
    run: str | None = None  # the earlier run that set it aside, in whose name it stays until it is settled


class Budget:
    """What may be spent, what is spent, and what is set aside for requests on the wire.

    `spent + possible + reserved` never exceeds the limit, however many requests are in flight: `reserve` and
    `settle` do not await between looking and taking.

    Args:
        limit_usd: For this run; None is no limit.
        day: What all runs of the day spend, where that has a limit.
    """

    def __init__(self, limit_usd: float | None, day: DayMoney | None = None) -> None:
        self._limit = None if limit_usd is None else micro(limit_usd)
        self._day = day
        self._spent = 0
        self._possible = 0
        self._reserved = 0
        self._changed = asyncio.Event()

    @property
    def run(self) -> str:
        """How the day's money calls this run; nothing where days have no limit."""
        return self._day.run if self._day is not None else ""

    @property
    def spent_usd(self) -> float:
        """Settled money."""
        return self._spent / _MICRO

    @property
    def possible_usd(self) -> float:
        """Money for requests of which nobody can know whether they were billed; it counts as spent."""
        return self._possible / _MICRO

    async def reserve(self, worst_usd: float) -> Reservation:
        """Set aside the most that a request may cost, waiting while requests on the wire may still cost less.

        Raises:
            LimitReached: The rest of the budget does not cover the request, whatever those on the wire cost.
            StoreError: The day's spending cannot be written down.
        """
        while (reservation := self.reserve_now(worst_usd)) is None:
            self._changed.clear()
            await self._changed.wait()
        return reservation

    def reserve_now(self, worst_usd: float) -> Reservation | None:
        """Set money aside without waiting; None while requests on the wire may still make room for it.

        Raises:
            LimitReached: They cannot.
            StoreError: The day's spending cannot be written down.
        """
        amount = micro(worst_usd)
        reservation = self._on_the_day(amount) if self._fits(amount) else None
        if reservation is not None:
            self._reserved += amount
        return reservation

    def take_over(self, worst_usd: float, *, day: str | None, run: str) -> Reservation | None:
        """Set money aside for an order that an earlier run has paid for in advance, without counting it twice a day.

        Args:
            worst_usd: The most that it may cost.
            day: On which that run has set it aside; None where it has not.
            run: How that run was called.

        Raises:
            LimitReached: This run's budget does not cover it.
            StoreError: The day's spending cannot be written down.
        """
        amount = micro(worst_usd)
        if not self._fits(amount) or self._day is None or not day or not self._day.adopt(day, run, amount):
            return self.reserve_now(worst_usd)
        self._reserved += amount
        return Reservation(amount, day, run)

    def _fits(self, amount: int) -> bool:
        """Tell whether the run's budget covers an amount now.

        Raises:
            LimitReached: It never will, whatever the requests on the wire cost.
        """
        if self._limit is None or self._spent + self._possible + self._reserved + amount <= self._limit:
            return True
        if self._reserved and self._spent + self._possible + amount <= self._limit:
            return False
        raise LimitReached(
            f"the budget of ${self._limit / _MICRO:.2f} is used up: ${self.spent_usd:.3f} spent"
            + (f", ${self.possible_usd:.3f} possibly billed" if self._possible else "")
            + f", and the next image may cost ${amount / _MICRO:.3f}"
        )

    def _on_the_day(self, amount: int) -> Reservation | None:
        """Set an amount aside on the day; None while this run's requests on the wire may still make room for it.

        Raises:
            LimitReached: They cannot.
        """
        if self._day is None or not amount:
            return Reservation(amount)
        while (day := self._day.take(amount)) is None:
            totals = self._day.totals()
            if totals.all + amount <= self._day.limit:
                continue  # another run has given something back just now
            others = max(0, totals.reserved - self._reserved)
            if self._reserved and totals.spent + totals.possible + others + amount <= self._day.limit:
                return None
            raise LimitReached(
                f"the budget of ${self._day.limit / _MICRO:.2f} a day is used up: "
                f"${totals.spent / _MICRO:.3f} spent today"
                + (f", ${totals.possible / _MICRO:.3f} possibly billed" if totals.possible else "")
                + (f", ${others / _MICRO:.3f} set aside by other runs" if others else "")
                + f", and the next image may cost ${amount / _MICRO:.3f}; the day ends at midnight"
            )
        return Reservation(amount, day)

    def shrink(self, reservation: Reservation, worst_usd: float) -> None:
        """Set less aside: the request goes to a cheaper provider than it might have."""
        less = min(reservation.amount, micro(worst_usd))
        if less < reservation.amount:
            self._reserved -= reservation.amount - less
            self._settle_day(reservation, reservation.amount - less)
            reservation.amount = less
            self._changed.set()

    def settle(self, reservation: Reservation, *, spent_usd: float = 0.0, possible_usd: float = 0.0) -> None:
        """Replace a reservation by what became of it."""
        self._settle_day(reservation, reservation.amount, micro(spent_usd), micro(possible_usd))
        self._reserved -= reservation.amount
        reservation.amount = 0
        self._spent += micro(spent_usd)
        self._possible += micro(possible_usd)
        self._changed.set()

    def _settle_day(self, reservation: Reservation, amount: int, spent: int = 0, possible: int = 0) -> None:
        if self._day is not None and (amount or spent or possible):
            day = reservation.day or self._day.today()
            self._day.settle(day, amount, spent=spent, possible=possible, run=reservation.run)

    def release(self, reservation: Reservation) -> None:
        """Give back a reservation that came to nothing; one that is settled already stays as it is."""
        self.settle(reservation)
