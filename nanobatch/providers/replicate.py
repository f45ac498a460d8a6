"""Replicate's predictions: created, asked for, and their file downloaded before it expires.

Facts: https://replicate.com/docs/reference/http and recorded answers. `output` is a link or a list of links; a failed
prediction says why in `error`, and is not billed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from nanobatch.errors import Ambiguous, ExchangeError, NoImage, Refused, Rejected, ServerFault, TaskOpen
from nanobatch.model import Answer, Cost, Order, Picture, Request, Response
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.inline import data_uri
from nanobatch.providers.links import download, link_of
from nanobatch.providers.polling import poll, task_id, unanswered
from nanobatch.providers.reading import OK, body_of, items, node, words
from nanobatch.providers.sentences import clean, said, short_name
from nanobatch.providers.statuses import plain_fault

_REFUSAL = re.compile(r"(?i)\bE005\b|sensitive|nsfw|safety|content polic|prohibited|flagged|moderat")
_DECIDED = 200  # the status of the poll that tells a prediction's end


def exchange(order: Order) -> Exchange:
    """Order one image. `order.options` are added to the input."""
    owner, _, name = order.model.partition("/")
    response = yield Request(
        "POST",
        f"/models/{quote(owner, safe='')}/{quote(name, safe='')}/predictions",
        json={"input": _input(order)},
        cost=Cost(tokens=estimated_tokens(order.prompt)),
    )
    if (error := fault(response)) is not None:
        raise error
    task = task_id(node(body_of(response), "id"))
    if task is None:
        raise Ambiguous("the provider took the order and named no prediction", http_status=response.status)
    return (yield from resume(order, task))


def resume(order: Order, task: str) -> Exchange:
    """Ask for a prediction until it has ended, then download its image."""
    body = yield from poll(f"/predictions/{quote(task, safe='')}", task, _read)
    blob = yield from download(_links(body)[-1], task=task)
    return Answer(Picture(blob), model=short_name(node(body, "model")) or order.model)


def fault(response: Response) -> ExchangeError | None:
    """Read Replicate's problem object: `title`, `detail`, `status`."""
    body = body_of(response)
    if response.status == 422 and isinstance(body, Mapping):
        sentence = clean(words(body.get("detail")) or words(body.get("title")))
        if _REFUSAL.search(sentence):
            return Refused(f"the provider's content rules forbid this image{said(sentence)}", http_status=422)
        return Rejected(f"the provider rejected the input{said(sentence)}", http_status=response.status)
    if response.status in OK and task_id(node(body, "id")) is not None:
        return None  # what became of the prediction is told by its state
    return plain_fault(response)


def _input(order: Order) -> dict[str, Any]:
    body: dict[str, Any] = {"prompt": order.prompt}
    if order.aspect_ratio is not None:
        body["aspect_ratio"] = order.aspect_ratio
    if order.size is not None:
        body["resolution"] = order.size
    if order.seed is not None:
        body["seed"] = order.seed
    if order.references:
        field = "input_images" if order.model.startswith("black-forest-labs/") else "image_input"
        body[field] = [data_uri(reference) for reference in order.references]
    return body | dict(order.options)


def _read(response: Response) -> Any | ExchangeError | None:
    """Read a poll: the prediction when its image is there, None while it is under way, or what is wrong with it."""
    if response.status not in OK:
        return unanswered(response, fault(response))
    body = body_of(response)
    state = node(body, "status")
    if not isinstance(state, str) or not state:
        return TaskOpen("the prediction cannot be asked about: the answer tells no state", http_status=response.status)
    match state:
        case "succeeded":
            if _links(body):
                return body
            raise NoImage("the prediction succeeded without an image", http_status=_DECIDED, billed=None)
        case "failed" | "canceled" | "aborted":
            raise _failure(state, clean(words(node(body, "error"))))
        case _:
            return None


def _failure(state: str, sentence: str) -> ExchangeError:
    if _REFUSAL.search(sentence):
        return Refused(f"the provider's content rules forbid this image{said(sentence)}", http_status=_DECIDED)
    return ServerFault(f"the prediction ended as {state}{said(sentence)}", http_status=_DECIDED)


def _links(body: Any) -> list[str]:
    output = node(body, "output")
    found = items(output) if isinstance(output, list) else [output]
    return [link for entry in found if (link := link_of(entry)) is not None]
