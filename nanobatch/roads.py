"""Takes one request over one of aiohttp's connections and hands the answer's body to whoever consumes it.

The direct way writes the request itself, lets aiohttp's parser read the head of the answer, and nothing else: the body
goes from the socket to its consumer. Requests through a proxy go the longer way, through a session of aiohttp's. Errors
are httpx's on both.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

from nanobatch.bodies import Arrivals, Body, BrokenBody, Consumer, framing_of, inflater_of, limit_read
from nanobatch.turnstile import Turnstile
from nanobatch.wire_errors import translated

_BYTES_AT_ONCE = 2**20  # a larger request body is written in steps
_MAX_HEAD_BYTES = 64 * 1024
_HEAD_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/1\.\d 1(?!01)")  # 100 Continue, 103 Early Hints: the answer is still to come
_LINE_BREAK = re.compile(r"[\r\n\0]")
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # the whole exchange has one
_MOST_HOSTS = 256
REACHED: ContextVar[dict[str, Any]] = ContextVar("REACHED")


class HeadFirst(ResponseHandler):
    """aiohttp's protocol, which reads the head of an answer and leaves the body to us where we ask for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._held: bytearray | None = None  # bytes that aiohttp's parser has not seen; None: it sees everything
        self._head_is_read = False
        self._is_idle = False

    def set_response_params(self, **params: Any) -> None:
        """Begin an answer, which aiohttp reads alone."""
        self._held = None
        self._is_idle = False
        super().set_response_params(**params)

    def hold_body(self) -> None:
        """Show the parser nothing but the head of the next answer."""
        self._held = bytearray()
        self._head_is_read = False

    def take_body(self) -> bytearray:
        """Return what came of the body together with the head."""
        held, self._held = self._held, bytearray()
        assert held is not None
        return held

    def end_body(self) -> None:
        """Forget the answer: the body is consumed, and the connection may serve the next request."""
        self._payload = None
        self._parser = None
        self._is_idle = True

    def data_received(self, data: bytes) -> None:
        """Pass on what is the head's."""
        if self._held is None:
            super().data_received(data)
            return
        if self._is_idle:  # nobody asked for anything
            self.close()
            return
        self._held += data
        while not self._head_is_read and self._held:
            size = _head_bytes(self._held)
            if not size:
                return
            text = bytes(self._held[:size])
            del self._held[:size]
            self._head_is_read = not _INTERIM.match(text)
            super().data_received(text)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Pass on half a head too, which may say what is wrong."""
        if self._held and not self._head_is_read:
            super().data_received(bytes(self._held))
        body = self._payload
        super().connection_lost(exc)
        # aiohttp forgets to wake a reader when a chunked body turns into nonsense half way.
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("the body is not valid HTTP"))


def _head_bytes(data: bytearray) -> int:
    """Return the length of an answer's head, or 0 where its end did not come; a head without end is cut."""
    end = _HEAD_END.search(data)
    if end is not None:
        return end.end()
    return len(data) if len(data) >= _MAX_HEAD_BYTES else 0


@dataclass(slots=True)
class Call:
    """One request on its way."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str]  # names in lower case; Host and Content-Length are added
    content: bytes = b""  # gone once it is sent
    reached: bool = False  # a connection stands: from now on bytes may have left


Begin: TypeAlias = Callable[[int, dict[str, str]], Consumer | None]
"""Told status and headers of an answer, returns who consumes its body, or None where nobody does."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests over aiohttp's connections and raises httpx's errors.

    `exchange` is the cheap way: its bodies go from the socket straight to who consumes them. `handle_async_request` is
    the way of httpx, whose bodies are asked for piece by piece; requests through a proxy take it.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        proxy_for: Callable[[httpx.URL], str | None],
        arrivals: Arrivals,
        turnstile: Turnstile,
    ) -> None:
        self._session = session
        self._proxy_for = proxy_for
        self._arrivals = arrivals
        self._turnstile = turnstile  # answers that begin or end together are dealt with by and by
        self._doors: dict[tuple[str, bytes], aiohttp.ClientRequest] = {}  # what aiohttp's pool knows a server by

    async def exchange(self, call: Call, begin: Begin) -> None:
        """Send a request and have the answer's body consumed while it arrives.

        Raises:
            httpx.TransportError: There is no whole answer; `call.reached` tells whether the request may have been read.
            NanobatchError: What the consumer raised.
        """
        if call.url.userinfo or self._proxy_for(call.url) is not None:
            await self._through_session(call, begin)
            return
        try:
            await self._direct(call, begin)
        except (aiohttp.ClientError, HttpProcessingError, BrokenBody, OSError) as error:
            raise translated(error, reached=call.reached) from error

    async def _direct(self, call: Call, begin: Begin) -> None:
        assert self._session.connector is not None
        head = _head_of(call)
        connection = await self._session.connector.connect(self._door(call.url), [], _NO_TIMEOUT)
        call.reached = True
        is_reusable = False
        try:
            protocol = cast("HeadFirst", connection.protocol)
            protocol.set_response_params(skip_payload=call.method == "HEAD", read_until_eof=True, auto_decompress=False)
            protocol.hold_body()
            message, is_bodiless = await _ask(protocol, head, call)
            await self._take_turn(protocol)
            headers = _lower(message.headers)
            consume = begin(message.code, headers)
            if is_bodiless:
                is_reusable = not protocol.take_body()
            elif consume is not None:
                is_reusable = await self._consume(connection, consume, headers, chunked=message.chunked)
                await self._turnstile.turn()
            if is_reusable:
                protocol.end_body()
        finally:
            if is_reusable:
                connection.release()
            else:
                connection.close()

    async def _consume(
        self,
        connection: aiohttp.connector.Connection,
        consume: Consumer,
        headers: Mapping[str, str],
        *,
        chunked: bool,
    ) -> bool:
        """Let a body flow to its consumer; tell whether the connection may be used again."""
        inflater = inflater_of(headers.get("content-encoding", ""))
        if inflater is not None:
            consume = inflater.before(consume)
        protocol = cast("HeadFirst", connection.protocol)
        body = Body(
            protocol,
            framing_of(headers, chunked=chunked),
            consume,
            arrivals=self._arrivals,
            transport=connection.transport,
        )
        self._arrivals.bodies += 1
        try:
            held = protocol.take_body()
            body.take(held, len(held))
            if not body.is_done:
                if connection.transport is None:
                    body.cut(None)
                else:
                    connection.transport.set_protocol(body)
                    limit_read(connection.transport, self._arrivals.piece())
            is_whole = await body
        finally:
            self._arrivals.bodies -= 1
            if connection.transport is not None:
                connection.transport.set_protocol(protocol)
        if inflater is not None and is_whole:
            inflater.check_end()
        return body.is_clean

    async def _take_turn(self, protocol: HeadFirst) -> None:
        """Wait for a turn; meanwhile the body stays where it is, in the memory of the kernel."""
        is_crowded = self._turnstile.is_crowded
        if is_crowded and protocol.transport is not None:
            protocol.transport.pause_reading()
        await self._turnstile.turn()
        if is_crowded and protocol.transport is not None:
            protocol.transport.resume_reading()

    def _door(self, url: httpx.URL) -> aiohttp.ClientRequest:
        key = (url.scheme, url.netloc)
        door = self._doors.get(key)
        if door is None:
            if len(self._doors) >= _MOST_HOSTS:
                self._doors.clear()
            root = URL(str(url.copy_with(raw_path=b"/", fragment=None)), encoded=True)
            door = self._doors[key] = aiohttp.ClientRequest("GET", root, loop=asyncio.get_running_loop())
        return door

    async def _through_session(self, call: Call, begin: Begin) -> None:
        request = httpx.Request(call.method, call.url, headers=call.headers, content=call.content)
        try:
            answer = await self.handle_async_request(request)
        finally:
            call.reached = bool(request.extensions.get("reached"))
        try:
            consume = begin(answer.status_code, dict(answer.headers.items()))
            if consume is not None:
                async for piece in answer.stream:  # type: ignore[union-attr]
                    if consume(piece, 0, len(piece)):
                        break
        finally:
            await answer.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the response's body is still to be read.

        `request.extensions["reached"]` is set once a connection stands.
        """
        extensions = request.extensions = {**request.extensions, "reached": False}
        token = REACHED.set(extensions)
        try:
            answer = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=_headers(request.headers),
                data=_body(request.content),
                allow_redirects=False,
                proxy=self._proxy_for(request.url),
            )
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise translated(error, reached=extensions["reached"]) from error
        finally:
            REACHED.reset(token)
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=_Stream(answer, self._arrivals), request=request
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


def _head_of(call: Call) -> bytes:
    """Write the head of a request."""
    lines = [f"{call.method} {call.url.raw_path.decode('ascii')} HTTP/1.1", f"Host: {call.url.netloc.decode('ascii')}"]
    lines += [f"{name}: {value}" for name, value in call.headers.items()]
    if call.content or call.method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(call.content)}")
    if any(map(_LINE_BREAK.search, lines)):
        raise AssertionError("a provider's header holds a line break: nothing was sent")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")


async def _ask(protocol: HeadFirst, head: bytes, call: Call) -> tuple[RawResponseMessage, bool]:
    """Send a request; return the head of the answer, and whether it has no body."""
    assert protocol.transport is not None
    content, call.content = call.content, b""
    if len(content) < _BYTES_AT_ONCE:
        protocol.transport.write(head + content)
        del content
        return await _answered(protocol)
    protocol.transport.write(head)
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:  # a server may answer, with a refusal, before it has read everything
        writer = group.create_task(_write_in_steps(protocol, content))
        del content
        try:
            message, is_bodiless = await _answered(protocol)
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            failure = error
        if not writer.done():
            protocol.force_close()
            writer.cancel()
    if failure is not None:
        raise failure
    return message, is_bodiless


async def _write_in_steps(protocol: HeadFirst, content: bytes) -> None:
    view = memoryview(content)
    with contextlib.suppress(aiohttp.ClientError):  # the reader says what happened
        for at in range(0, len(view), _BYTES_AT_ONCE):
            if (transport := protocol.transport) is None:
                return
            transport.write(view[at : at + _BYTES_AT_ONCE])
            await protocol._drain_helper()  # noqa: SLF001 - there is no other way to wait


async def _answered(protocol: HeadFirst) -> tuple[RawResponseMessage, bool]:
    while True:
        message, payload = await protocol.read()
        if message.code >= 200 or message.code == 101:
            return message, payload.is_eof()


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Copy headers, with names in lower case and the values of repeated ones joined."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found


def _headers(headers: httpx.Headers) -> Mapping[str, str]:
    """Copy the headers; aiohttp writes Host and Content-Length itself."""
    return {name: value for name, value in headers.items() if name not in ("host", "content-length")}


def _body(content: bytes) -> Any:
    if not content:
        return None
    return content if len(content) < _BYTES_AT_ONCE else io.BytesIO(content)


class _Stream(httpx.AsyncByteStream):
    """The body of an answer, piece by piece as it comes, with a content encoding undone that nobody asked for."""

    def __init__(self, answer: aiohttp.ClientResponse, arrivals: Arrivals) -> None:
        self._answer = answer
        self._arrivals = arrivals
        self._arrivals.bodies += 1
        self._open = True
        self._inflater = inflater_of(answer.headers.get("Content-Encoding", ""))
        self._waiting: Iterator[bytes] = iter(())

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._next()
        except (aiohttp.ClientError, BrokenBody, OSError) as error:
            raise translated(error, reached=True) from error

    async def _next(self) -> bytes:
        while (plain := next(self._waiting, None)) is None:
            limit_read(self._answer.connection and self._answer.connection.transport, self._arrivals.piece())
            piece = await self._answer.content.readany()
            if not piece:
                if self._inflater is not None:
                    self._inflater.check_end()
                raise StopAsyncIteration
            if self._inflater is None:
                return piece
            self._waiting = self._inflater.pieces(piece)
        return plain

    async def aclose(self) -> None:
        """Return the connection to the pool, or close it where the body was not read to its end."""
        self._arrivals.bodies -= self._open
        self._open = False
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()
