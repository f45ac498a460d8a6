"""Owns the sockets of a run: one pool of connections, aiohttp's, that speaks of URLs and errors as httpx does.

httpx's own pool looks at every connection for every request and costs more with each one; aiohttp's does not, and its
parser is written in C. Here aiohttp opens and keeps the connections, proxies and TLS included, and reads the head of
each answer; `nanobatch.roads` says how a request travels, and the body goes past aiohttp (see `nanobatch.bodies`).

Three things keep the event loop free and the memory flat. New connections open at most 32 at once, because a thousand
TLS handshakes in one turn of the loop are a long stall. Exchanges that begin together pass a `Turnstile`. And of many
bodies that arrive together only a few read much in one turn.

An idle connection is kept for 15 s only. A server may close one just as a request leaves on it; nobody can know
whether that request was read, and a short life makes the case rare.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import os
import resource
import socket
import ssl
import urllib.request
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import Any, Self, cast

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.resolver import ThreadedResolver

from nanobatch.bodies import Arrivals, limit_read
from nanobatch.errors import ConfigError
from nanobatch.roads import REACHED, AiohttpTransport, HeadFirst
from nanobatch.turnstile import Turnstile
from nanobatch.wire_errors import PrivateAddress

CONNECT_SECONDS = 15.0  # name, connect and TLS together
KEEPALIVE_SECONDS = 15.0
OPENING_AT_ONCE = 32
PIECES_PER_TURN = 16
FIRST_READ_BYTES = 16 * 1024  # the beginning of an answer, read before anybody has asked for its body
DNS_SECONDS = 30
_FILES_BESIDE = 128  # descriptors for everything that is neither a connection nor a part


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


async def resolves_to_public(host: str) -> bool:
    """Tell whether a provider is on the internet; a name that cannot be resolved counts as public."""
    if is_ip_literal(host):
        return is_public(host)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None)
    except OSError:
        return True
    return any(is_public(str(address[0])) for *_, address in found)


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
            "functools.partial[ResponseHandler]", functools.partial(HeadFirst, loop=asyncio.get_running_loop())
        )
        self._opening = asyncio.Semaphore(OPENING_AT_ONCE)

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        connection = await super().connect(*args, **kwargs)
        if (extensions := REACHED.get(None)) is not None:
            extensions["reached"] = True
        limit_read(connection.transport, FIRST_READ_BYTES)
        return connection

    async def _create_connection(self, *args: Any, **kwargs: Any) -> Any:
        async with self._opening:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await super()._create_connection(*args, **kwargs)
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError(f"no connection within {CONNECT_SECONDS:g} s") from error


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
        context = _tls_context(os.environ.get("SSL_CERT_FILE"))
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


@functools.lru_cache(maxsize=4)  # reading all authorities takes 20 ms, and some programs run many times
def _tls_context(file: str | None) -> ssl.SSLContext:
    """Make the context that checks certificates against the system's authorities, or SSL_CERT_FILE.

    Raises:
        ConfigError: SSL_CERT_FILE cannot be read; without this check it would be ignored silently.
    """
    context = ssl.create_default_context()
    if file:
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
