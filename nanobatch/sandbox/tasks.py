"""Formats with tasks: an order is taken, billed and made in the background; polls tell how it stands, and are free."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import cast

from aiohttp import web

from nanobatch.sandbox.books import Entry
from nanobatch.sandbox.creation import Creation, Studio, drawn, received
from nanobatch.sandbox.delivery import deliver, drip, is_open, reset, truncate
from nanobatch.sandbox.dialects.base import Answer, Asked, Order, Task, TaskDialect
from nanobatch.sandbox.faults import FAULTS, POLL, Stage

TASKS_KEPT = 100_000  # older ones are forgotten, as a vendor forgets them after days
UPLOADS_KEPT = 10_000
_DEFAULT_WISH = 1.0  # seconds, of a 429 that no limit caused


@dataclass(slots=True)
class Desk:
    """What a sandbox remembers between an order and its images."""

    tasks: OrderedDict[str, Task] = field(default_factory=OrderedDict)
    uploads: OrderedDict[str, str] = field(default_factory=OrderedDict)  # link -> SHA-256

    def take(self, task: Task) -> None:
        """Remember a task."""
        self.tasks[task.id] = task
        while len(self.tasks) > TASKS_KEPT:
            self.tasks.popitem(last=False)

    def keep(self, url: str, name: str, data: bytes) -> str:
        """Remember an uploaded file; return its link. Only its hash is kept."""
        sha256 = hashlib.sha256(data).hexdigest()
        link = f"{url}/__uploads/{sha256[:32]}/{name}"
        self.uploads[link] = sha256
        while len(self.uploads) > UPLOADS_KEPT:
            self.uploads.popitem(last=False)
        return link


@dataclass(slots=True)
class TaskCreation(Creation):
    """An order that is answered before it is made."""

    desk: Desk = field(default_factory=Desk)

    async def _asked(self) -> Asked:
        return replace(await received(self.request, self.arrived), uploads=self.desk.uploads)

    async def _admitted(self, order: Order) -> web.StreamResponse:
        plan, dialect = self.studio.plan, cast("TaskDialect", self.dialect)
        throw = self.studio.dice.throw(order.drawing.prompt)
        fault = throw.pick(plan.faults, dialect.NAME)
        if fault is not None:
            self.outcome = fault
            self.studio.books.faults[fault] += 1
        stage = FAULTS[fault].stage if fault is not None else None
        if fault is not None and stage in (Stage.DOOR, Stage.LATE) and fault != "safety":
            return await self._unmade(order, fault)
        fate = fault if stage in (Stage.TASK, Stage.LATE) else None
        links: tuple[str, ...] = ()
        task_id = secrets.token_hex(16)
        if fate is None:
            made, hashes, drawings = await asyncio.get_running_loop().run_in_executor(
                self.studio.pool, drawn, self.studio, order, fault
            )
            self._keep(drawings)
            links = tuple(image.link for image in made)
            self._bill_task(order, fault, hashes, task_id)
        now = time.time()
        task = Task(task_id, order, links, now, now + throw.within(*plan.latency), fate)
        self.desk.take(task)
        return await self._replied(dialect.created(task), fault)

    async def _replied(self, answer: Answer, fault: str | None) -> web.StreamResponse:
        answer, self.status = self._stamped(answer), answer.status
        match fault:
            case "reset-after":
                self.status = None
                return reset(self.request)
            case "slowdrip":
                return await drip(self.request, answer, answer.encoded(), self.studio.plan.drip)
            case "truncate":
                return await truncate(self.request, answer, answer.encoded())
            case _:
                return await deliver(self.request, answer, answer.encoded())

    def _bill_task(self, order: Order, fault: str | None, hashes: list[str], task_id: str) -> None:
        """Bill a task when it is taken, as the vendors do; a task that fails later was never on the bill."""
        self.billed = order.images
        self.studio.books.bill(
            Entry(
                time=time.time(),
                request=self.number,
                dialect=self.dialect.NAME,
                model=order.model,
                prompt=order.drawing.prompt,
                sha256=sha256,
                connection_open=is_open(self.request),
                fault=fault,
                references=order.references,
                task=task_id,
            )
            for sha256 in hashes
        )


async def poll(
    studio: Studio, desk: Desk, dialect: TaskDialect, request: web.Request, asked: Asked
) -> web.StreamResponse:
    """Answer a poll, or let it go wrong."""
    studio.books.polls += 1
    task_id = dialect.task_id(asked)
    fault = studio.dice.throw(f"poll {task_id}").pick(studio.plan.faults, dialect.NAME, POLL)
    if fault is not None:
        studio.books.faults[fault] += 1
        if fault == "pollreset":
            return reset(request)
        wish = studio.plan.retry_after
        answer = dialect.stumbled(fault, _DEFAULT_WISH if wish is None else wish)
    else:
        answer = dialect.polled(desk.tasks.get(task_id), asked)
    stamped = replace(answer, headers={**dialect.stamp(studio.books.number(), 1), **answer.headers})
    return await deliver(request, stamped, stamped.encoded())
