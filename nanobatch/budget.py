"""The user's limit on money: a request is sent only after its worst price was reserved.

Amounts are kept in whole millionths of a dollar, so that a thousand additions of $0.134 are exact.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from nanobatch.errors import LimitReached

_MICRO = 1_000_000


def _micro(usd: float) -> int:
    return round(usd * _MICRO)


@dataclass(slots=True)
class Reservation:
    """Money set aside for one request, in millionths of a dollar; nothing once it is settled."""

    amount: int


class Budget:
    """What may be spent, what is spent, and what is set aside for requests on the wire.

    `spent + possible + reserved` never exceeds the limit, however many requests are in flight: `reserve` and
    `settle` do not await between looking and taking.
    """

    def __init__(self, limit_usd: float | None) -> None:
        self._limit = None if limit_usd is None else _micro(limit_usd)
        self._spent = 0
        self._possible = 0
        self._reserved = 0
        self._changed = asyncio.Event()

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
        """
        amount = _micro(worst_usd)
        while self._limit is not None and self._spent + self._possible + self._reserved + amount > self._limit:
            if self._reserved == 0 or self._spent + self._possible + amount > self._limit:
                raise LimitReached(
                    f"the budget of ${self._limit / _MICRO:.2f} is used up: ${self.spent_usd:.3f} spent"
                    + (f", ${self.possible_usd:.3f} possibly billed" if self._possible else "")
                    + f", and the next image may cost ${worst_usd:.3f}"
                )
            self._changed.clear()
            await self._changed.wait()
        self._reserved += amount
        return Reservation(amount)

    def shrink(self, reservation: Reservation, worst_usd: float) -> None:
        """Set less aside: the request goes to a cheaper provider than it might have."""
        less = min(reservation.amount, _micro(worst_usd))
        if less < reservation.amount:
            self._reserved -= reservation.amount - less
            reservation.amount = less
            self._changed.set()

    def settle(self, reservation: Reservation, *, spent_usd: float = 0.0, possible_usd: float = 0.0) -> None:
        """Replace a reservation by what became of it."""
        self._reserved -= reservation.amount
        reservation.amount = 0
        self._spent += _micro(spent_usd)
        self._possible += _micro(possible_usd)
        self._changed.set()

    def release(self, reservation: Reservation) -> None:
        """Give back a reservation that came to nothing; one that is settled already stays as it is."""
        self.settle(reservation)
