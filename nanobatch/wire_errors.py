"""Says in httpx's words what went wrong on a connection of aiohttp's, without any URL or key."""

from __future__ import annotations

import os
import ssl

import aiohttp
import httpx
from aiohttp.http import HttpProcessingError

from nanobatch.bodies import BrokenBody


class PrivateAddress(OSError):
    """A result's address points into a private network."""


TRANSLATIONS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (  # the first that fits
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


def translated(error: Exception, *, reached: bool) -> httpx.TransportError:
    """Choose httpx's error. Whatever happens before a connection stands is a connect error."""
    kind = next(kind for cause, kind in TRANSLATIONS if isinstance(error, cause))
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
    return _without_number(said).strip().partition("\n")[0] or type(error).__name__


def _without_number(said: object) -> str:
    """Say what the system's number means; the address beside it is the user's own, and stands in the settings."""
    if isinstance(said, OSError) and not isinstance(said, ssl.SSLError) and said.errno:
        plain = os.strerror(said.errno) if said.errno > 0 else said.strerror or str(said)  # names have their own
        return plain[:1].lower() + plain[1:]
    return str(said)
