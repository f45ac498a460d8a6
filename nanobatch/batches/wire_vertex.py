"""Vertex AI's batches: a BatchPredictionJob turns rows into results, both objects in the customer's own bucket.

Facts: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-from-cloud-storage, the
types of google-genai 3.6.1, https://github.com/googleapis/python-genai/issues/486 (the name of the folder of results
cannot be known before) and https://github.com/BerriAI/litellm/pull/25627 (what a line of results looks like). Results
come in any order and have no key, but each holds the request that it answers, so a row's key is a label of its request.
A failed row has words in its `status`, mostly with an error's JSON behind them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Generator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from nanobatch.batches.storage import Storage
from nanobatch.batches.wire import MEGABYTE, BatchState, Bounds, Phase, Read, Row, Talk
from nanobatch.errors import ExchangeError, ServerFault
from nanobatch.model import FREE, Answer, Order, Request, Response
from nanobatch.providers.gemini import answered
from nanobatch.providers.gemini_body import body_of_order
from nanobatch.providers.gemini_faults import fault
from nanobatch.providers.reading import OK, body_of, count, items, node, words
from nanobatch.providers.sentences import clean

LABEL = "nanobatch_job"  # labels have at most 63 lower-case letters, digits, _ and -; a job's id fits
ROWS, RESULTS = "rows.jsonl", "results"
PAGE = 100
_JOBS = "batchPredictionJobs"
_GONE = frozenset({404, 410})
_SHARD = re.compile(r"[^/]*prediction[^/]*(?:\.jsonl|results-[0-9]+-of-[0-9]+)(?:#[0-9]+)?")
_BEFORE_THE_END = "incremental"  # in the names of results that are written while a job runs
_CODE = re.compile(r'"code":\s*([1-5][0-9]{2})\b')
_PHASES = {
    "UNSPECIFIED": Phase.WAITING, "QUEUED": Phase.WAITING, "PENDING": Phase.WAITING, "RUNNING": Phase.RUNNING,
    "CANCELLING": Phase.RUNNING, "PAUSED": Phase.RUNNING, "UPDATING": Phase.RUNNING, "SUCCEEDED": Phase.SUCCEEDED,
    "PARTIALLY_SUCCEEDED": Phase.SUCCEEDED, "FAILED": Phase.FAILED, "CANCELLED": Phase.CANCELLED,
    "EXPIRED": Phase.EXPIRED,
}  # fmt: skip
_STATUSES = {status.phrase.lower(): status.value for status in HTTPStatus if status.value >= 400}


class VertexBatches:
    """Batches at Vertex AI.

    Args:
        bucket: Where rows and results are staged: gs://BUCKET/FOLDER.
        storage_url: Where Cloud Storage is.
    """

    bounds = Bounds(input_bytes=953 * MEGABYTE, rows=200_000)  # 1 GB
    echo: str | None = "request"
    gone = _GONE  # a 403 says that the bucket may not be read, and the results are still in it

    def __init__(self, bucket: str, storage_url: str) -> None:
        self._bucket = bucket
        self._storage = Storage(storage_url)

    def homes(self) -> tuple[str, ...]:
        """Return where Cloud Storage is."""
        return self._storage.homes()

    def group(self, *, with_references: bool) -> str:  # noqa: ARG002 - the model alone parts batches
        """Return nothing: all rows of a model fit together."""
        return ""

    def line(self, key: str, order: Order) -> Mapping[str, Any]:
        """Return a line: the very body that is sent when one image is asked for, with its key as a label."""
        body = body_of_order(order)
        return {"request": body | {"labels": {**(node(body, "labels") or {}), LABEL: key}}}

    def upload(self, title: str, size: int, read: Read) -> Talk[str]:
        """Upload the rows into a folder of the batch's own.

        Raises:
            ExchangeError: They were not taken.
        """
        return self._storage.upload(f"{self._bucket}/{title}/{ROWS}", size, read)

    def create(self, title: str, file: str, *, model: str, group: str) -> Talk[BatchState]:  # noqa: ARG002
        """Order a batch; its results go beside its rows.

        Raises:
            ExchangeError: It was not taken, or nobody knows.
        """
        body = {
            "displayName": title,
            "model": f"publishers/google/models/{model}",
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [file]}},
            "outputConfig": {
                "predictionsFormat": "jsonl",
                "gcsDestination": {"outputUriPrefix": f"{_folder(file)}{RESULTS}"},
            },
        }
        return (yield from self._state_of((yield Request("POST", f"/{_JOBS}", json=body, cost=FREE))))

    def find(self, titles: Collection[str]) -> Talk[list[BatchState]]:
        """Ask for the batches that have these names, page by page."""
        wanted = quote(" OR ".join(f'display_name="{title}"' for title in sorted(titles)), safe="")
        found: list[BatchState] = []
        token = ""
        while True:
            page = f"&pageToken={quote(token, safe='')}" if token else ""
            path = f"/{_JOBS}?filter={wanted}&pageSize={PAGE}{page}"
            response = yield Request("GET", path, cost=FREE, repeatable=True)
            if (error := fault(response)) is not None:
                raise error
            body = body_of(response)
            for job in items(node(body, _JOBS)):
                if words(node(job, "displayName")) not in titles:
                    continue
                state = yield from self._state(job)
                found.append(state)
            token = words(node(body, "nextPageToken"))
            if not token:
                return found

    def poll(self, name: str) -> Talk[BatchState]:
        """Ask for one batch, and for its results when it is over."""
        return (yield from self._state_of((yield Request("GET", f"/{name}", cost=FREE, repeatable=True))))

    def cancel(self, name: str) -> Talk[None]:
        """Cancel a batch. What was drawn by then is exported, and billed."""
        response = yield Request("POST", f"/{name}:cancel", json={}, cost=FREE, repeatable=True)
        if response.status not in OK and response.status not in (400, *_GONE):  # 400: it has ended
            raise fault(response) or ServerFault("the batch was not cancelled")

    def delete(self, file: str) -> Talk[None]:
        """Delete an object, or all that a folder holds."""
        found = (yield from self._storage.find(file)) if file.endswith("/") else [file]
        for uri in found:
            yield from self._storage.delete(uri)

    def downloads(self, file: str) -> tuple[Request, ...]:
        """Return the address of an object's bytes."""
        return (self._storage.download(file),)

    def litter(self, file: str, results: Collection[str]) -> tuple[str, ...]:  # noqa: ARG002 - they are in it
        """Return the folder of the batch: what lies in a bucket costs until somebody deletes it."""
        return (_folder(file),)

    def row(self, line: Any) -> Row:
        """Read a line: an answer, or the words that stand in its place."""
        key = words(node(line, "request", "labels", LABEL)) or None
        response, status = node(line, "response"), words(node(line, "status")).strip()
        if isinstance(response, Mapping) and response and (not status or node(response, "candidates")):
            return Row(key, Response(200, {}, json=response))
        return Row(key, Response(200, {}, json={"error": _error(status)}))

    def answered(self, order: Order, response: Response) -> Generator[Request, Response, Answer]:
        """Read a row as an answer of generateContent."""
        return answered(order, response)

    def fault(self, response: Response) -> ExchangeError | None:
        """Classify an answer."""
        return fault(response)

    def _state_of(self, response: Response) -> Talk[BatchState]:
        body = body_of(response)
        if (error := fault(response)) is not None and not node(body, "name"):
            raise error
        if not node(body, "name"):
            raise ServerFault("the answer names no batch", http_status=response.status)
        return (yield from self._state(body))

    def _state(self, job: Any) -> Talk[BatchState]:
        """Read a job. One that is over has its results below the folder that it was given."""
        stats = node(job, "completionStats")
        good, bad = count(node(stats, "successfulCount")), count(node(stats, "failedCount"))
        left = count(node(stats, "incompleteCount")) or 0  # "-1" where nobody knows
        done = None if good is None and bad is None else (good or 0) + (bad or 0)
        phase = _PHASES.get(words(node(job, "state")).removeprefix("JOB_STATE_"), Phase.RUNNING)
        files: tuple[str, ...] = ()
        if phase.is_over:
            folder = f"{words(node(job, 'outputConfig', 'gcsDestination', 'outputUriPrefix')).rstrip('/')}/"
            files = _results((yield from self._storage.find(folder)))
            if not files and (good or phase is Phase.SUCCEEDED):
                files = (f"{folder}predictions.jsonl",)  # it is gone, which is told when it is fetched
        return BatchState(
            name=f"{_JOBS}/{words(node(job, 'name')).rpartition('/')[2]}",  # the whole one begins with a number
            title=words(node(job, "displayName")),
            phase=phase,
            rows=None if done is None else done + left,
            done=done,
            failed=bad,
            files=files,
            message=clean(words(node(job, "error", "message"))),
        )


def _folder(file: str) -> str:
    return file.rpartition("/")[0] + "/"


def _results(objects: Collection[str]) -> tuple[str, ...]:
    """Choose the files with results: the final ones, or what was written before a job came to its end."""
    shards = [uri for uri in objects if _SHARD.fullmatch(uri.rpartition("/")[2])]
    final = [uri for uri in shards if _BEFORE_THE_END not in uri.rpartition("/")[2]]
    return tuple(final or shards)


def _error(status: str) -> Mapping[str, Any]:
    """Read the words of a failed row: an error's JSON, the name of an HTTP status, or neither."""
    _, brace, rest = status.partition("{")
    try:
        found = json.loads(brace + rest) if brace else None
    except (ValueError, RecursionError):
        found = None
    error = node(found, "error") if isinstance(node(found, "error"), Mapping) else found
    if isinstance(error, Mapping) and count(error.get("code")) is not None:
        return error
    named = next((code for phrase, code in _STATUSES.items() if status.lower().startswith(phrase)), 500)
    torn = _CODE.search(status)
    code = int(torn[1]) if torn else named
    return {"code": code, "message": status or "the row holds neither an answer nor an error"}
