"""Measures what one image costs the client on its way from a local server to a file.

    python benchmarks/transport.py                       every cell of the table in transport.md
    python benchmarks/transport.py cell nanobatch 1500 50 plain --images 200

The server runs in a process of its own on core 0, each client in one on core 1. CPU is user and system time of the
client after its warm-up, per image. The bound is one blocking socket, a buffer of 256 KiB, pybase64 and a file in
memory; it hashes nothing, while nanobatch hashes every image with SHA-256 (`nanobatch-nohash` leaves that out).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import heapq
import itertools
import json
import os
import resource
import select
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pybase64

from nanobatch import parts as part_files
from nanobatch.blobs import BlobScanner
from nanobatch.connections import Connections
from nanobatch.model import Request
from nanobatch.transport import HttpTransport

MEMORY = Path("/dev/shm")
BEFORE = b'{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/jpeg","data":"'
AFTER = b'"}}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"totalTokenCount":1417}}'


def body_of(kilobytes: int) -> bytes:
    """Build an answer whose image has so many thousand decoded bytes."""
    return BEFORE + base64.b64encode(os.urandom(kilobytes * 1000)) + AFTER


def http(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


# ------------------------------------------------------------------------------------------------------- server


@dataclass
class Peer:
    sock: socket.socket
    received: bytes = b""
    sent: int = -1  # bytes of the answer that left; -1: none is wanted


def serve_plain(listener: socket.socket, answer: bytes, latency: float, spread: float) -> None:  # noqa: C901 - one loop
    """Answer every request on every connection from one thread, by sendfile from memory."""
    memory = os.memfd_create("answer")
    os.write(memory, answer[: 2**30])
    poll, peers, due, count = select.epoll(), {}, [], itertools.count()
    listener.setblocking(False)  # noqa: FBT003
    poll.register(listener, select.EPOLLIN)
    while True:
        wait = max(0.0, due[0][0] - time.monotonic()) if due else -1
        for fd, event in poll.poll(wait):
            if fd == listener.fileno():
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sock, _ = listener.accept()
                        sock.setblocking(False)  # noqa: FBT003
                        peers[sock.fileno()] = Peer(sock)
                        poll.register(sock, select.EPOLLIN)
                continue
            peer = peers[fd]
            try:
                if event & select.EPOLLOUT:
                    peer.sent += os.sendfile(fd, memory, peer.sent, len(answer) - peer.sent)
                    if peer.sent == len(answer):
                        peer.sent = -1
                        poll.modify(fd, select.EPOLLIN)
                elif data := peer.sock.recv(65536):
                    peer.received += data
                    if request_is_whole(peer):
                        number = next(count)
                        wait = latency * (1 + spread * (2 * (number * 0.618 % 1) - 1))
                        heapq.heappush(due, (time.monotonic() + wait, number, peer))
                else:
                    raise ConnectionError
            except BlockingIOError:
                pass
            except OSError:
                poll.unregister(fd)
                peers.pop(fd).sock.close()
        while due and due[0][0] <= time.monotonic():
            peer = heapq.heappop(due)[2]
            peer.sent = 0
            with contextlib.suppress(OSError, ValueError):
                poll.modify(peer.sock.fileno(), select.EPOLLOUT)


def request_is_whole(peer: Peer) -> bool:
    head, found, rest = peer.received.partition(b"\r\n\r\n")
    if not found:
        return False
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if len(rest) < (int(length[0][15:]) if length else 0):
        return False
    peer.received = b""
    return True


def serve_tls(listener: socket.socket, answer: bytes, latency: float, folder: Path) -> None:
    """Answer over TLS from a thread for each connection; OpenSSL releases the interpreter lock."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    def serve(raw: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as sock:
            peer = Peer(raw)
            while data := sock.recv(65536):
                peer.received += data
                if request_is_whole(peer):
                    time.sleep(latency)
                    sock.sendall(answer)

    while True:
        raw, _ = listener.accept()
        threading.Thread(target=serve, args=(raw,), daemon=True).start()


def serve(kilobytes: int, latency: float, spread: float, folder: str) -> None:
    os.sched_setaffinity(0, {0})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    answer = http(body_of(kilobytes))
    if folder:
        serve_tls(listener, answer, latency, Path(folder))
    else:
        serve_plain(listener, answer, latency, spread)


# ------------------------------------------------------------------------------------------------------ clients


class Parts:
    """Names files in memory and forgets the images again, as a ring."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, itertools.count()

    def __call__(self) -> Path:
        return self.folder / f"{next(self.count)}.part"


def keep(path: Path, size: int, wanted: int, number: int) -> None:
    assert size == wanted, (size, wanted)
    path.replace(path.parent / f"image-{number % 32}")


def bound(url: str, wanted: int, folder: Path) -> Callable[[int], None]:
    """One blocking connection: receive, decode, write."""
    host, port = url.split("//")[1].split(":")
    sock = socket.create_connection((host, int(port)))
    if url.startswith("https"):
        context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
        sock = context.wrap_socket(sock, server_hostname="localhost")
    buffer = bytearray(256 * 1024)
    view = memoryview(buffer)
    length = len(BEFORE) + (wanted + 2) // 3 * 4 + len(AFTER)

    def fetch(number: int) -> None:
        sock.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        path = folder / "bound.part"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        filled = sock.recv_into(view)
        start = buffer.index(b"\r\n\r\n") + 4
        left, size, carry, text = length - (filled - start), 0, b"", view[start + len(BEFORE) : filled]
        while True:
            if left <= len(AFTER):
                text = text[: len(text) - (len(AFTER) - left)]
            need = -len(carry) % 4
            end = need + (len(text) - need) // 4 * 4
            head = pybase64.b64decode(carry + text[:need], validate=True)
            size += os.writev(fd, [head, pybase64.b64decode(text[need:end], validate=True)])
            carry = text[end:].tobytes()
            if not left:
                break
            filled = sock.recv_into(view)
            left -= filled
            text = view[:filled]
        os.close(fd)
        keep(path, size, wanted, number)

    return fetch


@contextlib.asynccontextmanager
async def nanobatch(url: str, limit: int, parts: Parts) -> AsyncIterator[Any]:
    async with Connections(limit) as connections:
        transport = HttpTransport(connections, base_url=url, auth="none", api_key=None, new_part=parts)

        async def fetch() -> Any:
            return (await transport.send(Request("POST", "/x", json={"prompt": "a red fox"}))).json

        yield fetch


@contextlib.asynccontextmanager
async def aiohttp_scanner(url: str, limit: int, parts: Parts) -> AsyncIterator[Any]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=limit, ssl=ssl.create_default_context())
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**18) as session:

        async def fetch() -> Any:
            scanner = BlobScanner(parts)
            async with session.post(url + "/x", json={"prompt": "a red fox"}) as answer:
                async for chunk in answer.content.iter_any():
                    scanner.feed(chunk)
            return scanner.finish()

        yield fetch


@contextlib.asynccontextmanager
async def httpx_scanner(url: str, limit: int, parts: Parts, transport: Any = None) -> AsyncIterator[Any]:
    import httpx

    limits = httpx.Limits(max_connections=limit, max_keepalive_connections=limit)
    async with httpx.AsyncClient(limits=limits, timeout=300, transport=transport) as client:

        async def fetch() -> Any:
            scanner = BlobScanner(parts)
            async with client.stream("POST", url + "/x", json={"prompt": "a red fox"}) as answer:
                async for chunk in answer.aiter_raw():
                    scanner.feed(chunk)
            return scanner.finish()

        yield fetch


@contextlib.asynccontextmanager
async def httpx_aiohttp(url: str, limit: int, parts: Parts) -> AsyncIterator[Any]:
    import httpx
    from httpx_aiohttp import AiohttpTransport

    limits = httpx.Limits(max_connections=limit, max_keepalive_connections=limit)
    async with httpx_scanner(url, limit, parts, AiohttpTransport(limits=limits)) as fetch:
        yield fetch


CLIENTS = {
    "nanobatch": nanobatch,
    "nanobatch-nohash": nanobatch,
    "aiohttp": aiohttp_scanner,
    "httpx-aiohttp": httpx_aiohttp,
    "httpx": httpx_scanner,
}


class NoDigest:
    """Stands for SHA-256 where its price is to be left out."""

    def update(self, data: bytes) -> None: ...

    def hexdigest(self) -> str:
        return "0" * 64


# ------------------------------------------------------------------------------------------------------ measuring


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


async def heartbeat(gaps: list[float]) -> None:
    """Record the CPU time of this thread between two beats: a stall that no other process can cause."""
    last = time.thread_time()
    while True:
        await asyncio.sleep(0.004)
        now = time.thread_time()
        gaps.append(now - last)
        last = now


async def measure(arguments: argparse.Namespace, url: str, folder: Path) -> dict[str, float]:
    wanted, numbers, gaps = arguments.kilobytes * 1000, iter(range(arguments.images)), [0.0]
    async with CLIENTS[arguments.client](url, arguments.concurrency, Parts(folder)) as fetch:

        async def work() -> None:
            for number in numbers:
                found = await fetch()
                blob = found["candidates"][0]["content"]["parts"][0]["inlineData"]["data"]
                keep(blob.path, blob.size, wanted, number)

        if arguments.warm_up:
            await fetch()
        Path("/proc/self/clear_refs").write_text("5")  # noqa: ASYNC240 - resets the peak
        beat = asyncio.ensure_future(heartbeat(gaps))
        before, began = cpu_seconds(), time.perf_counter()
        await asyncio.gather(*(work() for _ in range(arguments.concurrency)))
        used, wall = cpu_seconds() - before, time.perf_counter() - began
        beat.cancel()
    return figures(used, wall, arguments.images, stall=max(gaps))


def figures(used: float, wall: float, images: int, stall: float = 0.0) -> dict[str, float]:
    return {
        "cpu_ms": used / images * 1000,
        "per_second": images / wall,
        "peak_mb": peak_megabytes(),
        "stall_ms": stall * 1000,
    }


def run_bound(arguments: argparse.Namespace, url: str, folder: Path) -> dict[str, float]:
    fetch = bound(url, arguments.kilobytes * 1000, folder)
    fetch(0)
    before, began = cpu_seconds(), time.perf_counter()
    for number in range(arguments.images):
        fetch(number)
    return figures(cpu_seconds() - before, time.perf_counter() - began, arguments.images)


def cell(arguments: argparse.Namespace) -> dict[str, float]:
    """Start a server, run one client against it, stop the server."""
    os.sched_setaffinity(0, {1})
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    tls = arguments.wire == "tls"
    if tls:
        make_certificate(folder)
        os.environ["SSL_CERT_FILE"] = str(folder / "cert.pem")
    command = [
        sys.executable,
        __file__,
        "serve",
        str(arguments.kilobytes),
        str(arguments.latency),
        str(arguments.spread),
    ]
    server = subprocess.Popen([*command, str(folder) if tls else ""], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = f"{'https' if tls else 'http'}://localhost:{int(server.stdout.readline())}"
        if arguments.client == "bound":
            return run_bound(arguments, url, folder)
        if arguments.client == "nanobatch-nohash":
            part_files.hashlib = type("NoHashes", (), {"sha256": NoDigest})  # type: ignore[attr-defined]
        return asyncio.run(measure(arguments, url, folder))
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


def make_certificate(folder: Path) -> None:
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2", "-nodes"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", *names, *files], check=True, capture_output=True)


def table(rounds: int) -> None:
    """Run every client at two sizes, plain and over TLS, in rounds, and print medians."""
    clients = ["bound", *CLIENTS]
    for kilobytes, images in ((1500, 200), (16000, 50)):
        for wire in ("plain", "tls"):
            results: dict[str, list[dict[str, float]]] = {name: [] for name in clients}
            for _, name in itertools.product(range(rounds), clients):
                command = [sys.executable, __file__, "cell", name, str(kilobytes), "50", wire, "--images", str(images)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode == 0:
                    results[name].append(json.loads(done.stdout))
            print_rows(f"{kilobytes / 1000:g} MB, {wire}", results)


def print_rows(title: str, results: dict[str, list[dict[str, float]]]) -> None:
    base = statistics.median(row["cpu_ms"] for row in results["bound"])
    print(f"\n| {title} | CPU ms/image (min–max) | × bound | images/s | peak MB | worst stall ms (CPU) |")
    print("|---|---|---|---|---|---|")
    for name, rows in results.items():
        if not rows:
            print(f"| {name} | not installed or failed | | | | |")
            continue
        cpu = [row["cpu_ms"] for row in rows]
        middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        print(
            f"| {name} | {middle['cpu_ms']:.2f} ({min(cpu):.2f}–{max(cpu):.2f}) | {middle['cpu_ms'] / base:.2f} "
            f"| {middle['per_second']:.0f} | {middle['peak_mb']:.0f} | {middle['stall_ms']:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command")
    one = commands.add_parser("cell", help="one client, one size")
    one.add_argument("client", choices=["bound", *CLIENTS])
    one.add_argument("kilobytes", type=int)
    one.add_argument("concurrency", type=int)
    one.add_argument("wire", choices=["plain", "tls"])
    one.add_argument("--images", type=int, default=200)
    one.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    one.add_argument("--spread", type=float, default=0.0, help="how far latencies differ: 0.5 is half more or less")
    one.add_argument("--no-warm-up", dest="warm_up", action="store_false")
    server = commands.add_parser("serve", help="used by the other commands")
    server.add_argument("kilobytes", type=int)
    server.add_argument("latency", type=float)
    server.add_argument("spread", type=float)
    server.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    match arguments.command:
        case "serve":
            serve(arguments.kilobytes, arguments.latency, arguments.spread, arguments.folder)
        case "cell":
            print(json.dumps(cell(arguments)))
        case _:
            table(arguments.rounds)


if __name__ == "__main__":
    main()
