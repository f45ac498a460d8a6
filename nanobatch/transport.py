"""Sends one request of a provider's and returns the whole answer, with its images already on disk.

What can go wrong is named here once, by what it means for money: `Unsent` when no connection stood, `Ambiguous` when
the request may have been read and the answer never came whole, `DecodeError` when an answer came that is broken.
A status is not judged here; a provider reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import httpx
import msgspec

from nanobatch import __version__
from nanobatch.blobs import MAX_TEXT_BYTES, BlobScanner, PartFile
from nanobatch.connections import AiohttpTransport, Connections, is_ip_literal, is_public
from nanobatch.errors import Ambiguous, ConfigError, DecodeError, ExchangeError, Unsent
from nanobatch.model import Blob, Request, Response

logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it writes whole URLs

Auth: TypeAlias = Literal["x-goog-api-key", "bearer", "none"]

MAX_ERROR_BYTES = 256 * 1024
MAX_IMAGE_BYTES = 128 * 1024 * 1024
MAX_REDIRECTS = 5
USER_AGENT = f"nanobatch/{__version__}"

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Secret(Protocol):
    """A key that shows itself only when asked."""

    def reveal(self) -> str:
        """Return the key itself."""
        ...


class HttpTransport:
    """The way to one provider; all of a run's transports share their connections.

    >>> transport = HttpTransport(connections, base_url=url, auth="bearer", api_key=key, new_part=store.new_part)
    >>> response = await transport.send(Request("POST", "/images/generations", json={"prompt": "a red fox"}))

    Args:
        connections: The open connections of the run.
        base_url: What precedes every path of the provider's.
        auth: How the key travels; always in a header.
        api_key: The key, or None where the provider needs none.
        new_part: Names a fresh file for each image.
        timeout_seconds: For a whole exchange, from asking for a connection to the last byte.
        max_image_bytes: A larger download is given up.

    Raises:
        ConfigError: The URL or the key cannot be used.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        base_url: str,
        auth: Auth,
        api_key: Secret | None,
        new_part: Callable[[], Path],
        timeout_seconds: float = 300.0,
        max_image_bytes: int = MAX_IMAGE_BYTES,
    ) -> None:
        self._connections = connections
        self._base = _parsed_base(base_url)
        self._headers = {"accept-encoding": "identity", "user-agent": USER_AGENT, "accept": "*/*"}
        self._auth_headers = _auth_headers(auth, api_key)
        self._new_part = new_part
        self._timeout_seconds = timeout_seconds
        self._max_image_bytes = max_image_bytes
        self._base_is_public: bool | None = None  # asked at the first download

    async def send(self, request: Request) -> Response:
        """Send a request and return the whole answer, whatever its status.

        Raises:
            Unsent: No connection; nothing was sent.
            Ambiguous: Sent, and no whole answer; it may have been billed.
            DecodeError: A whole answer that is broken: invalid JSON, too large, a download from a forbidden place.
            StoreError: An image could not be written. No part of it is left.
        """
        exchange = self._download if request.download else self._call
        sent: list[httpx.Request] = []
        try:
            async with asyncio.timeout(self._timeout_seconds):
                async with self._connections.turnstile:  # a thousand workers that start together take turns
                    pass
                return await exchange(request, sent)
        except TimeoutError as error:
            raise self._timed_out(sent) from error
        except httpx.TransportError as error:
            raise _classified(error) from error

    def _timed_out(self, sent: list[httpx.Request]) -> ExchangeError:
        if any(message.extensions.get("reached") for message in sent[-1:]):
            return Ambiguous(f"no whole answer within {self._timeout_seconds:g} s; it may have been billed")
        return Unsent(f"no connection within {self._timeout_seconds:g} s; nothing was sent")

    async def _call(self, request: Request, sent: list[httpx.Request]) -> Response:
        """Speak with the provider's API, with the key."""
        headers = {**self._headers, **request.headers, **self._auth_headers}
        content = b""
        if request.json is not None:
            content = msgspec.json.encode(request.json)
            headers["content-type"] = "application/json"
        url = _joined(self._base, request.path)
        message = httpx.Request(request.method, url, headers=headers, content=content)
        sent.append(message)
        async with _answer(self._connections.any_address, message) as answer:
            if answer.is_success:
                return await self._success(answer)
            return await _failure(answer)

    async def _success(self, answer: httpx.Response) -> Response:
        scanner = BlobScanner(self._new_part)
        try:
            async for chunk in answer.stream:  # type: ignore[union-attr]
                async with self._connections.turnstile:
                    scanner.feed(chunk)
            found = scanner.finish()
        except BaseException:
            scanner.abort()
            raise
        return Response(answer.status_code, _plain(answer.headers), json=found, text=scanner.text)

    async def _download(self, request: Request, sent: list[httpx.Request]) -> Response:
        """Fetch a result, without the key, following redirects only to places that anybody may visit."""
        url = _joined(self._base, request.path)
        road = await self._road()
        for _ in range(MAX_REDIRECTS + 1):
            _check_place(url, private_allowed=road is self._connections.any_address)
            message = httpx.Request("GET", url, headers={**self._headers, **request.headers})
            sent.append(message)
            async with _answer(road, message) as answer:
                if answer.status_code in _REDIRECTS and "location" in answer.headers:
                    url = _redirected(url, answer.headers["location"])
                    continue
                if not answer.is_success:
                    return await _failure(answer)
                blob = await self._body_to_part(answer)
                return Response(answer.status_code, _plain(answer.headers), blob=blob)
        raise DecodeError(f"the result's address redirects more than {MAX_REDIRECTS} times")

    async def _body_to_part(self, answer: httpx.Response) -> Blob:
        part = PartFile(self._new_part(), max_bytes=self._max_image_bytes)
        try:
            async for chunk in answer.stream:  # type: ignore[union-attr]
                async with self._connections.turnstile:
                    part.write(chunk)
            return part.close()
        except BaseException:
            part.discard()
            raise

    async def _road(self) -> AiohttpTransport:
        """Choose the connections for a download: a provider inside a private network may point into it."""
        if self._base_is_public is None:
            self._base_is_public = await _resolves_to_public(self._base.host)
        return self._connections.public_only if self._base_is_public else self._connections.any_address


@contextlib.asynccontextmanager
async def _answer(road: AiohttpTransport, message: httpx.Request) -> AsyncIterator[httpx.Response]:
    """Send one message; whatever happens to its answer, the connection is given back or closed."""
    answer = await road.handle_async_request(message)
    try:
        yield answer
    finally:
        await answer.aclose()


async def _failure(answer: httpx.Response) -> Response:
    """Read the beginning of an answer that is not a success, as JSON where it is JSON."""
    body = bytearray()
    with contextlib.suppress(httpx.TransportError):  # the status says more than the end of its text
        async for chunk in answer.stream:  # type: ignore[union-attr]
            body += chunk[: MAX_ERROR_BYTES - len(body)]
            if len(body) >= MAX_ERROR_BYTES:
                break
    headers = _plain(answer.headers)
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(body)
        if isinstance(found, dict | list):
            return Response(answer.status_code, headers, json=found)
    return Response(answer.status_code, headers, text=body[:MAX_TEXT_BYTES].decode("utf-8", "replace"))


def _plain(headers: httpx.Headers) -> dict[str, str]:
    return dict(headers.items())


def _classified(error: httpx.TransportError) -> ExchangeError:
    """Name an error of httpx's by what it means for money. Its own words never hold a URL or a key."""
    if isinstance(error, _UNSENT):
        return Unsent(f"cannot connect: {error}; nothing was sent")
    if isinstance(error, httpx.UnsupportedProtocol):
        return DecodeError(f"the address cannot be used: {error}")
    return Ambiguous(f"the answer did not come whole: {error}; it may have been billed")


def _parsed_base(base_url: str) -> httpx.URL:
    try:
        base = httpx.URL(base_url.rstrip("/"))
    except httpx.InvalidURL as error:
        raise ConfigError(f"base_url {base_url!r} is not a URL: {error}") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise ConfigError(f"base_url {base_url!r} must begin with http:// or https:// and name a host")
    return base


def _auth_headers(auth: Auth, api_key: Secret | None) -> dict[str, str]:
    if api_key is None or auth == "none":
        return {}
    key = api_key.reveal()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the API key holds a space, a line break or another character that no key has")
    return {"x-goog-api-key": key} if auth == "x-goog-api-key" else {"authorization": f"Bearer {key}"}


def _joined(base: httpx.URL, path: str) -> httpx.URL:
    """Place a path below the base URL; an absolute URL stands for itself."""
    try:
        if path.startswith("/"):
            return httpx.URL(f"{base}{path}")
        return httpx.URL(path)
    except httpx.InvalidURL as error:
        raise DecodeError("the result's address is not a URL") from error


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return url.join(location)
    except httpx.InvalidURL as error:
        raise DecodeError("the result's address redirects to something that is not a URL") from error


def _check_place(url: httpx.URL, *, private_allowed: bool) -> None:
    """Refuse what no result can be: a local file, or a machine in a private network.

    Raises:
        DecodeError: The scheme is not http or https, or the host is written as a private address. A name that leads
            to a private address is refused when it is resolved.
    """
    if url.scheme not in ("http", "https") or not url.host:
        raise DecodeError(
            f"the result's address begins with {url.scheme or 'nothing'!r}; only http and https are fetched"
        )
    if not private_allowed and is_ip_literal(url.host) and not is_public(url.host):
        raise DecodeError("the result's address leads into a private network")


async def _resolves_to_public(host: str) -> bool:
    """Tell whether a provider is on the internet; a name that cannot be resolved counts as public."""
    if is_ip_literal(host):
        return is_public(host)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None)
    except OSError:
        return True
    return any(is_public(str(address[0])) for *_, address in found)
