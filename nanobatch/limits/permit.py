"""What an exchange holds while it is inside a gate: further requests, and the verdicts on them."""

from __future__ import annotations

from typing import Protocol

from nanobatch.errors import ExchangeError
from nanobatch.limits.line import Ticket
from nanobatch.model import Cost


class Keeper(Protocol):
    """What a permit needs of its gate."""

    async def follow_up(self, cost: Cost) -> Ticket:
        """Take the cost of a further request of an exchange that holds its slot."""
        ...

    def judge(self, ticket: Ticket, error: ExchangeError | None) -> None:
        """Learn from the end of a request."""
        ...

    def settle_tokens(self, ticket: Ticket, actual: int) -> None:
        """Correct the tokens of a request to what the provider reported."""
        ...


class Permit:
    """One exchange inside the gate."""

    def __init__(self, gate: Keeper, ticket: Ticket) -> None:
        self._gate = gate
        self._entry = ticket
        self._latest = ticket  # the request that the next verdict is about
        self._is_settled = False

    async def spend(self, cost: Cost) -> None:
        """Take what the next request of this exchange costs. Polls and downloads are free and never wait.

        The request before it counts as answered, unless `settle` said otherwise.

        Raises:
            LaneParked: The daily quota is spent.
            LaneClosed: The account was stopped.
        """
        self.settle()
        self._latest = await self._gate.follow_up(cost)
        self._is_settled = False

    def settle(self, error: ExchangeError | None = None) -> None:
        """Tell how the latest request ended; once. Leaving the gate tells it, where nobody did before.

        Args:
            error: Its failure, or None for success.
        """
        if not self._is_settled:
            self._is_settled = True
            self._gate.judge(self._latest, error)
            self._entry.is_probe = False

    def settle_tokens(self, actual: int) -> None:
        """Correct the tokens of the latest request to what the provider reported."""
        self._gate.settle_tokens(self._latest, actual)
