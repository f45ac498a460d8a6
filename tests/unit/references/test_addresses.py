"""Which URLs may be fetched, and under which addresses."""

from __future__ import annotations

import socket

import pytest

from nanobatch.errors import InputError
from nanobatch.references.addresses import Address, addresses, is_outside, is_url, parse, show, system_addresses


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_addresses_of_the_internet_are_outside(address: str) -> None:
    """Public addresses are outside, also in the disguises that networks give them."""
    assert is_outside(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "0.0.0.0",
        "169.254.169.254",  # where clouds answer with credentials
        "100.64.0.1", "100.127.255.255",  # shared by the customers of a carrier
        "192.0.0.1", "198.18.0.1", "192.0.2.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
        "::7f00:1",  # the oldest way to put an IPv4 address into an IPv6 one
        "2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::",  # 6to4
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",  # NAT64
        "2001:0:7f00:1::",  # Teredo
        "example.com", "",
    ],
)  # fmt: skip
def test_everything_else_is_inside(address: str) -> None:
    """Private, shared, local, reserved and multicast addresses are not outside, nor what carries one of them."""
    assert not is_outside(address)


def known_as(*found: str) -> list[Address]:
    return [(socket.AF_INET, (address, 80)) for address in found]


def test_all_addresses_of_a_host_must_be_outside() -> None:
    """One private address among a host's addresses is enough to refuse it, unless the user allows it."""
    target = parse("http://pictures.example/fox.png")
    mixed = known_as("8.8.8.8", "10.0.0.1")
    assert addresses(target, lambda *_: known_as("8.8.8.8"), allow_private=False) == known_as("8.8.8.8")
    with pytest.raises(InputError, match=r"pictures\.example is in a private network.*allow_private_references: true"):
        addresses(target, lambda *_: mixed, allow_private=False)
    assert addresses(target, lambda *_: mixed, allow_private=True) == mixed


def test_an_unknown_host_is_named() -> None:
    """A name that nobody knows is a reason, whichever way the resolver says so."""

    def unknown(_host: str, _port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for resolve in (unknown, lambda *_: known_as()):
        with pytest.raises(InputError, match=r"the host pictures\.example is not known"):
            addresses(parse("http://pictures.example/"), resolve, allow_private=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001"])
def test_however_this_machine_is_written_it_is_inside(host: str) -> None:
    """The system's resolver decides what a host means, and its answer is what is checked."""
    target = parse(f"http://{host}/")
    assert system_addresses(host, 80)
    with pytest.raises(InputError, match="private network"):
        addresses(target, system_addresses, allow_private=False)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("http://a/b", True), ("HTTPS://a/b", True), ("ftp://a/b", True), ("s3://bucket/key", True), ("file:///etc/passwd", True),
        ("data:image/png;base64,AAAA", True), ("DATA:,x", True),
        ("fox.png", False), ("a/b.png", False), ("/a/b.png", False), ("12:30.png", False), ("a:b.png", False),
        ("://x", False), ("my file://x", False), ("", False),
    ],
)  # fmt: skip
def test_urls_and_files_are_told_apart(source: str, expected: bool) -> None:
    """What begins with a scheme is a URL; a colon alone is part of a file's name."""
    assert is_url(source) is expected


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://example.com", "example.com", 80, "/"),
        ("https://EXAMPLE.com/a.png", "example.com", 443, "/a.png"),
        ("https://example.com:8443/a.png?x=1&y=2#top", "example.com", 8443, "/a.png?x=1&y=2"),
        ("http://example.com/a b/ü.png", "example.com", 80, "/a%20b/%C3%BC.png"),
        ("http://example.com/a%20b.png", "example.com", 80, "/a%20b.png"),
        ("http://bücher.example/", "xn--bcher-kva.example", 80, "/"),
        ("http://[::1]:81/a", "::1", 81, "/a"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, path: str) -> None:
    """Hosts become ASCII, paths are quoted once, fragments stay at home, and put together it is the same again."""
    target = parse(url)
    assert (target.host, target.port, target.path) == (host, port, path)
    again = parse(target.url)
    assert (again.host, again.port, again.path) == (host, port, path)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.com/a.png", "only http and https URLs can be fetched, not ftp:"),
        ("file:///etc/passwd", "not file:"),
        ("data:image/png;base64,AAAA", "not data:"),
        ("http://user:secret@example.com/", "user name or password"),
        ("http://user@example.com/", "user name or password"),
        ("http://example.com\\@10.0.0.1/", "user name or password"),
        ("http:///a.png", "not a valid URL"),
        ("http://example.com:99999/", "not a valid URL"),
        ("http://example.com:x/", "not a valid URL"),
        ("http://[::1/", "not a valid URL"),
        ("http://a..b/", "not a valid URL"),
        ("http://exa mple.com/", "not a valid URL"),
        (f"http://{'a' * 64}.example/", "not a valid URL"),
    ],
)
def test_what_may_not_be_fetched_is_refused(url: str, reason: str) -> None:
    """Other schemes, user names and nonsense are refused without showing what they hold."""
    with pytest.raises(InputError) as caught:
        parse(url)
    assert reason in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/fox.png", "https://example.com/fox.png"),
        ("https://example.com/fox.png?X-Signature=secret", "https://example.com/fox.png?***"),
        ("https://user:secret@example.com/fox.png", "https://example.com/fox.png"),
        ("https://example.com/fox.png#secret", "https://example.com/fox.png"),
        ("https://example.com?secret", "https://example.com?***"),
        ("https://example.com/a\nb", "https://example.com/a b"),
        ("data:image/png;base64,secret", "data: URL"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    """Queries, fragments, user names and contents stay out of sight."""
    assert show(url) == shown
