"""Orders within limits, and batches that are worked off."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nanobatch.sandbox.plan import Plan
from nanobatch.sandbox.server import Sandbox, serve

pytestmark = pytest.mark.anyio

KEY = {"x-goog-api-key": "k"}
MODEL = "gemini-3-pro-image"
DAY = 86_400.0


@dataclass
class Client:
    """A client of Gemini's batches, without any comfort."""

    sandbox: Sandbox
    session: aiohttp.ClientSession

    async def upload(self, rows: list[Any]) -> str:
        """Upload rows in one piece; return the file's name."""
        data = b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
        start = {
            "X-Goog-Upload-Command": "start", "X-Goog-Upload-Header-Content-Length": str(len(data)),
            "X-Goog-Upload-Header-Content-Type": "application/jsonl",
        }  # fmt: skip
        async with self.session.post("/upload/v1beta/files", json={}, headers={**KEY, **start}) as answer:
            url = answer.headers["X-Goog-Upload-URL"]
        rest = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
        async with self.session.post(url, data=data, headers=rest) as answer:
            return str((await answer.json())["file"]["name"])

    async def order(self, file: str, title: str = "t") -> tuple[int, Any]:
        """Order a batch of a file."""
        body = {"batch": {"displayName": title, "inputConfig": {"fileName": file}}}
        return await self.post(f"/v1beta/models/{MODEL}:batchGenerateContent", body)

    async def batch(self, count: int = 4, title: str = "t") -> str:
        """Order so many images; return the batch's name."""
        file = await self.upload([row(number) for number in range(count)])
        status, body = await self.order(file, title)
        assert status == 200, body
        return str(body["name"])

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        async with self.session.post(path, json=body, headers=KEY) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(path, headers=KEY) as answer:
            return answer.status, await answer.json()

    async def look(self, name: str) -> Any:
        status, body = await self.get(f"/v1beta/{name}")
        assert status == 200, body
        return body

    async def lines(self, name: str) -> list[Any]:
        """Return the lines of a batch's results."""
        file = (await self.look(name))["response"]["responsesFile"]
        async with self.session.get(f"/v1beta/{file}:download?alt=media", headers=KEY) as answer:
            assert answer.status == 200
            return [json.loads(line) for line in (await answer.read()).splitlines()]


def row(number: int, **body: Any) -> dict[str, Any]:
    return {"key": f"r{number}", "request": {"contents": [{"parts": [{"text": f"a fox {number}"}]}], **body}}


def state(body: Any) -> str:
    return str(body["metadata"]["state"]).removeprefix("BATCH_STATE_")


@asynccontextmanager
async def client(batches: Path | None = None, books: Path | None = None, **plan: Any) -> AsyncIterator[Client]:
    settings = {"batch_wait": 0.0, "batch_run": 0.0, "image_bytes": None, **plan}
    async with (
        serve(Plan(**settings), batches=batches, books=books) as sandbox,
        aiohttp.ClientSession(sandbox.url) as session,
    ):
        yield Client(sandbox, session)


async def test_a_batch_waits_runs_and_ends() -> None:
    """Its states follow from the clock; counts are strings; results come out of order, each with its key, half price."""
    async with client(batch_wait=3600, batch_run=3600) as vendor:
        name = await vendor.batch(8)
        body = await vendor.look(name)
        assert state(body) == "PENDING"
        assert body["metadata"]["batchStats"]["requestCount"] == "8"
        assert "done" not in body
        vendor.sandbox.change({"ahead": 3601.0})
        assert state(await vendor.look(name)) == "RUNNING"
        vendor.sandbox.change({"ahead": 7201.0})
        assert state(await vendor.look(name)) == "SUCCEEDED"
        keys = [line["key"] for line in await vendor.lines(name)]
        assert sorted(keys) == [f"r{number}" for number in range(8)] != keys
        totals = vendor.sandbox.totals()
        assert (totals["images"], totals["half_price"], totals["batches"]) == (8, 8, 1)


async def test_enqueued_tokens_are_limited() -> None:
    """An order beyond the limit of its model is a 429 and a violation; when a batch has ended there is room again."""
    async with client(batch_wait=3600, enqueued_tokens=5000) as vendor:
        first = await vendor.batch(4)  # of 1,120 tokens and some words each
        file = await vendor.upload([row(9)])
        status, body = await vendor.order(file)
        assert (status, body["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
        assert vendor.sandbox.totals()["violations"] == {"enqueued_tokens": 1}
        vendor.sandbox.change({"ahead": 3600.0})
        assert state(await vendor.look(first)) == "SUCCEEDED"
        assert (await vendor.order(file))[0] == 200
        assert 4480 < vendor.sandbox.totals()["most_enqueued"] <= 5000


async def test_open_batches_are_limited() -> None:
    """As many as the account may have at once, whatever they weigh."""
    async with client(batch_wait=3600, open_batches=1) as vendor:
        await vendor.batch(1)
        file = await vendor.upload([row(9)])
        assert (await vendor.order(file))[0] == 429


async def test_a_batch_that_is_late_expires() -> None:
    """After 48 hours it is given up, though it never started; so are the files, which nobody finds any more."""
    async with client(batch_wait=10 * DAY) as vendor:
        name = await vendor.batch(2)
        vendor.sandbox.change({"ahead": 2 * DAY + 1})
        body = await vendor.look(name)
        assert (state(body), body["done"]) == ("EXPIRED", True)
        assert (await vendor.get("/v1beta/files"))[1] == {}


@pytest.mark.parametrize(("fault", "ends", "lines"), [("batchexpire", "EXPIRED", 2), ("batchcancel", "CANCELLED", 2)])
async def test_half_a_batch(fault: str, ends: str, lines: int) -> None:
    """What was drawn before it ended is there, and billed."""
    async with client(first={fault: 1}) as vendor:
        name = await vendor.batch(4)
        assert state(await vendor.look(name)) == ends
        assert len(await vendor.lines(name)) == lines
        assert vendor.sandbox.totals()["images"] == lines


async def test_a_failed_batch_bills_nothing() -> None:
    """By fate, or because its file is none of rows."""
    async with client(first={"batchfail": 1}) as vendor:
        name = await vendor.batch(4)
        assert state(await vendor.look(name)) == "FAILED"
        _, body = await vendor.order(await vendor.upload([b"not json"]))
        body = await vendor.look(body["name"])
        assert "not valid JSON" in body["error"]["message"]
        assert vendor.sandbox.totals()["images"] == 0


async def test_results_that_are_gone() -> None:
    """The batch names a file that nobody has."""
    async with client(first={"resultsgone": 1}) as vendor:
        body = await vendor.look(await vendor.batch(1))
        assert (await vendor.get(f"/v1beta/{body['response']['responsesFile']}"))[0] == 403


async def test_the_next_sandbox_goes_on(tmp_path: Path) -> None:
    """A batch that was cut off with its sandbox is finished by the next one: no row twice in results or books."""
    async with client(tmp_path / "b", tmp_path / "books", batch_run=3600, faults={}) as vendor:
        name = await vendor.batch(30)
        await vendor.look(name)
    async with client(tmp_path / "b", tmp_path / "books", ahead=3601.0) as vendor:
        while state(await vendor.look(name)) == "RUNNING":
            pass  # each look waits for the rows that are missing
        assert len({line["key"] for line in await vendor.lines(name)}) == 30
        assert vendor.sandbox.totals()["images"] == 30
        assert vendor.sandbox.totals()["batches_twice"] == 0
