"""The journey of one creation: read, pass the limits, meet a fault or not, be made, be billed, be delivered.

The bill is written before the first byte of the answer, and also when the client has long gone: the work was done.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from aiohttp import web

from nanobatch.sandbox.books import Books, Entry, Served
from nanobatch.sandbox.days import day
from nanobatch.sandbox.delivery import deliver, drip, hang, is_open, page, reset, truncate
from nanobatch.sandbox.dialects.base import Answer, Asked, Dialect, Made, Order
from nanobatch.sandbox.faults import FAULTS, Dice, Stage
from nanobatch.sandbox.images import Drawing, Kind, draw
from nanobatch.sandbox.limits import Limits, Moment
from nanobatch.sandbox.plan import Plan

LINKS_KEPT = 10_000  # drawings that can still be downloaded; older links have expired
_DEFAULT_WISH = 1.0  # seconds, of a 429 that no limit caused
_OTHER: dict[Kind, Kind] = {"jpeg": "png", "png": "jpeg", "webp": "jpeg"}


@dataclass(slots=True)
class Studio:
    """Everything that the requests of one sandbox share."""

    plan: Plan
    books: Books
    limits: Limits
    dice: Dice
    pool: ThreadPoolExecutor
    links: OrderedDict[str, Drawing]
    url: str = ""


@dataclass(slots=True)
class Creation:
    """One request on its way, and what the log will say about it."""

    studio: Studio
    dialect: Dialect
    request: web.Request
    number: int
    arrived: float
    outcome: str = "ok"
    status: int | None = None
    billed: int = 0

    def served(self) -> Served:
        """Return the line for the log."""
        return Served(self.arrived, self.number, self.dialect.NAME, self.outcome, self.status, self.billed)

    async def run(self) -> web.StreamResponse:
        """Answer the request."""
        asked = await self._asked()
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
            return await self._admitted(order)
        finally:
            self.studio.limits.leave()

    async def _asked(self) -> Asked:
        return await received(self.request, self.arrived)

    async def _admitted(self, order: Order) -> web.StreamResponse:
        plan = self.studio.plan
        throw = self.studio.dice.throw(order.drawing.prompt)
        fault = throw.pick(plan.faults, self.dialect.NAME)
        if fault is not None:
            self.outcome = fault
            self.studio.books.faults[fault] += 1
        if fault is None or FAULTS[fault].stage is not Stage.DOOR:
            await asyncio.sleep(throw.within(*plan.latency))
        if fault is not None and not FAULTS[fault].billed:
            return await self._unmade(order, fault)
        return await self._made(order, fault)

    async def _unmade(self, order: Order, fault: str) -> web.StreamResponse:
        """Let a request fail before anything is made."""
        match fault:
            case "reset":
                return reset(self.request)
            case "hang":
                return await hang(self.request)
            case "html200" | "html502":
                return await self._send(page(int(fault.removeprefix("html"))))
            case _:
                wish = self.studio.plan.retry_after
                return await self._send(self.dialect.failed(order, fault, _DEFAULT_WISH if wish is None else wish))

    async def _made(self, order: Order, fault: str | None) -> web.StreamResponse:
        """Make the images, bill them and send them off."""
        loop = asyncio.get_running_loop()
        work = _workshop(self.studio, self.dialect, order, fault)
        answer, body, hashes, drawings = await loop.run_in_executor(self.studio.pool, work)
        self._keep(drawings)
        self._bill(order, fault, hashes)
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

    def _keep(self, drawings: dict[str, Drawing]) -> None:
        """Remember what was drawn, for those who come back with a link."""
        links = self.studio.links
        links.update(drawings)
        while len(links) > LINKS_KEPT:
            links.popitem(last=False)

    def _bill(self, order: Order, fault: str | None, hashes: list[str]) -> None:
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
            )
            for sha256 in hashes[len(hashes) - bills :]
        )

    async def _send(self, answer: Answer) -> web.StreamResponse:
        self.status = answer.status
        return await deliver(self.request, self._stamped(answer), answer.encoded())

    def _stamped(self, answer: Answer) -> Answer:
        """Add the headers that the vendor puts on every answer."""
        milliseconds = round((time.time() - self.arrived) * 1000)
        return replace(answer, headers={**self.dialect.stamp(self.number, milliseconds), **answer.headers})


async def received(request: web.Request, arrived: float) -> Asked:
    """Read a request to its end, free of the server library."""
    return Asked(request.headers, request.query, request.match_info, await request.read(), arrived)


def _workshop(
    studio: Studio, dialect: Dialect, order: Order, fault: str | None
) -> Callable[[], tuple[Answer, bytes, list[str], dict[str, Drawing]]]:
    """Return the work that needs the processor, for a thread: draw, hash, encode."""

    def work() -> tuple[Answer, bytes, list[str], dict[str, Drawing]]:
        made, hashes, drawings = drawn(studio, order, fault)
        answer = dialect.answer(order, made, fault)
        return answer, answer.encoded(), hashes, drawings

    return work


def drawn(studio: Studio, order: Order, fault: str | None) -> tuple[list[Made], list[str], dict[str, Drawing]]:
    """Draw the images of an order; return them, their hashes, and what to draw for each link."""
    least_bytes, url = studio.plan.image_bytes or 0, studio.url
    copies = order.images * (FAULTS[fault].draws if fault else 1)
    made, hashes, drawings = [], [], {}
    for variant in range(copies):
        drawing = replace(order.drawing, variant=variant, least_bytes=least_bytes)
        if fault == "wrongmime":
            drawing = replace(drawing, kind=_OTHER[drawing.kind])
        data = draw(drawing)
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"{sha256[:32]}.{drawing.kind}"
        hashes.append(sha256)
        drawings[name] = drawing
        made.append(Made(data, f"{url}/__images/{name}"))
    return made, hashes, drawings
