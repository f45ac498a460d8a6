"""Sends one request of a provider's and returns the whole answer, with its images already on disk.

What can go wrong is named here once, by what it means for money: `Unsent` when no connection stood, `Ambiguous` when
the request may have been read and the answer never came whole, `DecodeError` when an answer came that is broken.
A status is not judged here; a provider reads it.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import httpx
import msgspec

from nanobatch import __version__
from nanobatch.blobs import MAX_TEXT_BYTES, BlobScanner
from nanobatch.bodies import Consumer
from nanobatch.connections import Connections, is_ip_literal, is_public, resolves_to_public
from nanobatch.errors import Ambiguous, ConfigError, DecodeError, ExchangeError, Unsent
from nanobatch.forms import encoded_form
from nanobatch.model import Request, Response
from nanobatch.parts import PartFile
from nanobatch.roads import AiohttpTransport, Begin, Call

logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it writes whole URLs

Auth: TypeAlias = Literal["x-goog-api-key", "bearer", "key", "google", "none"]

MAX_ERROR_BYTES = 256 * 1024
MAX_IMAGE_BYTES = 128 * 1024 * 1024
MAX_REDIRECTS = 5
USER_AGENT = f"nanobatch/{__version__}"

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_SUCCESS = range(200, 300)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Secret(Protocol):
    """A key that shows itself only when asked."""

    def reveal(self) -> str:
        """Return the key itself."""
        ...


class Credential(Protocol):
    """What proves who asks where that is no fixed key: a token that expires and is fetched anew."""

    async def headers(self) -> Mapping[str, str]:
        """Return the headers of the next request, valid now.

        Raises:
            ExchangeError: There is no valid token; nothing was sent.
        """
        ...


class HttpTransport:
    """The way to one provider; all of a run's transports share their connections.

    >>> transport = HttpTransport(connections, base_url=url, auth="bearer", api_key=key, new_part=store.new_part)
    >>> response = await transport.send(Request("POST", "/images/generations", json={"prompt": "a red fox"}))

    Args:
        connections: The open connections of the run.
        base_url: What precedes every path of the provider's.
        auth: How the key travels, always in a header: `x-goog-api-key: K`, `Authorization: Bearer K`, `Authorization:
            Key K`; `google` asks `credential` instead.
        api_key: The key, or None where the provider needs none.
        new_part: Names a fresh file for each image.
        credential: Where the headers of `google` come from.
        upload_url: What precedes the provider's upload service.
        more_homes: What else precedes addresses of the provider's. Only URLs below one of all these get the key.
        timeout_seconds: For a whole exchange, from asking for a connection to the last byte.
        max_image_bytes: A larger download is given up.

    Raises:
        ConfigError: The URL or the key cannot be used.
    """

    def __init__(  # noqa: PLR0913 - the facts of one provider
        self,
        connections: Connections,
        *,
        base_url: str,
        auth: Auth,
        api_key: Secret | None,
        new_part: Callable[[], Path],
        timeout_seconds: float = 300.0,
        max_image_bytes: int = MAX_IMAGE_BYTES,
        credential: Credential | None = None,
        upload_url: str | None = None,
        more_homes: Sequence[str] = (),
    ) -> None:
        if auth == "google" and credential is None:
            raise ConfigError("the auth scheme google needs a credential")
        self._connections = connections
        self._base = _parsed_base(base_url, "base_url")
        others = [*more_homes] if upload_url is None else [upload_url, *more_homes]
        self._homes = [self._base, *(_parsed_base(url, "upload_url") for url in others)]
        self._credential = credential if auth == "google" else None
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
            AssertionError: A provider's bug: it wants to send something other than a download to a foreign address.
                Nothing was sent.
        """
        exchange = self._download if request.download else self._call
        calls: list[Call] = []
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._connections.turnstile.turn()  # a thousand workers that start together take turns
                return await exchange(request, calls)
        except TimeoutError as error:
            raise self._timed_out(calls) from error
        except httpx.TransportError as error:
            raise _classified(error) from error

    def _timed_out(self, calls: list[Call]) -> ExchangeError:
        if any(call.reached for call in calls[-1:]):
            return Ambiguous(f"no whole answer within {self._timeout_seconds:g} s; it may have been billed")
        return Unsent(f"no connection within {self._timeout_seconds:g} s; nothing was sent")

    async def stream(self, request: Request, begin: Begin, *, stall_seconds: float) -> None:
        """Send a request with the key and hand its answer on as it comes, however long that takes.

        `begin` is told status and headers and returns who takes the body; `stall_seconds` is the longest silence.

        Raises:
            Unsent: No connection; nothing was sent.
            Ambiguous: The answer did not come whole.
        """
        loop = asyncio.get_running_loop()

        def begun(status: int, headers: dict[str, str]) -> Consumer | None:
            consume = begin(status, headers)

            def take(data: bytes | bytearray, start: int, end: int) -> bool | None:
                patience.reschedule(loop.time() + stall_seconds)
                return consume(data, start, end) if consume is not None else True

            return take

        try:
            async with asyncio.timeout(stall_seconds) as patience:
                await self._connections.any_address.exchange(await self._prepared(request), begun)
        except TimeoutError as error:
            raise Ambiguous(f"nothing came for {stall_seconds:g} s") from error
        except httpx.TransportError as error:
            raise _classified(error) from error

    async def _call(self, request: Request, calls: list[Call]) -> Response:
        """Speak with the provider's API, with the key."""
        call = await self._prepared(request)
        calls.append(call)
        answer = _JsonAnswer(self._new_part)
        await answer.over(self._connections.any_address, call)
        return answer.response()

    async def _prepared(self, request: Request) -> Call:
        """Put the key to a request, and its body into bytes."""
        url = self._own_place(request.path)
        headers = self._headers | {name.lower(): value for name, value in request.headers.items()} | self._auth_headers
        if self._credential is not None:
            headers |= await self._credential.headers()
        content = request.content or b""
        if request.form is not None:
            content, headers["content-type"] = encoded_form(request.form)
        elif request.json is not None:
            content, headers["content-type"] = msgspec.json.encode(request.json), "application/json"
        return Call(request.method, url, headers, content)  # the connection drops the content when it is sent

    def _own_place(self, path: str) -> httpx.URL:
        """Find the address of a request that carries the key: below one of the provider's own bases."""
        url = _joined(self._base, path)
        if not path.startswith("/") and not any(_lies_below(url, home) for home in self._homes):
            raise AssertionError(
                f"a provider asks for {url.host or path[:20]!r}, which is not its own: nothing was sent"
            )
        return url

    async def _download(self, request: Request, calls: list[Call]) -> Response:
        """Fetch a result, without the key, following redirects only to places that anybody may visit."""
        url = _joined(self._base, request.path)
        road = await self._road()
        for _ in range(MAX_REDIRECTS + 1):
            _check_place(url, private_allowed=road is self._connections.any_address)
            call = Call("GET", url, self._headers | {name.lower(): value for name, value in request.headers.items()})
            calls.append(call)
            answer = _ImageAnswer(self._new_part, max_bytes=self._max_image_bytes)
            await answer.over(road, call)
            if answer.location is None:
                return answer.response()
            url = _redirected(url, answer.location)
        raise DecodeError(f"the result's address redirects more than {MAX_REDIRECTS} times")

    async def _road(self) -> AiohttpTransport:
        """Choose the connections for a download: a provider inside a private network may point into it."""
        if self._base_is_public is None:
            self._base_is_public = await resolves_to_public(self._base.host)
        return self._connections.public_only if self._base_is_public else self._connections.any_address


class _Answer(abc.ABC):
    """An answer on its way: whoever takes its body, and what it was in the end."""

    def __init__(self, new_part: Callable[[], Path]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.new_part = new_part
        self._failure = bytearray()  # the beginning of the body of an answer that is no success

    async def over(self, road: AiohttpTransport, call: Call) -> None:
        """Send a call and take the answer; a failure leaves no part behind."""
        try:
            await road.exchange(call, self._begin)
        except httpx.TransportError:
            self.abort()
            if not self.status or self.is_success:  # else the status says more than the end of its text
                raise
        except BaseException:
            self.abort()
            raise

    @property
    def is_success(self) -> bool:
        return self.status in _SUCCESS

    def _begin(self, status: int, headers: dict[str, str]) -> Consumer | None:
        self.status, self.headers = status, headers
        return self.begin() if self.is_success else self._take_failure

    def _take_failure(self, data: bytes | bytearray, start: int, end: int) -> bool:
        self._failure += data[start : min(end, start + MAX_ERROR_BYTES - len(self._failure))]
        return len(self._failure) >= MAX_ERROR_BYTES

    @abc.abstractmethod
    def begin(self) -> Consumer:
        """Return who takes the body of a success."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Delete what was written."""

    def failure(self) -> Response:
        """Read the beginning of an answer that is not a success, as JSON where it is JSON."""
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(self._failure)
            if isinstance(found, dict | list):
                return Response(self.status, self.headers, json=found)
        return Response(self.status, self.headers, text=self._failure[:MAX_TEXT_BYTES].decode("utf-8", "replace"))


class _JsonAnswer(_Answer):
    """An answer of the provider's API."""

    _scanner: BlobScanner | None = None

    def begin(self) -> Consumer:
        self._scanner = BlobScanner(self.new_part)
        return self._scanner.feed

    def abort(self) -> None:
        if self._scanner is not None:
            self._scanner.abort()

    def response(self) -> Response:
        """Return what came.

        Raises:
            DecodeError: It is not valid JSON. No part of it is left.
        """
        if self._scanner is None:
            return self.failure()
        return Response(self.status, self.headers, json=self._scanner.finish(), text=self._scanner.text)


class _ImageAnswer(_Answer):
    """A result: the body is the image itself."""

    _part: PartFile | None = None

    def __init__(self, new_part: Callable[[], Path], *, max_bytes: int) -> None:
        super().__init__(new_part)
        self._max_bytes = max_bytes

    @property
    def location(self) -> str | None:
        """Where a redirect leads."""
        return self.headers.get("location") if self.status in _REDIRECTS else None

    def begin(self) -> Consumer:
        self._part = PartFile(self.new_part(), max_bytes=self._max_bytes)
        return self._part.take

    def abort(self) -> None:
        if self._part is not None:
            self._part.discard()

    def response(self) -> Response:
        """Return what came."""
        if self._part is None:
            return self.failure()
        try:
            return Response(self.status, self.headers, blob=self._part.close())
        except BaseException:
            self._part.discard()
            raise


def _classified(error: httpx.TransportError) -> ExchangeError:
    """Name an error of httpx's by what it means for money. Its own words never hold a URL or a key."""
    if isinstance(error, _UNSENT):
        return Unsent(f"cannot connect: {error}; nothing was sent")
    if isinstance(error, httpx.UnsupportedProtocol):
        return DecodeError(f"the address cannot be used: {error}")
    return Ambiguous(f"the answer did not come whole: {error}; it may have been billed")


def _parsed_base(base_url: str, name: str) -> httpx.URL:
    try:
        base = httpx.URL(base_url.rstrip("/"))
    except httpx.InvalidURL as error:
        raise ConfigError(f"{name} {base_url!r} is not a URL: {error}") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise ConfigError(f"{name} {base_url!r} must begin with http:// or https:// and name a host")
    return base


def _lies_below(url: httpx.URL, home: httpx.URL) -> bool:
    """Tell whether a URL has the scheme, host and port of another and continues its path."""
    same_server = (url.scheme, url.netloc, url.userinfo) == (home.scheme, home.netloc, home.userinfo)
    return same_server and f"{url.path}/".startswith(f"{home.path.rstrip('/')}/")


def _auth_headers(auth: Auth, api_key: Secret | None) -> dict[str, str]:
    if api_key is None or auth in ("google", "none"):
        return {}
    key = api_key.reveal()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the API key holds a space, a line break or another character that no key has")
    if auth == "x-goog-api-key":
        return {"x-goog-api-key": key}
    return {"authorization": f"{'Key' if auth == 'key' else 'Bearer'} {key}"}


@functools.lru_cache(512)
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
