"""Vertex AI's batches on the wire: jobs, folders of results, rows that are known by a label of their request."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from nanobatch.batches.wire import BatchState, Phase
from nanobatch.batches.wire_vertex import LABEL, VertexBatches
from nanobatch.errors import (
    AccountStopped,
    ExchangeError,
    RateLimited,
    Refused,
    Rejected,
    ServerFault,
)
from nanobatch.model import Answer, Order, Reference, Response
from tests.unit.batches.test_wire_gemini import error, play

STORAGE = "https://storage.googleapis.com"
WIRE = VertexBatches("gs://bucket/folder", STORAGE)
ROWS = "gs://bucket/folder/t1/rows.jsonl"
RESULTS = "gs://bucket/folder/t1/results"
NAME = "projects/123/locations/global/batchPredictionJobs/77"


def job(state: str = "JOB_STATE_PENDING", **more: Any) -> dict[str, Any]:
    destination = {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": RESULTS}}
    return {"name": NAME, "displayName": "t1", "state": state, "outputConfig": destination, **more}


def objects(*names: str) -> dict[str, Any]:
    return {"items": [{"name": f"folder/t1/results/{name}", "generation": "1"} for name in names]}


def test_a_line_is_what_is_sent_for_one_image() -> None:
    """The key is a label, beside the user's own."""
    order = Order("a fox", "m", references=(Reference(b"x", "image/png", "0" * 64),), options={"labels": {"team": "a"}})
    line = WIRE.line("a1", order)
    assert list(line) == ["request"]
    assert line["request"]["labels"] == {"team": "a", LABEL: "a1"}
    assert line["request"]["contents"][0]["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": b"x"}}
    assert WIRE.line("a2", Order("a fox", "m"))["request"]["labels"] == {LABEL: "a2"}
    assert WIRE.group(with_references=True) == WIRE.group(with_references=False)


def test_rows_go_into_a_folder_of_the_batchs_own() -> None:
    """Which is below the bucket that the user named, at an address that may get the key."""
    steps = [Response(200, {"location": f"{STORAGE}/upload/storage/v1/b/bucket/o?upload_id=u"}), Response(200, {})]
    name, requests = play(WIRE.upload("t1", 5, lambda *_: b"12345"), *steps)
    assert name == ROWS
    assert all(request.path.startswith(WIRE.homes()) for request in requests)


def test_creating() -> None:
    """Results are to go beside the rows; the request is not repeatable; the name is the end of the vendor's."""
    state, [request] = play(WIRE.create("t1", ROWS, model="gemini-3-pro-image", group=""), job())
    assert (request.method, request.path) == ("POST", "/batchPredictionJobs")
    assert request.json == {
        "displayName": "t1",
        "model": "publishers/google/models/gemini-3-pro-image",
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [ROWS]}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": RESULTS}},
    }
    assert not request.repeatable
    assert state == BatchState("batchPredictionJobs/77", "t1", Phase.WAITING)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."), RateLimited),
        (error(403, "PERMISSION_DENIED"), AccountStopped),
        (error(400, "INVALID_ARGUMENT"), Rejected),
        (Response(200, {}, json={"ok": 1}), ServerFault),
    ],
)
def test_creating_in_vain(answer: Response, kind: type[ExchangeError]) -> None:
    """Each no is the leaf that says what it means."""
    with pytest.raises(kind):
        play(WIRE.create("t1", ROWS, model="m", group=""), answer)


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("QUEUED", Phase.WAITING), ("PENDING", Phase.WAITING), ("RUNNING", Phase.RUNNING), ("PAUSED", Phase.RUNNING),
        ("CANCELLING", Phase.RUNNING), ("UPDATING", Phase.RUNNING), ("SOMETHING_NEW", Phase.RUNNING),
        ("SUCCEEDED", Phase.SUCCEEDED), ("PARTIALLY_SUCCEEDED", Phase.SUCCEEDED), ("FAILED", Phase.FAILED),
        ("CANCELLED", Phase.CANCELLED), ("EXPIRED", Phase.EXPIRED),
    ],
)  # fmt: skip
def test_states(state: str, phase: Phase) -> None:
    """What is over is asked for its results, what is not is not."""
    found, requests = play(
        WIRE.poll("batchPredictionJobs/77"),
        job(f"JOB_STATE_{state}"),
        *[objects("x/predictions.jsonl")] * phase.is_over,
    )
    assert found.phase is phase
    assert requests[0].path == "/batchPredictionJobs/77"
    assert len(requests) == 1 + phase.is_over


def test_results_are_whatever_shards_the_folder_holds() -> None:
    """Neither the name of the folder nor the number of files is known before; other files are no results."""
    folder = "prediction-model-2026-11-28T10:00:00.000Z"
    names = (
        "predictions_2.jsonl",
        "prediction-1.jsonl",
        "prediction.results-00000-of-00002",
        "incremental_predictions.jsonl",
    )
    listed = objects(*(f"{folder}/{name}" for name in (*names, "prediction.errors_stats-00000-of-00001", "x.txt")))
    stats = {"successfulCount": "3", "failedCount": "1", "incompleteCount": "-1"}
    state, requests = play(WIRE.poll("b/77"), job("JOB_STATE_SUCCEEDED", completionStats=stats), listed)
    assert state.files == tuple(f"{RESULTS}/{folder}/{name}#1" for name in sorted(names[:3]))
    assert (state.rows, state.done, state.failed) == (4, 4, 1)
    assert unquote(requests[1].path).startswith(f"{STORAGE}/storage/v1/b/bucket/o?prefix=folder/t1/results/&")


def test_results_of_a_job_that_was_cancelled() -> None:
    """What was written while it ran is better than nothing."""
    listed = objects("p/incremental_predictions.jsonl")
    assert play(WIRE.poll("b/7"), job("JOB_STATE_CANCELLED"), listed)[0].files[0].endswith("predictions.jsonl#1")
    assert play(WIRE.poll("b/7"), job("JOB_STATE_CANCELLED"), {})[0].files == ()
    state, _ = play(WIRE.poll("b/7"), job("JOB_STATE_FAILED", error={"code": 13, "message": "no luck"}), {})
    assert (state.files, state.message) == ((), "no luck")


@pytest.mark.parametrize("listed", [{}, Response(404, {}, json={"error": {"code": 404, "message": "no bucket"}})])
def test_results_that_are_gone_are_asked_for_all_the_same(listed: Any) -> None:
    """So that their rows end as paid and not delivered, and not as rows that another batch may buy again."""
    state, _ = play(WIRE.poll("b/7"), job("JOB_STATE_SUCCEEDED"), listed)
    assert state.files == (f"{RESULTS}/predictions.jsonl",)
    assert WIRE.downloads(state.files[0])[0].path.endswith("results%2Fpredictions.jsonl?alt=media")
    assert 403 not in WIRE.gone


def test_finding() -> None:
    """By the display name, through all pages, with the results of those that are over."""
    first = {"batchPredictionJobs": [job("JOB_STATE_SUCCEEDED"), job(displayName="t11")], "nextPageToken": "p/2"}
    second = {"batchPredictionJobs": [job(name=f"{NAME}8")]}
    found, requests = play(WIRE.find({"t1"}), first, objects("predictions.jsonl"), second)
    assert [state.name for state in found] == ["batchPredictionJobs/77", "batchPredictionJobs/778"]
    assert found[0].files == (f"{RESULTS}/predictions.jsonl#1",)
    assert unquote(requests[0].path) == '/batchPredictionJobs?filter=display_name="t1"&pageSize=100'
    assert requests[2].path.endswith("&pageToken=p%2F2")
    assert play(WIRE.find({"t1"}), {})[0] == []
    with pytest.raises(AccountStopped):
        play(WIRE.find({"t1"}), error(401, "UNAUTHENTICATED"))


@pytest.mark.parametrize("status", [200, 400, 404])
def test_cancelling_what_is_over_is_no_error(status: int) -> None:
    """A 500 means that nothing was done."""
    assert play(WIRE.cancel("batchPredictionJobs/7"), Response(status, {}, json={}))[1][0].path.endswith("/7:cancel")
    with pytest.raises(ServerFault):
        play(WIRE.cancel("b/7"), error(500, "INTERNAL"))


def test_the_whole_folder_is_litter() -> None:
    """Rows and results cost as long as they lie there."""
    [folder] = WIRE.litter(ROWS, [f"{RESULTS}/predictions.jsonl#1"])
    assert folder == "gs://bucket/folder/t1/"
    listed = {
        "items": [
            {"name": "folder/t1/rows.jsonl", "generation": "1"},
            {"name": "folder/t1/results/p", "generation": "2"},
        ]
    }
    _, requests = play(WIRE.delete(folder), listed, Response(204, {}), Response(204, {}))
    assert [request.method for request in requests] == ["GET", "DELETE", "DELETE"]
    assert play(WIRE.delete(ROWS), Response(404, {}))[1][0].method == "DELETE"


def line(**more: Any) -> dict[str, Any]:
    return {"request": {"contents": [], "labels": {LABEL: "k"}}, "status": "", "processed_time": "2026-11-28", **more}


def answer_of(content: Any) -> Answer:
    try:
        next(WIRE.answered(Order("a fox", "m"), WIRE.row(content).response))
    except StopIteration as stop:
        found: Answer = stop.value
        return found
    raise AssertionError("a row with its image asks for nothing")


def test_a_row_with_an_image() -> None:
    """Read by the same code as an answer of generateContent, with what it cost."""
    part = {"inlineData": {"data": "aGVsbG8=", "mimeType": "image/png"}}
    usage = {"promptTokenCount": 3, "trafficType": "ON_DEMAND"}
    content = line(response={"candidates": [{"content": {"parts": [part]}}], "usageMetadata": usage})
    assert WIRE.row(content).key == "k"
    answer = answer_of(content)
    assert answer.picture.data == "aGVsbG8="
    assert answer.usage is not None
    assert answer.usage.input_tokens == 3
    assert not answer.full_price


INVALID = '{"error": {"code": 400, "message": "Please use a valid role", "status": "INVALID_ARGUMENT"}}'


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (line(response={"candidates": [{"finishReason": "IMAGE_SAFETY"}]}), Refused),
        (line(response={"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}), Refused),
        (line(response={}, status=f"Bad Request: {INVALID}"), Rejected),
        (line(status="Bad Request"), Rejected),
        (line(status='Bad Request: {"error": {"code": 400, "mess'), Rejected),
        (line(status="Internal error occurred."), ServerFault),
        (line(status='{"code": 429, "message": "Resource has been exhausted"}'), RateLimited),
        (line(response={}), ServerFault),
        (line(), ServerFault),
    ],
)
def test_rows_without_an_image(content: Any, kind: type[ExchangeError]) -> None:
    """The words of a status say what an HTTP status says elsewhere."""
    with pytest.raises(kind):
        answer_of(content)


@pytest.mark.parametrize("content", [{}, [], "x", {"request": {"contents": []}}, {"key": "k"}, {"request": "k"}])
def test_a_row_without_the_label_is_nobodys(content: Any) -> None:
    """No other word of a line names a job."""
    assert WIRE.row(content).key is None
