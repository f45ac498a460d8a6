"""Receives files of rows: Google's in pieces that go on after a break, OpenAI's as one part of a form.

Google's protocol: a first request names the size and is told an address. Pieces go there, each with its offset; all
but the last have a multiple of 256 kB. After a break the server is asked how much it has.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from nanobatch.sandbox.batches.desk import BatchDesk
from nanobatch.sandbox.batches.records import StoredFile
from nanobatch.sandbox.batches.shelf import digest
from nanobatch.sandbox.creation import received
from nanobatch.sandbox.delivery import reset
from nanobatch.sandbox.dialects import gemini_batches, openai_batches
from nanobatch.sandbox.dialects.base import Answer, Asked, MalformedError, parsed
from nanobatch.sandbox.faults import UPLOAD

GRANULARITY = 256 * 1024
_PIECE_BYTES = 256 * 1024
_COMMAND, _OFFSET = "X-Goog-Upload-Command", "X-Goog-Upload-Offset"
_LENGTH, _TYPE = "X-Goog-Upload-Header-Content-Length", "X-Goog-Upload-Header-Content-Type"
_STATUS, _RECEIVED, _URL = "X-Goog-Upload-Status", "X-Goog-Upload-Size-Received", "X-Goog-Upload-URL"


@dataclass(slots=True)
class Upload:
    """A file that is still arriving."""

    path: Path
    size: int
    title: str
    mime: str
    received: int = 0
    file: StoredFile | None = None  # once it is whole


@dataclass(slots=True)
class Uploads:
    """Files that are arriving."""

    desk: BatchDesk
    _open: dict[str, Upload] = field(default_factory=dict)

    async def google(self, request: web.Request) -> Answer | web.StreamResponse:
        """Begin an upload, take a piece of one, or tell how far it is."""
        command = request.headers.get(_COMMAND, "")
        if command == "start":
            return await self._start(request)
        upload = self._open.get(request.query.get("upload_id", ""))
        if upload is None:
            return gemini_batches.no_upload()
        if upload.file is not None:
            return self._whole(upload.file)
        if command == "query":
            return Answer(200, b"", {_STATUS: "active", _RECEIVED: str(upload.received)})
        return await self._piece(request, upload, [part.strip() for part in command.split(",")])

    async def _start(self, request: web.Request) -> Answer:
        asked = await received(request, self.desk.now())
        refused = gemini_batches.door(asked)
        if refused is not None:
            return refused
        size = asked.headers.get(_LENGTH, "")
        if not size.isdecimal() or not 0 < int(size) <= gemini_batches.MOST_BYTES:
            return gemini_batches.wrong(f"{_LENGTH} is between 1 and {gemini_batches.MOST_BYTES}.")
        name = secrets.token_hex(16)
        mime = asked.headers.get(_TYPE, "application/octet-stream")
        upload = Upload(self.desk.shelf.upload_path(name), int(size), _title(asked), mime)
        upload.path.touch()
        self._open[name] = upload
        url = f"{self.desk.studio.url}{request.path}?upload_id={name}&upload_protocol=resumable"
        headers = {_URL: url, _STATUS: "active", "X-Goog-Upload-Chunk-Granularity": str(GRANULARITY)}
        return Answer(200, b"", headers)

    async def _piece(self, request: web.Request, upload: Upload, commands: list[str]) -> Answer | web.StreamResponse:
        offset = request.headers.get(_OFFSET, "")
        if "upload" not in commands or not offset.isdecimal() or int(offset) != upload.received:
            wrong = gemini_batches.wrong(f"The upload has {upload.received} bytes; a piece begins there.")
            return Answer(400, wrong.body, {_STATUS: "active"})
        studio = self.desk.studio
        fault = studio.mishap(studio.dice.throw(f"upload {upload.title}"), gemini_batches.NAME, UPLOAD)
        if fault == "upload503":
            return gemini_batches.stumbled(fault, studio.wish)
        length = request.content_length or 0
        most = length // 2 if fault == "uploadcut" else upload.size - upload.received
        try:
            arrived = await save(request.content.iter_chunked(_PIECE_BYTES), upload.path, upload.received, most)
        except ConnectionError:
            arrived = upload.path.stat().st_size - upload.received
        is_last = "finalize" in commands
        if arrived < length or fault == "uploadcut":
            upload.received += arrived // GRANULARITY * GRANULARITY
            return reset(request)
        if not is_last and arrived % GRANULARITY:
            return gemini_batches.wrong(f"All pieces but the last are multiples of {GRANULARITY} bytes.")
        upload.received += arrived
        if not is_last:
            return Answer(200, b"", {_STATUS: "active"})
        if upload.received != upload.size:
            return gemini_batches.wrong(f"The file has {upload.size} bytes, not {upload.received}.")
        studio.books.uploads += 1
        upload.file = await self._keep(gemini_batches.NAME, upload)
        return self._whole(upload.file)

    def _whole(self, file: StoredFile) -> Answer:
        body = {"file": gemini_batches.described_file(file, self.desk.studio.url)}
        return Answer(200, body, {_STATUS: "final"})

    async def openai(self, request: web.Request) -> Answer | web.StreamResponse:
        """Take a file from a form."""
        refused = openai_batches.door(Asked(request.headers))
        if refused is not None:
            return refused
        if request.content_type != "multipart/form-data":
            return openai_batches.wrong("A multipart/form-data body is expected.")
        studio = self.desk.studio
        fault = studio.mishap(studio.dice.throw("upload"), openai_batches.NAME, UPLOAD)
        if fault == "upload503":
            return openai_batches.stumbled(fault, studio.wish)
        if fault == "uploadcut":
            return reset(request)
        fields: dict[str, str] = {}
        upload: Upload | None = None
        try:
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader):
                    continue
                if part.name != "file":
                    fields[part.name or ""] = await part.text()
                    continue
                path = self.desk.shelf.upload_path(secrets.token_hex(16))
                size = await save(_pieces(part), path, 0, None)
                mime = part.headers.get("Content-Type", "application/jsonl")
                upload = Upload(path, size, part.filename or "file", mime)
        except ValueError:
            return openai_batches.wrong("We could not parse the body of your request.")
        if upload is None or not fields.get("purpose"):
            name = "file" if upload is None else "purpose"
            return openai_batches.wrong(f"Missing required parameter: '{name}'.")
        studio.books.uploads += 1
        file = await self._keep(openai_batches.NAME, upload, purpose=fields["purpose"])
        return openai_batches.file(file, studio.url)

    async def _keep(self, vendor: str, upload: Upload, *, purpose: str = "batch") -> StoredFile:
        dialect = gemini_batches if vendor == gemini_batches.NAME else openai_batches
        now, life = self.desk.now(), dialect.FILE_SECONDS
        sha256 = await self.desk.studio.work(digest, upload.path)
        file = StoredFile(
            name=dialect.FILE_NAME.format(secrets.token_hex(6)), vendor=vendor, title=upload.title, mime=upload.mime,
            size=upload.size, sha256=sha256, created=now, expires=None if life is None else now + life,
            purpose=purpose,
        )  # fmt: skip
        self.desk.shelf.keep(file, upload.path)
        return file


def _title(asked: Asked) -> str:
    """Read what the client calls its file; without a name it has none."""
    try:
        body: Any = parsed(asked.body)
    except MalformedError:
        return ""
    about = body.get("file") if isinstance(body, dict) else None
    found = (about.get("display_name") or about.get("displayName")) if isinstance(about, dict) else None
    return found if isinstance(found, str) else ""


async def _pieces(part: BodyPartReader) -> AsyncIterator[bytes]:
    while data := await part.read_chunk(_PIECE_BYTES):
        yield bytes(data)


async def save(pieces: AsyncIterator[bytes], path: Path, at: int, most: int | None) -> int:
    """Write pieces at a place, at most so many bytes; return how many."""
    written = 0
    with path.open("ab", buffering=0) as file:
        file.truncate(at)
        async for data in pieces:
            kept = data if most is None else data[: most - written]
            written += file.write(kept)
            if most is not None and written >= most:
                break
    return written
