"""The double of Cloud Storage: uploads that resume, lists, downloads by range and generation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from nanobatch.sandbox.batches.uploads import GRANULARITY
from nanobatch.sandbox.plan import Plan
from nanobatch.sandbox.server import Sandbox, serve

pytestmark = pytest.mark.anyio

TOKEN = {"Authorization": "Bearer ya29.token"}
DATA = bytes(range(256)) * 4096  # 1 MB
SIZE = len(DATA)
UPLOADS = "/upload/storage/v1/b/a-bucket/o"
OBJECTS = "/storage/v1/b/a-bucket/o"


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[tuple[Sandbox, aiohttp.ClientSession]]:
    async with (
        serve(Plan(latency=(0.0, 0.0), **settings)) as sandbox,
        aiohttp.ClientSession(sandbox.url, headers=TOKEN) as session,
    ):
        yield sandbox, session


async def begin(session: aiohttp.ClientSession, name: str) -> str:
    async with session.post(UPLOADS, params={"uploadType": "resumable", "name": name}) as answer:
        assert answer.status == 200
        return answer.headers["location"]


async def send(session: aiohttp.ClientSession, address: str, first: int, last: int) -> tuple[int, str | None]:
    """Send DATA[first:last] and return the status, and the Range that is there now."""
    place = f"bytes {first}-{last - 1}/{SIZE}"
    async with session.put(address, data=DATA[first:last], headers={"Content-Range": place}) as answer:
        return answer.status, answer.headers.get("range")


async def ask(session: aiohttp.ClientSession, address: str) -> tuple[int, str | None]:
    async with session.put(address, headers={"Content-Range": f"bytes */{SIZE}"}) as answer:
        return answer.status, answer.headers.get("range")


async def put(session: aiohttp.ClientSession, name: str, data: bytes = DATA) -> dict[str, Any]:
    async with session.post(UPLOADS, params={"uploadType": "media", "name": name}, data=data) as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json()
        return found


async def get(session: aiohttp.ClientSession, name: str, query: str = "", **headers: str) -> tuple[int, bytes]:
    async with session.get(f"{OBJECTS}/{quote(name, safe='')}{query}", headers=headers) as answer:
        return answer.status, await answer.read()


async def test_an_upload_in_pieces() -> None:
    """Each piece is told how much there is; the last is told what the object is."""
    async with running() as (sandbox, session):
        address = await begin(session, "f/rows.jsonl")
        assert await ask(session, address) == (308, None)
        assert await send(session, address, 0, GRANULARITY) == (308, f"bytes=0-{GRANULARITY - 1}")
        assert await send(session, address, GRANULARITY, SIZE) == (200, None)
        assert await ask(session, address) == (200, None)
        assert await get(session, "f/rows.jsonl", "?alt=media") == (200, DATA)
        assert sandbox.totals()["uploads"] == 1


@pytest.mark.parametrize("fault", ["uploadcut", "upload503"])
async def test_an_upload_goes_on_after_a_break(fault: str) -> None:
    """A whole multiple of 256 kB of what had arrived is kept."""
    async with running(first={fault: 1}) as (_, session):
        session._retry_connection = False  # this client would send a piece again by itself
        address = await begin(session, "rows")
        if fault == "uploadcut":
            with pytest.raises(aiohttp.ClientError):
                await send(session, address, 0, SIZE)
            status, place = await ask(session, address)
            assert (status, place) == (308, f"bytes=0-{SIZE // 2 - 1}")
            assert await send(session, address, SIZE // 2, SIZE) == (200, None)
        else:
            assert await send(session, address, 0, SIZE) == (503, None)
            assert await send(session, address, 0, SIZE) == (200, None)
        assert await get(session, "rows", "?alt=media") == (200, DATA)


async def test_pieces_that_make_no_sense() -> None:
    """Out of their place, of a crooked length, without a place, or of an upload that nobody knows."""
    async with running() as (_, session):
        address = await begin(session, "rows")
        assert (await send(session, address, GRANULARITY, SIZE))[0] == 400
        assert (await send(session, address, 0, 100))[0] == 400
        async with session.put(address, data=b"x") as answer:
            assert answer.status == 400
        assert (await send(session, f"{UPLOADS}?upload_id=nobody", 0, SIZE))[0] == 404
        async with session.post(UPLOADS, params={"uploadType": "resumable"}) as answer:
            assert answer.status == 400
        async with session.post(UPLOADS, params={"name": "x"}, headers={"Authorization": "Bearer invalid"}) as answer:
            assert answer.status == 401


async def test_a_list_has_pages_and_a_prefix() -> None:
    """By name; other folders are not in it."""
    async with running() as (_, session):
        for name in ("f/b", "f/a", "g/c", "f/d/e"):
            await put(session, name, b"x")
        async with session.get(OBJECTS, params={"prefix": "f/", "maxResults": "2"}) as answer:
            first = await answer.json()
        assert [item["name"] for item in first["items"]] == ["f/a", "f/b"]
        params = {"prefix": "f/", "maxResults": "2", "pageToken": first["nextPageToken"]}
        async with session.get(OBJECTS, params=params) as answer:
            second = await answer.json()
        assert [item["name"] for item in second["items"]] == ["f/d/e"]
        assert "nextPageToken" not in second
        async with session.get("/storage/v1/b/another/o") as answer:
            assert "items" not in await answer.json()
        async with session.get(OBJECTS, params={"maxResults": "0"}) as answer:
            assert answer.status == 400


async def test_an_object_by_range_and_by_generation() -> None:
    """An object that was written over has another generation, and the old one is gone."""
    async with running() as (sandbox, session):
        about = await put(session, "f/x")
        assert (about["size"], about["bucket"], about["name"]) == (str(SIZE), "a-bucket", "f/x")
        status, data = await get(session, "f/x", "?alt=media", Range="bytes=1000-")
        assert (status, data) == (206, DATA[1000:])
        status, _ = await get(session, "f/x", f"?alt=media&generation={about['generation']}")
        assert status == 200
        await put(session, "f/x", b"other")
        status, _ = await get(session, "f/x", f"?alt=media&generation={about['generation']}")
        assert status == 404
        assert sandbox.totals()["downloads"] == 2
        sandbox.change({"first": {"downloadcut": 1}})
        with pytest.raises(aiohttp.ClientError):
            await get(session, "f/x", "?alt=media")


async def test_what_is_deleted_is_gone() -> None:
    """A second time there is nothing to delete."""
    async with running() as (_, session):
        await put(session, "f/x")
        statuses = []
        for _ in range(2):
            async with session.delete(f"{OBJECTS}/f%2Fx") as answer:
                statuses.append(answer.status)
        assert statuses == [204, 404]
        assert (await get(session, "f/x"))[0] == 404
        async with session.get(f"{OBJECTS}/f%2Fx", headers={"Authorization": "Bearer invalid"}) as answer:
            assert answer.status == 401
