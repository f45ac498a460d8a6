"""How one request travels: two ways over one connection, and what is held meanwhile. test_transport.py has more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from nanobatch.bodies import Consumer
from nanobatch.connections import Connections
from nanobatch.roads import Call

pytestmark = pytest.mark.anyio


async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request with its own first line."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            line = head.partition(b"\r\n")[0]
            writer.write(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: %d\r\n\r\n%s" % (len(line), line))
            await writer.drain()
    writer.close()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    listener = await asyncio.start_server(answer_all, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    listener.close()


async def test_both_ways_share_one_connection(url: str) -> None:
    """The way of httpx, which asks for a body, and the direct one take turns on the same connection."""
    async with Connections(1) as opened:
        road = opened.any_address
        for _ in range(2):
            taken, heads = bytearray(), list[object]()

            def begin(
                status: int, headers: dict[str, str], *, heads: list[object] = heads, taken: bytearray = taken
            ) -> Consumer:
                heads.append((status, headers["x-a"]))

                def take(data: bytes | bytearray, start: int, end: int) -> None:
                    taken.extend(data[start:end])

                return take

            call = Call("GET", httpx.URL(f"{url}/direct?a=b"), {})
            await road.exchange(call, begin)
            assert (bytes(taken), heads, call.reached) == (b"GET /direct?a=b HTTP/1.1", [(200, "1, 2")], True)
            async with httpx.AsyncClient(transport=KeptOpen(road)) as client:
                assert (await client.get(f"{url}/httpx")).text == "GET /httpx HTTP/1.1"


class KeptOpen(httpx.AsyncBaseTransport):
    """Lends a transport to a client that closes what it has."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)


async def test_a_body_that_nobody_wants_is_not_read(url: str) -> None:
    """Without a consumer the exchange ends with the head."""
    async with Connections(1) as opened:
        for _ in range(2):
            await opened.any_address.exchange(Call("GET", httpx.URL(url), {}), lambda _status, _headers: None)


@pytest.mark.parametrize("size", [100, 5_000_000])
async def test_sent_bytes_are_not_held(size: int) -> None:
    """While the answer is awaited, the memory of the request's body is free already."""
    is_read, go_on = asyncio.Event(), asyncio.Event()

    async def hesitate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(size)
        is_read.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(hesitate, "127.0.0.1", 0)
    async with Connections(1) as opened:
        url = httpx.URL(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        call = Call("POST", url, {}, b"x" * size)
        sent = asyncio.ensure_future(opened.any_address.exchange(call, lambda _status, _headers: None))
        await is_read.wait()
        assert call.content == b""
        go_on.set()
        await sent
    listener.close()
