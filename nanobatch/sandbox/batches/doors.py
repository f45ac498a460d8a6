"""Which path leads where, for batches and files. On /v1 the kind of key tells Google's paths from OpenAI's."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import msgspec
from aiohttp import web

from nanobatch.sandbox.batches import bucket
from nanobatch.sandbox.batches.bucket import Bucket
from nanobatch.sandbox.batches.desk import BatchDesk
from nanobatch.sandbox.batches.downloads import send
from nanobatch.sandbox.batches.records import Batch, StoredFile
from nanobatch.sandbox.batches.uploads import Uploads
from nanobatch.sandbox.books import Served
from nanobatch.sandbox.creation import received
from nanobatch.sandbox.delivery import deliver, page, reset
from nanobatch.sandbox.dialects import gemini_batches, openai_batches, vertex_batches
from nanobatch.sandbox.dialects.base import Answer, Asked
from nanobatch.sandbox.dialects.batch_base import BatchDialect, BatchOrder, Page
from nanobatch.sandbox.faults import LINK, LIST, ORDER, POLL

DIALECTS: Mapping[str, BatchDialect] = {each.NAME: each for each in (gemini_batches, openai_batches, vertex_batches)}
_VERSION = "/{version:v1(?:alpha|beta)?}"
_BATCH = _VERSION + "/batches/{name:[^/:]+}"
_JOBS = "/{version:v1beta1|v1}/projects/{project}/locations/{location}/batchPredictionJobs"
_JOB = _JOBS + "/{name:[^/:]+}"
_FILE = _VERSION + "/files/{name:[^/:]+}"

Reply = Answer | web.StreamResponse
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Doors:
    """The paths of one desk."""

    desk: BatchDesk
    uploads: Uploads
    bucket: Bucket

    def routes(self) -> Iterator[web.RouteDef]:
        """Yield them all."""
        yield web.post("/upload" + _VERSION + "/files", self._held("upload", self.uploads.google))
        yield web.post(_VERSION + "/models/{model:.+}:batchGenerateContent", self._held("order", self._order))
        yield web.post("/v1/files", self._held("upload", self.uploads.openai))
        yield web.post("/v1/batches", self._held("order", self._order))
        yield web.get(_VERSION + "/batches", _answering(self._list))
        yield web.get(_BATCH, self._held("poll", self._look))
        for path in (_BATCH + ":cancel", _BATCH + "/cancel"):
            yield web.post(path, _answering(self._cancel))
        yield web.delete(_BATCH, _answering(self._forget))
        yield web.get(_VERSION + "/files", _answering(self._files))
        yield web.get(_FILE, _answering(self._file))
        yield web.delete(_FILE, _answering(self._delete))
        for path in (_FILE + ":download", "/download" + _FILE + ":download", _FILE + "/content"):
            yield web.get(path, self._held("download", self._download))
        yield from self._vertex()
        yield web.get("/__held", _answering(self._show_held))
        yield web.get("/__batches", _answering(self._show_batches))

    def _vertex(self) -> Iterator[web.RouteDef]:
        """Yield the paths of Vertex AI's jobs, and of the storage in which their files lie."""
        yield web.post(_JOBS, self._held("order", self._order))
        yield web.get(_JOBS, _answering(self._list))
        yield web.get(_JOB, self._held("poll", self._look))
        yield web.post(_JOB + ":cancel", _answering(self._cancel))
        yield web.delete(_JOB, _answering(self._forget))
        yield web.post(bucket.UPLOADS, self._held("upload", self.bucket.begin))
        yield web.put(bucket.UPLOADS, self._held("upload", self.bucket.piece))
        yield web.get(bucket.OBJECTS, _answering(self.bucket.objects))
        yield web.get(bucket.OBJECT, self._held("download", self.bucket.read))
        yield web.delete(bucket.OBJECT, _answering(self.bucket.delete))

    def _held(self, point: str, handle: Callable[[web.Request], Awaitable[Reply]]) -> Handler:
        """Let requests wait at a point before anything is done about them."""

        async def handler(request: web.Request) -> Reply:
            await self.desk.hold(point)
            return await handle(request)

        return _answering(handler)

    async def _order(self, request: web.Request) -> Reply:
        studio = self.desk.studio
        dialect, asked = _dialect(request), await received(request, time.time())
        order, fault = dialect.order(asked), None
        if isinstance(order, Answer):
            answer = order
        else:
            fault = studio.mishap(studio.dice.throw(f"order {order.title}"), dialect.NAME, ORDER)
            taken = fault not in ("order429", "order503")
            answer = await self._ordered(dialect, order) if taken else dialect.stumbled(fault or "", studio.wish)
        outcome = "batch" if answer.status == 200 else "refused"
        served = Served(asked.time, studio.books.number(), dialect.NAME, fault or outcome, answer.status, 0)
        studio.books.note(served)
        return reset(request) if fault == "orderlost" else answer

    async def _ordered(self, dialect: BatchDialect, order: BatchOrder) -> Answer:
        file = None
        if order.rows is None:
            file = self._found(dialect, order.source)
            if file is None:
                return dialect.no_file(order.source)
        batch = await self.desk.order(dialect, order, file)
        return batch if isinstance(batch, Answer) else dialect.described(batch, None)

    async def _look(self, request: web.Request) -> Reply:
        dialect, studio = _dialect(request), self.desk.studio
        studio.books.polls += 1
        batch = self._batch(dialect, request)
        if isinstance(batch, Answer):
            return batch
        fault = studio.mishap(studio.dice.throw(f"poll {batch.title}"), dialect.NAME, POLL)
        if fault == "pollreset":
            return reset(request)
        if fault is not None:
            return page(502) if fault == "poll502" else dialect.stumbled(fault, studio.wish)
        await self.desk.settled(batch)
        if not batch.is_inline or batch.state.is_open:
            return dialect.described(batch, None)
        if batch.sizes[0] > studio.plan.inline_bytes:
            return dialect.stumbled("503", studio.wish)
        return dialect.described(batch, self.desk.results_of(batch))

    async def _list(self, request: web.Request) -> Reply:
        dialect, studio, asked = _dialect(request), self.desk.studio, _asked(request)
        refused = dialect.door(asked)
        wanted = refused or dialect.page(asked)
        if isinstance(wanted, Answer):
            return wanted
        after, length = wanted
        found = [batch for batch in reversed(self.desk.shelf.batches.values()) if batch.vendor == dialect.NAME]
        if found and studio.mishap(studio.dice.throw("list"), dialect.NAME, LIST) == "listlag":
            found = found[1:]
        names = [batch.name for batch in found]
        start = names.index(after) + 1 if after in names else 0
        some = found[start : start + length]
        then = some[-1].name if len(found) > start + length else None
        return dialect.listed(Page(some, then), asked)

    async def _cancel(self, request: web.Request) -> Reply:
        dialect = _dialect(request)
        batch = self._batch(dialect, request)
        if isinstance(batch, Answer):
            return batch
        self.desk.cancel(batch)
        return dialect.cancelled(batch)

    async def _forget(self, request: web.Request) -> Reply:
        dialect = _dialect(request)
        batch = self._batch(dialect, request)
        if isinstance(batch, Answer):
            return batch
        self.desk.forget(batch)
        return dialect.deleted(batch.name)

    async def _files(self, request: web.Request) -> Reply:
        dialect = _dialect(request)
        if (refused := dialect.door(_asked(request))) is not None:
            return refused
        names = [name for name, file in self.desk.shelf.files.items() if file.vendor == dialect.NAME]
        found = [file for name in names if (file := self._found(dialect, name)) is not None]
        return dialect.files(list(islice(reversed(found), 100)), self.desk.studio.url)

    async def _file(self, request: web.Request) -> Reply:
        dialect = _dialect(request)
        file = self._asked_file(dialect, request)
        return file if isinstance(file, Answer) else dialect.file(file, self.desk.studio.url)

    async def _delete(self, request: web.Request) -> Reply:
        dialect = _dialect(request)
        file = self._asked_file(dialect, request)
        if isinstance(file, Answer):
            return file
        self.desk.shelf.delete_file(file.name)
        return dialect.deleted(file.name)

    async def _download(self, request: web.Request) -> Reply:
        dialect, studio = _dialect(request), self.desk.studio
        file = self._asked_file(dialect, request)
        refused = file if isinstance(file, Answer) else dialect.no_download(file)
        if refused is not None:
            return refused
        assert isinstance(file, StoredFile)
        studio.books.downloads += 1
        fault = studio.mishap(studio.dice.throw(f"download {file.name}"), dialect.NAME, LINK)
        return await send(request, file, self.desk.shelf.path(file.name), fault)

    def _batch(self, dialect: BatchDialect, request: web.Request) -> Batch | Answer:
        """Return the batch of a path."""
        if (refused := dialect.door(_asked(request))) is not None:
            return refused
        name = dialect.BATCHES + request.match_info["name"]
        batch = self.desk.shelf.batches.get(name)
        return batch if batch is not None and batch.vendor == dialect.NAME else dialect.no_batch(name)

    def _asked_file(self, dialect: BatchDialect, request: web.Request) -> StoredFile | Answer:
        """Return the file of a path."""
        if (refused := dialect.door(_asked(request))) is not None:
            return refused
        name = dialect.FILES + request.match_info["name"]
        return self._found(dialect, name) or dialect.no_file(name)

    def _found(self, dialect: BatchDialect, name: str) -> StoredFile | None:
        file = self.desk.shelf.find(name, self.desk.now())
        return file if file is not None and file.vendor == dialect.NAME else None

    async def _show_held(self, request: web.Request) -> Reply:
        """Tell, as soon as it is so, that requests wait at a point."""
        return Answer(200, {"held": await self.desk.wait_held(request.query.get("point", ""))})

    async def _show_batches(self, request: web.Request) -> Reply:  # noqa: ARG002 - a handler's parameter
        """Tell everything about all batches, oldest first."""
        return Answer(200, {"batches": [msgspec.to_builtins(batch) for batch in self.desk.shelf.batches.values()]})


def _dialect(request: web.Request) -> BatchDialect:
    if "project" in request.match_info:
        return vertex_batches
    googles = "x-goog-api-key" in request.headers or "key" in request.query
    return gemini_batches if googles or request.match_info.get("version", "v1") != "v1" else openai_batches


def _asked(request: web.Request) -> Asked:
    """Return what is known of a request before its body is read; no dialect looks for a model here."""
    path = {name: value for name, value in request.match_info.items() if name != "name"}
    return Asked(request.headers, request.query, path)


def _answering(handle: Callable[[web.Request], Awaitable[Reply]]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            reply = await handle(request)
            return await deliver(request, reply, reply.encoded()) if isinstance(reply, Answer) else reply
        except ConnectionError:  # the client has gone; what was begun goes on
            return web.Response()

    return handler
