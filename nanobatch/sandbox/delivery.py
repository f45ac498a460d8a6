"""Puts an answer on the wire: whole, cut, trickling, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from http import HTTPStatus

from aiohttp import web

from nanobatch.sandbox.dialects.base import Answer

_DRIPS = 40  # pieces of a trickling body
_WATCH_SECONDS = 0.1  # how often a hanging request looks whether its client is still there
_PAGE = b"""<!DOCTYPE html>
<html><head><title>%s</title></head>
<body><center><h1>%s</h1></center><hr><center>nginx</center></body></html>
"""


def page(status: int) -> Answer:
    """Return what a gateway says when the server behind it does not answer, or a file is not to be had."""
    title = (b"%d %s" % (status, HTTPStatus(status).phrase.encode())) if status != 200 else b"Just a moment..."
    return Answer(status, _PAGE % (title, title), content_type="text/html; charset=utf-8")


def is_open(request: web.Request) -> bool:
    """Tell whether the client is still connected."""
    return request.transport is not None and not request.transport.is_closing()


async def deliver(request: web.Request, answer: Answer, body: bytes) -> web.StreamResponse:
    """Send an answer to the end, so that nothing of it is left when this returns.

    Raises:
        ConnectionError: The client has gone. The other ways of sending raise it, too.
    """
    response = await _begin(request, answer, len(body))
    await response.write(body)
    await response.write_eof()
    return response


async def truncate(request: web.Request, answer: Answer, body: bytes) -> web.StreamResponse:
    """Promise the whole body, send half of it, and close the connection."""
    response = await _begin(request, answer, len(body))
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()  # what was written still goes out
    return response


async def drip(request: web.Request, answer: Answer, body: bytes, seconds: float) -> web.StreamResponse:
    """Send an answer in small pieces over so many seconds."""
    response = await _begin(request, answer, len(body))
    size = max(1, -(-len(body) // _DRIPS))
    for start in range(0, len(body), size):
        await response.write(body[start : start + size])
        await asyncio.sleep(seconds / _DRIPS)
    await response.write_eof()
    return response


async def _begin(request: web.Request, answer: Answer, length: int) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={**answer.headers, "Content-Type": answer.content_type})
    response.content_length = length
    await response.prepare(request)
    return response


def reset(request: web.Request) -> web.StreamResponse:
    """Cut the connection with a RST, as a crashed server or an impatient proxy does."""
    transport = request.transport
    if transport is not None:
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)  # on, for no time: closing sends RST
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    return web.Response()


async def hang(request: web.Request) -> web.StreamResponse:
    """Never answer. Ends when the client does."""
    while is_open(request):  # noqa: ASYNC110 - the server library has no event for a client that leaves
        await asyncio.sleep(_WATCH_SECONDS)
    return web.Response()
