"""Files that arrive in pieces, and files that arrive in a form."""

from __future__ import annotations

import io
from typing import Any

import aiohttp
import pytest

from nanobatch.sandbox.batches.uploads import GRANULARITY
from tests.unit.sandbox.batches.test_desk import KEY, Client, client

pytestmark = pytest.mark.anyio
BEARER = {"Authorization": "Bearer k"}


async def begin(vendor: Client, size: int) -> str:
    start = {"X-Goog-Upload-Command": "start", "X-Goog-Upload-Header-Content-Length": str(size)}
    async with vendor.session.post("/upload/v1beta/files", json={}, headers={**KEY, **start}) as answer:
        assert answer.headers["X-Goog-Upload-Status"] == "active"
        return answer.headers["X-Goog-Upload-URL"]


async def piece(vendor: Client, url: str, data: bytes, at: int, command: str = "upload") -> tuple[int, Any]:
    headers = {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(at)}
    async with vendor.session.post(url, data=io.BytesIO(data), headers=headers) as answer:
        await answer.read()
        return answer.status, answer.headers


async def test_an_upload_goes_on_after_a_break() -> None:
    """A cut piece leaves whole blocks; the server tells how many bytes it has, and the rest is taken from there."""
    async with client(first={"uploadcut": 1}) as vendor:
        data = bytes(4 * GRANULARITY + 5)
        url = await begin(vendor, len(data))
        with pytest.raises(aiohttp.ClientError):
            await piece(vendor, url, data, 0, "upload, finalize")
        _, headers = await piece(vendor, url, b"", 0, "query")
        have = int(headers["X-Goog-Upload-Size-Received"])
        assert have == 2 * GRANULARITY
        status, headers = await piece(vendor, url, data[have:], have, "upload, finalize")
        assert (status, headers["X-Goog-Upload-Status"]) == (200, "final")
        _, headers = await piece(vendor, url, b"", 0, "query")
        assert headers["X-Goog-Upload-Status"] == "final"


async def test_pieces_belong_in_their_places() -> None:
    """One at another offset, one of an odd length in the middle, an end that comes too early, an unknown upload: no."""
    async with client() as vendor:
        url = await begin(vendor, 2 * GRANULARITY)
        assert (await piece(vendor, url, bytes(GRANULARITY), GRANULARITY))[0] == 400
        assert (await piece(vendor, url, bytes(GRANULARITY - 1), 0))[0] == 400
        assert (await piece(vendor, url, bytes(GRANULARITY), 0, "upload, finalize"))[0] == 400
        assert (await piece(vendor, "/upload/v1beta/files?upload_id=x", b"", 0))[0] == 404


async def test_an_upload_needs_a_size_and_a_key() -> None:
    """Two gigabytes at most."""
    async with client() as vendor:
        for size in ("", "0", str(2 * 1024**3 + 1)):
            start = {"X-Goog-Upload-Command": "start", "X-Goog-Upload-Header-Content-Length": size}
            async with vendor.session.post("/upload/v1beta/files", headers={**KEY, **start}) as answer:
                assert answer.status == 400
        async with vendor.session.post("/upload/v1beta/files", headers={"X-Goog-Upload-Command": "start"}) as answer:
            assert answer.status == 403


async def test_a_form_has_a_file_and_a_purpose() -> None:
    """What lacks either, or is no form, is refused; what has both is described."""
    async with client() as vendor:
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", b"{}\n", filename="in.jsonl")
        async with vendor.session.post("/v1/files", data=form, headers=BEARER) as answer:
            found = await answer.json()
        assert (found["bytes"], found["filename"], found["purpose"]) == (3, "in.jsonl", "batch")
        no_file = aiohttp.FormData({"purpose": "batch"}, default_to_multipart=True)
        for data in (no_file, b"x"):
            async with vendor.session.post("/v1/files", data=data, headers=BEARER) as answer:
                assert answer.status == 400
        async with vendor.session.post("/v1/files") as answer:
            assert answer.status == 401
