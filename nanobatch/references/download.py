"""Fetches one image over HTTP, with nothing but the standard library: few redirects, a size cap, one deadline."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urljoin

from nanobatch import __version__
from nanobatch.errors import InputError
from nanobatch.references.addresses import Address, Resolve, Target, addresses, parse, system_addresses

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PIECE_BYTES = 256 * 1024
_HEADERS = {"User-Agent": f"nanobatch/{__version__}", "Accept": "image/*,*/*;q=0.5", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Downloader:
    """Fetches images for a run. Proxies of the environment are not used: they would resolve the names themselves.

    >>> data = Downloader().fetch("https://example.com/fox.png")
    """

    max_bytes: int = 50 * 1024 * 1024
    timeout_seconds: float = 60.0  # for everything: redirects, connections, the whole body
    connect_seconds: float = 15.0  # to one address, with TLS
    allow_private: bool = False
    resolve: Resolve = system_addresses
    monotonic: Callable[[], float] = time.monotonic

    def fetch(self, url: str) -> bytes:
        """Return the body behind a URL.

        Raises:
            InputError: It may not or cannot be fetched. The reason never shows a query.
        """
        deadline = _Deadline(self.monotonic() + self.timeout_seconds, self.monotonic)
        with self._failures_in_words():
            for _ in range(MAX_REDIRECTS + 1):
                target = parse(url)
                with _open(self._connection(target, deadline), target) as answer:
                    if answer.status not in _REDIRECTS:
                        return self._body(answer)
                    location = answer.getheader("Location")
                if not location:
                    raise InputError(f"HTTP {answer.status} without a new address")
                url = urljoin(target.url, location)
        raise InputError(f"more than {MAX_REDIRECTS} redirects")

    def _connection(self, target: Target, deadline: _Deadline) -> _Connection:
        found = addresses(target, self.resolve, allow_private=self.allow_private)
        return _Connection(target, found, deadline, connect_seconds=self.connect_seconds)

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        if answer.status != 200:
            raise InputError(f"HTTP {answer.status}")
        if answer.length is not None and answer.length > self.max_bytes:
            raise self._too_large()
        body = bytearray()
        while piece := answer.read(_PIECE_BYTES):
            body += piece
            if len(body) > self.max_bytes:
                raise self._too_large()
        if answer.length:
            raise InputError(f"the answer is cut off after {len(body)} bytes")
        return bytes(body)

    def _too_large(self) -> InputError:
        return InputError(f"larger than {self.max_bytes:,} bytes")

    @contextmanager
    def _failures_in_words(self) -> Iterator[None]:
        """Translate what sockets raise; none of their texts is shown that could hold a URL."""
        try:
            yield
        except TimeoutError:
            raise InputError(f"not fetched within {self.timeout_seconds:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise InputError(f"the certificate is not valid: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise InputError(f"no TLS connection: {error.reason or 'the handshake failed'}") from error
        except OSError as error:
            raise InputError(f"no connection: {error.strerror or type(error).__name__}") from error
        except http.client.IncompleteRead:
            raise InputError("the answer is cut off") from None
        except (http.client.HTTPException, ValueError) as error:
            raise InputError("the answer is not valid HTTP") from error


@contextmanager
def _open(connection: _Connection, target: Target) -> Iterator[http.client.HTTPResponse]:
    try:
        connection.request("GET", target.path, headers=_HEADERS)
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class _Deadline:
    """The moment at which a download has to be over, however slowly single bytes arrive."""

    at: float
    monotonic: Callable[[], float]

    def left(self, most: float = float("inf")) -> float:
        """Return the seconds that the next step on a socket may take."""
        seconds = self.at - self.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return min(seconds, most)


class _Connection(http.client.HTTPConnection):
    """A connection to addresses that were checked before, under the host's own name."""

    def __init__(self, target: Target, found: list[Address], deadline: _Deadline, *, connect_seconds: float) -> None:
        super().__init__(target.host, target.port)
        self._connect_seconds = connect_seconds
        self._target = target
        self._found = found
        self._deadline = deadline
        self.default_port = 443 if target.scheme == "https" else 80  # so that the Host header leaves it out

    def connect(self) -> None:
        """Connect to the first address that answers."""
        failure = OSError()
        for family, address in self._found:
            seconds = self._deadline.left(self._connect_seconds)
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(seconds)
                sock.connect(address)
                sock = self._secured(sock)
            except OSError as error:
                sock.close()
                failure = error
            else:
                self.sock = cast("socket.socket", _TimedSocket(sock, self._deadline))
                return
        self._deadline.left()
        if isinstance(failure, TimeoutError):
            raise InputError(f"no connection within {self._connect_seconds:g} s")
        raise failure

    def _secured(self, sock: socket.socket) -> socket.socket:
        if self._target.scheme == "http":
            return sock
        context = ssl.create_default_context()
        return context.wrap_socket(sock, server_hostname=self._target.host)


class _TimedSocket:
    """The part of a socket that http.client uses, with what is left of the time before every step."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: Any) -> None:
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedFile(self._sock, self._deadline))

    def close(self) -> None:
        self._sock.close()


class _TimedFile(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open until this is closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
