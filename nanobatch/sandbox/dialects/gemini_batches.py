"""Gemini's batches: of a file of rows, or of rows that come with the order; results come in the same way.

Format: https://ai.google.dev/gemini-api/docs/batch-api. Counts are strings, states begin with BATCH_STATE_, and a row's
error has the number of a gRPC status.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from nanobatch.sandbox.batches.records import Batch, State, StoredFile
from nanobatch.sandbox.dialects import gemini
from nanobatch.sandbox.dialects.base import Answer, Asked, MalformedError, Order, parsed, tokens
from nanobatch.sandbox.dialects.batch_base import BatchOrder, Line, Page, Row, RowError
from nanobatch.sandbox.dialects.gemini_errors import error, invalid, malformed
from nanobatch.sandbox.dialects.gemini_models import traits
from nanobatch.sandbox.dialects.gemini_request import InvalidError, known_fields

NAME = gemini.NAME
BATCHES, FILES = "batches/", "files/"
BATCH_NAME, FILE_NAME, RESULT_NAMES = "batches/{}", "files/{}", ("files/batch-{}", "")
LIFE_SECONDS = FILE_SECONDS = 48 * 3600.0
MOST_ROWS: int | None = None
MOST_BYTES = 2 * 1024**3
_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
_GRPC = {400: 3, 403: 7, 404: 5, 429: 8, 500: 13, 503: 14}
_MOST_TITLE = 512  # characters
_PAGE, _LONGEST_PAGE = 50, 1000
_BATCH = frozenset({"name", "displayName", "model", "inputConfig", "priority"})
_STATES = {
    State.WAITING: "PENDING", State.RUNNING: "RUNNING", State.CANCELLING: "RUNNING", State.SUCCEEDED: "SUCCEEDED",
    State.FAILED: "FAILED", State.CANCELLED: "CANCELLED", State.EXPIRED: "EXPIRED",
}  # fmt: skip

door = gemini.door


def order(asked: Asked) -> BatchOrder | Answer:
    """Read an order."""
    refused = gemini.door(asked)
    if refused is not None:
        return refused
    try:
        batch = known_fields(known_fields(parsed(asked.body), frozenset({"batch"}), "").get("batch"), _BATCH, "batch")
        return _order(asked.path["model"], batch)
    except MalformedError as wrong:
        return malformed(str(wrong))
    except InvalidError as wrong:
        return invalid(wrong)


def _order(model: str, batch: Mapping[str, Any]) -> BatchOrder:
    title = batch.get("displayName", "")
    if not isinstance(title, str) or not title:
        raise InvalidError("* GenerateContentBatch.display_name: display_name is required\n", "batch.display_name")
    if len(title) > _MOST_TITLE:
        raise InvalidError(f"display_name has more than {_MOST_TITLE} characters.", "batch.display_name")
    where = "batch.input_config"
    source = known_fields(batch.get("inputConfig"), frozenset({"fileName", "requests"}), where)
    file, inline = source.get("fileName"), source.get("requests")
    if (file is None) == (inline is None):
        raise InvalidError("Exactly one of file_name and requests must be set.", where)
    if file is not None:
        if not isinstance(file, str) or not file.startswith("files/"):
            raise InvalidError(f"Invalid file name: {file!r}", f"{where}.file_name")
        return BatchOrder(title, source=file, model=model)
    rows = known_fields(inline, frozenset({"requests"}), f"{where}.requests").get("requests")
    if not isinstance(rows, list) or not rows:
        raise InvalidError("requests must not be empty.", f"{where}.requests.requests")
    known = frozenset({"request", "metadata"})
    kept = [known_fields(row, known, f"{where}.requests.requests[{number}]") for number, row in enumerate(rows)]
    return BatchOrder(title, rows=kept, model=model)


def row(line: Any, order: BatchOrder | Batch) -> Row:
    """Read a row: a key and the body of a generateContent; inline ones have metadata instead of a key."""
    if not isinstance(line, Mapping) or not isinstance(line.get("request"), Mapping):
        raise RowError("Each line of the input file must be a JSON object with a key and a request.")
    body = msgspec.json.encode(line["request"])
    path = {"model": order.model, "action": "generateContent", "version": "v1beta"}
    key = line.get("key") if "metadata" not in line else line["metadata"]
    return Row(key, Asked({"x-goog-api-key": "batch"}, path=path, body=body), gemini)


def tokens_of(order: Order) -> int:
    """Count words, references and the image; whether the vendor counts the image is not known, so it is."""
    image = order.images * traits(order.model).sizes[order.details["size"]]
    return tokens(order.drawing.prompt) + int(order.details["references"]) + image


def shelf(*, is_bad: bool, number: int) -> int:  # noqa: ARG001 - a protocol's parameters
    """Put everything into one file."""
    return 0


def line(key: Any, answer: Answer, number: int) -> Line:  # noqa: ARG001 - lines of this vendor have no number
    """Put an answer into a line: a response, or the status of an error."""
    name = "metadata" if isinstance(key, Mapping) else "key"
    place = {} if key is None else {name: key}
    if answer.status == 200 and isinstance(answer.body, Mapping) and "error" not in answer.body:
        return Line({"response": answer.body, **place}, is_bad=False)
    found = answer.body.get("error", {}) if isinstance(answer.body, Mapping) else {}
    status = {"code": _GRPC.get(answer.status, 13), "message": found.get("message", "An internal error has occurred.")}
    return Line({"error": status, **place}, is_bad=True)


def described(batch: Batch, inlined: Sequence[Any] | None) -> Answer:
    """Describe a batch as an operation."""
    return Answer(200, _operation(batch, inlined))


def _operation(batch: Batch, inlined: Sequence[Any] | None = None) -> dict[str, Any]:
    stats = {
        "requestCount": batch.rows,
        "pendingRequestCount": batch.rows - batch.done,
        "successfulRequestCount": batch.good,
        "failedRequestCount": batch.bad,
    }
    about: dict[str, Any] = {
        "@type": _TYPE,
        "model": f"models/{batch.model}",
        "displayName": batch.title,
        "createTime": _time(batch.created),
        "updateTime": _time(batch.ended or batch.started or batch.created),
        "batchStats": {name: str(number) for name, number in stats.items() if number},
        "state": f"BATCH_STATE_{_STATES[batch.state]}",
        "name": batch.name,
    }
    operation: dict[str, Any] = {"name": batch.name, "metadata": about}
    if batch.state.is_open:
        return operation
    about["endTime"] = _time(batch.ended or batch.created)
    operation["done"] = True
    output: dict[str, Any] = {}
    if batch.outputs[0]:
        output = {"responsesFile": batch.outputs[0]}
    elif inlined is not None:
        output = {"inlinedResponses": {"inlinedResponses": list(inlined)}}
    if output:
        about["output"] = output
    if batch.state is State.SUCCEEDED or output:
        operation["response"] = {"@type": f"{_TYPE}Output", **output}
    else:
        code = {State.CANCELLED: 1, State.EXPIRED: 4}.get(batch.state, 13)
        operation["error"] = {"code": code, "message": batch.message or f"The batch has {batch.state.value}."}
    return operation


def page(asked: Asked) -> tuple[str, int] | Answer:
    """Return where a page begins and how long it is."""
    length = asked.query.get("pageSize", str(_PAGE))
    if not length.isdecimal() or not 0 < int(length) <= _LONGEST_PAGE:
        return wrong(f"page_size is between 1 and {_LONGEST_PAGE}.")
    return asked.query.get("pageToken", ""), int(length)


def listed(page: Page, asked: Asked) -> Answer:  # noqa: ARG001 - a protocol's parameter
    """List batches, without their results."""
    found = {"operations": [_operation(batch) for batch in page.batches]} if page.batches else {}
    return Answer(200, found | ({"nextPageToken": page.then} if page.then else {}))


def cancelled(batch: Batch) -> Answer:
    """Answer with nothing, as the vendor does; what has ended cannot be cancelled."""
    if batch.state.is_open:
        return Answer(200, {})
    return error(400, f"Batch {batch.name} has ended and cannot be cancelled.")


def deleted(name: str) -> Answer:  # noqa: ARG001 - a protocol's parameter
    """Answer a deletion."""
    return Answer(200, {})


def file(file: StoredFile, url: str) -> Answer:
    """Describe a file."""
    return Answer(200, described_file(file, url))


def described_file(file: StoredFile, url: str) -> dict[str, Any]:
    """Return the description that also ends an upload."""
    where = f"{url}/v1beta/{file.name}"
    found = {
        "name": file.name,
        "displayName": file.title,
        "mimeType": file.mime,
        "sizeBytes": str(file.size),
        "createTime": _time(file.created),
        "updateTime": _time(file.created),
        "sha256Hash": base64.b64encode(file.sha256.encode()).decode(),
        "uri": where,
        "state": "ACTIVE",
        "source": "GENERATED" if file.made else "UPLOADED",
    }
    if file.expires is not None:
        found["expirationTime"] = _time(file.expires)
    if file.made:
        found["downloadUri"] = f"{where}:download?alt=media"
    return found


def files(files: Sequence[StoredFile], url: str) -> Answer:
    """List files."""
    return Answer(200, {"files": [described_file(file, url) for file in files]} if files else {})


def no_batch(name: str) -> Answer:
    """Answer for a batch that is not known."""
    return error(404, f"Batch {name} was not found.")


def no_upload() -> Answer:
    """Answer for an upload that is not known, or not any more."""
    return error(404, "Upload was not found.")


def no_file(name: str) -> Answer:
    """Answer for a file that is gone; the vendor does not tell it from somebody else's."""
    return error(
        403, f"You do not have permission to access the File {name.removeprefix('files/')} or it may not exist."
    )


def no_download(file: StoredFile) -> Answer | None:
    """Refuse to send uploaded files."""
    return None if file.made else error(400, "Only generated files can be downloaded.")


def too_many(order: BatchOrder, kind: str, limit: int) -> Answer | tuple[str, str]:
    """Refuse an order beyond a limit at once."""
    what = {"enqueued_tokens": "enqueued tokens", "batches": "concurrent batches"}[kind]
    return error(
        429,
        "You exceeded your current quota, please check your plan and billing details. "
        f"* Quota exceeded for {what}, limit: {limit}, model: {order.model}",
    )


def stumbled(fault: str, wish_seconds: float) -> Answer:
    """Answer a request that goes wrong by itself."""
    if "429" in fault:
        return error(429, f"Resource has been exhausted (e.g. check quota). Please retry in {wish_seconds:.3f}s.")
    if "503" in fault:
        return error(503, "The service is currently unavailable.")
    return error(500, "An internal error has occurred. Please retry.")


def wrong(message: str) -> Answer:
    """Refuse a request that makes no sense."""
    return error(400, message)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
