"""Vertex AI's batches as a dialect: orders are read as strictly as the vendor does, lines repeat their request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nanobatch.sandbox.batches.records import Batch, State, StoredFile
from nanobatch.sandbox.dialects import vertex_batches
from nanobatch.sandbox.dialects.base import Answer, Asked, Order
from nanobatch.sandbox.dialects.batch_base import BatchOrder, Page, RowError

TOKEN = {"Authorization": "Bearer ya29.token"}
PATH = {"project": "p", "location": "global"}
JOB: dict[str, Any] = {
    "displayName": "t1",
    "model": "publishers/google/models/gemini-3-pro-image",
    "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://bucket/f/rows.jsonl"]}},
    "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://bucket/f/results/"}},
}
REQUEST = {"contents": [{"role": "user", "parts": [{"text": "a fox"}]}], "labels": {"row": "1"}}


def read(job: Any, headers: dict[str, str] = TOKEN) -> BatchOrder | Answer:
    return vertex_batches.order(Asked(headers, path=PATH, body=json.dumps(job).encode(), time=1_700_000_000.0))


def ordered() -> BatchOrder:
    found = read(JOB)
    assert isinstance(found, BatchOrder)
    return found


def batch(state: State = State.WAITING, **more: Any) -> Batch:
    return Batch(
        name="batchPredictionJobs/7", vendor="vertex", title="t1", model="gemini-3-pro-image",
        source="gs://bucket/f/rows.jsonl", created=1_700_000_000.0, wait=0, run=0, expires=2e9, state=state, rows=4,
        metadata=ordered().metadata, **more,
    )  # fmt: skip


def test_an_order() -> None:
    """Its rows are an object, and its results go below a prefix."""
    found = ordered()
    assert (found.title, found.source, found.model) == ("t1", "gs://bucket/f/rows.jsonl", "gemini-3-pro-image")
    assert found.metadata["parent"] == "projects/p/locations/global"
    named = [form.format("7", metadata=found.metadata) for form in vertex_batches.RESULT_NAMES]
    assert [name.startswith("gs://bucket/f/results/prediction-model-2023-11-14T") for name in named] == [True, True]
    assert [name.rpartition("/")[2] for name in named] == ["predictions_0.jsonl", "predictions_1.jsonl"]


@pytest.mark.parametrize(
    "change",
    [
        {"displayName": ""}, {"displayName": "x" * 129}, {"model": "gemini-3-pro-image"}, {"surprise": 1},
        {"inputConfig": None}, {"inputConfig": {"instancesFormat": "bigquery"}},
        {"inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": []}}},
        {"inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["file:///x"]}}},
        {"outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {}}},
    ],
)  # fmt: skip
def test_an_order_that_is_wrong(change: dict[str, Any]) -> None:
    """Is a 400 that says why."""
    found = read(JOB | change)
    assert isinstance(found, Answer)
    assert found.status == 400
    assert found.body["error"]["message"]


def test_only_a_token_opens_the_door() -> None:
    """Before anything is read."""
    found = read("nonsense", {"Authorization": "Bearer invalid"})
    assert isinstance(found, Answer)
    assert found.status == 401
    broken = vertex_batches.order(Asked(TOKEN, path=PATH, body=b"{"))
    assert isinstance(broken, Answer)
    assert broken.status == 400


def test_a_row_is_a_request_and_its_key_is_all_of_it() -> None:
    """Labels are allowed here, as they are for one image."""
    row = vertex_batches.row({"request": REQUEST}, batch())
    assert row.key == REQUEST
    order = row.dialect.read(row.asked)
    assert isinstance(order, Order)
    assert (order.drawing.prompt, vertex_batches.tokens_of(order) > 1000) == ("a fox", True)
    with pytest.raises(RowError):
        vertex_batches.row({"request": 3}, batch())
    with pytest.raises(RowError):
        vertex_batches.row([], batch())


@pytest.mark.parametrize("labels", [{"Row": "1"}, {"row": "A"}, {"row": "x" * 64}, {"row": 1}, ["row"]])
def test_labels_that_google_cloud_does_not_take(labels: Any) -> None:
    """Capital letters, long values, numbers."""
    row = vertex_batches.row({"request": {**REQUEST, "labels": labels}}, batch())
    found = row.dialect.read(row.asked)
    assert isinstance(found, Answer)
    assert found.status == 400


def test_a_line_repeats_its_request() -> None:
    """An answer has no words in its status; a failure has nothing else."""
    good = vertex_batches.line(REQUEST, Answer(200, {"candidates": []}), 1)
    assert not good.is_bad
    assert good.content["request"] == REQUEST
    assert (good.content["status"], good.content["response"]) == ("", {"candidates": []})
    bad = vertex_batches.line(REQUEST, Answer(400, {"error": {"code": 400}}), 1)
    assert bad.is_bad
    assert (bad.content["status"], bad.content["response"]) == ('Bad Request: {"error":{"code":400}}', {})
    assert vertex_batches.line(REQUEST, Answer(200, {"error": {"code": 500}}), 1).is_bad
    stray = vertex_batches.line("nobody", Answer(200, {}), 1)
    assert stray.content["request"]["contents"][0]["parts"] == [{"text": "nobody"}]
    assert [vertex_batches.shelf(is_bad=True, number=number) for number in range(3)] == [0, 1, 0]


@pytest.mark.parametrize("state", list(State))
def test_a_job_is_described_in_every_state(state: State) -> None:
    """With counts as strings, and where its results are."""
    outputs = ("gs://bucket/f/results/p/predictions_0.jsonl", "")
    found = vertex_batches.described(batch(state, done=3, good=2, bad=1, ended=1.8e9, outputs=outputs), None).body
    assert found["name"] == "projects/p/locations/global/batchPredictionJobs/7"
    assert found["state"].startswith("JOB_STATE_")
    assert ("endTime" in found) == (not state.is_open)
    assert ("error" in found) == (state is State.FAILED)
    if not state.is_open:
        assert found["completionStats"] == {"successfulCount": "2", "failedCount": "1", "incompleteCount": "1"}
        assert found["outputInfo"] == {"gcsOutputDirectory": "gs://bucket/f/results/p"}


def asked(**query: str) -> Asked:
    return Asked(TOKEN, query, PATH)


def test_a_list_has_a_filter() -> None:
    """By display name; jobs of another project are not in it."""
    page = Page([batch()], "7")
    assert len(vertex_batches.listed(page, asked()).body["batchPredictionJobs"]) == 1
    listed = vertex_batches.listed(page, asked(filter='display_name="t0" OR display_name="t1"')).body
    assert [job["displayName"] for job in listed["batchPredictionJobs"]] == ["t1"]
    assert listed["nextPageToken"] == "7"
    assert vertex_batches.listed(page, asked(filter='display_name="t2"')).body["batchPredictionJobs"] == []
    assert vertex_batches.listed(page, asked(filter="nonsense")).status == 400
    elsewhere = Asked(TOKEN, {}, {"project": "q", "location": "global"})
    assert vertex_batches.listed(page, elsewhere).body["batchPredictionJobs"] == []
    assert vertex_batches.page(asked(pageSize="3", pageToken="x")) == ("x", 3)
    assert isinstance(vertex_batches.page(asked(pageSize="1000")), Answer)


def test_the_other_words() -> None:
    """Each has the status that clients look at."""
    assert vertex_batches.cancelled(batch()).status == 200
    assert vertex_batches.cancelled(batch(State.SUCCEEDED)).status == 400
    assert vertex_batches.deleted("batchPredictionJobs/7").body["done"]
    assert vertex_batches.no_batch("x").status == 404
    assert vertex_batches.no_file("x").status == 400
    assert vertex_batches.no_object("x").status == 404
    refused = vertex_batches.too_many(ordered(), "batches", 1)
    assert isinstance(refused, Answer)
    assert refused.status == 429
    assert [vertex_batches.stumbled(fault, 1.0).status for fault in ("order429", "order503", "poll500")] == [
        429,
        503,
        500,
    ]
    file = StoredFile(
        name="gs://bucket/f/x", vendor="vertex", title="", mime="application/jsonl", size=3, sha256="", created=1.5,
        expires=None,
    )  # fmt: skip
    assert vertex_batches.no_download(file) is None
    assert vertex_batches.file(file, "http://s").body["generation"] == "1500000"
    assert vertex_batches.files([], "http://s").body == {"kind": "storage#objects"}
