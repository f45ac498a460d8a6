"""Keeps one turn of the event loop short: much work that is ready at once is let through a few pieces at a time."""

from __future__ import annotations

import asyncio
from collections import deque


class Turnstile:
    """Lets at most `per_turn` pieces of work through in one turn of the event loop, in the order of asking.

    >>> turnstile = Turnstile(16)
    >>> async def decode(chunk: bytes) -> None:
    ...     await turnstile.turn()
    ...     scanner.feed(chunk)
    """

    def __init__(self, per_turn: int) -> None:
        self._per_turn = self._left = per_turn
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_crowded(self) -> bool:
        """Whether somebody who comes now has to wait for the next turn."""
        return not self._left

    async def turn(self) -> None:
        """Wait until it is the caller's turn."""
        if self._left:
            self._pass()
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _pass(self) -> None:
        if self._left == self._per_turn:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._left -= 1

    def _next_turn(self) -> None:
        self._left = self._per_turn
        while self._waiting and self._left:
            waiting = self._waiting.popleft()
            if not waiting.done():  # whoever waited was cancelled
                self._pass()
                waiting.set_result(None)
