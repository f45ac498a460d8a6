"""The pool underneath: what may be reached, how it shares, and that its errors are httpx's."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import resource
import socket
from collections.abc import AsyncIterator

import aiohttp
import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from nanobatch import connections
from nanobatch.bodies import Consumer
from nanobatch.connections import Call, Connections, PrivateAddress, PublicResolver, Turnstile, is_ip_literal, is_public
from nanobatch.errors import ConfigError

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    """An address of the internet is public."""
    assert is_public(address)
    assert is_ip_literal(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
    ],
)
def test_private_addresses(address: str) -> None:
    """Loopback, private, link-local, shared, multicast and mapped addresses are not public."""
    assert not is_public(address)
    assert is_ip_literal(address)


def test_a_name_is_neither_literal_nor_public() -> None:
    """A name is no address; nothing is assumed of it."""
    assert not is_ip_literal("example.com")
    assert not is_public("example.com")


class FixedResolver(AbstractResolver):
    """Knows every name, under the addresses it was given."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        pass


async def test_a_public_name_resolves() -> None:
    """A name with public addresses only is resolved to them."""
    resolver = PublicResolver(FixedResolver("8.8.8.8", "9.9.9.9"))
    assert [result["host"] for result in await resolver.resolve("cdn.example", 443)] == ["8.8.8.8", "9.9.9.9"]


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("8.8.8.8", "169.254.169.254")])
async def test_a_name_that_leads_inside_is_refused(addresses: tuple[str, ...]) -> None:
    """One private address among a name's addresses is enough to refuse it."""
    with pytest.raises(PrivateAddress):
        await PublicResolver(FixedResolver(*addresses)).resolve("cdn.example", 443)


async def test_the_users_own_proxy_may_be_inside() -> None:
    """A proxy that the user named is exempt."""
    resolver = PublicResolver(FixedResolver("10.0.0.1"), exempt={"proxy.corp"})
    assert (await resolver.resolve("proxy.corp", 3128))[0]["host"] == "10.0.0.1"


async def test_the_turnstile_lets_a_few_through_per_turn() -> None:
    """In one turn of the loop at most so many pass, first come, first served."""
    turnstile, turn, passed = Turnstile(3), 0, list[tuple[int, int]]()

    async def worker(number: int) -> None:
        async with turnstile:
            passed.append((turn, number))

    tasks = [asyncio.ensure_future(worker(number)) for number in range(10)]
    while len(passed) < 10:
        await asyncio.sleep(0)
        turn += 1
    await asyncio.gather(*tasks)
    assert [number for _, number in passed] == list(range(10))
    assert all(sum(when == at for when, _ in passed) <= 3 for at in range(turn + 1))


async def test_a_permit_survives_an_error() -> None:
    """A piece that fails gives its permit back."""
    turnstile = Turnstile(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            async with turnstile:
                raise ValueError("broken")


def test_every_error_of_aiohttp_has_a_translation() -> None:
    """Each exception class of aiohttp's client, also one that a later version adds, becomes an error of httpx's."""
    classes = [
        kind for _, kind in inspect.getmembers(aiohttp, inspect.isclass) if issubclass(kind, aiohttp.ClientError)
    ]
    assert len(classes) > 15
    for kind in classes:
        error = kind.__new__(kind)
        assert any(isinstance(error, cause) for cause, _ in connections._TRANSLATIONS)
    assert isinstance(connections._translated(aiohttp.ClientError("new"), reached=True), httpx.ReadError)


def test_nothing_is_ambiguous_before_a_connection_stands() -> None:
    """An error without a connection is a connect error, whatever its class."""
    for error in (OSError("no"), aiohttp.ClientOSError(104, "reset"), aiohttp.ClientConnectionError("closed")):
        assert isinstance(connections._translated(error, reached=False), httpx.ConnectError)


async def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY, ALL_PROXY and NO_PROXY are honoured."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    async with Connections(1) as opened:
        assert opened._proxy_for(httpx.URL("https://api.example/v1")) == "http://127.0.0.1:3128"
        assert opened._proxy_for(httpx.URL("http://api.example/v1")) is None
        assert opened._proxy_for(httpx.URL("https://inside.example/v1")) is None
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:3129")
    assert Connections(1)._proxy_for(httpx.URL("http://api.example/v1")) == "http://127.0.0.1:3129"


def test_a_proxy_of_an_unknown_kind_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy is refused at once, without repeating its password."""
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:1080")
    with pytest.raises(ConfigError, match="ALL_PROXY must begin with http") as caught:
        Connections(1)
    assert "secret" not in str(caught.value)


async def test_a_missing_certificate_file_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE that cannot be read is named, not ignored."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE: cannot read /nowhere/ca.pem"):
        async with Connections(1):
            pass


async def test_enough_files_may_be_open() -> None:
    """The process may open a socket and a part for each connection, within the system's own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        async with Connections(300):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(600, hard)
        async with Connections(1):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(600, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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
