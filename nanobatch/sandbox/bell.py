"""Wakes everybody who waits for something to change."""

from __future__ import annotations

import asyncio
import contextlib


class Bell:
    """Rings for those who wait now, and not for those who come later."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake them."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float | None = None) -> None:
        """Sleep until it rings, or until the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
