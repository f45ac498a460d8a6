"""The bound and the peers of images.py; each fetches so many images and writes them to files, aside and then renamed.

    python benchmarks/clients.py bound|digest|genai|openai|aiohttp URL IMAGES CONCURRENCY FOLDER

`bound` is the least that must be done: one blocking connection kept alive, receive, decode as it comes, write, rename.
It neither hashes nor looks at what it writes; `digest` is the same with the SHA-256 that every manifest line holds. The others are the official clients and a plain script, as somebody would
write them who keeps so many requests in flight. Over TLS all trust SSL_CERT_FILE.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROMPT = "A red fox, number {}"
GEMINI_MODEL = "gemini-3-pro-image"


async def in_flight(concurrency: int, images: int, one: Callable[[int], Awaitable[bytes]], folder: Path) -> None:
    """Keep so many requests in flight, and write each image."""
    numbers = iter(range(images))

    async def worker() -> None:
        for number in numbers:
            data = await one(number)
            part = folder / f"{number}.part"
            part.write_bytes(data)
            part.replace(folder / f"{number}.png")

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())


async def genai(url: str, images: int, concurrency: int, folder: Path) -> None:
    from google import genai as sdk
    from google.genai import types

    client = sdk.Client(api_key="key", http_options=types.HttpOptions(base_url=url, api_version="v1beta"))
    config = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])

    async def one(number: int) -> bytes:
        answer = await client.aio.models.generate_content(
            model=GEMINI_MODEL, contents=PROMPT.format(number), config=config
        )
        assert answer.parts is not None
        return next(part.inline_data.data for part in answer.parts if part.inline_data and part.inline_data.data)

    await in_flight(concurrency, images, one, folder)


async def openai(url: str, images: int, concurrency: int, folder: Path) -> None:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="key", base_url=f"{url}/v1", max_retries=0) as client:

        async def one(number: int) -> bytes:
            answer = await client.images.generate(model="gpt-image-2", prompt=PROMPT.format(number))
            assert answer.data is not None
            return base64.b64decode(answer.data[0].b64_json or "")

        await in_flight(concurrency, images, one, folder)


async def aiohttp(url: str, images: int, concurrency: int, folder: Path) -> None:
    import aiohttp as library

    async def one(number: int) -> bytes:
        async with (
            library.ClientSession() as session,
            session.post(
                f"{url}/v1beta/models/{GEMINI_MODEL}:generateContent",
                json={"contents": [{"parts": [{"text": PROMPT.format(number)}]}]},
                headers={"x-goog-api-key": "key"},
            ) as response,
        ):
            answer = await response.json()
        parts = answer["candidates"][0]["content"]["parts"]
        return base64.b64decode(next(part["inlineData"]["data"] for part in parts if "inlineData" in part))

    await in_flight(concurrency, images, one, folder)


# ----------------------------------------------------------------------------------------------------------- bound

BUFFER_BYTES = 256 * 1024
REQUEST = (
    b"POST /v1beta/models/gemini-3-pro-image:generateContent HTTP/1.1\r\n"
    b"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)


def bound(url: str, images: int, folder: Path, *, hashes: bool) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = socket.create_connection((parts.hostname, parts.port or 443))
    if parts.scheme == "https":
        connection = ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with connection:
        for number in range(images):
            connection.sendall(REQUEST)
            part = folder / f"{number}.part"
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            digest = hashlib.sha256() if hashes else None

            def keep(data: bytes, fd: int = fd, digest: Any = digest) -> None:
                os.write(fd, data)
                if digest is not None:
                    digest.update(data)

            receive_image(connection, buffer, keep)
            os.close(fd)
            part.replace(folder / f"{number}.png")


def receive_image(connection: socket.socket, buffer: memoryview, keep: Callable[[bytes], None]) -> None:
    """Read one answer and keep its image; what is decoded at once is what one read brought, in fours of characters."""
    from pybase64 import b64decode

    whole = buffer.obj
    assert isinstance(whole, bytearray)
    filled = 0
    while (start := whole.find(b'"data":"', 0, filled)) < 0:
        filled += received(connection, buffer[filled:])
    start += len(b'"data":"')
    head_end = whole.index(b"\r\n\r\n") + 4
    left = int(whole[:head_end].lower().split(b"content-length:")[1].split(b"\r\n")[0]) - (filled - head_end)
    while (quote := whole.find(b'"', start, filled)) < 0:
        end = filled - (filled - start) % 4
        keep(b64decode(buffer[start:end], validate=True))
        kept = filled - end
        buffer[:kept] = buffer[end:filled]
        count = received(connection, buffer[kept:])
        left -= count
        start, filled = 0, kept + count
    keep(b64decode(buffer[start:quote], validate=True))
    while left:
        left -= received(connection, buffer[: min(left, BUFFER_BYTES)])


def received(connection: socket.socket, into: memoryview) -> int:
    count = connection.recv_into(into)
    if not count:
        raise ConnectionError("the server closed the connection")
    return count


def main() -> None:
    name, url, images, concurrency, folder = sys.argv[1:]
    if name in ("bound", "digest"):
        bound(url, int(images), Path(folder), hashes=name == "digest")
    else:
        peer = {"genai": genai, "openai": openai, "aiohttp": aiohttp}[name]
        asyncio.run(peer(url, int(images), int(concurrency), Path(folder)))


if __name__ == "__main__":
    main()
