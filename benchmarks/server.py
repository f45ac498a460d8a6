"""The stand-in for server.c where no C compiler or epoll is: the same answers from one Python thread per connection.

    python benchmarks/server.py GEMINI OPENAI LATENCY_SECONDS SPREAD_SECONDS [CERT KEY]

The kernel's copies and OpenSSL run without the interpreter lock. It costs more than server.c, so rates may be its own.
"""

from __future__ import annotations

import json
import random
import re
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

from answers import http

BACKLOG = 4096
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Server:
    """Both answers, and what was counted so far."""

    def __init__(self, gemini: bytes, openai: bytes, latency: float, spread: float) -> None:
        self._routes = ((b":generateContent", gemini), (b"/images/generations", openai))
        self._latency, self._spread = latency, spread
        self._random = random.Random(1)
        self._lock = threading.Lock()
        self._answers = self._in_flight = self._most = 0
        self._connections = self._most_connections = 0

    def serve(self, connection: socket.socket) -> None:
        """Answer one connection's requests until it closes."""
        with self._lock:
            self._connections += 1
            self._most_connections = max(self._most_connections, self._connections)
        buffer = b""
        try:
            while True:
                while (end := buffer.find(b"\r\n\r\n")) < 0 or len(buffer) < end + 4 + _content_length(buffer[:end]):
                    received = connection.recv(65536)
                    if not received:
                        return
                    buffer += received
                head, buffer = buffer[:end], buffer[end + 4 + _content_length(buffer[:end]) :]
                self._answer(connection, head)
        except OSError:
            return
        finally:
            with self._lock:
                self._connections -= 1
            connection.close()

    def _answer(self, connection: socket.socket, head: bytes) -> None:
        line = head.split(b"\r\n")[0]
        answer = next((answer for route, answer in self._routes if route in line), None)
        if answer is None:
            connection.sendall(self._figures())
            return
        with self._lock:
            self._in_flight += 1
            self._most = max(self._most, self._in_flight)
        try:
            time.sleep(max(0.0, self._latency + self._random.uniform(-self._spread, self._spread)))
            connection.sendall(answer)
        finally:
            with self._lock:
                self._in_flight -= 1
                self._answers += 1

    def _figures(self) -> bytes:
        with self._lock:
            figures = {
                "answers": self._answers,
                "most_in_flight": self._most,
                "most_connections": self._most_connections,
                "cpu_seconds": round(time.process_time(), 3),
            }
            self._most = self._in_flight
            self._most_connections = 0  # the one that asks does not count
        return http(json.dumps(figures).encode())


def _content_length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


def main() -> None:
    gemini, openai, latency, spread, *pair = sys.argv[1:]
    server = Server(Path(gemini).read_bytes(), Path(openai).read_bytes(), float(latency), float(spread))
    context = None
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
    threading.stack_size(256 * 1024)
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(listener.getsockname()[1], flush=True)

    def start(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            try:
                connection = context.wrap_socket(connection, server_side=True)
            except OSError:
                return
        server.serve(connection)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=start, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
