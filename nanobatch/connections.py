"""Owns the sockets of a run: one pool of connections, aiohttp's, behind the transport interface of httpx.

httpx's own pool looks at every connection for every request and costs more with each one; aiohttp's does not, and
its parser is written in C. So requests and responses are httpx's, and what carries them is aiohttp's.

Three things here keep the event loop free and the memory flat. New connections open at most 32 at once, because a
thousand TLS handshakes in one turn of the loop are a long stall. Each connection stops reading until its last piece
is consumed, and the pieces become smaller when many bodies arrive together. And the `Turnstile` lets only so many
pieces be decoded in one turn.

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
import resource
import socket
import ssl
import urllib.request
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, cast

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from nanobatch.errors import ConfigError

CONNECT_SECONDS = 15.0  # name, connect and TLS together
KEEPALIVE_SECONDS = 15.0
OPENING_AT_ONCE = 32
PIECES_PER_TURN = 16
FIRST_READ_BYTES = 16 * 1024  # the beginning of an answer, read before anybody has asked for its body
LARGEST_READ_BYTES = 256 * 1024
READS_TOGETHER_BYTES = 32 * 2**20  # what all bodies that arrive at the same time may hold in memory
DNS_SECONDS = 30
_BYTES_AT_ONCE = 2**20  # a larger request body is written in steps
_FILES_BESIDE = 128  # descriptors for everything that is neither a connection nor a part
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
    """aiohttp's protocol, which forgets to wake a reader when a chunked body turns into nonsense half way."""

    def connection_lost(self, exc: BaseException | None) -> None:
        body = self._payload
        super().connection_lost(exc)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("the body is not valid HTTP"))


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
        _REACHED.get()["reached"] = True
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
    return max(FIRST_READ_BYTES, min(memory_bytes, LARGEST_READ_BYTES))


class _Arrivals:
    """Counts the bodies that are arriving, to share the memory of `READS_TOGETHER_BYTES` between them."""

    def __init__(self) -> None:
        self.bodies = 0

    def share(self) -> int:
        """Return how many bytes of memory one body may take."""
        return READS_TOGETHER_BYTES // max(1, self.bodies)


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
        self._arrivals = _Arrivals()
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
        return AiohttpTransport(session, self._proxy_for, self._arrivals)

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


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests over an aiohttp session and raises httpx's errors.

    `request.extensions["reached"]` is set once a connection stands: from then on bytes may have left.
    """

    def __init__(
        self, session: aiohttp.ClientSession, proxy_for: Callable[[httpx.URL], str | None], arrivals: _Arrivals
    ) -> None:
        self._session = session
        self._proxy_for = proxy_for
        self._arrivals = arrivals

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the response's body is still to be read."""
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
            raise _translated(error, request) from error
        finally:
            _REACHED.reset(token)
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=_Body(answer, request, self._arrivals), request=request
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


def _headers(headers: httpx.Headers) -> Mapping[str, str]:
    """Copy the headers; aiohttp writes Host and Content-Length itself."""
    return {name: value for name, value in headers.items() if name not in ("host", "content-length")}


def _body(content: bytes) -> Any:
    if not content:
        return None
    return content if len(content) < _BYTES_AT_ONCE else io.BytesIO(content)


class _Body(httpx.AsyncByteStream):
    """The body of an answer, piece by piece as it comes, with a content encoding undone that nobody asked for."""

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx.Request, arrivals: _Arrivals) -> None:
        self._answer = answer
        self._request = request
        self._arrivals = arrivals
        self._arrivals.bodies += 1
        self._open = True
        self._inflater = _inflater(answer.headers.get("Content-Encoding", ""))
        self._waiting: Iterator[bytes] = iter(())

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._next()
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(error, self._request) from error

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


class _Inflater:
    """Undoes gzip or deflate in steps of bounded size, so that a small body cannot become a huge one at once."""

    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.decompressobj(window_bits)

    def pieces(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            try:
                plain = self._stream.decompress(piece, LARGEST_READ_BYTES)
            except zlib.error as error:
                raise aiohttp.ClientPayloadError(f"broken compression: {error}") from error
            if plain:
                yield plain
            piece = self._stream.unconsumed_tail

    def check_end(self) -> None:
        if not self._stream.eof:
            raise aiohttp.ClientPayloadError("the compressed body is cut")


def _inflater(encoding: str) -> _Inflater | None:
    match encoding.strip().lower():
        case "gzip" | "x-gzip":
            return _Inflater(16 + zlib.MAX_WBITS)
        case "deflate":
            return _Inflater(zlib.MAX_WBITS)
        case _:
            return None


_TRANSLATIONS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (  # the first that fits
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (TimeoutError, httpx.ReadTimeout),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (Exception, httpx.ReadError),
)


def _translated(error: Exception, request: httpx.Request) -> httpx.TransportError:
    """Choose httpx's error. Whatever happens before a connection stands is a connect error."""
    kind = next(kind for cause, kind in _TRANSLATIONS if isinstance(error, cause))
    if isinstance(getattr(error, "os_error", None), PrivateAddress):
        kind = httpx.UnsupportedProtocol
    elif kind is httpx.ReadError and not request.extensions["reached"]:
        kind = httpx.ConnectError
    return kind(_sentence(error), request=request)


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
        case aiohttp.ClientResponseError():
            said = error.message
    return str(said).strip().partition("\n")[0] or type(error).__name__
