"""The peers of benchmarks/images.py, as somebody would write them; each generates N images and writes them to files.

python benchmarks/clients.py genai|openai|aiohttp|bound BASE_URL IMAGES CONCURRENCY FOLDER [CA_FILE]
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

PROMPT = "A red fox asleep on a mossy stone, number {}"


async def pool(images: int, concurrency: int, one: Callable[[int], Awaitable[bytes]], folder: Path) -> None:
    """Keep so many requests in flight; write each image aside and rename it."""
    numbers = iter(range(images))

    async def worker() -> None:
        for number in numbers:
            data = await one(number)
            part = folder / f"{number}.part"
            part.write_bytes(data)
            part.replace(folder / f"{number}.png")

    await asyncio.gather(*(worker() for _ in range(min(concurrency, images))))


async def genai(url: str, images: int, concurrency: int, folder: Path) -> None:
    from google import genai as sdk
    from google.genai import types

    client = sdk.Client(api_key="key", http_options=types.HttpOptions(base_url=url, api_version="v1beta"))
    config = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])

    async def one(number: int) -> bytes:
        answer = await client.aio.models.generate_content(
            model="gemini-3-pro-image", contents=PROMPT.format(number), config=config
        )
        assert answer.parts is not None
        return next(part.inline_data.data for part in answer.parts if part.inline_data and part.inline_data.data)

    await pool(images, concurrency, one, folder)


async def openai(url: str, images: int, concurrency: int, folder: Path) -> None:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="key", base_url=f"{url}/v1", max_retries=0)

    async def one(number: int) -> bytes:
        answer = await client.images.generate(model="gpt-image-2", prompt=PROMPT.format(number))
        assert answer.data is not None
        return base64.b64decode(answer.data[0].b64_json or "")

    await pool(images, concurrency, one, folder)


async def aiohttp(url: str, images: int, concurrency: int, folder: Path, ca: str | None) -> None:
    import aiohttp as library

    context = ssl.create_default_context(cafile=ca) if ca else None

    async def one(number: int) -> bytes:
        connector = library.TCPConnector(ssl=context) if context else None
        async with (
            library.ClientSession(connector=connector) as session,
            session.post(
                f"{url}/v1beta/models/gemini-3-pro-image:generateContent",
                json={"contents": [{"parts": [{"text": PROMPT.format(number)}]}]},
                headers={"x-goog-api-key": "key"},
            ) as response,
        ):
            answer = await response.json()
        parts = answer["candidates"][0]["content"]["parts"]
        return base64.b64decode(next(part["inlineData"]["data"] for part in parts if "inlineData" in part))

    await pool(images, concurrency, one, folder)


def bound(url: str, images: int, folder: Path, ca: str | None) -> None:
    """Do the least that must be done: one blocking socket, receive, decode as it comes, write, rename. No digest."""
    import pybase64

    parts = urlsplit(url)
    assert parts.hostname is not None
    connection: socket.socket = socket.create_connection((parts.hostname, parts.port or 443))
    if parts.scheme == "https":
        connection = ssl.create_default_context(cafile=ca).wrap_socket(connection, server_hostname=parts.hostname)
    request = b"POST /v1/models/m:generateContent HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    buffer = memoryview(bytearray(256 * 1024))
    for number in range(images):
        connection.sendall(request)
        count = connection.recv_into(buffer)
        received = bytes(buffer[:count])
        head, _, body = received.partition(b"\r\n\r\n")
        left = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(body)
        start = body.index(b'"data":"') + 8
        pending = body[start:]
        part = folder / f"{number}.part"
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        done = False
        while True:
            end = pending.find(b'"')
            usable = pending if end < 0 else pending[:end]
            if not done:
                whole = len(usable) if end >= 0 else len(usable) - len(usable) % 4
                os.write(fd, pybase64.b64decode(usable[:whole], validate=True))
                done = end >= 0
            if left == 0:
                break
            rest = b"" if done else pending[whole:]
            count = connection.recv_into(buffer)
            left -= count
            pending = rest + bytes(buffer[:count]) if rest else bytes(buffer[:count])
        os.close(fd)
        part.replace(folder / f"{number}.png")


def main() -> None:
    name, url, images, concurrency, folder = (
        sys.argv[1],
        sys.argv[2],
        int(sys.argv[3]),
        int(sys.argv[4]),
        Path(sys.argv[5]),
    )
    ca = sys.argv[6] if len(sys.argv) > 6 else None
    match name:
        case "bound":
            bound(url, images, folder, ca)
        case "genai":
            asyncio.run(genai(url, images, concurrency, folder))
        case "openai":
            asyncio.run(openai(url, images, concurrency, folder))
        case "aiohttp":
            asyncio.run(aiohttp(url, images, concurrency, folder, ca))


if __name__ == "__main__":
    main()
