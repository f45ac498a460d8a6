"""Gemini's batches: a file of rows is uploaded in pieces, a batch is made of it, and its results are another file.

Facts: https://ai.google.dev/gemini-api/docs/batch-api, the types of google-genai 3.3.0, and recorded answers. States
come with the prefix BATCH_STATE_ or JOB_STATE_, counts as strings, and an error inside a row with the number of a gRPC
status or of an HTTP status. Creating is not idempotent, so every batch gets a display name that is searched for when a
reply is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from nanobatch.batches.uploads import at_home, upload_in_pieces
from nanobatch.batches.wire import MEGABYTE, BatchState, Bounds, Phase, Read, Row, Talk, beside
from nanobatch.errors import ExchangeError, ServerFault
from nanobatch.model import FREE, Answer, Order, Request, Response
from nanobatch.providers.gemini import answered
from nanobatch.providers.gemini_body import body_of_order
from nanobatch.providers.gemini_faults import fault
from nanobatch.providers.reading import OK, body_of, count, items, node, words
from nanobatch.providers.sentences import clean, said

PAGE = 50
_GONE = frozenset({404, 410})
_PHASES = {
    "PENDING": Phase.WAITING, "QUEUED": Phase.WAITING, "UNSPECIFIED": Phase.WAITING, "RUNNING": Phase.RUNNING,
    "CANCELLING": Phase.RUNNING, "PAUSED": Phase.RUNNING, "UPDATING": Phase.RUNNING, "SUCCEEDED": Phase.SUCCEEDED,
    "PARTIALLY_SUCCEEDED": Phase.SUCCEEDED, "FAILED": Phase.FAILED, "CANCELLED": Phase.CANCELLED,
    "EXPIRED": Phase.EXPIRED,
}  # fmt: skip
_GRPC = {1: 499, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 10: 409, 13: 500, 14: 503, 16: 401}


class GeminiBatches:
    """Batches at Google.

    Args:
        base_url: The provider's own; uploads and downloads stand beside its version.
    """

    bounds = Bounds(input_bytes=2000 * MEGABYTE, rows=50_000)
    echo: str | None = None
    gone = frozenset({403, 404, 410})  # a file that is not there is one that may not be read

    def __init__(self, base_url: str) -> None:
        self._upload = beside(base_url, "upload")
        self._download = beside(base_url, "download")

    def homes(self) -> tuple[str, ...]:
        """Return where files go and come from."""
        return self._upload, self._download

    def group(self, *, with_references: bool) -> str:  # noqa: ARG002 - the model alone parts batches
        """Return nothing: all rows of a model fit together."""
        return ""

    def line(self, key: str, order: Order) -> Mapping[str, Any]:
        """Return a line: the very body that is sent when one image is asked for."""
        return {"key": key, "request": body_of_order(order)}

    def upload(self, title: str, size: int, read: Read) -> Talk[str]:
        """Upload in pieces; after a break the server says how much it has.

        Raises:
            ExchangeError: The file was not taken.
        """
        return upload_in_pieces(_Upload(f"{self._upload}/files", title, size), read)

    def create(self, title: str, file: str, *, model: str, group: str) -> Talk[BatchState]:  # noqa: ARG002
        """Order a batch.

        Raises:
            ExchangeError: It was not taken, or nobody knows.
        """
        response = yield Request(
            "POST",
            f"/models/{quote(model, safe='/:@')}:batchGenerateContent",
            json={"batch": {"displayName": title, "inputConfig": {"fileName": file}}},
            cost=FREE,
        )
        return _state_of(response)

    def find(self, titles: Collection[str]) -> Talk[list[BatchState]]:
        """Go through the list of batches, page by page."""
        found: list[BatchState] = []
        token = ""
        while True:
            page = f"&pageToken={quote(token, safe='')}" if token else ""
            response = yield Request("GET", f"/batches?pageSize={PAGE}{page}", cost=FREE, repeatable=True)
            if (error := fault(response)) is not None:
                raise error
            body = body_of(response)
            states = [_state(entry) for entry in items(node(body, "operations")) or items(node(body, "batches"))]
            found += [state for state in states if state.title in titles]
            token = words(node(body, "nextPageToken"))
            if not token:
                return found

    def poll(self, name: str) -> Talk[BatchState]:
        """Ask for one batch."""
        return _state_of((yield Request("GET", f"/{name}", cost=FREE, repeatable=True)))

    def cancel(self, name: str) -> Talk[None]:
        """Cancel a batch."""
        response = yield Request("POST", f"/{name}:cancel", cost=FREE, repeatable=True)
        if response.status not in OK and response.status not in (400, *_GONE):  # 400: it has ended
            raise _failed(response, "the batch was not cancelled")

    def delete(self, file: str) -> Talk[None]:
        """Delete a file."""
        response = yield Request("DELETE", f"/{file}", cost=FREE, repeatable=True)
        if response.status not in OK and response.status not in self.gone:
            raise _failed(response, "the file was not deleted")

    def downloads(self, file: str) -> tuple[Request, ...]:
        """Return the address that the vendor's own client uses, and the one in its documentation."""
        places = ("", self._download)
        return tuple(
            Request("GET", f"{place}/{file}:download?alt=media", cost=FREE, repeatable=True) for place in places
        )

    def litter(self, file: str, results: Collection[str]) -> tuple[str, ...]:  # noqa: ARG002 - results go by themselves
        """Return the file of rows."""
        return (file,)

    def row(self, line: Any) -> Row:
        """Read a line: an answer, or a status in its place."""
        key = words(node(line, "key")) or words(node(line, "metadata", "key")) or None
        error = node(line, "error")
        if not isinstance(error, Mapping):
            error = node(line, "status")
        response = node(line, "response")
        if isinstance(response, Mapping):
            return Row(key, Response(200, {}, json=response))
        return Row(key, Response(200, {}, json={"error": _as_http(error)}))

    def answered(self, order: Order, response: Response) -> Generator[Request, Response, Answer]:
        """Read a row as an answer of generateContent."""
        return answered(order, response)

    def fault(self, response: Response) -> ExchangeError | None:
        """Classify an answer."""
        return fault(response)


def _as_http(error: Any) -> Mapping[str, Any]:
    """Give a row's error the number of an HTTP status."""
    if not isinstance(error, Mapping):
        return {"code": 500, "message": "the row holds neither an answer nor an error"}
    code = count(error.get("code"))
    return {**error, "code": _GRPC.get(code, code) if code is not None else 500}


@dataclass(frozen=True, slots=True)
class _Upload:
    """An upload, in the words of the Gemini API."""

    place: str
    title: str
    size: int

    def begin(self) -> Talk[str]:
        response = yield Request(
            "POST",
            self.place,
            json={"file": {"display_name": self.title}},
            headers={
                "x-goog-upload-protocol": "resumable",
                "x-goog-upload-command": "start",
                "x-goog-upload-header-content-length": str(self.size),
                "x-goog-upload-header-content-type": "application/jsonl",
            },
            cost=FREE,
            repeatable=True,
        )
        address = response.headers.get("x-goog-upload-url", "")
        if response.status not in OK or not address:
            raise _failed(response, "no upload was begun")
        return at_home(address, self.place)

    def piece(self, address: str, data: bytes, *, at: int) -> Request:
        last = at + len(data) >= self.size
        headers = {
            "x-goog-upload-command": "upload, finalize" if last else "upload",
            "x-goog-upload-offset": str(at),
        }
        return Request("POST", address, content=data, headers=headers, cost=FREE)

    def received(self, response: Response, *, sent: int) -> str | int:
        if response.status not in OK:
            raise _failed(response, "the file of rows was not taken")
        return _file_of(response) if sent >= self.size else sent

    def look(self, address: str, *, delay_seconds: float) -> Talk[str | int | None]:
        response = yield Request(
            "POST",
            address,
            headers={"x-goog-upload-command": "query"},
            cost=FREE,
            repeatable=True,
            delay_seconds=delay_seconds,
        )
        if response.status not in OK or response.headers.get("x-goog-upload-status") != "active":
            return None
        have = count(response.headers.get("x-goog-upload-size-received"))
        return None if have is None or have >= self.size else have  # one that was cut at its end has no name


def _file_of(response: Response) -> str:
    file = words(node(body_of(response), "file", "name"))
    if not file:
        raise ServerFault("the file of rows was uploaded, but the answer does not name it")
    return file


def _failed(response: Response, what: str) -> ExchangeError:
    error = fault(response)
    if error is None:
        return ServerFault(f"{what}: the answer says nothing", http_status=response.status)
    return error


def _state_of(response: Response) -> BatchState:
    if (error := fault(response)) is not None and not node(body_of(response), "name"):
        raise error
    state = _state(body_of(response))
    if not state.name:
        raise ServerFault("the answer names no batch", http_status=response.status)
    return state


def _state(body: Any) -> BatchState:
    """Read a batch: an operation with its metadata, or the batch itself."""
    about = node(body, "metadata") if isinstance(node(body, "metadata"), Mapping) else body
    stats = node(about, "batchStats")
    good, bad = count(node(stats, "successfulRequestCount")), count(node(stats, "failedRequestCount"))
    message = clean(words(node(body, "error", "message")) or words(node(about, "error", "message")))
    return BatchState(
        name=words(node(body, "name")) or words(node(about, "name")),
        title=words(node(about, "displayName")),
        phase=_phase(body, about),
        rows=count(node(stats, "requestCount")),
        done=None if good is None and bad is None else (good or 0) + (bad or 0),
        failed=bad,
        files=tuple(dict.fromkeys(filter(None, map(words, _files(body, about))))),
        message=said(message).lstrip(": ") if message else "",
    )


def _files(body: Any, about: Any) -> list[Any]:
    places = (("response",), ("output",), ("dest",))
    return [node(where, *place, "responsesFile") for where in (body, about) for place in places] + [
        node(about, "dest", "fileName")
    ]


def _phase(body: Any, about: Any) -> Phase:
    state = words(node(about, "state")).removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
    phase = _PHASES.get(state, Phase.RUNNING)
    if phase.is_over or node(body, "done") is not True:
        return phase
    return Phase.FAILED if isinstance(node(body, "error"), Mapping) else Phase.SUCCEEDED
