"""The journey of one creation: read, pass the limits, meet a fault or not, be made, be billed, be delivered.

The bill is written before the first byte of the answer, and also when the client has long gone: the work was done.
How an admitted order is made is a function: `at_once` here, with the answer, or `tasks.as_task`, behind it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from aiohttp import web

from nanobatch.sandbox.bell import Bell
from nanobatch.sandbox.books import Books, Entry, Served
from nanobatch.sandbox.days import day
from nanobatch.sandbox.delivery import deliver, drip, hang, is_open, page, reset, truncate
from nanobatch.sandbox.dialects.base import Answer, Asked, Dialect, Made, Order, Vendor
from nanobatch.sandbox.faults import CREATION, FAULTS, Dice, Stage, Throw
from nanobatch.sandbox.images import Drawing, Kind, draw
from nanobatch.sandbox.limits import Limits, Moment
from nanobatch.sandbox.plan import Plan

Result = TypeVar("Result")
Value = TypeVar("Value")

LINKS_KEPT = 10_000  # drawings that can still be downloaded; older links have expired
_DEFAULT_WISH = 1.0  # seconds, of a 429 that no limit caused
_OTHER: dict[Kind, Kind] = {"jpeg": "png", "png": "jpeg", "webp": "jpeg"}


@dataclass(frozen=True, slots=True)
class Link:
    """An image that can be downloaded: what to draw, and until when, in seconds since 1970; None is no end."""

    drawing: Drawing
    until: float | None


@dataclass(slots=True)
class Studio:
    """Everything that the requests of one sandbox share."""

    plan: Plan
    books: Books
    limits: Limits
    dice: Dice
    pool: ThreadPoolExecutor
    links: OrderedDict[str, Link] = field(default_factory=OrderedDict)
    url: str = ""
    bell: Bell = field(default_factory=Bell)
    _met: Counter[str] = field(default_factory=Counter)  # faults of the first requests

    @property
    def wish(self) -> float:
        """What a 429 wishes that no limit caused, in seconds."""
        return _DEFAULT_WISH if self.plan.retry_after is None else self.plan.retry_after

    def change(self, plan: Plan) -> None:
        """Behave otherwise from now on; faults of the first requests begin anew where the plan names others."""
        if plan.first != self.plan.first:
            self._met.clear()
        self.plan = plan
        self.bell.ring()

    def mishap(
        self, throw: Throw, dialect: str | None, stages: frozenset[Stage], *, but: frozenset[str] = frozenset()
    ) -> str | None:
        """Return the fault that a request meets, or None, and count it.

        Args:
            throw: The dice.
            dialect: The wire format; None where there is none.
            stages: What may go wrong with a request of this sort.
            but: Faults that make no sense here.
        """
        fault = self._first(dialect, stages, but) or throw.pick(self.plan.faults, dialect, stages)
        if fault is None or fault in but:
            return None
        self.books.faults[fault] += 1
        return fault

    def _first(self, dialect: str | None, stages: frozenset[Stage], but: frozenset[str]) -> str | None:
        for kind, number in self.plan.first.items():
            fits = FAULTS[kind].stage in stages and (dialect is None or dialect in FAULTS[kind].dialects)
            if fits and kind not in but and self._met[kind] < number:
                self._met[kind] += 1
                return kind
        return None

    def offer(self, drawings: Mapping[str, Drawing], ready: float) -> None:
        """Let images be downloaded that are ready at that time; forget the oldest of many."""
        seconds = self.plan.link_seconds
        until = None if seconds is None else ready + seconds
        self.links.update({name: Link(drawing, until) for name, drawing in drawings.items()})
        shorten(self.links, LINKS_KEPT)

    async def work(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Run what needs the processor in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)


def shorten(kept: OrderedDict[str, Value], most: int) -> None:
    """Forget the oldest."""
    while len(kept) > most:
        kept.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Fate:
    """What the dice say about one order: a fault or None, and how many seconds it takes."""

    fault: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """The images of an order: as they are sent, as they are billed, and as they are drawn again for their links."""

    made: list[Made]
    hashes: list[str]
    drawings: dict[str, Drawing]


Make = Callable[["Creation", Order, Fate], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Creation:
    """One request on its way, and what the log will say about it."""

    studio: Studio
    dialect: Vendor
    make: Make
    request: web.Request
    number: int
    arrived: float
    uploads: Mapping[str, str] = field(default_factory=dict)
    outcome: str = "ok"
    status: int | None = None
    billed: int = 0

    def served(self) -> Served:
        """Return the line for the log."""
        return Served(self.arrived, self.number, self.dialect.NAME, self.outcome, self.status, self.billed)

    async def run(self) -> web.StreamResponse:
        """Answer the request."""
        asked = await received(self.request, self.arrived, self.uploads)
        order = self.dialect.read(asked)
        if isinstance(order, Answer):
            self.outcome = "refused"
            self.studio.books.refusals[str(order.status)] += 1
            return await self._send(order)
        number, left = day(self.arrived)
        excess = self.studio.limits.enter(
            self.studio.plan, Moment(time.monotonic(), number, left), max(1, order.images)
        )
        if excess is not None:
            self.outcome = excess.kind
            self.studio.books.violations[excess.kind] += 1
            wish = self.studio.plan.retry_after
            return await self._send(
                self.dialect.over_limit(order, excess if wish is None else replace(excess, wait_seconds=wish))
            )
        try:
            return await self.make(self, order, self._fate(order))
        finally:
            self.studio.limits.leave()

    def _fate(self, order: Order) -> Fate:
        plan = self.studio.plan
        throw = self.studio.dice.throw(order.drawing.prompt)
        fault = self.studio.mishap(throw, self.dialect.NAME, CREATION)
        if fault is not None:
            self.outcome = fault
        return Fate(fault, throw.within(*plan.latency))

    async def unmade(self, order: Order, fault: str) -> web.StreamResponse:
        """Let a request fail before anything is made."""
        match fault:
            case "reset":
                return reset(self.request)
            case "hang":
                return await hang(self.request)
            case "html200" | "html502":
                return await self._send(page(int(fault.removeprefix("html"))))
            case _:
                return await self._send(self.dialect.failed(order, fault, self.studio.wish))

    def bill(self, order: Order, fault: str | None, hashes: list[str], task: str | None = None) -> None:
        """Bill the last images: those before them are drafts."""
        bills = order.images * (FAULTS[fault].bills if fault else 1)
        self.billed = bills
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
                task=task,
            )
            for sha256 in hashes[len(hashes) - bills :]
        )

    async def hand_over(self, answer: Answer, body: bytes, fault: str | None) -> web.StreamResponse:
        """Send an answer as a fault breaks it."""
        answer, self.status = self._stamped(answer), answer.status
        match fault:
            case "reset-after":
                self.status = None
                return reset(self.request)
            case "slowdrip":
                return await drip(self.request, answer, body, self.studio.plan.drip)
            case "truncate":
                return await truncate(self.request, answer, body)
            case _:
                return await deliver(self.request, answer, body)

    async def _send(self, answer: Answer) -> web.StreamResponse:
        return await self.hand_over(answer, answer.encoded(), None)

    def _stamped(self, answer: Answer) -> Answer:
        """Add the headers that the vendor puts on every answer."""
        milliseconds = round((time.time() - self.arrived) * 1000)
        return replace(answer, headers={**self.dialect.stamp(self.number, milliseconds), **answer.headers})


async def received(request: web.Request, arrived: float, uploads: Mapping[str, str] | None = None) -> Asked:
    """Read a request to its end, free of the server library."""
    body = await request.read()
    return Asked(request.headers, request.query, request.match_info, body, arrived, uploads or {})


def at_once(dialect: Dialect) -> Make:
    """Return how images are made that come with the answer."""

    async def make(creation: Creation, order: Order, fate: Fate) -> web.StreamResponse:
        studio, fault = creation.studio, fate.fault
        if fault is None or FAULTS[fault].stage is not Stage.DOOR:
            await asyncio.sleep(fate.seconds)
        if fault is not None and not FAULTS[fault].billed:
            return await creation.unmade(order, fault)

        def work() -> tuple[Drawn, Answer, bytes]:
            drawn = drawn_for(order, fault, studio)
            answer = dialect.answer(order, drawn.made, fault)
            return drawn, answer, answer.encoded()

        drawn, answer, body = await studio.work(work)
        studio.offer(drawn.drawings, time.time())
        creation.bill(order, fault, drawn.hashes)
        return await creation.hand_over(answer, body, fault)

    return make


def drawn_for(order: Order, fault: str | None, studio: Studio) -> Drawn:
    """Draw and hash the images of an order, as a fault bends them; for a thread."""
    drawn = Drawn([], [], {})
    for variant in range(order.images * (FAULTS[fault].draws if fault else 1)):
        drawing = replace(order.drawing, variant=variant, least_bytes=studio.plan.image_bytes or 0)
        if fault == "wrongmime":
            drawing = replace(drawing, kind=_OTHER[drawing.kind])
        data = draw(drawing)
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"{sha256[:32]}.{drawing.kind}"
        drawn.hashes.append(sha256)
        drawn.drawings[name] = drawing
        drawn.made.append(Made(data, f"{studio.url}/__images/{name}"))
    return drawn
