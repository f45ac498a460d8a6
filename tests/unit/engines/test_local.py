"""The worker pool: bounded, orderly, and quick to put down its work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nanobatch.clock import SystemClock
from nanobatch.engines.local import LocalEngine
from nanobatch.errors import StoreError
from nanobatch.events import Stopping
from nanobatch.model import Job, Request, Response
from nanobatch.settings import Limits
from nanobatch.stopping import StopReason
from tests.harness import Bench, make_job, success

pytestmark = pytest.mark.anyio
INTERRUPTED = StopReason("interrupted", "interrupted", 130)


@dataclass
class GatedSender:
    """A provider that answers when the test opens the gate."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    requests: list[Request] = field(default_factory=list)

    async def send(self, request: Request) -> Response:
        self.requests.append(request)
        self.arrived.release()
        await self.gate.wait()
        return success()


def engine(bench: Bench, *, workers: int = 4, grace_seconds: float = 30.0, sync: Any = None) -> LocalEngine:
    return LocalEngine(
        pipeline=bench.pipeline,
        clock=bench.clock,
        observe=bench.seen,
        stop=bench.stop,
        workers=workers,
        grace_seconds=grace_seconds,
        sync=sync or (lambda: None),
        tick=lambda: None,
    )


def bench(root: Path, jobs: int, concurrency: int = 4) -> Bench:
    return Bench(
        root, SystemClock(), {"a": [success()]}, [make_job(number) for number in range(1, jobs + 1)],
        limits={"a": Limits(concurrency=concurrency)},
    )  # fmt: skip


def images(root: Path) -> int:
    return len(list(root.rglob("*.png")))


async def test_every_job_is_done(tmp_path: Path) -> None:
    """More jobs than workers, and fewer: all of them end."""
    one = bench(tmp_path, 50)
    await engine(one).run(one.jobs)
    assert images(tmp_path) == 50
    few = bench(tmp_path / "few", 2)
    await engine(few, workers=16).run(few.jobs)
    assert images(tmp_path / "few") == 2


async def test_no_jobs_are_no_trouble(tmp_path: Path) -> None:
    """An empty input ends at once."""
    one = bench(tmp_path, 0)
    await engine(one).run([])
    assert images(tmp_path) == 0


async def test_the_input_is_read_no_further_than_the_workers_need(tmp_path: Path) -> None:
    """A million rows do not wait in memory: reading stops a queue's length ahead."""
    one = bench(tmp_path, 1000)
    sender = GatedSender()
    one.lanes[0].sender = sender
    read = 0

    def rows() -> Iterator[Job]:
        nonlocal read
        for job in one.jobs:
            read += 1
            yield job

    task = asyncio.ensure_future(engine(one, workers=4).run(rows()))
    for _ in range(4):
        await sender.arrived.acquire()
    assert read <= 4 + 4 + 2
    sender.gate.set()
    await task
    assert (read, images(tmp_path)) == (1000, 1000)


async def test_a_stop_lets_the_wire_finish_and_begins_nothing(tmp_path: Path) -> None:
    """After Ctrl-C no new request leaves; those on the wire become images."""
    one = bench(tmp_path, 100)
    sender = GatedSender()
    one.lanes[0].sender = sender
    task = asyncio.ensure_future(engine(one, workers=8).run(one.jobs))
    for _ in range(4):
        await sender.arrived.acquire()
    one.stop.insist(INTERRUPTED)
    await asyncio.sleep(0)
    sender.gate.set()
    await task
    assert (len(sender.requests), images(tmp_path)) == (4, 4)
    [told] = one.events(Stopping)
    assert (told.in_flight, told.grace_seconds) == (4, 30.0)


async def test_after_the_grace_the_wire_is_cut(tmp_path: Path) -> None:
    """A provider that hangs cannot keep an interrupted run alive."""
    one = bench(tmp_path, 10)
    sender = GatedSender()
    one.lanes[0].sender = sender
    task = asyncio.ensure_future(engine(one, grace_seconds=0.02).run(one.jobs))
    await sender.arrived.acquire()
    one.stop.insist(INTERRUPTED)
    await asyncio.wait_for(task, 5)
    assert images(tmp_path) == 0


async def test_asking_twice_ends_at_once(tmp_path: Path) -> None:
    """The second Ctrl-C does not wait for the grace."""
    one = bench(tmp_path, 10)
    sender = GatedSender()
    one.lanes[0].sender = sender
    task = asyncio.ensure_future(engine(one, grace_seconds=3600).run(one.jobs))
    await sender.arrived.acquire()
    one.stop.insist(INTERRUPTED)
    one.stop.insist(INTERRUPTED)
    await asyncio.wait_for(task, 5)
    assert task.done()


async def test_a_spent_quota_waits_for_the_wire_without_a_limit(tmp_path: Path) -> None:
    """A run that ends by itself has time: images on the wire are paid and are waited for."""
    one = bench(tmp_path, 10)
    sender = GatedSender()
    one.lanes[0].sender = sender
    task = asyncio.ensure_future(engine(one, grace_seconds=0.0).run(one.jobs))
    for _ in range(4):
        await sender.arrived.acquire()
    one.stop.ask(StopReason("quota", "spent", 5))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    sender.gate.set()
    await task
    assert images(tmp_path) == 4


async def test_a_store_that_fails_stops_the_run_with_its_reason(tmp_path: Path) -> None:
    """A full disk ends the run in order; it is not a crash."""
    one = bench(tmp_path, 20)

    def full(*_: object) -> None:
        raise StoreError("cannot write x: the disk is full")

    one.folder.store.adopt = full  # type: ignore[method-assign,assignment]
    await engine(one).run(one.jobs)
    assert one.stop.reason is not None
    assert (one.stop.reason.kind, one.stop.reason.exit_code) == ("store", 5)


async def test_a_flush_that_fails_stops_the_run_too(tmp_path: Path) -> None:
    """What cannot be made safe is not gone on with."""
    one = bench(tmp_path, 5)
    sender = GatedSender()
    one.lanes[0].sender = sender

    def failing() -> None:
        sender.gate.set()
        raise StoreError("cannot write y: input/output error")

    await asyncio.wait_for(engine(one, sync=failing).run(one.jobs), 10)
    assert one.stop.reason is not None
    assert one.stop.reason.kind == "store"


async def test_a_bug_is_loud(tmp_path: Path) -> None:
    """An error that is none of ours leaves the engine; it is not swallowed."""
    one = bench(tmp_path, 3)

    class Broken:
        async def send(self, _: Request) -> Response:
            raise ZeroDivisionError

    one.lanes[0].sender = Broken()
    with pytest.raises(ExceptionGroup) as caught:
        await engine(one).run(one.jobs)
    assert caught.value.subgroup(ZeroDivisionError) is not None


@dataclass
class CountingSender:
    """A provider that answers at once, and tells when it was asked often enough."""

    wanted: int
    requests: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, _: Request) -> Response:
        self.requests += 1
        if self.requests == self.wanted:
            self.reached.set()
        return success()


async def test_a_lane_that_hangs_takes_nobody_elses_workers(tmp_path: Path) -> None:
    """Rows pinned to a provider that does not answer stand first; all others are served meanwhile."""
    jobs = [make_job(number, provider="slow" if number <= 20 else "good") for number in range(1, 41)]
    one = Bench(
        tmp_path, SystemClock(), {"slow": [success()], "good": [success()]}, jobs,
        limits={"slow": Limits(concurrency=2), "good": Limits(concurrency=2)},
    )  # fmt: skip
    slow, good = GatedSender(), CountingSender(20)
    one.lanes[0].sender, one.lanes[1].sender = slow, good
    work = asyncio.ensure_future(engine(one, workers=8).run(jobs))
    await good.reached.wait()
    assert len(slow.requests) == 2
    slow.gate.set()
    await work
    assert images(tmp_path) == 40


async def test_workers_may_pull_from_sources_of_their_own(tmp_path: Path) -> None:
    """Each worker asks its source until that has nothing more; one that is empty holds up nobody."""
    one = bench(tmp_path, 7)
    queues = [list(one.jobs[:5]), list(one.jobs[5:]), []]

    async def take(queue: list[Job]) -> Job | None:
        return queue.pop() if queue else None

    await engine(one).pull([partial(take, queue) for queue in queues])
    assert (images(tmp_path), queues) == (7, [[], [], []])
