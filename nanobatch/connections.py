"""Owns the sockets of a run: one pool of connections, aiohttp's, that speaks of URLs and errors as httpx does.

httpx's own pool looks at every connection for every request and costs more with each one; aiohttp's does not, and its
parser is written in C. Here aiohttp opens and keeps the connections, proxies and TLS included, and reads the head of
each answer; the body goes past it, from the socket to whoever consumes it (see `nanobatch.bodies`).

Three things keep the event loop free and the memory flat. New connections open at most 32 at once, because a thousand
TLS handshakes in one turn of the loop are a long stall. Exchanges that begin together pass a `Turnstile`. And the more
bodies arrive together, the less each of them may read in one turn.

An idle connection is kept for 15 s only. A server may close one just as a request leaves on it; nobody can know
whether that request was read, and a short life makes the case rare.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import ipaddress
import os
import re
import resource
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from nanobatch.bodies import (
    LARGEST_READ_BYTES,
    SMALLEST_READ_BYTES,
    Arrivals,
    Body,
    BrokenBody,
    Consumer,
    framing_of,
    inflater_of,
)
from nanobatch.errors import ConfigError

CONNECT_SECONDS = 15.0  # name, connect and TLS together
KEEPALIVE_SECONDS = 15.0
OPENING_AT_ONCE = 32
PIECES_PER_TURN = 16
FIRST_READ_BYTES = 16 * 1024  # the beginning of an answer, read before anybody has asked for its body
DNS_SECONDS = 30
_BYTES_AT_ONCE = 2**20  # a larger request body is written in steps
_FILES_BESIDE = 128  # descriptors for everything that is neither a connection nor a part
_MAX_HEAD_BYTES = 64 * 1024
_HEAD_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/1\.\d 1(?!01)")  # 100 Continue, 103 Early Hints: the answer is still to come
_LINE_BREAK = re.compile(r"[\r\n\0]")
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # the whole exchange has one
_MOST_HOSTS = 256
_REACHED: ContextVar[dict[str, Any]] = ContextVar("_REACHED")


class PrivateAddress(OSError):
    """A result's address points into a private network."""


def is_public(address: str) -> bool:
    """Tell whether an IP address is one that anybody on the internet could mean."""
    with contextlib.suppress(ValueError):
        ip = ipaddress.ip_address(address.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return ip.is_global and not ip.is_multicast
    return False


def is_ip_literal(host: str) -> bool:
    """Tell whether a host is written as an address, so that no resolver is asked."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class Turnstile:
    """Lets at most `per_turn` pieces of work through in one turn of the event loop, in the order of asking.

    A permit is held while a piece is decoded, never while one is waited for, so a slow body delays nobody.

    >>> turnstile = Turnstile(16)
    >>> async def decode(chunk: bytes) -> None:
    ...     async with turnstile:
    ...         scanner.feed(chunk)
    """

    def __init__(self, per_turn: int) -> None:
        self._permits = asyncio.Semaphore(per_turn)

    @property
    def is_crowded(self) -> bool:
        """Whether somebody who comes now has to wait for the next turn."""
        return self._permits.locked()

    async def __aenter__(self) -> None:
        await self._permits.acquire()

    async def __aexit__(self, *exc: object) -> None:
        asyncio.get_running_loop().call_soon(self._permits.release)


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those that lead into a private network.

    The connection is made to the very addresses that were checked, so a name cannot change its meaning in between.
    """

    def __init__(self, resolver: AbstractResolver | None = None, *, exempt: Collection[str] = ()) -> None:
        self._resolver = resolver or ThreadedResolver()
        self._exempt = exempt  # the user's own proxies

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            PrivateAddress: One of them is private.
        """
        found = await self._resolver.resolve(host, port, family)
        if host not in self._exempt and not all(is_public(result["host"]) for result in found):
            raise PrivateAddress("a private address")
        return found

    async def close(self) -> None:
        """Close the resolver underneath."""
        await self._resolver.close()


class _Protocol(ResponseHandler):
    """aiohttp's protocol, which reads the head of an answer and leaves the body to us where we ask for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._held: bytearray | None = None  # bytes that aiohttp's parser has not seen; None: it sees everything
        self._head_is_read = False
        self._is_idle = False

    def set_response_params(self, **params: Any) -> None:
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


class _Connector(aiohttp.TCPConnector):
    """A pool that opens few connections at once and tells when a request has one."""

    def __init__(self, *, limit: int, context: ssl.SSLContext, resolver: AbstractResolver) -> None:
        super().__init__(
            limit=limit,
            ssl=context,
            resolver=resolver,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=DNS_SECONDS,
        )
        self._factory = cast(
            "functools.partial[ResponseHandler]", functools.partial(_Protocol, loop=asyncio.get_running_loop())
        )
        self._opening = asyncio.Semaphore(OPENING_AT_ONCE)

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        connection = await super().connect(*args, **kwargs)
        if (extensions := _REACHED.get(None)) is not None:
            extensions["reached"] = True
        _limit_read(connection, FIRST_READ_BYTES)
        return connection

    async def _create_connection(self, *args: Any, **kwargs: Any) -> Any:
        async with self._opening:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await super()._create_connection(*args, **kwargs)
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError(f"no connection within {CONNECT_SECONDS:g} s") from error


def _limit_read(connection: aiohttp.connector.Connection | None, memory_bytes: int) -> None:
    """Let a connection hold about so much memory for one piece of a body.

    asyncio has no official way to say so. Where these attributes are missing, as in other event loops, a connection
    takes what the loop thinks best, and a burst of answers costs more memory.
    """
    transport: Any = connection and connection.transport
    if hasattr(transport, "max_size"):
        transport.max_size = _piece_bytes(memory_bytes)
        return
    tls: Any = getattr(transport, "_ssl_protocol", None)
    if not hasattr(tls, "max_size") or not hasattr(tls, "_ssl_buffer"):
        return
    size = _piece_bytes(memory_bytes // 4)  # held four times: as it came, in OpenSSL, decrypted, parsed
    transport.set_read_buffer_limits(size)
    tls.max_size = size
    if len(tls._ssl_buffer) > size:  # noqa: SLF001 - it grows by itself, and never shrinks
        tls._ssl_buffer = bytearray(size)  # noqa: SLF001
        tls._ssl_buffer_view = memoryview(tls._ssl_buffer)  # noqa: SLF001


def _piece_bytes(memory_bytes: int) -> int:
    return max(SMALLEST_READ_BYTES, min(memory_bytes, LARGEST_READ_BYTES))


class Connections:
    """Every connection of a run; an asynchronous context manager that all lanes share.

    >>> async with Connections(limit=50) as connections:
    ...     transport = HttpTransport(connections, base_url=url, auth="bearer", api_key=key, new_part=store.new_part)

    Args:
        limit: Connections open at once, over all lanes; the total of their concurrency.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._proxies = _proxies()
        self._arrivals = Arrivals()
        self.turnstile = Turnstile(PIECES_PER_TURN)

    async def __aenter__(self) -> Self:
        context = _tls_context()
        _allow_open_files(2 * self._limit + _FILES_BESIDE)
        self.any_address = self._open(context, ThreadedResolver())
        self.public_only = self._open(context, PublicResolver(exempt=_hosts(self._proxies.values())))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.any_address.aclose()
        await self.public_only.aclose()

    def _open(self, context: ssl.SSLContext, resolver: AbstractResolver) -> AiohttpTransport:
        session = aiohttp.ClientSession(
            connector=_Connector(limit=self._limit, context=context, resolver=resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=FIRST_READ_BYTES // 4,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        return AiohttpTransport(session, self._proxy_for, self._arrivals, self.turnstile)

    def _proxy_for(self, url: httpx.URL) -> str | None:
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        if proxy is None or urllib.request.proxy_bypass(url.host):
            return None
        return proxy


def _proxies() -> dict[str, str]:
    """Read the proxies of the environment: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY.

    Raises:
        ConfigError: One of them is of a kind that cannot be used.
    """
    found = {name: url for name, url in urllib.request.getproxies().items() if name in ("http", "https", "all")}
    for name, url in found.items():
        scheme = url.partition("://")[0]
        if scheme not in ("http", "https"):
            raise ConfigError(f"{name.upper()}_PROXY must begin with http:// or https://, not with {scheme[:10]!r}")
    return found


def _hosts(urls: Iterable[str]) -> frozenset[str]:
    return frozenset(httpx.URL(url).host for url in urls)


def _tls_context() -> ssl.SSLContext:
    """Make the context that checks certificates against the system's authorities, or SSL_CERT_FILE.

    Raises:
        ConfigError: SSL_CERT_FILE cannot be read; without this check it would be ignored silently.
    """
    context = ssl.create_default_context()
    if file := os.environ.get("SSL_CERT_FILE"):
        try:
            context.load_verify_locations(cafile=file)
        except OSError as error:
            raise ConfigError(f"SSL_CERT_FILE: cannot read {file}: {error.strerror or error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _allow_open_files(wanted: int) -> None:
    """Raise this process's own limit of open files where it is too low and the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


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
            raise _translated(error, reached=call.reached) from error

    async def _direct(self, call: Call, begin: Begin) -> None:
        assert self._session.connector is not None
        head = _head_of(call)
        connection = await self._session.connector.connect(self._door(call.url), [], _NO_TIMEOUT)
        call.reached = True
        is_reusable = False
        try:
            protocol = cast("_Protocol", connection.protocol)
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
                async with self._turnstile:
                    pass
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
        protocol = cast("_Protocol", connection.protocol)
        body = Body(protocol, framing_of(headers, chunked=chunked), consume, self._arrivals)
        self._arrivals.bodies += 1
        try:
            held = protocol.take_body()
            body.take(held, len(held))
            if not body.is_done:
                if connection.transport is None:
                    body.cut(None)
                else:
                    connection.transport.set_protocol(body)
                    _limit_read(connection, self._arrivals.share())
            is_whole = await body
        finally:
            self._arrivals.bodies -= 1
            if connection.transport is not None:
                connection.transport.set_protocol(protocol)
        if inflater is not None and is_whole:
            inflater.check_end()
        return body.is_clean

    async def _take_turn(self, protocol: _Protocol) -> None:
        """Wait for a turn; meanwhile the body stays where it is, in the memory of the kernel."""
        is_crowded = self._turnstile.is_crowded
        if is_crowded and protocol.transport is not None:
            protocol.transport.pause_reading()
        async with self._turnstile:
            pass
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
        token = _REACHED.set(extensions)
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
            raise _translated(error, reached=extensions["reached"]) from error
        finally:
            _REACHED.reset(token)
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


async def _ask(protocol: _Protocol, head: bytes, call: Call) -> tuple[RawResponseMessage, bool]:
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


async def _write_in_steps(protocol: _Protocol, content: bytes) -> None:
    view = memoryview(content)
    with contextlib.suppress(aiohttp.ClientError):  # the reader says what happened
        for at in range(0, len(view), _BYTES_AT_ONCE):
            if (transport := protocol.transport) is None:
                return
            transport.write(view[at : at + _BYTES_AT_ONCE])
            await protocol._drain_helper()  # noqa: SLF001 - there is no other way to wait


async def _answered(protocol: _Protocol) -> tuple[RawResponseMessage, bool]:
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
            raise _translated(error, reached=True) from error

    async def _next(self) -> bytes:
        while (plain := next(self._waiting, None)) is None:
            _limit_read(self._answer.connection, self._arrivals.share())
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


_TRANSLATIONS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (  # the first that fits
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (TimeoutError, httpx.ReadTimeout),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (HttpProcessingError, httpx.RemoteProtocolError),
    (BrokenBody, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (Exception, httpx.ReadError),
)


def _translated(error: Exception, *, reached: bool) -> httpx.TransportError:
    """Choose httpx's error. Whatever happens before a connection stands is a connect error."""
    kind = next(kind for cause, kind in _TRANSLATIONS if isinstance(error, cause))
    if isinstance(getattr(error, "os_error", None), PrivateAddress):
        kind = httpx.UnsupportedProtocol
    elif kind is httpx.ReadError and not reached:
        kind = httpx.ConnectError
    return kind(_sentence(error))


def _sentence(error: Exception) -> str:
    """Say what happened without any URL, whose query may be a secret."""
    said: object = error
    match error:
        case aiohttp.ClientHttpProxyError():
            said = f"the proxy answered {error.status}"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            said = "not a usable URL"
        case aiohttp.ClientConnectorCertificateError():
            said = error.certificate_error
        case aiohttp.ClientConnectorError():
            said = error.os_error
        case aiohttp.ServerDisconnectedError():
            said = "the server closed the connection without an answer"
        case aiohttp.ClientResponseError() | HttpProcessingError():
            said = error.message
    return str(said).strip().partition("\n")[0] or type(error).__name__
