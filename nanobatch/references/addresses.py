"""Decides which URLs may be fetched: http and https, no user name, and no address inside a private network.

A prompt file may come from somebody else, and must not make this machine read what only this machine can reach. So a
host's addresses are all checked, and the connection is made to the very addresses that were: a name that changes its
meaning in between changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import SplitResult, quote, urlsplit

from nanobatch.connections import is_public
from nanobatch.errors import InputError
from nanobatch.providers.sentences import clean

Address: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]  # what a socket is made of and connected to
Resolve: TypeAlias = Callable[[str, int], list[Address]]

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_UNQUOTED = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class Target:
    """One URL, taken apart and checked, without the fragment."""

    scheme: str
    host: str  # ASCII, without brackets
    port: int
    path: str  # with the query, quoted
    shown: str  # for a person: without the query, which may be a secret

    @property
    def url(self) -> str:
        """The whole URL, against which a redirect is resolved."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def is_url(source: str) -> bool:
    """Tell whether a source is meant as a URL, of whatever scheme."""
    scheme, colon, rest = source.partition(":")
    is_scheme = scheme.isascii() and scheme[:1].isalpha() and scheme.replace("+", "").replace("-", "").isalnum()
    return bool(colon) and is_scheme and (rest.startswith("//") or scheme.lower() == "data")


def show(url: str) -> str:
    """Shorten a URL for a person: no user name, no query, no fragment."""
    head, question, _ = url.partition("#")[0].partition("?")
    scheme, slashes, rest = head.partition("//")
    if not slashes:
        return f"{scheme.partition(':')[0]}: URL"
    host, slash, path = rest.partition("/")
    return clean(f"{scheme}//{host.rpartition('@')[2]}{slash}{path}{'?***' if question else ''}")


def parse(url: str) -> Target:
    """Take a URL apart.

    Raises:
        InputError: It is none that may be fetched.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:  # UnicodeError is one
        raise InputError("not a valid URL") from None
    if parts.scheme not in _PORTS:
        raise InputError(f"only http and https URLs can be fetched, not {clean(parts.scheme)}:")
    if "@" in parts.netloc:
        raise InputError("a URL with a user name or password is not fetched")
    if not host or not host.isprintable() or " " in host:
        raise InputError("not a valid URL")
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], _path(parts), show(url))


def _path(parts: SplitResult) -> str:
    path = quote(parts.path, safe=_UNQUOTED) or "/"
    return f"{path}?{quote(parts.query, safe=_UNQUOTED + '?')}" if parts.query else path


def system_addresses(host: str, port: int) -> list[Address]:
    """Ask the system's resolver for the addresses of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def addresses(target: Target, resolve: Resolve, *, allow_private: bool) -> list[Address]:
    """Return the addresses under which a host may be asked.

    Raises:
        InputError: One of them is private, or there is none.
    """
    try:
        found = resolve(target.host, target.port)
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise InputError(f"the host {clean(target.host)} is not known")
    if not allow_private and not all(is_outside(str(address[0])) for _, address in found):
        raise InputError(
            f"the host {clean(target.host)} is in a private network, which is only read with "
            "`allow_private_references: true`"
        )
    return found


def is_outside(address: str) -> bool:
    """Tell whether an IP address, and the one it may carry inside, belongs to the internet."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return is_public(str(ip)) and not ip.is_reserved
    if ip in _NAT64:
        return is_outside(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    if inner := ip.ipv4_mapped or ip.sixtofour:
        return is_outside(str(inner))
    return is_public(str(ip)) and not ip.is_reserved and not ip.is_site_local
