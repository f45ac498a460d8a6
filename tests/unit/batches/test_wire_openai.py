"""OpenAI's batches on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from nanobatch.batches.wire import Phase
from nanobatch.batches.wire_openai import EDITS, GENERATIONS, OpenAIBatches
from nanobatch.errors import AccountStopped, ExchangeError, Refused, Rejected, ServerFault
from nanobatch.model import Answer, Order, Reference, Response
from tests.unit.batches.test_wire_gemini import play

WIRE = OpenAIBatches()
ORDER = Order("a red fox", "gpt-image-2", pixels=(1024, 1024), options={"quality": "high", "response_format": "url"})


def batch(status: str, **more: Any) -> dict[str, Any]:
    return {"id": "batch_1", "object": "batch", "status": status, "metadata": {"nanobatch": "t1"}, **more}


def failure(status: int, code: str = "") -> Response:
    return Response(status, {}, json={"error": {"message": "no", "code": code, "type": "x", "param": None}})


def test_a_line_is_a_whole_request() -> None:
    """The body is that of images/generations, without what gpt-image refuses."""
    line = WIRE.line("j1", ORDER)
    assert line["custom_id"] == "j1"
    assert (line["method"], line["url"]) == ("POST", GENERATIONS)
    assert line["body"] == {
        "model": "gpt-image-2", "prompt": "a red fox", "n": 1, "size": "1024x1024", "quality": "high",
    }  # fmt: skip


def test_an_edit_carries_its_images_in_the_row() -> None:
    """As data URIs, and the batch is for another address."""
    line = WIRE.line("j1", Order("x", "gpt-image-2", references=(Reference(b"png", "image/png", "0" * 64),)))
    assert line["url"] == EDITS == WIRE.group(with_references=True)
    assert line["body"]["images"] == [{"image_url": "data:image/png;base64,cG5n"}]


def test_an_upload_is_one_form() -> None:
    """Purpose and file; the answer names it."""
    name, [request] = play(WIRE.upload("t1", 3, lambda at, length: b"abcdef"[at : at + length]), {"id": "file-1"})
    assert name == "file-1"
    assert request.form is not None
    assert request.form.fields == (("purpose", "batch"),)
    assert request.form.files[0].data == b"abc"
    with pytest.raises(ServerFault):
        play(WIRE.upload("t1", 3, lambda *_: b"abc"), {"object": "file"})
    with pytest.raises(AccountStopped):
        play(WIRE.upload("t1", 3, lambda *_: b"abc"), failure(401, "invalid_api_key"))


def test_creating_says_who_we_are() -> None:
    """The title goes into the metadata, where it is searched for after a lost reply."""
    state, [request] = play(WIRE.create("t1", "file-1", model="gpt-image-2", group=GENERATIONS), batch("validating"))
    assert request.json == {
        "input_file_id": "file-1", "endpoint": GENERATIONS, "completion_window": "24h", "metadata": {"nanobatch": "t1"},
    }  # fmt: skip
    assert not request.repeatable
    assert (state.name, state.title, state.phase) == ("batch_1", "t1", Phase.WAITING)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("validating", Phase.WAITING), ("in_progress", Phase.RUNNING), ("finalizing", Phase.RUNNING),
        ("completed", Phase.SUCCEEDED), ("failed", Phase.FAILED), ("expired", Phase.EXPIRED),
        ("cancelling", Phase.RUNNING), ("cancelled", Phase.CANCELLED), ("novel", Phase.RUNNING),
    ],
)  # fmt: skip
def test_states(status: str, phase: Phase) -> None:
    """Every documented state, and one of tomorrow."""
    assert play(WIRE.poll("batch_1"), batch(status))[0].phase is phase


def test_results_and_errors_are_two_files() -> None:
    """Both are read; counts and the reasons of a failure are told."""
    counts = {"total": 5, "completed": 3, "failed": 1}
    state, [request] = play(
        WIRE.poll("batch_1"), batch("completed", output_file_id="o", error_file_id="e", request_counts=counts)
    )
    assert (state.files, state.rows, state.done, state.failed) == (("o", "e"), 5, 4, 1)
    assert request.path == "/batches/batch_1"
    errors = {"data": [{"message": "line 1 is no JSON"}]}
    assert play(WIRE.poll("batch_1"), batch("failed", errors=errors))[0].message == "line 1 is no JSON"
    with pytest.raises(ExchangeError):
        play(WIRE.poll("batch_1"), failure(404))
    with pytest.raises(ServerFault):
        play(WIRE.poll("batch_1"), {"object": "batch"})


def test_finding_goes_through_all_pages() -> None:
    """By the last batch of a page, until there are no more."""
    pages = [
        {"data": [batch("validating"), {**batch("failed"), "id": "b2", "metadata": None}], "has_more": True},
        {"data": [], "has_more": True},
    ]
    found, requests = play(WIRE.find({"t1"}), *pages)
    assert [state.name for state in found] == ["batch_1"]
    assert requests[1].path == "/batches?limit=100&after=b2"
    with pytest.raises(AccountStopped):
        play(WIRE.find({"t1"}), failure(401, "invalid_api_key"))


def test_cancelling_deleting_downloading() -> None:
    """What is over or gone is no error; a 500 is."""
    assert play(WIRE.cancel("batch_1"), failure(400))[1][0].path == "/batches/batch_1/cancel"
    assert play(WIRE.delete("file-1"), failure(404))[1][0].method == "DELETE"
    assert [request.path for request in WIRE.downloads("file-1")] == ["/files/file-1/content"]
    assert WIRE.homes() == ()
    for talk in (WIRE.cancel("batch_1"), WIRE.delete("file-1")):
        with pytest.raises(ServerFault):
            play(talk, failure(500))


def read(line: dict[str, Any]) -> Answer:
    row = WIRE.row(line)
    assert row.key == "j1"
    talk = WIRE.answered(ORDER, row.response)
    with pytest.raises(StopIteration) as stop:
        next(talk)
    found: Answer = stop.value.value
    return found


def test_rows() -> None:
    """An image, a refusal, a bad request, an expiry, and a line without anything."""
    body = {"data": [{"b64_json": "aGVsbG8="}], "usage": {"output_tokens": 10}}
    line = {"id": "r", "custom_id": "j1", "response": {"status_code": 200, "body": body}, "error": None}
    assert read(line).picture.data == "aGVsbG8="
    blocked = {"error": {"code": "moderation_blocked", "message": "no"}}
    cases: list[tuple[dict[str, Any], type[ExchangeError]]] = [
        ({"response": {"status_code": 400, "body": blocked}}, Refused),
        ({"response": {"status_code": 400, "body": {"error": {"message": "bad size"}}}}, Rejected),
        ({"response": None, "error": {"code": "batch_expired", "message": "too late"}}, ServerFault),
        ({}, ServerFault),
    ]
    for content, kind in cases:
        row = WIRE.row({"custom_id": "j1", **content})
        with pytest.raises(kind):
            next(WIRE.answered(ORDER, row.response))
    assert WIRE.row({}).key is None
