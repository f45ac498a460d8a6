"""Formats with tasks: an order is taken, billed and answered at once; polls tell how it stands, and are free.

The images exist from the moment of the order, which is why the bill can name them; their links are told when the
task's time is over.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from aiohttp import web

from nanobatch.sandbox.creation import Creation, Drawn, Fate, Make, Studio, drawn_for, received, shorten
from nanobatch.sandbox.delivery import deliver, page, reset
from nanobatch.sandbox.dialects.base import Answer, Order, Task, TaskDialect, UploadDialect
from nanobatch.sandbox.faults import ENDS, FAULTS, POLL

TASKS_KEPT = 100_000  # older ones are forgotten, as a vendor forgets them after days
UPLOADS_KEPT = 10_000


@dataclass(slots=True)
class Desk:
    """What a sandbox remembers between requests.

    Args:
        tasks: By their id.
        uploads: The link of each file and its SHA-256.
    """

    tasks: OrderedDict[str, Task] = field(default_factory=OrderedDict)
    uploads: OrderedDict[str, str] = field(default_factory=OrderedDict)

    def take(self, task: Task) -> None:
        """Remember a task, and forget the oldest of many."""
        self.tasks[task.id] = task
        shorten(self.tasks, TASKS_KEPT)

    def keep(self, link: str, data: bytes) -> None:
        """Remember a file, and forget the oldest of many."""
        self.uploads[link] = hashlib.sha256(data).hexdigest()
        shorten(self.uploads, UPLOADS_KEPT)


def as_task(dialect: TaskDialect, desk: Desk) -> Make:
    """Return how images are made that are asked for later."""

    async def make(creation: Creation, order: Order, fate: Fate) -> web.StreamResponse:
        studio, fault = creation.studio, fate.fault
        if fault is not None and fault not in ENDS and not FAULTS[fault].billed:
            return await creation.unmade(order, fault)
        fails = fault in ENDS
        drawn = Drawn([], [], {}) if fails else await studio.work(drawn_for, order, fault, studio)
        task_id, now = secrets.token_hex(16), time.time()
        if not fails:
            creation.bill(order, fault, drawn.hashes, task_id)
        links = tuple(image.link for image in drawn.made)
        task = Task(task_id, order, now, now + fate.seconds, links, fault if fails else None)
        desk.take(task)
        studio.offer(drawn.drawings, task.ready)
        answer = dialect.created(task)
        return await creation.hand_over(answer, answer.encoded(), fault)

    return make


async def poll(studio: Studio, desk: Desk, dialect: TaskDialect, request: web.Request) -> web.StreamResponse:
    """Tell how a task stands, or let the question go wrong."""
    asked = await received(request, time.time())
    studio.books.polls += 1
    task = desk.tasks.get(dialect.task_id(asked))
    fault = _mishap(studio, dialect, task)
    match fault:
        case "pollreset":
            return reset(request)
        case "poll502":
            answer = page(502)
        case None:
            answer = dialect.polled(task, asked)
        case _:
            answer = dialect.stumbled(fault, studio.wish)
    milliseconds = round((time.time() - asked.time) * 1000)
    answer = replace(answer, headers={**dialect.stamp(studio.books.polls, milliseconds), **answer.headers})
    return await deliver(request, answer, answer.encoded())


def _mishap(studio: Studio, dialect: TaskDialect, task: Task | None) -> str | None:
    """Throw for a poll. The prompt decides, not the task's name, so that a seed repeats it."""
    if task is None:
        return None
    throw = studio.dice.throw(f"poll {task.order.drawing.prompt}")
    return studio.mishap(throw, dialect.NAME, POLL)


async def upload(studio: Studio, desk: Desk, dialect: UploadDialect, request: web.Request) -> web.StreamResponse:
    """Take a file that later orders may name by its link. Only its hash is kept."""
    file = dialect.upload(await received(request, time.time()))
    if isinstance(file, Answer):
        return await deliver(request, file, file.encoded())
    link = f"{studio.url}/__uploads/{secrets.token_hex(8)}/{quote(file.name, safe='')}"
    desk.keep(link, file.data)
    studio.books.uploads += 1
    answer = dialect.uploaded(file, link)
    return await deliver(request, answer, answer.encoded())
