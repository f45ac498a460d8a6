"""How bytes leave the sandbox, seen through a bare socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from nanobatch.sandbox.delivery import page
from nanobatch.sandbox.plan import Plan
from nanobatch.sandbox.server import Sandbox, serve

pytestmark = pytest.mark.anyio

BODY = json.dumps({"model": "gpt-image-2", "prompt": "a cat", "size": "256x256"}).encode()
REQUEST = (
    b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


@asynccontextmanager
async def connected(**settings: Any) -> AsyncIterator[tuple[Sandbox, asyncio.StreamReader, asyncio.StreamWriter]]:
    async with serve(Plan(latency=(0.0, 0.0), **settings)) as sandbox:
        address = urlsplit(sandbox.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            yield sandbox, reader, writer
        finally:
            writer.close()


async def head(reader: asyncio.StreamReader) -> tuple[bytes, dict[str, str]]:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    return status.encode(), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


async def idle(sandbox: Sandbox) -> None:
    async with asyncio.timeout(10):
        while sandbox.totals()["in_flight"]:
            await asyncio.to_thread(sandbox.totals)


async def test_a_whole_answer_keeps_the_connection() -> None:
    """The promised length comes, and the same connection serves the next request."""
    async with connected() as (_, reader, writer):
        for _ in range(2):
            writer.write(REQUEST)
            status, headers = await head(reader)
            body = await reader.readexactly(int(headers["content-length"]))
            assert status == b"HTTP/1.1 200 OK"
            assert "b64_json" in json.loads(body)["data"][0]


async def test_a_truncated_answer_ends_half_way() -> None:
    """The head promises everything, half of it comes, then the connection closes in order."""
    async with connected(faults={"truncate": 1}) as (_, reader, writer):
        writer.write(REQUEST)
        status, headers = await head(reader)
        body = await reader.read()
    assert status == b"HTTP/1.1 200 OK"
    assert len(body) == int(headers["content-length"]) // 2


@pytest.mark.parametrize(("fault", "images"), [("reset", 0), ("reset-after", 1)])
async def test_a_reset_sends_nothing_but_the_reset(fault: str, images: int) -> None:
    """Not one byte of an answer: before the work without a bill, after it with one."""
    async with connected(faults={fault: 1}) as (sandbox, reader, writer):
        writer.write(REQUEST)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        assert sandbox.totals()["images"] == images


async def test_a_hanging_request_ends_with_its_client() -> None:
    """It holds its place until the client leaves, and is never billed."""
    async with connected(faults={"hang": 1}, concurrency=1) as (sandbox, reader, writer):
        writer.write(REQUEST)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        assert sandbox.totals()["in_flight"] == 1
        writer.close()
        await idle(sandbox)
        assert sandbox.totals()["images"] == 0


async def test_a_dripping_answer_comes_whole_and_in_pieces() -> None:
    """More than one piece arrives, spread over the time of the plan."""
    async with connected(faults={"slowdrip": 1}, drip=0.2) as (_, reader, writer):
        loop = asyncio.get_running_loop()
        writer.write(REQUEST)
        _, headers = await head(reader)
        started, pieces, left = loop.time(), 0, int(headers["content-length"])
        while left:
            left -= len(await reader.read(1 << 20))
            pieces += 1
        assert pieces > 5
        assert loop.time() - started >= 0.15


async def test_a_client_that_leaves_in_the_middle_harms_nobody() -> None:
    """A connection that breaks while the answer trickles leaves the sandbox as it was."""
    async with connected(faults={"slowdrip": 1}, drip=0.2, image_bytes=2_000_000) as (sandbox, reader, writer):
        writer.write(REQUEST)
        await head(reader)
        writer.transport.abort()
        await idle(sandbox)
        assert sandbox.totals()["images"] == 1


@pytest.mark.parametrize("cut", [40, 120, len(REQUEST) - 3])
async def test_a_request_that_never_ends_is_no_request(cut: int) -> None:
    """A client that dies while it sends is neither admitted nor billed."""
    async with connected(rpm=1) as (sandbox, _, writer):
        writer.write(REQUEST[:cut])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        reader, second = await asyncio.open_connection("127.0.0.1", urlsplit(sandbox.url).port)
        second.write(REQUEST)
        assert (await head(reader))[0] == b"HTTP/1.1 200 OK"
        second.close()
        assert sandbox.totals()["images"] == 1


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (502, b"502 Bad Gateway"),
        (200, b"Just a moment..."),
        (403, b"403 Forbidden"),
        (404, b"404 Not Found"),
        (500, b"500 Internal Server Error"),
    ],
)
def test_pages_look_like_a_gateway_s(status: int, title: bytes) -> None:
    """HTML with a title, and a content type that says so."""
    answer = page(status)
    assert answer.content_type.startswith("text/html")
    assert b"<title>" + title + b"</title>" in answer.encoded()
