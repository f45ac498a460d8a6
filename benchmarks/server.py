"""The server that all clients of a benchmark talk to: prebuilt answers in both wire formats, plain or over TLS.

    python benchmarks/server.py --size 1500000 [--tls CERT KEY] [--latency 2.0] [--spread 1.5]

One thread per connection sends from one buffer, so the server costs little beyond the copies of the kernel. Each
answer holds a whole PNG of 1024 × 1024 pixels whose length is `--size` bytes, thanks to a private chunk of random bytes.
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import socket
import ssl
import struct
import threading
import time
import zlib

BACKLOG = 4096


def png(size: int) -> bytes:
    """Build a valid PNG of exactly so many bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 1024
    rows = zlib.compress(b"".join(b"\0" + b"\x40\x80\xc0" * side for _ in range(side)), 9)
    head = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) + chunk(b"IDAT", rows)
    )
    end = chunk(b"IEND", b"")
    padding = size - len(head) - len(end) - 12
    return head + chunk(b"ranD", os.urandom(padding)) + end


def answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answers(size: int) -> dict[bytes, bytes]:
    """Build the answer of each route."""
    image = base64.b64encode(png(size))
    gemini = (
        b'{"candidates":[{"content":{"parts":[{"text":"Here it is."},{"inlineData":{"mimeType":"image/png","data":"'
        + image
        + b'"}}],"role":"model"},"finishReason":"STOP","index":0}],"modelVersion":"gemini-3-pro-image",'
        b'"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1120,"totalTokenCount":1129}}'
    )
    openai = b'{"created":1,"data":[{"b64_json":"' + image + b'"}]}'
    return {b"generateContent": answer(gemini), b"images/generations": answer(openai)}


def serve(connection: socket.socket, by_route: dict[bytes, bytes], latency: float, spread: float) -> None:
    """Answer one connection's requests until it closes."""
    buffer = b""
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            while b"\r\n\r\n" not in buffer:
                received = connection.recv(65536)
                if not received:
                    return
                buffer += received
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ),
                0,
            )
            while len(buffer) < length:
                buffer += connection.recv(65536)
            buffer = buffer[length:]
            if latency:
                time.sleep(max(0.0, latency + random.uniform(-spread, spread)))
            connection.sendall(next((body for route, body in by_route.items() if route in head), answer(b"{}")))
    except OSError:
        return
    finally:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--spread", type=float, default=0.0)
    parser.add_argument("--cpu", type=int)
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    by_route = answers(options.size)
    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
    threading.stack_size(256 * 1024)
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(listener.getsockname()[1], flush=True)

    def start(connection: socket.socket) -> None:
        if context is not None:
            try:
                connection = context.wrap_socket(connection, server_side=True)
            except OSError:
                return
        serve(connection, by_route, options.latency, options.spread)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=start, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
