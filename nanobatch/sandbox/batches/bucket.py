"""A double of Cloud Storage as far as batches need it: any bucket exists, its objects lie on the shelf.

Format: https://docs.cloud.google.com/storage/docs/json_api/v1/objects. An upload is simple (`uploadType=media`) or
resumable: a first request is told an address, pieces of multiples of 256 kB go there, each with its place, and after
a break the server says how much it has (https://docs.cloud.google.com/storage/docs/performing-resumable-uploads).
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from nanobatch.sandbox.batches.desk import BatchDesk
from nanobatch.sandbox.batches.downloads import send
from nanobatch.sandbox.batches.records import StoredFile
from nanobatch.sandbox.batches.shelf import digest
from nanobatch.sandbox.batches.uploads import GRANULARITY, save
from nanobatch.sandbox.delivery import reset
from nanobatch.sandbox.dialects import vertex_batches
from nanobatch.sandbox.dialects.base import Answer, Asked
from nanobatch.sandbox.faults import LINK, UPLOAD

UPLOADS = "/upload/storage/v1/b/{bucket}/o"
OBJECTS = "/storage/v1/b/{bucket}/o"
OBJECT = OBJECTS + "/{name:.+}"
_PIECE_BYTES = 256 * 1024
_MORE = 308
_PAGE, _LONGEST_PAGE = 1000, 1000
_PLACE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")

Reply = Answer | web.StreamResponse


@dataclass(slots=True)
class _Upload:
    """An object that is still arriving."""

    path: Path
    uri: str
    mime: str
    received: int = 0
    file: StoredFile | None = None  # once it is whole


@dataclass(slots=True)
class Bucket:
    """The doors of the double."""

    desk: BatchDesk
    _open: dict[str, _Upload] = field(default_factory=dict)

    async def begin(self, request: web.Request) -> Reply:
        """Begin a resumable upload, or take a whole object."""
        uri = _uri(request.match_info["bucket"], request.query.get("name", ""))
        refused = vertex_batches.door(Asked(request.headers))
        if refused is not None:
            return refused
        if uri.endswith("/"):
            return vertex_batches.wrong("Required parameter: name")
        mime = request.headers.get("X-Upload-Content-Type", request.content_type)
        session = secrets.token_hex(16)
        upload = _Upload(self.desk.shelf.upload_path(session), uri, mime)
        upload.path.touch()
        if request.query.get("uploadType") == "media":
            await save(request.content.iter_chunked(_PIECE_BYTES), upload.path, 0, None)
            return await self._whole(upload)
        await request.read()
        self._open[session] = upload
        query = f"uploadType=resumable&name={request.query['name']}&upload_id={session}"
        return Answer(200, b"", {"Location": f"{self.desk.studio.url}{request.path}?{query}"})

    async def piece(self, request: web.Request) -> Reply:
        """Take a piece, or tell how much there is."""
        upload = self._open.get(request.query.get("upload_id", ""))
        if upload is None:
            return vertex_batches.no_object("the upload has expired")
        if upload.file is not None:
            return vertex_batches.file(upload.file, self.desk.studio.url)
        place = _PLACE.fullmatch(request.headers.get("Content-Range", ""))
        if place is None:
            return vertex_batches.wrong("Content-Range is `bytes FIRST-LAST/SIZE` or `bytes */SIZE`.")
        if place[1] is None:
            return _more(upload)
        return await self._take(request, upload, first=int(place[1]), last=int(place[2]), size=int(place[3]))

    async def _take(self, request: web.Request, upload: _Upload, *, first: int, last: int, size: int) -> Reply:
        studio = self.desk.studio
        length, is_last = last + 1 - first, last + 1 == size
        if first != upload.received or last >= size or length != request.content_length:
            return vertex_batches.wrong(f"The upload has {upload.received} bytes; a piece begins there.")
        if not is_last and length % GRANULARITY:
            return vertex_batches.wrong(f"All pieces but the last are multiples of {GRANULARITY} bytes.")
        fault = studio.mishap(studio.dice.throw(f"upload {upload.uri}"), vertex_batches.NAME, UPLOAD)
        if fault == "upload503":
            return vertex_batches.stumbled(fault, studio.wish)
        most = length // 2 if fault == "uploadcut" else length
        try:
            arrived = await save(request.content.iter_chunked(_PIECE_BYTES), upload.path, first, most)
        except ConnectionError:
            arrived = upload.path.stat().st_size - first
        if arrived < length:
            upload.received += arrived // GRANULARITY * GRANULARITY
            return reset(request)
        upload.received += arrived
        return await self._whole(upload) if is_last else _more(upload)

    async def _whole(self, upload: _Upload) -> Answer:
        """Put an object on the shelf."""
        shelf, studio = self.desk.shelf, self.desk.studio
        sha256 = await studio.work(digest, upload.path)
        upload.file = StoredFile(
            name=upload.uri, vendor=vertex_batches.NAME, title=upload.uri, mime=upload.mime,
            size=upload.path.stat().st_size, sha256=sha256, created=self.desk.now(), expires=None,
        )  # fmt: skip
        shelf.keep(upload.file, upload.path)
        studio.books.uploads += 1
        return vertex_batches.file(upload.file, studio.url)

    async def objects(self, request: web.Request) -> Reply:
        """List the objects below a prefix, by name."""
        refused = vertex_batches.door(Asked(request.headers))
        if refused is not None:
            return refused
        prefix = _uri(request.match_info["bucket"], request.query.get("prefix", ""))
        length, after = request.query.get("maxResults", str(_PAGE)), request.query.get("pageToken", "")
        if not length.isdecimal() or int(length) < 1:
            return vertex_batches.wrong("maxResults is a number of at least 1.")
        names = sorted(name for name in self.desk.shelf.files if name.startswith(prefix) and name > after)
        some = names[: min(int(length), _LONGEST_PAGE)]
        answer = vertex_batches.files([self.desk.shelf.files[name] for name in some], self.desk.studio.url)
        more = {"nextPageToken": some[-1]} if len(some) < len(names) else {}
        return Answer(200, answer.body | more)

    async def read(self, request: web.Request) -> Reply:
        """Describe an object or, with `alt=media`, send its bytes."""
        file = self._found(request)
        if isinstance(file, Answer):
            return file
        studio = self.desk.studio
        if request.query.get("alt") != "media":
            return vertex_batches.file(file, studio.url)
        studio.books.downloads += 1
        fault = studio.mishap(studio.dice.throw(f"download {file.name}"), vertex_batches.NAME, LINK)
        return await send(request, file, self.desk.shelf.path(file.name), fault)

    async def delete(self, request: web.Request) -> Reply:
        """Delete an object."""
        file = self._found(request)
        if isinstance(file, Answer):
            return file
        self.desk.shelf.delete_file(file.name)
        return Answer(204, b"")

    def _found(self, request: web.Request) -> StoredFile | Answer:
        refused = vertex_batches.door(Asked(request.headers))
        if refused is not None:
            return refused
        uri = _uri(request.match_info["bucket"], request.match_info["name"])
        file = self.desk.shelf.find(uri, self.desk.now())
        if file is None or request.query.get("generation") not in (None, vertex_batches.generation(file)):
            return vertex_batches.no_object(uri)
        return file


def _uri(bucket: str, name: str) -> str:
    return f"gs://{bucket}/{name}"


def _more(upload: _Upload) -> Answer:
    """Tell how much there is; of nothing, nothing is told."""
    return Answer(_MORE, b"", {"Range": f"bytes=0-{upload.received - 1}"} if upload.received else {})
