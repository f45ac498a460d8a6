"""Does blocking work beside the event loop, all that has gathered in one go: a thread's turn has its price."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from nanobatch.errors import NanobatchError

T = TypeVar("T")
BATCHES_AT_ONCE = 4  # a disk flushes several files in hardly more time than one


class Offload:
    """Runs functions in threads, a few threads at once, each with everything that waited when it began.

    What is asked for within one turn of the loop goes out together. While all threads are busy, work gathers.

    >>> offload = Offload()
    >>> async def flushed(part: Path) -> None:
    ...     await offload(lambda: store.flush(part))
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._running = 0
        self._is_called = False

    async def __call__(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, and raise what it raises. It runs to its end even if nobody waits any more."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((work, done))
        if not self._is_called and self._running < BATCHES_AT_ONCE:
            self._is_called = True
            loop.call_soon(self._start)
        return await done

    def _start(self) -> None:
        self._is_called = False
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        self._running += 1
        thread = asyncio.get_running_loop().run_in_executor(None, _do_all, [work for work, _ in batch])
        thread.add_done_callback(lambda ended: self._finish(ended, [done for _, done in batch]))

    def _finish(self, ended: asyncio.Future[list[Any]], waiting: list[asyncio.Future[Any]]) -> None:
        self._running -= 1
        bug = asyncio.CancelledError() if ended.cancelled() else ended.exception()
        for number, done in enumerate(waiting):
            if done.done():  # whoever waited was cancelled
                continue
            outcome = bug or ended.result()[number]
            if isinstance(outcome, asyncio.CancelledError):
                done.cancel()
            elif isinstance(outcome, BaseException):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)
        self._start()


def _do_all(batch: list[Callable[[], Any]]) -> list[Any]:
    return [_outcome(work) for work in batch]


def _outcome(work: Callable[[], Any]) -> Any:
    """Return what a function returned or, of our own errors, raised; a bug ends the whole batch."""
    try:
        return work()
    except NanobatchError as error:
        return error
