"""Sends a file of results: whole, or from where a break left off while it is still the same file."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web

from nanobatch.sandbox.batches.records import StoredFile
from nanobatch.sandbox.delivery import deliver, page
from nanobatch.sandbox.dialects.base import Answer

_PIECE_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d+)-")


async def send(request: web.Request, file: StoredFile, path: Path, fault: str | None) -> web.StreamResponse:
    """Send a file as a fault breaks it.

    Raises:
        ConnectionError: The client has gone.
    """
    if fault in ("download403", "download500"):
        answer = page(int(fault.removeprefix("download")))
        return await deliver(request, answer, answer.encoded())
    tag = f'"{file.sha256[:32]}"'
    if request.headers.get("If-Match", tag) not in (tag, "*"):
        return await deliver(request, Answer(412, b""), b"")
    start = 0
    if (found := _RANGE.fullmatch(request.headers.get("Range", ""))) is not None:
        start = int(found[1])
        if start >= file.size:
            return await deliver(request, Answer(416, b"", {"Content-Range": f"bytes */{file.size}"}), b"")
    headers = {"Content-Type": file.mime, "ETag": tag, "Accept-Ranges": "bytes"}
    if found is not None:
        headers["Content-Range"] = f"bytes {start}-{file.size - 1}/{file.size}"
    response = web.StreamResponse(status=200 if found is None else 206, headers=headers)
    response.content_length = file.size - start
    await response.prepare(request)
    end = file.size if fault != "downloadcut" else start + (file.size - start) // 2
    with path.open("rb") as source:
        source.seek(start)
        while (left := end - source.tell()) > 0:
            await response.write(source.read(min(left, _PIECE_BYTES)))
    if fault == "downloadcut" and request.transport is not None:
        request.transport.close()  # what was written still goes out
        return response
    await response.write_eof()
    return response
