"""Vertex AI's batches: jobs whose rows and results are objects in a bucket (`nanobatch.sandbox.batches.bucket`).

Format: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/batch-prediction-api. A line of
results has no key; it repeats the request that it answers. A failed row has words in its status and an empty response.
Results come as two files in a folder whose name nobody knows before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import msgspec

from nanobatch.sandbox.batches.records import Batch, State, StoredFile
from nanobatch.sandbox.dialects import vertex
from nanobatch.sandbox.dialects.base import Answer, Asked, MalformedError, Order, parsed
from nanobatch.sandbox.dialects.batch_base import BatchOrder, Line, Page, Row, RowError
from nanobatch.sandbox.dialects.gemini_batches import tokens_of as tokens_of_gemini
from nanobatch.sandbox.dialects.gemini_errors import error, invalid, malformed
from nanobatch.sandbox.dialects.gemini_request import InvalidError, known_fields

NAME = vertex.NAME
BATCHES, FILES = "batchPredictionJobs/", ""
BATCH_NAME, FILE_NAME = "batchPredictionJobs/{}", ""
_FOLDER = "{metadata[destination]}/prediction-model-{metadata[at]}"
RESULT_NAMES = (f"{_FOLDER}/predictions_0.jsonl", f"{_FOLDER}/predictions_1.jsonl")
LIFE_SECONDS = 72 * 3600.0  # a job may wait so long
FILE_SECONDS: float | None = None
MOST_ROWS: int | None = 200_000
MOST_BYTES = 10**9
_JOB = frozenset({
    "name", "displayName", "model", "inputConfig", "outputConfig", "labels", "modelParameters", "encryptionSpec",
})  # fmt: skip
_MODEL = re.compile(r"publishers/google/models/([^/]+)")
_PLACE = re.compile(r"gs://[a-z0-9][a-z0-9._-]+(?:/.*)?")
_FILTER = re.compile(r'display_name\s*=\s*"([^"]*)"')
_MOST_TITLE = 128  # characters
_PAGE, _LONGEST_PAGE = 50, 100
_STATES = {
    State.WAITING: "PENDING", State.RUNNING: "RUNNING", State.CANCELLING: "CANCELLING", State.SUCCEEDED: "SUCCEEDED",
    State.FAILED: "FAILED", State.CANCELLED: "CANCELLED", State.EXPIRED: "EXPIRED",
}  # fmt: skip

door = vertex.door


def order(asked: Asked) -> BatchOrder | Answer:
    """Read an order."""
    refused = door(asked)
    if refused is not None:
        return refused
    try:
        return _order(known_fields(parsed(asked.body), _JOB, ""), asked)
    except MalformedError as flaw:
        return malformed(str(flaw))
    except InvalidError as flaw:
        return invalid(flaw)


def _order(job: Mapping[str, Any], asked: Asked) -> BatchOrder:
    title, model = job.get("displayName"), _MODEL.fullmatch(str(job.get("model")))
    if not isinstance(title, str) or not 0 < len(title) <= _MOST_TITLE:
        raise InvalidError(f"display_name has between 1 and {_MOST_TITLE} characters.", "display_name")
    if model is None:
        raise InvalidError("model must be publishers/google/models/MODEL.", "model")
    source = known_fields(job.get("inputConfig"), frozenset({"instancesFormat", "gcsSource"}), "input_config")
    target = known_fields(job.get("outputConfig"), frozenset({"predictionsFormat", "gcsDestination"}), "output_config")
    if (source.get("instancesFormat"), target.get("predictionsFormat")) != ("jsonl", "jsonl"):
        raise InvalidError("instances_format and predictions_format are jsonl for Cloud Storage.", "input_config")
    uris = known_fields(source.get("gcsSource"), frozenset({"uris"}), "input_config.gcs_source").get("uris")
    where = "output_config.gcs_destination"
    target = known_fields(target.get("gcsDestination"), frozenset({"outputUriPrefix"}), where)
    places: list[Any] = [*(uris if isinstance(uris, list) else []), target.get("outputUriPrefix")]
    if len(places) != 2 or not all(isinstance(place, str) and _PLACE.fullmatch(place) for place in places):
        raise InvalidError("One gs:// URI is expected in input_config.gcs_source and in output_config.", where)
    parent = "projects/{project}/locations/{location}".format_map(asked.path)
    at = _time(asked.time).replace("+00:00", "Z")
    metadata = {"parent": parent, "destination": places[1].rstrip("/"), "at": at}
    return BatchOrder(title, source=places[0], model=model[1], metadata=metadata)


def row(line: Any, order: BatchOrder | Batch) -> Row:
    """Read a row: the body of a generateContent, which the result repeats."""
    if not isinstance(line, Mapping) or not isinstance(line.get("request"), Mapping):
        raise RowError("Each line of the input file must be a JSON object with a request.")
    parent = str(order.metadata["parent"] if order.metadata else "").split("/")
    path = {"model": order.model, "action": "generateContent", "project": parent[1], "location": parent[3]}
    created = order.created if isinstance(order, Batch) else 0.0
    body = msgspec.json.encode(line["request"])
    asked = Asked({"Authorization": "Bearer batch"}, path=path, body=body, time=created)
    return Row(line["request"], asked, vertex)


def tokens_of(order: Order) -> int:
    """Count as the Gemini API does."""
    return tokens_of_gemini(order)


def shelf(*, is_bad: bool, number: int) -> int:  # noqa: ARG001 - errors are among the results
    """Spread the rows over both files."""
    return number % 2


def line(key: Any, answer: Answer, number: int) -> Line:  # noqa: ARG001 - lines of this vendor have no number
    """Put an answer into a line: a response and an empty status, or words and an empty response."""
    repeated = key if isinstance(key, Mapping) else {"contents": [{"role": "user", "parts": [{"text": str(key)}]}]}
    found: dict[str, Any] = {"status": "", "processed_time": _time(datetime.now(UTC).timestamp()), "request": repeated}
    if answer.status == 200 and isinstance(answer.body, Mapping) and "error" not in answer.body:
        return Line(found | {"response": answer.body}, is_bad=False)
    status = answer.status if answer.status != 200 else 500
    words = msgspec.json.encode(answer.body).decode()
    return Line(found | {"status": f"{HTTPStatus(status).phrase}: {words}", "response": {}}, is_bad=True)


def described(batch: Batch, inlined: Sequence[Any] | None) -> Answer:  # noqa: ARG001 - there are no inline results
    """Describe a job."""
    return Answer(200, _job(batch))


def _job(batch: Batch) -> dict[str, Any]:
    metadata = batch.metadata or {}
    job: dict[str, Any] = {
        "name": f"{metadata['parent']}/{batch.name}",
        "displayName": batch.title,
        "model": f"publishers/google/models/{batch.model}",
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [batch.source]}},
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": metadata["destination"]},
        },
        "state": f"JOB_STATE_{_STATES[batch.state]}",
        "createTime": _time(batch.created),
        "updateTime": _time(batch.ended or batch.started or batch.created),
    }
    if batch.started is not None:
        job["startTime"] = _time(batch.started)
    if batch.state.is_open:
        return job
    job["endTime"] = _time(batch.ended or batch.created)
    if batch.done:
        counts = {"successfulCount": batch.good, "failedCount": batch.bad, "incompleteCount": batch.rows - batch.done}
        job["completionStats"] = {name: str(number) for name, number in counts.items() if number}
    if output := next(filter(None, batch.outputs), None):
        job["outputInfo"] = {"gcsOutputDirectory": output.rpartition("/")[0]}
    if batch.state is State.FAILED:
        job["error"] = {"code": 13, "message": batch.message}
    return job


def page(asked: Asked) -> tuple[str, int] | Answer:
    """Return where a page begins and how long it is."""
    length = asked.query.get("pageSize", str(_PAGE))
    if not length.isdecimal() or not 0 < int(length) <= _LONGEST_PAGE:
        return wrong(f"page_size is between 1 and {_LONGEST_PAGE}.")
    return asked.query.get("pageToken", ""), int(length)


def listed(page: Page, asked: Asked) -> Answer:
    """List jobs. A filter looks at the jobs of a page, so a page may be short, and another follow."""
    text = unquote(asked.query.get("filter", ""))
    titles = set(_FILTER.findall(text))
    if text and not titles:
        return wrong(f"Invalid filter: {text!r}")
    parent = "projects/{project}/locations/{location}".format_map(asked.path)
    here = [batch for batch in page.batches if (batch.metadata or {}).get("parent") == parent]
    found = [_job(batch) for batch in here if not text or batch.title in titles]
    return Answer(200, {"batchPredictionJobs": found, **({"nextPageToken": page.then} if page.then else {})})


def cancelled(batch: Batch) -> Answer:
    """Answer with nothing, as the vendor does; what has ended cannot be cancelled."""
    if batch.state.is_open:
        return Answer(200, {})
    return error(400, f"The job {batch.name} has ended and cannot be cancelled.")


def deleted(name: str) -> Answer:
    """Answer the deletion of a job with an operation that is done."""
    return Answer(200, {"name": f"operations/delete-{name.rpartition('/')[2]}", "done": True})


def file(file: StoredFile, url: str) -> Answer:
    """Describe an object."""
    return Answer(200, described_object(file, url))


def described_object(file: StoredFile, url: str) -> dict[str, Any]:
    """Return what Cloud Storage tells of an object."""
    bucket, _, name = file.name.removeprefix("gs://").partition("/")
    found = {
        "kind": "storage#object",
        "name": name,
        "bucket": bucket,
        "generation": generation(file),
        "size": str(file.size),
        "contentType": file.mime,
        "timeCreated": _time(file.created),
    }
    return found | {"selfLink": f"{url}/storage/v1/b/{bucket}/o/{name}"}


def generation(file: StoredFile) -> str:
    """Return the number that only this version of an object has."""
    return str(int(file.created * 1_000_000))


def files(files: Sequence[StoredFile], url: str) -> Answer:
    """List objects."""
    listed = {"items": [described_object(file, url) for file in files]} if files else {}
    return Answer(200, {"kind": "storage#objects", **listed})


def no_batch(name: str) -> Answer:
    """Answer for a job that is not known."""
    return error(404, f"The BatchPredictionJob {name} does not exist.")


def no_file(name: str) -> Answer:
    """Answer for rows that are not where the order says."""
    return error(400, f"The input file {name} does not exist or cannot be read.")


def no_object(name: str) -> Answer:
    """Answer for an object that is not there, as Cloud Storage does."""
    return error(404, f"No such object: {name}")


def no_download(file: StoredFile) -> Answer | None:  # noqa: ARG001 - a protocol's parameter
    """Refuse nothing: whoever may use the bucket may read it."""
    return None


def too_many(order: BatchOrder, kind: str, limit: int) -> Answer | tuple[str, str]:  # noqa: ARG001 - see below
    """Refuse an order beyond a limit at once; nothing tells which."""
    return vertex.exhausted()


def stumbled(fault: str, wish_seconds: float) -> Answer:  # noqa: ARG001 - no wish is told here
    """Answer a request that goes wrong by itself."""
    if "429" in fault:
        return vertex.exhausted()
    if "503" in fault:
        return error(503, "The service is currently unavailable.")
    return error(500, "An internal error has occurred. Please retry.")


def wrong(message: str) -> Answer:
    """Refuse a request that makes no sense."""
    return error(400, message)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
