"""Who waits at a gate, in order: those who hold a slot already, then the newcomers; each first come, first served."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from math import inf

from nanobatch.limits.health import LaneClosed, LaneDown, LaneParked
from nanobatch.limits.quota import Receipt
from nanobatch.limits.share import Lease
from nanobatch.model import Cost


@dataclass(slots=True, eq=False)
class Ticket:
    """One request's place in the line, and later what it was granted."""

    cost: Cost
    holds_slot: bool  # a further request of an exchange that is inside already
    started_at: float = -inf  # monotonic seconds; when it was granted
    receipt: Receipt | None = None
    lease: Lease = field(default_factory=list)  # of the quota that processes share
    refusal: LaneParked | LaneClosed | LaneDown | None = None
    is_probe: bool = False
    news: asyncio.Future[None] | None = None

    def tell(self) -> None:
        """Wake it: it was granted or refused, or it is the head and its wait may end sooner than it thinks."""
        if self.news is not None and not self.news.done():
            self.news.set_result(None)


class Line:
    """A queue in two classes. Joining, leaving from anywhere and finding the head cost the same at any length."""

    def __init__(self) -> None:
        # An OrderedDict finds its first key at once; a dict walks over all the keys that were deleted before it.
        self._insiders: OrderedDict[Ticket, None] = OrderedDict()
        self._newcomers: OrderedDict[Ticket, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._insiders) + len(self._newcomers)

    def __iter__(self) -> Iterator[Ticket]:
        return chain(self._insiders, self._newcomers)

    @property
    def head(self) -> Ticket | None:
        """Whose turn it is. Who holds a slot goes first, or a gate full of them would wait for newcomers for ever."""
        return next(iter(self._insiders or self._newcomers), None)

    def costs(self, most: int) -> tuple[list[Cost], list[Cost]]:
        """Return the costs of those who hold a slot, and of the first newcomers."""
        return [ticket.cost for ticket in self._insiders], [ticket.cost for ticket in islice(self._newcomers, most)]

    def join(self, ticket: Ticket) -> None:
        """Stand at the end."""
        self._class(ticket)[ticket] = None

    def leave(self, ticket: Ticket) -> None:
        """Go, from whatever place, also if gone already."""
        self._class(ticket).pop(ticket, None)

    def _class(self, ticket: Ticket) -> OrderedDict[Ticket, None]:
        return self._insiders if ticket.holds_slot else self._newcomers
