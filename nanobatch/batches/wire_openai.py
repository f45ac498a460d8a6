"""OpenAI's batches: a file of whole requests goes up as a form, and two files come back, of results and of errors.

Facts: https://platform.openai.com/docs/api-reference/batch and the types of openai-python 3.51.0. A batch has no name
of ours, so its metadata carry one. All rows of a batch go to the same address; an edit carries its images as data URIs,
because a row is JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Generator, Mapping
from typing import Any
from urllib.parse import quote

from nanobatch.batches.wire import MEGABYTE, BatchState, Bounds, Phase, Read, Row, Talk
from nanobatch.errors import ExchangeError, ServerFault
from nanobatch.model import FREE, Answer, Form, FormFile, Order, Reference, Request, Response
from nanobatch.providers.openai import body_of_order
from nanobatch.providers.openai_answers import answered, fault
from nanobatch.providers.reading import OK, body_of, count, items, node, words
from nanobatch.providers.sentences import clean

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
TITLE_KEY = "nanobatch"  # of the metadata
NO_ROOM = "token_limit_exceeded"  # of prompts in the queue; the order is taken, and fails when it is validated
PAGE = 100
_GONE = frozenset({404, 410})
_PHASES = {
    "validating": Phase.WAITING, "in_progress": Phase.RUNNING, "finalizing": Phase.RUNNING,
    "cancelling": Phase.RUNNING, "completed": Phase.SUCCEEDED, "failed": Phase.FAILED, "expired": Phase.EXPIRED,
    "cancelled": Phase.CANCELLED,
}  # fmt: skip


class OpenAIBatches:
    """Batches at OpenAI."""

    # A file goes up in one piece that is held in memory; the vendor would take 200 MB.
    bounds = Bounds(input_bytes=48 * MEGABYTE, rows=50_000)
    echo: str | None = None
    gone = frozenset({403, 404, 410})

    def homes(self) -> tuple[str, ...]:
        """Return nothing: everything is below base_url."""
        return ()

    def group(self, *, with_references: bool) -> str:
        """Return the address that the rows are for."""
        return EDITS if with_references else GENERATIONS

    def line(self, key: str, order: Order) -> Mapping[str, Any]:
        """Return a line: the request that is sent when one image is asked for."""
        body = {name: value for name, value in body_of_order(order).items() if name != "response_format"}
        if order.references:
            body["images"] = [{"image_url": _data_uri(reference)} for reference in order.references]
        return {
            "custom_id": key,
            "method": "POST",
            "url": self.group(with_references=bool(order.references)),
            "body": body,
        }

    def upload(self, title: str, size: int, read: Read) -> Talk[str]:
        """Upload in one piece.

        Raises:
            ExchangeError: The file was not taken.
        """
        file = FormFile("file", f"{title}.jsonl", "application/jsonl", read(0, size))
        response = yield Request(
            "POST", "/files", form=Form((("purpose", "batch"),), (file,)), cost=FREE, repeatable=True
        )
        if (error := fault(response)) is not None:
            raise error
        name = words(node(body_of(response), "id"))
        if not name:
            raise ServerFault("the file of rows was uploaded, but the answer does not name it")
        return name

    def create(self, title: str, file: str, *, model: str, group: str) -> Talk[BatchState]:  # noqa: ARG002
        """Order a batch.

        Raises:
            ExchangeError: It was not taken, or nobody knows.
        """
        body = {
            "input_file_id": file,
            "endpoint": group,
            "completion_window": "24h",
            "metadata": {TITLE_KEY: title},
        }
        return _state_of((yield Request("POST", "/batches", json=body, cost=FREE)))

    def find(self, titles: Collection[str]) -> Talk[list[BatchState]]:
        """Go through the list of batches, page by page."""
        found: list[BatchState] = []
        after = ""
        while True:
            page = f"&after={quote(after, safe='')}" if after else ""
            response = yield Request("GET", f"/batches?limit={PAGE}{page}", cost=FREE, repeatable=True)
            if (error := fault(response)) is not None:
                raise error
            body = body_of(response)
            states = [_state(entry) for entry in items(node(body, "data"))]
            found += [state for state in states if state.title in titles]
            after = states[-1].name if states else ""
            if node(body, "has_more") is not True or not after:
                return found

    def poll(self, name: str) -> Talk[BatchState]:
        """Ask for one batch."""
        return _state_of((yield Request("GET", f"/batches/{name}", cost=FREE, repeatable=True)))

    def cancel(self, name: str) -> Talk[None]:
        """Cancel a batch."""
        response = yield Request("POST", f"/batches/{name}/cancel", cost=FREE, repeatable=True)
        if response.status not in OK and response.status not in (400, 409, *_GONE):  # it has ended
            raise fault(response) or ServerFault("the batch was not cancelled")

    def delete(self, file: str) -> Talk[None]:
        """Delete a file."""
        response = yield Request("DELETE", f"/files/{file}", cost=FREE, repeatable=True)
        if response.status not in OK and response.status not in _GONE:
            raise fault(response) or ServerFault("the file was not deleted")

    def downloads(self, file: str) -> tuple[Request, ...]:
        """Return the address of a file's content."""
        return (Request("GET", f"/files/{file}/content", cost=FREE, repeatable=True),)

    def litter(self, file: str, results: Collection[str]) -> tuple[str, ...]:  # noqa: ARG002 - results go by themselves
        """Return the file of rows."""
        return (file,)

    def row(self, line: Any) -> Row:
        """Read a line, of either file."""
        key = words(node(line, "custom_id")) or None
        status, body = count(node(line, "response", "status_code")), node(line, "response", "body")
        if status is not None and isinstance(body, Mapping):
            return Row(key, Response(status, {}, json=body))
        error = node(line, "error")
        found = error if isinstance(error, Mapping) else {"message": "the row holds neither an answer nor an error"}
        return Row(key, Response(status or 500, {}, json={"error": found}))

    def answered(self, order: Order, response: Response) -> Generator[Request, Response, Answer]:  # noqa: ARG002
        """Read a row as an answer of images/generations."""
        return answered(response)

    def fault(self, response: Response) -> ExchangeError | None:
        """Classify an answer."""
        return fault(response)


def _data_uri(reference: Reference) -> str:
    return f"data:{reference.mime};base64,{base64.b64encode(reference.data).decode()}"


def _state_of(response: Response) -> BatchState:
    if (error := fault(response)) is not None and not node(body_of(response), "id"):
        raise error
    state = _state(body_of(response))
    if not state.name:
        raise ServerFault("the answer names no batch", http_status=response.status)
    return state


def _state(body: Any) -> BatchState:
    counts = node(body, "request_counts")
    good, bad = count(node(counts, "completed")), count(node(counts, "failed"))
    errors = items(node(body, "errors", "data"))
    return BatchState(
        name=words(node(body, "id")),
        title=words(node(body, "metadata", TITLE_KEY)),
        phase=_PHASES.get(words(node(body, "status")), Phase.RUNNING),
        rows=count(node(counts, "total")) or None,  # zero while the file is being checked
        done=None if good is None and bad is None else (good or 0) + (bad or 0),
        failed=bad,
        files=tuple(filter(None, (words(node(body, name)) for name in ("output_file_id", "error_file_id")))),
        message=clean("; ".join(words(node(error, "message")) for error in errors[:3])),
        no_room=any(words(node(error, "code")) == NO_ROOM for error in errors),
    )
