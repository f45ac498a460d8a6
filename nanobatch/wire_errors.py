"""Says in httpx's words what went wrong on a connection of aiohttp's, without any URL or key."""

from __future__ import annotations

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
    return str(said).strip().partition("\n")[0] or type(error).__name__
