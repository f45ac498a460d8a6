"""Work beside the loop: together where it comes together, each result to whoever asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from nanobatch.errors import DecodeError
from nanobatch.stores.offload import BATCHES_AT_ONCE, Offload

pytestmark = pytest.mark.anyio


async def test_each_gets_what_its_own_work_returned() -> None:
    """Results come back to those who asked, in whatever order the threads end."""
    offload = Offload()

    def square(number: int) -> Callable[[], int]:
        return lambda: number * number

    assert await asyncio.gather(*(offload(square(number)) for number in range(100))) == [n * n for n in range(100)]


async def test_what_comes_together_runs_together() -> None:
    """All that is asked for in one turn of the loop runs in one thread, and not in the loop's own."""
    offload = Offload()
    threads = await asyncio.gather(*(offload(threading.get_ident) for _ in range(20)))
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


async def test_few_threads_work_at_once() -> None:
    """While all threads are busy, work gathers; when one ends, it takes everything that waits."""
    offload, go_on = Offload(), threading.Event()
    blocked = []
    for _ in range(BATCHES_AT_ONCE):
        blocked.append(asyncio.ensure_future(offload(lambda: go_on.wait(10))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    waiting = [asyncio.ensure_future(offload(threading.get_ident)) for _ in range(10)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    go_on.set()
    assert all(await asyncio.gather(*blocked))
    assert len(set(await asyncio.gather(*waiting))) == 1


def fail(error: Exception) -> Callable[[], None]:
    """Return work that raises."""

    def work() -> None:
        raise error

    return work


async def test_an_error_reaches_its_own_waiter_only() -> None:
    """Work that fails with one of our errors harms nobody beside it."""
    offload = Offload()
    good, bad, other = await asyncio.gather(
        offload(lambda: 1), offload(fail(DecodeError("cut"))), offload(lambda: 2), return_exceptions=True
    )
    assert (good, other) == (1, 2)
    assert isinstance(bad, DecodeError)


async def test_a_bug_is_not_hidden() -> None:
    """An error that is none of ours reaches everybody in the batch, and the next batch works."""
    offload = Offload()
    results = await asyncio.gather(offload(lambda: 1), offload(fail(ZeroDivisionError("bug"))), return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError, ZeroDivisionError]
    assert await offload(lambda: 3) == 3


async def test_one_who_stops_waiting_stops_nobody() -> None:
    """Work whose waiter was cancelled runs to its end; the others get their results."""
    offload, done = Offload(), threading.Event()
    first = asyncio.ensure_future(offload(done.set))
    second = asyncio.ensure_future(offload(lambda: 2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 2
    assert done.is_set()
    with pytest.raises(asyncio.CancelledError):
        await first
