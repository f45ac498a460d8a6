"""The server: which path leads where, and how a sandbox starts and ends. It listens on 127.0.0.1 only.

async with serve(Plan(rpm=60), books=Path("books.jsonl")) as sandbox:
    print(sandbox.url, sandbox.totals())
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import web

from nanobatch.sandbox import routes
from nanobatch.sandbox.batches.bucket import Bucket
from nanobatch.sandbox.batches.desk import BatchDesk
from nanobatch.sandbox.batches.doors import DIALECTS, Doors
from nanobatch.sandbox.batches.shelf import Shelf
from nanobatch.sandbox.batches.uploads import Uploads
from nanobatch.sandbox.books import Books
from nanobatch.sandbox.creation import Creation, Make, Studio, at_once, received
from nanobatch.sandbox.delivery import deliver, page, truncate
from nanobatch.sandbox.dialects import gemini, openai
from nanobatch.sandbox.dialects.base import (
    Answer,
    Dialect,
    MalformedError,
    TaskDialect,
    UploadDialect,
    Vendor,
    parsed,
)
from nanobatch.sandbox.faults import LINK, Dice
from nanobatch.sandbox.images import draw
from nanobatch.sandbox.limits import Limits
from nanobatch.sandbox.plan import Plan, PlanError
from nanobatch.sandbox.tasks import Desk, as_task, poll, upload

HOST = "127.0.0.1"
LARGEST_REQUEST = 100 * 1024 * 1024  # bytes; relays take as much
_DRAWING_THREADS = 2
_GRACE_SECONDS = 0.2  # for requests under way when the sandbox ends

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Sandbox:
    """A running sandbox, seen from the process that it runs in."""

    def __init__(self, plan: Plan, books: Books, pool: ThreadPoolExecutor) -> None:
        seed = plan.seed if plan.seed is not None else secrets.randbits(32)
        self._studio = Studio(plan, books, Limits(), Dice(seed), pool)
        self._desk = Desk()
        self._seed = seed

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return self._studio.url

    @property
    def plan(self) -> Plan:
        """How it behaves now."""
        return self._studio.plan

    def change(self, changes: Any) -> Plan:
        """Replace settings while it runs; counters go on. `PlanError` says what is wrong."""
        self._studio.change(self._studio.plan.changed(changes))
        return self._studio.plan

    def totals(self, *, full: bool = False) -> dict[str, Any]:
        """Return the books, as `GET /__books` does."""
        studio = self._studio
        counted = studio.books.full() if full else studio.books.totals()
        in_flight = {"in_flight": studio.limits.in_flight, "max_in_flight": studio.limits.max_in_flight}
        return counted | in_flight | {"plan": self._described()}

    def _described(self) -> dict[str, Any]:
        return self._studio.plan.as_json() | {"seed": self._seed}

    def application(self, batches: Iterable[web.RouteDef]) -> web.Application:
        """Return the routes, those of batches among them."""
        app = web.Application(client_max_size=LARGEST_REQUEST)
        own = [
            web.get("/__books", self._show_books),
            web.post("/__plan", self._change_plan),
            web.get("/__images/{name}", self._download),
        ]
        models = [web.get(path, self._models) for path in (routes.GEMINI_MODELS, routes.GEMINI_MODELS + "/{model:.+}")]
        app.router.add_routes([*own, *batches, *self._formats(), *models, web.route("*", "/{path:.*}", self._lost)])
        return app

    def _formats(self) -> Iterator[web.RouteDef]:
        """Yield the paths of the table; an exact one comes before one that also takes it for a model's name."""
        for tasks in routes.TASKS:
            make = as_task(tasks.dialect, self._desk)
            yield from (web.post(path, self._creates(tasks.dialect, make)) for path in tasks.order)
            yield from (web.get(path, self._polls(tasks.dialect)) for path in tasks.polls)
        for path, dialect in routes.UPLOADS:
            yield web.post(path, self._uploads(dialect))
        for path, vendor in routes.FREE:
            yield web.get(path, self._tells(vendor))
        for creates in routes.CREATES:
            yield web.post(creates.path, self._creates(creates.dialect, at_once(creates.dialect)))

    def listen(self, port: int) -> None:
        """Learn the address."""
        self._studio.url = f"http://{HOST}:{port}"

    def batches(self, root: Path) -> Doors:
        """Return what takes batches, which are kept in a folder."""
        desk = BatchDesk(self._studio, Shelf(root), DIALECTS)
        return Doors(desk, Uploads(desk), Bucket(desk))

    def _creates(self, dialect: Vendor, make: Make) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            books = self._studio.books
            books.keys_in_query += "key" in request.query
            uploads = self._desk.uploads
            creation = Creation(self._studio, dialect, make, request, books.number(), time.time(), uploads)
            try:
                return await creation.run()
            except ConnectionError:  # the client has gone; what was made is billed all the same
                return web.Response()
            finally:
                books.note(creation.served())

        return handler

    def _polls(self, dialect: TaskDialect) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return await poll(self._studio, self._desk, dialect, request)

        return handler

    def _uploads(self, dialect: UploadDialect) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return await upload(self._studio, self._desk, dialect, request)

        return handler

    def _tells(self, vendor: Vendor) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return await _reply(request, vendor.models(await received(request, time.time())))

        return handler

    async def _models(self, request: web.Request) -> web.StreamResponse:
        """Tell the two dialects apart where their paths are the same: on /v1/models, by the kind of key."""
        self._studio.books.keys_in_query += "key" in request.query
        asked = await received(request, time.time())
        googles = "x-goog-api-key" in request.headers or "key" in request.query
        dialect: Dialect = gemini if googles or request.match_info["version"] != "v1" else openai
        return await _reply(request, dialect.models(asked))

    async def _show_books(self, request: web.Request) -> web.StreamResponse:
        return await _reply(request, Answer(200, self.totals(full=request.query.get("full", "0") not in ("", "0"))))

    async def _change_plan(self, request: web.Request) -> web.StreamResponse:
        try:
            self.change(parsed(await request.read()))
        except (MalformedError, PlanError) as error:
            return await _reply(request, Answer(400, {"error": {"message": str(error)}}))
        return await _reply(request, Answer(200, self._described()))

    async def _download(self, request: web.Request) -> web.StreamResponse:
        name, studio = request.match_info["name"], self._studio
        studio.books.downloads += 1
        link = studio.links.get(name)
        if link is None or (link.until is not None and time.time() >= link.until):
            return await _reply(request, page(404))
        fault = studio.mishap(studio.dice.throw(f"download {name}"), None, LINK)
        if fault in ("download403", "download500"):
            return await _reply(request, page(int(fault.removeprefix("download"))))
        data = await studio.work(draw, link.drawing)
        answer = Answer(200, data, content_type=link.drawing.mime)
        return await (truncate(request, answer, data) if fault == "downloadcut" else deliver(request, answer, data))

    async def _lost(self, request: web.Request) -> web.StreamResponse:
        message = (
            f"The sandbox has no {request.method} {request.path}. It speaks Gemini below {self.url}/v1beta, "
            f"OpenAI's images below {self.url}/v1, and others below their names, such as {self.url}/kie."
        )
        return await _reply(request, Answer(404, {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}))


async def _reply(request: web.Request, answer: Answer) -> web.StreamResponse:
    return await deliver(request, answer, answer.encoded())


@asynccontextmanager
async def serve(
    plan: Plan, *, port: int = 0, books: Path | None = None, batches: Path | None = None
) -> AsyncIterator[Sandbox]:
    """Run a sandbox until the block ends.

    Args:
        plan: Limits, latency and faults.
        port: On 127.0.0.1; 0 takes a free one.
        books: A file for the bills, read first if it exists.
        batches: A folder for batches and their files, which go on where an earlier sandbox stopped; without it they
            end with this one.

    Raises:
        OSError: The port is taken.
        BooksError: The file cannot be used.
    """
    ledger = Books(books)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(_DRAWING_THREADS, thread_name_prefix="draw"))
        sandbox = Sandbox(plan, ledger, pool)
        root = batches or Path(stack.enter_context(TemporaryDirectory(prefix="nanobatch-sandbox-")))
        doors = sandbox.batches(root)
        application = sandbox.application(doors.routes())
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=_GRACE_SECONDS)
        try:
            await runner.setup()
            site = web.TCPSite(runner, HOST, port, backlog=4096)
            await site.start()
            sandbox.listen(runner.addresses[0][1])
            yield sandbox
        finally:
            await runner.cleanup()
            await doors.desk.close()
            ledger.close()
