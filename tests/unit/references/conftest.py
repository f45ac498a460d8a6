"""A web server on this machine that sends what a test puts on its pages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Page:
    """One answer: pieces that are written one after the other."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Callable[[], Iterator[bytes]] | None = None  # instead of the body, without a length


class Web:
    """Pages by path, and the requests that came."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()  # set when the test is over
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def put(self, path: str, page: Page | bytes) -> str:
        """Publish a page and return its URL."""
        self.pages[path.partition("?")[0]] = page if isinstance(page, Page) else Page(page)
        return f"http://127.0.0.1:{self.port}{path}"

    def redirect(self, path: str, to: str, status: int = 302) -> str:
        return self.put(path, Page(status=status, headers={"Location": to}))

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.requests.append((self.path, dict(self.headers.items())))
                page = web.pages.get(self.path.partition("?")[0], Page(b"nothing here", 404))
                self.close_connection = True
                try:
                    self._send(page)
                except OSError:  # the client has heard enough
                    return

            def _send(self, page: Page) -> None:
                self.send_response(page.status)
                if page.pieces is None:
                    self.send_header("Content-Length", str(len(page.body)))
                for name, value in page.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in page.pieces() if page.pieces else [page.body]:
                    self.wfile.write(piece)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in http.server
                pass

        return Handler


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    web.thread.start()
    yield web
    web.released.set()
    web.server.shutdown()
    web.server.server_close()
    web.thread.join()
