"""Gemini's batches on the wire: recorded shapes are read, requests are those that the vendor's own client sends."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from nanobatch.batches.uploads import MOST_BREAKS, PIECE_BYTES
from nanobatch.batches.wire import BatchState, Phase, Row
from nanobatch.batches.wire_gemini import GeminiBatches
from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    ExchangeError,
    NanobatchError,
    QuotaSpent,
    RateLimited,
    Refused,
    Rejected,
    ServerFault,
)
from nanobatch.model import Answer, Order, Reference, Request, Response

ROOT = "https://generativelanguage.googleapis.com"
WIRE = GeminiBatches(f"{ROOT}/v1beta")
ORDER = Order("a red fox", "gemini-3-pro-image", size="1K")
# As recorded on 2026-08-19: counts are strings, the state has the prefix BATCH_STATE_.
PENDING = {
    "name": "batches/31u1",
    "metadata": {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": "models/gemini-2.5-flash", "displayName": "t1",
        "batchStats": {"requestCount": "2", "pendingRequestCount": "2"},
        "state": "BATCH_STATE_PENDING", "name": "batches/31u1",
    },
}  # fmt: skip


def done(state: str = "BATCH_STATE_SUCCEEDED", **more: Any) -> dict[str, Any]:
    stats = {"requestCount": "2", "successfulRequestCount": "1", "failedRequestCount": "1"}
    return {"name": "batches/31u1", "metadata": {"displayName": "t1", "state": state, "batchStats": stats}, **more}


def play(talk: Generator[Request, Response, Any], *steps: Any) -> tuple[Any, list[Request]]:
    """Drive a conversation with answers; an error is thrown in."""
    requests = [next(talk)]
    for step in steps:
        try:
            answer = step if isinstance(step, Response | NanobatchError) else Response(200, {}, json=step)
            requests.append(talk.throw(answer) if isinstance(answer, NanobatchError) else talk.send(answer))
        except StopIteration as stop:
            return stop.value, requests
    return None, requests


def error(code: int, status: str, message: str = "no") -> Response:
    return Response(code, {}, json={"error": {"code": code, "status": status, "message": message}})


def active(size: int) -> Response:
    return Response(200, {"x-goog-upload-status": "active", "x-goog-upload-size-received": str(size)}, json={})


BEGUN = Response(200, {"x-goog-upload-url": "http://elsewhere.example/upload/v1beta/files?upload_id=u"}, json={})
FINAL = Response(200, {"x-goog-upload-status": "final"}, json={"file": {"name": "files/abc"}})


def read(at: int, length: int) -> bytes:
    return bytes(min(length, max(0, 20 * 2**20 - at)))


def test_a_line_is_what_is_sent_for_one_image() -> None:
    """Key and body; a reference stays bytes, which the writer makes base64."""
    order = Order("a fox", "m", references=(Reference(b"x", "image/png", "0" * 64),))
    line = WIRE.line("j1", order)
    assert line["key"] == "j1"
    assert line["request"]["contents"][0]["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": b"x"}}
    assert WIRE.group(with_references=True) == WIRE.group(with_references=False)


def test_an_upload_goes_up_in_pieces() -> None:
    """A start, two pieces of 8 MB, and the rest with `finalize`; the key goes to the vendor's own host alone."""
    name, requests = play(WIRE.upload("t1", 20 * 2**20, read), BEGUN, active(1), active(2), FINAL)
    assert name == "files/abc"
    start, *pieces = requests
    assert start.path == f"{ROOT}/upload/v1beta/files"
    assert start.headers["x-goog-upload-header-content-length"] == str(20 * 2**20)
    assert {piece.path for piece in pieces} == {f"{ROOT}/upload/v1beta/files?upload_id=u"}
    assert [piece.headers["x-goog-upload-offset"] for piece in pieces] == ["0", str(PIECE_BYTES), str(2 * PIECE_BYTES)]
    assert [piece.headers["x-goog-upload-command"] for piece in pieces] == ["upload", "upload", "upload, finalize"]
    assert sum(len(piece.content or b"") for piece in pieces) == 20 * 2**20


@pytest.mark.parametrize("trouble", [Ambiguous("cut"), error(503, "UNAVAILABLE")])
def test_a_broken_upload_goes_on_where_the_server_says(trouble: Any) -> None:
    """After a break it is asked how much has come, and that is where the next piece begins."""
    name, requests = play(
        WIRE.upload("t", 20 * 2**20, read), BEGUN, trouble, active(2**20), active(0), active(0), FINAL
    )
    assert name == "files/abc"
    assert requests[2].headers == {"x-goog-upload-command": "query"}
    assert requests[3].headers["x-goog-upload-offset"] == str(2**20)


def test_an_upload_that_is_forgotten_begins_anew() -> None:
    """A session that the server does not know any more is no reason to give up."""
    forgotten = Response(404, {}, json={})
    name, requests = play(WIRE.upload("t", 5, lambda *_: b"12345"), BEGUN, Ambiguous("cut"), forgotten, BEGUN, FINAL)
    assert name == "files/abc"
    assert [request.headers["x-goog-upload-command"] for request in requests] == [
        "start", "upload, finalize", "query", "start", "upload, finalize",
    ]  # fmt: skip


def test_an_upload_is_given_up_in_the_end() -> None:
    """Without progress after some breaks; and at once when the vendor says no."""
    steps = [BEGUN, *[Ambiguous("cut"), active(0)] * MOST_BREAKS, Ambiguous("cut")]
    with pytest.raises(ServerFault, match="could not be uploaded"):
        play(WIRE.upload("t", 5, lambda *_: b"12345"), *steps)
    with pytest.raises(Rejected):
        play(WIRE.upload("t", 5, lambda *_: b"12345"), BEGUN, error(400, "INVALID_ARGUMENT"))
    with pytest.raises(AccountStopped):
        play(WIRE.upload("t", 5, lambda *_: b"12345"), error(401, "UNAUTHENTICATED"))
    with pytest.raises(ServerFault, match="does not name it"):
        play(WIRE.upload("t", 5, lambda *_: b"12345"), BEGUN, {"file": {}})


def test_creating() -> None:
    """Display name and file go in, an operation comes out; the request is not repeatable."""
    state, [request] = play(WIRE.create("t1", "files/abc", model="gemini-3-pro-image", group=""), PENDING)
    assert request.path == "/models/gemini-3-pro-image:batchGenerateContent"
    assert request.json == {"batch": {"displayName": "t1", "inputConfig": {"fileName": "files/abc"}}}
    assert not request.repeatable
    assert state == BatchState("batches/31u1", "t1", Phase.WAITING, rows=2)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(429, "RESOURCE_EXHAUSTED", "Enqueued tokens exceeded"), RateLimited),
        (error(429, "RESOURCE_EXHAUSTED", "GenerateRequestsPerDayPerProject"), QuotaSpent),
        (error(503, "UNAVAILABLE"), ExchangeError),
        (error(400, "INVALID_ARGUMENT"), Rejected),
        (Response(200, {}, json={"ok": 1}), ServerFault),
    ],
)
def test_creating_in_vain(answer: Response, kind: type[ExchangeError]) -> None:
    """Each no is the leaf that says what it means."""
    with pytest.raises(kind):
        play(WIRE.create("t1", "files/abc", model="m", group=""), answer)


@pytest.mark.parametrize("prefix", ["BATCH_STATE_", "JOB_STATE_", ""])
@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("PENDING", Phase.WAITING), ("QUEUED", Phase.WAITING), ("RUNNING", Phase.RUNNING), ("PAUSED", Phase.RUNNING),
        ("SUCCEEDED", Phase.SUCCEEDED), ("PARTIALLY_SUCCEEDED", Phase.SUCCEEDED), ("FAILED", Phase.FAILED),
        ("CANCELLED", Phase.CANCELLED), ("EXPIRED", Phase.EXPIRED), ("SOMETHING_NEW", Phase.RUNNING),
    ],
)  # fmt: skip
def test_states_with_any_prefix(prefix: str, state: str, phase: Phase) -> None:
    """What nobody knows is not over."""
    found, _ = play(WIRE.poll("batches/31u1"), done(prefix + state))
    assert found.phase is phase


@pytest.mark.parametrize(
    "where",
    [
        {"response": {"responsesFile": "files/r"}},
        {"metadata": {"displayName": "t1", "state": "BATCH_STATE_SUCCEEDED", "output": {"responsesFile": "files/r"}}},
        {"metadata": {"displayName": "t1", "state": "JOB_STATE_SUCCEEDED", "dest": {"fileName": "files/r"}}},
    ],
)
def test_the_file_of_results_is_found_wherever_it_stands(where: dict[str, Any]) -> None:
    """Under the response, under the metadata's output, in either spelling."""
    state, _ = play(WIRE.poll("batches/31u1"), done(**where))
    assert state.files == ("files/r",)


def test_counts_are_strings() -> None:
    """And add up to what is done."""
    state, [request] = play(WIRE.poll("batches/31u1"), done())
    assert (state.rows, state.done, state.failed) == (2, 2, 1)
    assert request.path == "/batches/31u1"


def test_an_operation_that_ended_in_an_error_has_failed() -> None:
    """Its sentence is kept."""
    body = {"name": "batches/b", "done": True, "error": {"code": 3, "message": "bad file"}, "metadata": {}}
    state, _ = play(WIRE.poll("batches/b"), body)
    assert (state.phase, state.message) == (Phase.FAILED, "bad file")
    assert play(WIRE.poll("batches/b"), {"name": "batches/b", "done": True})[0].phase is Phase.SUCCEEDED


def test_finding_goes_through_all_pages() -> None:
    """Only batches of the titles asked for come back."""
    first = {"operations": [PENDING, {**PENDING, "metadata": {"displayName": "other"}}], "nextPageToken": "p/2"}
    found, requests = play(WIRE.find({"t1"}), first, {"batches": [{"name": "batches/x", "displayName": "t1"}]})
    assert [state.name for state in found] == ["batches/31u1", "batches/x"]
    assert requests[1].path.endswith("&pageToken=p%2F2")
    with pytest.raises(AccountStopped):
        play(WIRE.find({"t1"}), error(401, "UNAUTHENTICATED"))
    assert play(WIRE.find({"t1"}), {})[0] == []


@pytest.mark.parametrize("status", [200, 400, 404])
def test_cancelling_what_is_over_is_no_error(status: int) -> None:
    """Nor is deleting what is gone."""
    assert play(WIRE.cancel("batches/b"), Response(status, {}, json={}))[1][0].path == "/batches/b:cancel"
    if status != 400:
        assert play(WIRE.delete("files/f"), Response(status, {}, json={}))[1][0].method == "DELETE"


def test_failures_to_cancel_or_delete_are_told() -> None:
    """A 500 means that nothing was done."""
    with pytest.raises(ServerFault):
        play(WIRE.cancel("batches/b"), error(500, "INTERNAL"))
    with pytest.raises(ServerFault):
        play(WIRE.delete("files/f"), error(500, "INTERNAL"))


def test_results_are_looked_for_at_both_addresses() -> None:
    """That of the vendor's client and that of its documentation, below places that may get the key."""
    first, second = WIRE.downloads("files/batch-31u1")
    assert first.path == "/files/batch-31u1:download?alt=media"
    assert second.path == f"{ROOT}/download/v1beta/files/batch-31u1:download?alt=media"
    assert second.path.startswith(WIRE.homes()[1])


def answer_of(row: Row) -> Answer:
    talk = WIRE.answered(ORDER, row.response)
    try:
        next(talk)
    except StopIteration as stop:
        found: Answer = stop.value
        return found
    raise AssertionError("a row with its image asks for nothing")


def test_a_row_with_an_image() -> None:
    """Read by the same code as an answer of generateContent."""
    part = {"inlineData": {"data": "aGVsbG8=", "mimeType": "image/png"}}
    row = WIRE.row({"key": "k", "response": {"candidates": [{"content": {"parts": [part]}}]}})
    assert row.key == "k"
    assert answer_of(row).picture.data == "aGVsbG8="


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ({"key": "k", "response": {"candidates": [{"finishReason": "IMAGE_SAFETY"}]}}, Refused),
        ({"key": "k", "error": {"code": 3, "message": "bad"}}, Rejected),
        ({"key": "k", "error": {"code": 400, "message": "bad"}}, Rejected),
        ({"key": "k", "status": {"code": 13, "message": "internal"}}, ServerFault),
        ({"key": "k", "error": {"message": "?"}}, ServerFault),
        ({"key": "k"}, ServerFault),
    ],
)
def test_rows_without_an_image(line: dict[str, Any], kind: type[ExchangeError]) -> None:
    """The number of a gRPC status means what its HTTP status means."""
    with pytest.raises(kind):
        answer_of(WIRE.row(line))


@pytest.mark.parametrize(("line", "key"), [({}, None), ({"metadata": {"key": "m"}}, "m"), ([], None), ("x", None)])
def test_keys(line: Any, key: str | None) -> None:
    """A line without a key names nobody."""
    assert WIRE.row(line).key == key
