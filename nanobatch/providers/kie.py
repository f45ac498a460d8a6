"""Kie.ai: a task is created, asked for, and its image downloaded. Errors come as a `code` inside HTTP 200.

Facts: https://docs.kie.ai and its model pages. References are uploaded first, because inputs are links. The state and
the links of a task decide, not the `code` beside them; `resultJson` is JSON in a string, empty while the task runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import quote

from nanobatch.errors import (
    AccountStopped,
    ExchangeError,
    NoImage,
    Overloaded,
    RateLimited,
    Refused,
    Rejected,
    ServerFault,
    Undelivered,
)
from nanobatch.model import FREE, Answer, Cost, Form, FormFile, Order, Picture, Reference, Request, Response
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.links import download, link_of
from nanobatch.providers.polling import poll
from nanobatch.providers.reading import OK, body_of, count, items, node, words
from nanobatch.providers.sentences import clean, said, short_name
from nanobatch.providers.statuses import plain_fault

_DONE = 200
_EDIT = {"google/nano-banana": "google/nano-banana-edit"}  # the model that takes references
_LINK_FIELDS = {"google/nano-banana-edit": "image_urls", "nano-banana-2-lite": "image_urls"}  # others: image_input
_RATIO_FIELDS = {"google/nano-banana": "image_size", "google/nano-banana-edit": "image_size"}
_UPLOAD_FOLDER = "nanobatch"
_REFUSAL = re.compile(
    r"(?i)sensitive|prohibited|content polic|violat|moderat|safety|flagged|nsfw|blocked|not allowed|inappropriate"
)
_WRONG_INPUT = frozenset({"400", "422"})


def exchange(order: Order) -> Exchange:
    """Order one image: upload the references, create the task, follow it. `order.options` are added to the input."""
    links = []
    for reference in order.references:
        links.append((yield from _upload(order.upload_url or "", reference)))  # noqa: PERF401 - a comprehension cannot yield
    response = yield Request(
        "POST",
        "/api/v1/jobs/createTask",
        json=_body(order, links),
        cost=Cost(tokens=estimated_tokens(order.prompt)),
    )
    if (error := fault(response)) is not None:
        raise error
    task = words(node(body_of(response), "data", "taskId"))
    if not task:
        raise ServerFault("the provider took the order and named no task", http_status=response.status, billed=None)
    return (yield from resume(order, task))


def resume(order: Order, task: str) -> Exchange:
    """Ask for a task until it is decided, then download its image."""
    del order  # the task knows what was ordered
    data = yield from poll(f"/api/v1/jobs/recordInfo?taskId={quote(task, safe='')}", task, _verdict, trouble=_trouble)
    links = _links(data)
    blob = yield from download(links[-1], task=task)
    return Answer(Picture(blob), model=short_name(node(data, "model")) or None)


def fault(response: Response) -> ExchangeError | None:
    """Read the `code` that Kie sends with HTTP 200; None for an order that was taken."""
    body = body_of(response)
    code = count(node(body, "code"))
    if response.status not in OK or code is None:
        return plain_fault(response)
    sentence = clean(words(node(body, "msg")))
    more = said(sentence)
    match code:
        case 200:
            return None
        case 401 | 402 | 403 | 505:
            return AccountStopped(f"the provider does not accept the account{more}", http_status=code)
        case 429:
            return RateLimited(f"too many tasks at once{more}", http_status=code)
        case 455:
            return Overloaded(f"the provider is under maintenance{more}", http_status=code)
        case 400 | 404 | 422 if _REFUSAL.search(sentence):
            return Refused(f"the provider's content rules forbid this image{more}", http_status=code)
        case _ if 400 <= code < 500:
            return Rejected(f"the provider rejected the request{more}", http_status=code)
        case _:
            return ServerFault(f"the provider failed{more}", http_status=code)


def _upload(base: str, reference: Reference) -> Generator[Request, Response, str]:
    """Send one reference image; return the link that a task may use. Uploads are free and kept for a day."""
    response = yield Request(
        "POST",
        f"{base}/api/file-stream-upload",
        form=Form(
            (("uploadPath", _UPLOAD_FOLDER), ("fileName", reference.file_name)),
            (FormFile("file", reference.file_name, reference.mime, reference.data),),
        ),
        cost=FREE,
        repeatable=True,
    )
    data = node(body_of(response), "data")
    link = link_of(node(data, "downloadUrl")) or link_of(node(data, "fileUrl"))
    if link is None:
        raise fault(response) or ServerFault("the upload service named no link", http_status=response.status)
    return link


def _body(order: Order, links: list[str]) -> dict[str, Any]:
    model = _EDIT.get(order.model, order.model) if links else order.model
    inputs: dict[str, Any] = {"prompt": order.prompt}
    if order.aspect_ratio is not None:
        inputs[_RATIO_FIELDS.get(model, "aspect_ratio")] = order.aspect_ratio
    if order.size is not None and model not in _RATIO_FIELDS:
        inputs["resolution"] = order.size
    if links:
        inputs[_LINK_FIELDS.get(model, "image_input")] = links
    return {"model": model, "input": inputs | dict(order.options)}


def _trouble(response: Response) -> str | None:
    """Say what is wrong with a poll that tells nothing of the task."""
    data = node(body_of(response), "data")
    if isinstance(data, Mapping) and words(data.get("state")):
        return None
    error = fault(response)
    if response.status not in OK:
        raise error or ServerFault("the poll was not answered", http_status=response.status)
    if error is not None and error.http_status in (404, 422):
        raise Undelivered(f"the provider does not know the task (any more): {error.message}")
    return error.message if error is not None else "the answer tells no state"


def _verdict(body: Any) -> Any | None:
    """Return the task's data when its image is there, None while it is under way."""
    data = node(body, "data")
    match words(node(data, "state")).lower():
        case "success":
            if _links(data):
                return data
            raise NoImage("the task succeeded without an image", http_status=_DONE, billed=None)
        case "fail" | "failed":
            raise _failure(data)
        case _:
            return None


def _failure(data: Any) -> ExchangeError:
    """Say why a task failed; failed tasks are not billed."""
    code, sentence = words(node(data, "failCode")), clean(words(node(data, "failMsg")))
    if _REFUSAL.search(sentence):
        return Refused(f"the provider's content rules forbid this image{said(sentence)}", http_status=_DONE)
    if code in _WRONG_INPUT:
        return Rejected(f"the provider rejected the task{said(sentence)}", http_status=_DONE)
    return ServerFault(f"the task failed{said(sentence)}", http_status=_DONE)


def _links(data: Any) -> list[str]:
    """Read the links out of `resultJson`, which may hold raw control characters."""
    result = node(data, "resultJson")
    if isinstance(result, str):
        try:
            result = json.loads(result, strict=False)
        except (ValueError, RecursionError):
            return []
    return [link for found in items(node(result, "resultUrls")) if (link := link_of(found)) is not None]
