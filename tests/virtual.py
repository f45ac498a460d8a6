"""An event loop on which time passes only when nothing else is left to do: a day takes as long as its work.

Threads do not exist there: what would run in one runs at once. So whatever happens is a function of its seeds.

    with virtual_time(start=NOON) as (loop, clock):
        loop.run_until_complete(main(clock))
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Callable, Iterator
from typing import Any

MONOTONIC_START = 1000.0


class _Leap(selectors.SelectSelector):
    """Tells at once which files are ready; where none is, moves time on instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("everybody waits for something that will never happen")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        del executor
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
            done.set_exception(error)
        return done


class VirtualClock:
    """The clock of a loop."""

    def __init__(self, loop: VirtualLoop, start: float) -> None:
        self._loop, self._start = loop, start

    def monotonic(self) -> float:
        return MONOTONIC_START + self._loop.time()

    def wall(self) -> float:
        return self._start + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


@contextlib.contextmanager
def virtual_time(*, start: float) -> Iterator[tuple[VirtualLoop, VirtualClock]]:
    """Open a loop whose clock begins at `start`, in seconds since 1970."""
    loop = VirtualLoop()
    try:
        yield loop, VirtualClock(loop, start)
    finally:
        with contextlib.suppress(RuntimeError):
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
