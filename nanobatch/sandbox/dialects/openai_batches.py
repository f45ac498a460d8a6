"""OpenAI's batches: a file of whole requests to one address, and two files of results, one of them for errors.

Format: https://platform.openai.com/docs/api-reference/batch. A file that is wrong does not stop the order: the batch is
made, validated, and fails. So does one beyond the limit on enqueued tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nanobatch.sandbox.batches.records import Batch, State, StoredFile
from nanobatch.sandbox.dialects import openai, openai_edits
from nanobatch.sandbox.dialects.base import Answer, Asked, Dialect, MalformedError, Order, parsed, tokens
from nanobatch.sandbox.dialects.batch_base import BatchOrder, Line, Page, Row, RowError

NAME = openai.NAME
BATCHES = FILES = ""
BATCH_NAME, FILE_NAME, RESULT_NAMES = "batch_{}", "file-{}", ("file-{}-output", "file-{}-errors")
LIFE_SECONDS = 24 * 3600.0
FILE_SECONDS: float | None = None
MOST_ROWS: int | None = 50_000
MOST_BYTES = 200 * 1024**2
_ENDPOINTS: Mapping[str, Dialect] = {"/v1/images/generations": openai, "/v1/images/edits": openai_edits}
_BODY = frozenset({"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"})
_MOST_METADATA, _LONGEST_NAME, _LONGEST_VALUE = 16, 64, 512
_PAGE, _LONGEST_PAGE = 20, 100
_STATES = {State.WAITING: "validating", State.RUNNING: "in_progress", State.SUCCEEDED: "completed"}
_ENDS = {State.SUCCEEDED: "completed", State.FAILED: "failed", State.CANCELLED: "cancelled", State.EXPIRED: "expired"}

door = openai.door


def order(asked: Asked) -> BatchOrder | Answer:
    """Read an order."""
    refused = openai.door(asked)
    if refused is not None:
        return refused
    try:
        body = parsed(asked.body)
    except MalformedError:
        return wrong("We could not parse the JSON body of your request.")
    if not isinstance(body, Mapping):
        return wrong("The body of the request is a JSON object.")
    if unknown := [name for name in body if name not in _BODY]:
        return openai.error(
            400, f"Unknown parameter: '{unknown[0]}'.", "invalid_request_error", "unknown_parameter", unknown[0]
        )
    for name in ("input_file_id", "endpoint", "completion_window"):
        if not isinstance(body.get(name), str) or not body[name]:
            message = f"Missing required parameter: '{name}'."
            return openai.error(400, message, "invalid_request_error", "missing_required_parameter", name)
    return _order(body)


def _order(body: Mapping[str, Any]) -> BatchOrder | Answer:
    if body["endpoint"] not in _ENDPOINTS:
        choices = ", ".join(f"'{each}'" for each in _ENDPOINTS)
        message = f"Invalid value: '{body['endpoint']}'. Supported values are: {choices}."
        return openai.error(400, message, "invalid_request_error", "invalid_value", "endpoint")
    if body["completion_window"] != "24h":
        message = f"Invalid value: '{body['completion_window']}'. Value must be '24h'."
        return openai.error(400, message, "invalid_request_error", "invalid_value", "completion_window")
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, Mapping) or len(metadata) > _MOST_METADATA or not all(map(_fits, *_pairs(metadata))):
        message = f"Invalid 'metadata': at most {_MOST_METADATA} pairs of short strings."
        return openai.error(400, message, "invalid_request_error", "invalid_value", "metadata")
    title = next(iter(metadata.values()), "")
    return BatchOrder(title, source=body["input_file_id"], endpoint=body["endpoint"], metadata=dict(metadata))


def _pairs(metadata: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    return list(metadata), list(metadata.values())


def _fits(name: str, value: Any) -> bool:
    return len(name) <= _LONGEST_NAME and isinstance(value, str) and len(value) <= _LONGEST_VALUE


def row(line: Any, order: BatchOrder | Batch) -> Row:
    """Read a row: a whole request to the address of its batch."""
    if not isinstance(line, Mapping):
        raise RowError("This line is not parseable as valid JSON.", "invalid_json_line")
    for name in ("custom_id", "method", "url", "body"):
        if not line.get(name):
            raise RowError(f"Missing required parameter: '{name}'.", "missing_required_parameter")
    if line["method"] != "POST" or line["url"] != order.endpoint:
        raise RowError("The URL provided for this request does not match the batch endpoint.", "mismatched_endpoint")
    headers = {"Authorization": "Bearer batch", "Content-Type": "application/json"}
    return Row(line["custom_id"], Asked(headers, body=msgspec.json.encode(line["body"])), _ENDPOINTS[order.endpoint])


def tokens_of(order: Order) -> int:
    """Count the words; the vendor's limit is on tokens of prompts."""
    return tokens(order.drawing.prompt)


def shelf(*, is_bad: bool, number: int) -> int:  # noqa: ARG001 - a protocol's parameter
    """Put errors into a file of their own."""
    return int(is_bad)


def line(key: Any, answer: Answer, number: int) -> Line:
    """Put an answer into a line; what has another status than 200 goes into the file of errors."""
    response = {"status_code": answer.status, "request_id": f"req_{number:032x}", "body": answer.body}
    content = {"id": f"batch_req_{number:032x}", "custom_id": key, "response": response, "error": None}
    return Line(content, is_bad=answer.status != 200)


def described(batch: Batch, inlined: Sequence[Any] | None) -> Answer:  # noqa: ARG001 - results are always in files
    """Describe a batch."""
    return Answer(200, _object(batch))


def _object(batch: Batch) -> dict[str, Any]:
    ended = {f"{name}_at": int(batch.ended or 0) for state, name in _ENDS.items() if state is batch.state}
    named = _STATES.get(batch.state, batch.state.value)
    found: dict[str, Any] = {
        "id": batch.name,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": None,
        "input_file_id": batch.source,
        "completion_window": "24h",
        "status": named,
        "output_file_id": batch.outputs[0] or None,
        "error_file_id": batch.outputs[1] or None,
        "created_at": int(batch.created),
        "in_progress_at": int(batch.started) if batch.started else None,
        "expires_at": int(batch.expires),
        "cancelling_at": int(batch.cancelled) if batch.cancelled else None,
        "request_counts": {
            "total": batch.rows if batch.state is not State.WAITING else 0,  # until the file is validated
            "completed": batch.good,
            "failed": batch.bad,
        },
        "metadata": batch.metadata,
    }
    if batch.message:
        data = [{"code": batch.code or None, "message": batch.message, "param": None, "line": None}]
        found["errors"] = {"object": "list", "data": data}
    return found | ended


def page(asked: Asked) -> tuple[str, int] | Answer:
    """Return after which batch a page begins and how long it is."""
    length = asked.query.get("limit", str(_PAGE))
    if not length.isdecimal() or not 0 < int(length) <= _LONGEST_PAGE:
        message = f"Invalid 'limit': expected a value between 1 and {_LONGEST_PAGE}."
        return openai.error(400, message, "invalid_request_error", "invalid_value", "limit")
    return asked.query.get("after", ""), int(length)


def listed(page: Page, asked: Asked) -> Answer:  # noqa: ARG001 - a protocol's parameter
    """List batches."""
    return Answer(200, _list([_object(batch) for batch in page.batches], has_more=page.then is not None))


def cancelled(batch: Batch) -> Answer:
    """Answer with the batch, which ends soon."""
    if batch.state.is_open:
        return Answer(200, _object(batch))
    named = _STATES.get(batch.state, batch.state.value)
    return openai.error(409, f"Cannot cancel a batch with status '{named}'.", "invalid_request_error")


def deleted(name: str) -> Answer:
    """Answer the deletion of a file."""
    return Answer(200, {"id": name, "object": "file", "deleted": True})


def file(file: StoredFile, url: str) -> Answer:  # noqa: ARG001 - this vendor names no addresses
    """Describe a file."""
    return Answer(200, _file(file))


def files(files: Sequence[StoredFile], url: str) -> Answer:  # noqa: ARG001 - as above
    """List files."""
    return Answer(200, _list([_file(file) for file in files], has_more=False))


def _file(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.name,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "expires_at": int(file.expires) if file.expires is not None else None,
        "filename": file.title,
        "purpose": file.purpose,
        "status": "processed",
    }


def _list(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, **ends, "has_more": has_more}


def no_batch(name: str) -> Answer:
    """Answer for a batch that is not known."""
    return openai.error(404, f"No batch found with id '{name}'.", "invalid_request_error")


def no_file(name: str) -> Answer:
    """Answer for a file that is not known."""
    return openai.error(404, f"No such File object: {name}", "invalid_request_error", None, "id")


def no_download(file: StoredFile) -> Answer | None:  # noqa: ARG001 - every file can be had
    """Refuse no file."""
    return None


def too_many(order: BatchOrder, kind: str, limit: int) -> Answer | tuple[str, str]:  # noqa: ARG001 - see the protocol
    """Let a batch beyond the limit on tokens fail; beyond the number of batches the order is refused."""
    if kind == "batches":
        return openai.error(429, f"Too many open batches: Limit: {limit}.", "requests", "rate_limit_exceeded")
    reached = f"Enqueued token limit reached in organization org-sandbox. Limit: {limit:,} enqueued tokens."
    later = "Please try again once some in_progress batches have been completed."
    return f"{reached} {later}", "token_limit_exceeded"


def stumbled(fault: str, wish_seconds: float) -> Answer:
    """Answer a request that goes wrong by itself."""
    if "429" in fault:
        limited = openai.error(429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded")
        return Answer(429, limited.body, {"retry-after-ms": str(round(wish_seconds * 1000))})
    if "503" in fault:
        return openai.error(503, "The server is overloaded or not ready yet.", "server_error")
    return openai.error(500, "The server had an error while processing your request. Sorry about that!", "server_error")


def wrong(message: str) -> Answer:
    """Refuse a request that makes no sense."""
    return openai.error(400, message, "invalid_request_error")
