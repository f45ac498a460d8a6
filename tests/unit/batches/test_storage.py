"""Cloud Storage on the wire: the requests of its JSON API, and what its refusals mean."""

from __future__ import annotations

from typing import Any

import pytest

from nanobatch.batches.storage import Storage
from nanobatch.batches.uploads import PIECE_BYTES
from nanobatch.errors import AccountStopped, Ambiguous, ExchangeError, Overloaded, Rejected, ServerFault
from nanobatch.model import Response
from tests.unit.batches.test_wire_gemini import play

ROOT = "https://storage.googleapis.com"
STORAGE = Storage(ROOT)
SIZE = PIECE_BYTES + 5
URI = "gs://bucket/a folder/t1/rows.jsonl"
BEGUN = Response(200, {"location": "https://www.googleapis.com/upload/storage/v1/b/bucket/o?upload_id=u"}, json=None)
TAKEN = Response(200, {}, json={"name": "a folder/t1/rows.jsonl", "size": str(SIZE)})


def read(at: int, length: int) -> bytes:
    return bytes(min(length, SIZE - at))


def more(last: int | None) -> Response:
    return Response(308, {} if last is None else {"range": f"bytes=0-{last}"}, text="")


def test_a_resumable_upload() -> None:
    """Begun with the name, continued with the place of each piece, at the host that it was begun at."""
    name, requests = play(STORAGE.upload(URI, SIZE, read), BEGUN, more(PIECE_BYTES - 1), TAKEN)
    assert name == URI
    begin, first, second = requests
    assert begin.method == "POST"
    assert begin.path == (f"{ROOT}/upload/storage/v1/b/bucket/o?uploadType=resumable&name=a%20folder%2Ft1%2Frows.jsonl")
    assert begin.headers["x-upload-content-length"] == str(SIZE)
    assert first.path == second.path == f"{ROOT}/upload/storage/v1/b/bucket/o?upload_id=u"
    assert (first.method, first.headers) == ("PUT", {"content-range": f"bytes 0-{PIECE_BYTES - 1}/{SIZE}"})
    assert second.headers == {"content-range": f"bytes {PIECE_BYTES}-{SIZE - 1}/{SIZE}"}
    assert all(request.path.startswith(STORAGE.homes()) for request in requests)


def test_after_a_break_the_server_is_asked_what_it_has() -> None:
    """Without a Range it has nothing; a 200 says that the last piece came whole; a 404 that nobody knows."""
    steps = [BEGUN, Ambiguous("cut"), more(None), Ambiguous("cut"), more(99), Ambiguous("cut"), TAKEN]
    name, requests = play(STORAGE.upload(URI, SIZE, read), *steps)
    assert name == URI
    asked = [request for request in requests if request.headers.get("content-range") == f"bytes */{SIZE}"]
    assert len(asked) == 3
    assert {request.content for request in asked} == {b""}
    assert requests[5].headers["content-range"].startswith("bytes 100-")
    _, requests = play(STORAGE.upload(URI, SIZE, read), BEGUN, Ambiguous("cut"), Response(410, {}), BEGUN, TAKEN)
    assert [request.method for request in requests] == ["POST", "PUT", "PUT", "POST", "PUT"]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, AccountStopped, "role Storage Object User"),
        (404, AccountStopped, "there is no such bucket"),
        (400, Rejected, "cannot be written"),
        (503, Overloaded, "cannot be written"),
        (200, ServerFault, "the answer says nothing"),
    ],
)
def test_a_bucket_that_takes_nothing(status: int, kind: type[ExchangeError], words: str) -> None:
    """The sentence names the object and what a person can do."""
    body = {"error": {"code": status, "message": "why not"}} if status != 200 else {}
    with pytest.raises(kind, match=words) as caught:
        play(STORAGE.upload(URI, SIZE, read), Response(status, {}, json=body))
    assert URI in caught.value.message
    with pytest.raises(ExchangeError, match="was not taken"):
        play(STORAGE.upload(URI, SIZE, read), BEGUN, Response(412, {}, json={"error": {"code": 412}}))


def test_listing_goes_through_all_pages() -> None:
    """Names come in order, each with its generation."""
    pages: list[Any] = [
        {"items": [{"name": "f/b", "generation": "2"}], "nextPageToken": "p/2"},
        {"items": [{"name": "f/a", "generation": "1"}]},
    ]
    found, requests = play(STORAGE.find("gs://bucket/f/"), *pages)
    assert found == ["gs://bucket/f/a#1", "gs://bucket/f/b#2"]
    assert requests[0].path.startswith(f"{ROOT}/storage/v1/b/bucket/o?prefix=f%2F&")
    assert requests[1].path.endswith("&pageToken=p%2F2")
    assert play(STORAGE.find("gs://bucket/f/"), {})[0] == []
    assert play(STORAGE.find("gs://bucket/f/"), Response(404, {}, json={}))[0] == []
    with pytest.raises(AccountStopped, match="cannot be listed"):
        play(STORAGE.find("gs://bucket/f/"), Response(403, {}, text="no"))


def test_an_object_is_read_and_deleted_by_its_generation() -> None:
    """A download that goes on gets the same bytes, whatever was written over them."""
    request = STORAGE.download("gs://bucket/f/a b.jsonl#17")
    assert request.path == f"{ROOT}/storage/v1/b/bucket/o/f%2Fa%20b.jsonl?alt=media&generation=17"
    assert request.repeatable
    assert STORAGE.download("gs://bucket/f/a").path == f"{ROOT}/storage/v1/b/bucket/o/f%2Fa?alt=media"
    for status in (204, 404):
        _, [request] = play(STORAGE.delete("gs://bucket/f/a#1"), Response(status, {}))
        assert (request.method, request.path) == ("DELETE", f"{ROOT}/storage/v1/b/bucket/o/f%2Fa?generation=1")
    with pytest.raises(AccountStopped, match="was not deleted"):
        play(STORAGE.delete("gs://bucket/f/a#1"), Response(403, {}))
    with pytest.raises(ServerFault, match="is no place"):
        STORAGE.download("s3://bucket/f")
