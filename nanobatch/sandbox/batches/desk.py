"""Takes orders of batches within the account's limits, and works each off in a task of its own.

A batch's rows are drawn in an order of their own, which its name decides, so results are out of order and a sandbox
that was ended goes on with the row at which it stopped. An image is billed when its line is written.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import BinaryIO

import msgspec

from nanobatch.sandbox.batches.lines import Result, Scan, drawn, scan
from nanobatch.sandbox.batches.records import Batch, State, StoredFile
from nanobatch.sandbox.batches.shelf import Shelf, digest
from nanobatch.sandbox.books import Entry
from nanobatch.sandbox.creation import Studio
from nanobatch.sandbox.dialects.base import Answer
from nanobatch.sandbox.dialects.batch_base import BatchDialect, BatchOrder
from nanobatch.sandbox.faults import BATCH

HALF = 0.5  # of the usual price
PATIENCE_SECONDS = 1.0  # that a look at a batch waits for the last rows of one whose time is over
_ENDS = {"batchexpire": State.EXPIRED, "batchcancel": State.CANCELLED}


class BatchDesk:
    """One account's batches.

    Args:
        studio: What all requests share.
        shelf: Where files and batches are kept.
        dialects: By their names.
    """

    def __init__(self, studio: Studio, shelf: Shelf, dialects: Mapping[str, BatchDialect]) -> None:
        self.studio = studio
        self.shelf = shelf
        self.held: Counter[str] = Counter()  # requests, by the point at which they wait
        self._dialects = dialects
        self._tasks: dict[str, asyncio.Task[None]] = {}
        for batch in shelf.batches.values():
            studio.books.order(batch.title or batch.name)
            if batch.state.is_open:
                self._begin(batch)

    def now(self) -> float:
        """Return the time of the sandbox's clock, in seconds since 1970."""
        return time.time() + self.studio.plan.ahead

    async def hold(self, point: str) -> None:
        """Let a request wait while the plan says so."""
        if point not in self.studio.plan.hold:
            return
        self.held[point] += 1
        self.studio.bell.ring()
        try:
            while point in self.studio.plan.hold:
                await self.studio.bell.wait()
        finally:
            self.held[point] -= 1

    async def wait_held(self, point: str) -> int:
        """Return how many requests wait at a point, as soon as there is one."""
        while not self.held[point]:
            await self.studio.bell.wait()
        return self.held[point]

    async def order(self, dialect: BatchDialect, order: BatchOrder, file: StoredFile | None) -> Batch | Answer:
        """Make a batch, or return the vendor's refusal."""
        name = dialect.BATCH_NAME.format(secrets.token_hex(12))
        if file is None:
            file = self._from_rows(dialect, order, name)
        found = await self._scanned(dialect, order, file)
        plan = self.studio.plan
        now = self.now()
        batch = Batch(
            name=name, vendor=dialect.NAME, title=order.title, model=order.model, source=file.name, created=now,
            wait=plan.batch_wait, run=plan.batch_run, expires=now + dialect.LIFE_SECONDS, endpoint=order.endpoint,
            is_inline=order.rows is not None, rows=len(found.places), tokens=found.tokens, metadata=order.metadata,
        )  # fmt: skip
        if found.flaw is not None:
            batch.message, batch.code = found.flaw
        elif (excess := self._excess(batch)) is not None:
            kind, limit = excess
            self.studio.books.violations[kind] += 1
            refused = dialect.too_many(order, kind, limit)
            if isinstance(refused, Answer):
                return refused
            batch.message, batch.code = refused
            batch.tokens = 0
        batch.fate = self.studio.mishap(self.studio.dice.throw(f"batch {order.title}"), dialect.NAME, BATCH)
        self.shelf.save(batch)
        self.studio.books.order(batch.title or name)
        self.studio.books.most_enqueued = max(self.studio.books.most_enqueued, self.enqueued(batch.model))
        self._begin(batch)
        return batch

    def cancel(self, batch: Batch) -> None:
        """Ask a batch to end."""
        if batch.state.is_open:
            batch.state, batch.cancelled = State.CANCELLING, self.now()
            self.shelf.save(batch)
            self.studio.bell.ring()

    def forget(self, batch: Batch) -> None:
        """Delete a batch, whether or not it has ended."""
        if (task := self._tasks.pop(batch.name, None)) is not None:
            task.cancel()
        self.shelf.delete_batch(batch)

    async def settled(self, batch: Batch) -> None:
        """Wait a moment for a batch whose time is over and whose rows are not all drawn."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while batch.state.is_open and self.now() >= batch.created + batch.wait + batch.run:
            if (left := ends - time.monotonic()) <= 0:
                return
            await self.studio.bell.wait(left)

    def enqueued(self, model: str) -> int:
        """Return the tokens in all open batches of a model."""
        return sum(one.tokens for one in self.shelf.batches.values() if one.state.is_open and one.model == model)

    def results_of(self, batch: Batch) -> list[msgspec.Raw]:
        """Return the lines of a batch whose results come with it."""
        path = self.shelf.results_path(batch, 0)
        return [msgspec.Raw(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    async def close(self) -> None:
        """Stop working; what is done is written down.

        Raises:
            Exception: The bug that ended a batch, where there was one.
        """
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(found, Exception):
                raise found

    def _from_rows(self, dialect: BatchDialect, order: BatchOrder, name: str) -> StoredFile:
        """Keep rows that came with an order as if they had been uploaded."""
        data = b"".join(msgspec.json.encode(row) + b"\n" for row in order.rows or ())
        path = self.shelf.upload_path(secrets.token_hex(8))
        path.write_bytes(data)
        file = StoredFile(
            name=f"{name}/rows", vendor=dialect.NAME, title="rows", mime="application/jsonl", size=len(data),
            sha256=digest(path), created=self.now(), expires=None,
        )  # fmt: skip
        self.shelf.keep(file, path)
        return file

    async def _scanned(self, dialect: BatchDialect, order: BatchOrder, file: StoredFile) -> Scan:
        if file.size > dialect.MOST_BYTES:
            return Scan((), 0, (f"The input file has more than {dialect.MOST_BYTES} bytes.", "file_too_large"))
        return await self.studio.work(scan, self.shelf.path(file.name), dialect, order)

    def _excess(self, batch: Batch) -> tuple[str, int] | None:
        """Name the limit that one more batch would break, and its value."""
        plan = self.studio.plan
        open_ = sum(one.state.is_open for one in self.shelf.batches.values())
        if plan.open_batches is not None and open_ >= plan.open_batches:
            return "batches", plan.open_batches
        if plan.enqueued_tokens is not None and self.enqueued(batch.model) + batch.tokens > plan.enqueued_tokens:
            return "enqueued_tokens", plan.enqueued_tokens
        return None

    def _begin(self, batch: Batch) -> None:
        self._tasks[batch.name] = asyncio.get_running_loop().create_task(self._work(batch))

    async def _work(self, batch: Batch) -> None:
        end = await self._sleep(batch, batch.created + batch.wait)
        if end is None:
            failed = batch.message or batch.fate == "batchfail"
            end = State.FAILED if failed else await self._draw(batch)
        await self._finish(batch, end)
        self._tasks.pop(batch.name, None)

    async def _sleep(self, batch: Batch, until: float) -> State | None:
        """Sleep; return how the batch ends where it ends before."""
        while (end := self._ended(batch)) is None and (left := until - self.now()) > 0:
            await self.studio.bell.wait(left)
        return end

    def _ended(self, batch: Batch) -> State | None:
        if batch.state is State.CANCELLING:
            return State.CANCELLED
        return State.EXPIRED if self.now() >= batch.expires else None

    async def _draw(self, batch: Batch) -> State:
        """Draw all rows, or as many as fate has it."""
        if batch.state is State.WAITING:
            batch.state, batch.started = State.RUNNING, self.now()
            self.shelf.save(batch)
        dialect, source = self._dialects[batch.vendor], self.shelf.path(batch.source)
        places = list((await self.studio.work(scan, source, dialect, batch)).places)
        if not batch.is_inline:
            random.Random(batch.name).shuffle(places)  # noqa: S311 - an order, not a secret
        if batch.fate in _ENDS:
            places = places[: len(places) // 2]
        with ExitStack() as stack:
            rows = stack.enter_context(source.open("rb"))
            files = [stack.enter_context(self._results(batch, number)) for number in (0, 1)]
            for place in places[batch.done :]:
                if (end := self._ended(batch)) is not None:
                    return end
                rows.seek(place)
                self._write(batch, await drawn(self.studio, dialect, batch, rows.readline()), files)
        if batch.fate in _ENDS:
            return _ENDS[batch.fate]
        return await self._sleep(batch, (batch.started or batch.created) + batch.run) or State.SUCCEEDED

    def _results(self, batch: Batch, number: int) -> BinaryIO:
        """Open a growing file of results where it ended."""
        file = self.shelf.results_path(batch, number).open("ab", buffering=0)
        file.truncate(batch.sizes[number])
        return file

    def _write(self, batch: Batch, result: Result, files: list[BinaryIO]) -> None:
        """Write a line down, and bill it: nothing comes between."""
        number = self._dialects[batch.vendor].shelf(is_bad=result.is_bad, number=batch.done)
        files[number].write(result.data)
        sizes = [*batch.sizes]
        sizes[number] += len(result.data)
        batch.sizes = (sizes[0], sizes[1])
        batch.done += 1
        batch.good += not result.is_bad
        batch.bad += result.is_bad
        self.shelf.save(batch)
        if result.order is not None:
            self._bill(batch, result)

    def _bill(self, batch: Batch, result: Result) -> None:
        order, books = result.order, self.studio.books
        assert order is not None
        number = books.number()
        books.bill(
            Entry(
                time=time.time(), request=number, dialect=batch.vendor, model=order.model,
                prompt=order.drawing.prompt, sha256=sha256, connection_open=True, fault=result.fault,
                references=order.references, task=batch.name, factor=HALF,
            )
            for sha256 in result.hashes
        )  # fmt: skip

    async def _finish(self, batch: Batch, end: State) -> None:
        """Put the results where they can be had."""
        dialect = self._dialects[batch.vendor]
        outputs = ["", ""]
        for number, form in enumerate(dialect.RESULT_NAMES):
            path = self.shelf.results_path(batch, number)
            if batch.is_inline or not path.exists():
                continue
            if not form or end is State.FAILED or (not batch.sizes[number] and (number or end is not State.SUCCEEDED)):
                path.unlink()
                continue
            outputs[number] = form.format(batch.id, metadata=batch.metadata)
            life = dialect.FILE_SECONDS
            file = StoredFile(
                name=outputs[number], vendor=batch.vendor, title=f"{batch.id}.jsonl", mime="application/jsonl",
                size=batch.sizes[number], sha256=await self.studio.work(digest, path), created=self.now(),
                expires=None if life is None else self.now() + life, purpose="batch_output", made=True,
            )  # fmt: skip
            self.shelf.keep(file, path)
            if batch.fate == "resultsgone":
                self.shelf.delete_file(file.name)
        batch.outputs = (outputs[0], outputs[1])
        if end is State.FAILED and not batch.message:
            batch.message = "An internal error has occurred."
        batch.state, batch.ended = end, self.now()
        self.shelf.save(batch)
        self.studio.bell.ring()
