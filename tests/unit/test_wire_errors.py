"""Every error of the library below has a name of httpx's; test_transport.py shows what each means for money."""

from __future__ import annotations

import inspect
import socket
import ssl

import aiohttp
import httpx
import pytest

from nanobatch.wire_errors import TRANSLATIONS, PrivateAddress, translated


def test_every_error_of_aiohttp_has_a_translation() -> None:
    """Each exception class of aiohttp's client, also one that a later version adds, becomes an error of httpx's."""
    classes = [
        kind for _, kind in inspect.getmembers(aiohttp, inspect.isclass) if issubclass(kind, aiohttp.ClientError)
    ]
    assert len(classes) > 15
    for kind in classes:
        error = kind.__new__(kind)
        assert any(isinstance(error, cause) for cause, _ in TRANSLATIONS)
    assert isinstance(translated(aiohttp.ClientError("new"), reached=True), httpx.ReadError)


def test_nothing_is_ambiguous_before_a_connection_stands() -> None:
    """An error without a connection is a connect error, whatever its class."""
    for error in (OSError("no"), aiohttp.ClientOSError(104, "reset"), aiohttp.ClientConnectionError("closed")):
        assert isinstance(translated(error, reached=False), httpx.ConnectError)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), "connection reset by peer"),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
        (OSError("no number"), "no number"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version"), "[SSL: WRONG_VERSION_NUMBER] wrong version"),
    ],
)
def test_the_systems_numbers_are_put_into_words(error: OSError, words: str) -> None:
    """A person reads the sentence, in the terminal and in the manifest."""
    assert str(translated(error, reached=True)).endswith(words)
    assert "[Errno" not in str(translated(error, reached=True))


def test_a_private_address_is_not_a_failed_connection() -> None:
    """A name that leads into a private network is a wrong address; trying again does not help."""

    class Refused(aiohttp.ClientError):
        os_error = PrivateAddress("a private address")

    assert isinstance(translated(Refused(), reached=False), httpx.UnsupportedProtocol)
