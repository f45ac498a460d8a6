"""The pool underneath: what may be reached, how it shares, and that its errors are httpx's."""

from __future__ import annotations

import resource
import socket

import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from nanobatch.connections import Connections, PublicResolver, is_ip_literal, is_public
from nanobatch.errors import ConfigError
from nanobatch.wire_errors import PrivateAddress

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
