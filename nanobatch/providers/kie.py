"""Kie.ai: a task is created, asked for, and its image downloaded. Errors come as a `code` inside HTTP 200.

Facts: https://docs.kie.ai and its model pages. References are uploaded first, because inputs are links. The state and
the links of a task decide, not the `code` beside them; `resultJson` is JSON in a string, empty while the task runs. A
task that was just created may be unknown for some seconds ("recordInfo is null", code 422). `creditsConsumed` is left
alone: a credit's price is a matter of the catalog, so the price list tells the cost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any
from urllib.parse import quote

from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    ExchangeError,
    ModelGone,
    NoImage,
    Overloaded,
    Refused,
    Rejected,
    ServerFault,
    TaskOpen,
    Undelivered,
)
from nanobatch.model import FREE, Answer, Cost, Form, FormFile, Order, Picture, Reference, Request, Response
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.links import download, link_of
from nanobatch.providers.polling import poll, task_id, unanswered
from nanobatch.providers.quotas import by_quota
from nanobatch.providers.reading import OK, body_of, count, items, node, words
from nanobatch.providers.sentences import clean, said, short_name
from nanobatch.providers.statuses import plain_fault

_DECIDED = 200  # the status of the poll that tells a task's end
_EDIT = {"google/nano-banana": "google/nano-banana-edit"}  # the model that takes references
_LITE = "nano-banana-2-lite"  # makes 1K only and knows no `resolution`; its `aspect_ratio` is required
_FIRST = frozenset({"google/nano-banana", "google/nano-banana-edit"})  # their ratio is `image_size`, their size fixed
_LINK_FIELDS = {"google/nano-banana-edit": "image_urls", _LITE: "image_urls"}  # others: image_input
_UPLOAD_FOLDER = "nanobatch"
_REFUSAL = re.compile(
    r"(?i)sensitive|prohibited (?:content|use)|content polic|violat\w+ .{0,60}polic|moderat|safety|flagged|nsfw"
    r"|inappropriate|blocked (?:by|due)"
)
_NO_MODEL = re.compile(r"(?i)\bmodel\b.{0,40}(?:not supported|not exist|not found|unavailable|offline)")
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
    task = task_id(node(body_of(response), "data", "taskId")) if response.status in OK else None
    if task is None:  # where there is one, the order was taken, whatever the code says
        raise fault(response) or Ambiguous("the provider took the order and named no task", http_status=response.status)
    return (yield from resume(order, task))


def resume(order: Order, task: str) -> Exchange:
    """Ask for a task until it is decided, then download its image."""
    del order  # the task knows what was ordered
    data = yield from poll(f"/api/v1/jobs/recordInfo?taskId={quote(task, safe='')}", task, _read)
    blob = yield from download(_links(data)[-1], task=task)
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
            return by_quota(response, status=code, sentence=sentence)
        case 455 | 503:
            return Overloaded(f"the provider is overloaded or under maintenance{more}", http_status=code)
        case 400 | 422 | 501 if _REFUSAL.search(sentence):
            return Refused(f"the provider's content rules forbid this image{more}", http_status=code)
        case 400 | 404 | 422 if _NO_MODEL.search(sentence):
            return ModelGone(f"the provider does not have this model{more}", http_status=code)
        case _ if 400 <= code < 500:
            return Rejected(f"the provider rejected the request{more}", http_status=code)
        case _:
            return ServerFault(f"the provider failed{more}", http_status=code if 500 <= code < 600 else response.status)


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
    data = node(body_of(response), "data") if response.status in OK else None
    link = link_of(node(data, "downloadUrl")) or link_of(node(data, "fileUrl"))
    if link is None:
        raise fault(response) or ServerFault("the upload service named no link", http_status=response.status)
    return link


def _body(order: Order, links: list[str]) -> dict[str, Any]:
    model = _EDIT.get(order.model, order.model) if links else order.model
    inputs: dict[str, Any] = {"prompt": order.prompt}
    ratio = order.aspect_ratio or ("auto" if model == _LITE else None)
    if ratio is not None:
        inputs["image_size" if model in _FIRST else "aspect_ratio"] = ratio
    if order.size is not None and model not in _FIRST and model != _LITE:
        inputs["resolution"] = order.size
    if links:
        inputs[_LINK_FIELDS.get(model, "image_input")] = links
    return {"model": model, "input": inputs | dict(order.options)}


def _read(response: Response) -> Any | ExchangeError | None:
    """Read a poll: the task's data when its image is there, None while it is under way, or what is wrong with it."""
    if response.status not in OK:
        return unanswered(response, fault(response))
    data = node(body_of(response), "data")
    match words(node(data, "state")).lower():
        case "success":
            if _links(data):
                return data
            raise NoImage("the task succeeded without an image", http_status=_DECIDED, billed=None)
        case "fail" | "failed":
            raise _failure(data)
        case "":
            return _untold(response)
        case _:
            return None


def _untold(response: Response) -> ExchangeError:
    """Say what a poll without a state means when it is all that ever comes."""
    error = fault(response)
    if error is None:
        return TaskOpen("the task cannot be asked about: the answer tells no state", http_status=response.status)
    if error.http_status in (404, 422):
        sentence = clean(words(node(body_of(response), "msg")))
        return Undelivered(f"the provider does not know the task (any more){said(sentence)}")
    return TaskOpen(f"the task cannot be asked about: {error.message}", http_status=response.status)


def _failure(data: Any) -> ExchangeError:
    """Say why a task failed; failed tasks are not billed."""
    code, sentence = words(node(data, "failCode")), clean(words(node(data, "failMsg")))
    if _REFUSAL.search(sentence):
        return Refused(f"the provider's content rules forbid this image{said(sentence)}", http_status=_DECIDED)
    if code in _WRONG_INPUT:
        return Rejected(f"the provider rejected the task{said(sentence)}", http_status=_DECIDED)
    return ServerFault(f"the task failed{said(sentence)}", http_status=_DECIDED)


def _links(data: Any) -> list[str]:
    """Read the links out of `resultJson`, which may hold raw control characters."""
    result = node(data, "resultJson")
    if isinstance(result, str):
        try:
            result = json.loads(result, strict=False)
        except (ValueError, RecursionError):
            return []
    return [link for found in items(node(result, "resultUrls")) if (link := link_of(found)) is not None]
