"""Waits at several gates at once and enters the first that opens: how providers of different speed share one queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nanobatch.limits.gate import Gate
from nanobatch.limits.health import LaneClosed, LaneDown, LaneParked
from nanobatch.limits.line import Ticket
from nanobatch.model import Cost


async def first_to_admit(gates: Sequence[Gate], cost: Cost) -> tuple[int, Ticket]:
    """Return the place of the first gate that admits the cost, and the ticket that holds its slot.

    Earlier gates win where several are open. What others granted at the same moment is given back unused.

    Raises:
        LaneParked: No gate is left, and this one rests; the first of the refusals is raised.
        LaneClosed: The same, for one that takes nothing more.
        LaneDown: The same, for one that stopped answering.
        ConfigError: The cost exceeds a limit by itself.
    """
    if len(gates) == 1:
        return 0, await gates[0].enter(cost)
    for place, gate in enumerate(gates):
        if gate.is_free(cost):
            return place, await gate.enter(cost)  # does not wait: nobody stands in its line
    waits = [asyncio.ensure_future(gate.enter(cost)) for gate in gates]
    winner: int | None = None
    try:
        while winner is None:
            await asyncio.wait([wait for wait in waits if not wait.done()], return_when=asyncio.FIRST_COMPLETED)
            winner = next((place for place, wait in enumerate(waits) if wait.done() and _granted(wait)), None)
            if winner is None and all(wait.done() for wait in waits):
                raise next(error for wait in waits if (error := wait.exception()) is not None)
        return winner, waits[winner].result()
    finally:
        for place, wait in enumerate(waits):
            if place != winner:
                _withdraw(gates[place], wait)


def _granted(wait: asyncio.Future[Ticket]) -> bool:
    error = wait.exception()
    if error is not None and not isinstance(error, LaneParked | LaneClosed | LaneDown):
        raise error
    return error is None


def _withdraw(gate: Gate, wait: asyncio.Future[Ticket]) -> None:
    """Leave a line, or give back what was granted meanwhile. Does not wait, so nothing can come in between."""

    def tidy(ended: asyncio.Future[Ticket]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            gate.give_back(ended.result())

    wait.cancel()
    wait.add_done_callback(tidy)
