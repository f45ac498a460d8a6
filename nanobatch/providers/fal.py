"""fal's queue: a request is submitted, asked for, its result read and its image downloaded.

Facts: https://docs.fal.ai/model-apis/model-endpoints/queue. A model's sub-path (`fal-ai/flux/dev`) is used to submit
only; state and result are below its first two parts. Paths are built here, for the links in answers are another's word.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from nanobatch.errors import ExchangeError, NoImage, Refused, Rejected, ServerFault
from nanobatch.model import FREE, Answer, Cost, Order, Picture, Request, Response
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.inline import data_uri
from nanobatch.providers.links import download, link_of
from nanobatch.providers.polling import poll
from nanobatch.providers.reading import OK, body_of, image_data, items, node, words
from nanobatch.providers.sentences import clean, said, short_name
from nanobatch.providers.statuses import plain_fault

_EDIT = "/edit"  # the sub-path that takes references
_REFUSALS = frozenset({"content_policy_violation", "safety_violation", "nsfw_content"})
_STATES = frozenset({"IN_QUEUE", "IN_PROGRESS", "COMPLETED"})
_SEPARATOR = " "  # between the parts of a task: no model and no request has one


def exchange(order: Order) -> Exchange:
    """Order one image. `order.options` are added to the input."""
    model = order.model
    if order.references and not model.endswith(_EDIT):
        model += _EDIT
    response = yield Request(
        "POST",
        f"/{quote(model, safe='/.')}",
        json=_input(order),
        cost=Cost(tokens=estimated_tokens(order.prompt)),
    )
    if (error := fault(response)) is not None:
        raise error
    request = words(node(body_of(response), "request_id"))
    if not request:
        raise ServerFault("the provider took the order and named no request", http_status=response.status, billed=None)
    app = "/".join(model.split("/")[:2])
    return (yield from resume(order, f"{app}{_SEPARATOR}{request}"))


def resume(order: Order, task: str) -> Exchange:
    """Ask for a request until it is completed, read its result, download the image."""
    app, _, request = task.partition(_SEPARATOR)
    base = f"/{quote(app, safe='/.')}/requests/{quote(request, safe='')}"
    yield from poll(f"{base}/status", task, _completed, trouble=_trouble)
    response = yield Request("GET", base, cost=FREE, repeatable=True, task=task)
    if (error := fault(response)) is not None:
        # A failed request answers with its own error where the result would be: that is a verdict, not a bad poll.
        raise _decided(error) if _is_verdict(response) else error
    body = body_of(response)
    for entry in [*reversed(items(node(body, "images"))), node(body, "image")]:
        mime = short_name(node(entry, "content_type")) or None
        if (link := link_of(node(entry, "url"))) is not None:
            return Answer(Picture((yield from download(link, task=task)), mime), model=order.model)
        if (data := image_data(node(entry, "url"))) is not None:
            return Answer(Picture(data, mime), model=order.model)
    raise NoImage("the request was completed without an image", http_status=response.status, billed=None)


def fault(response: Response) -> ExchangeError | None:
    """Read fal's `detail`: a sentence, or a list of objects with a `type` and a `msg`."""
    if response.status in OK:
        return plain_fault(response)
    detail = node(body_of(response), "detail")
    kinds = {words(node(entry, "type")) for entry in items(detail)}
    sentence = clean(words(detail) or " ".join(words(node(entry, "msg")) for entry in items(detail)))
    if kinds & _REFUSALS:
        return Refused(f"the provider's content rules forbid this image{said(sentence)}", http_status=response.status)
    if response.status == 422 and kinds:
        return Rejected(f"the provider rejected the input{said(sentence)}", http_status=response.status)
    return plain_fault(response)


def _input(order: Order) -> dict[str, Any]:
    body: dict[str, Any] = {"prompt": order.prompt, "num_images": 1}
    if "flux" in order.model:
        if order.pixels is not None:
            body["image_size"] = {"width": order.pixels[0], "height": order.pixels[1]}
    elif order.aspect_ratio is not None:
        body["aspect_ratio"] = order.aspect_ratio
    if order.size is not None:
        body["resolution"] = order.size
    if order.seed is not None:
        body["seed"] = order.seed
    if order.references:
        body["image_urls"] = [data_uri(reference) for reference in order.references]
    return body | dict(order.options)


def _trouble(response: Response) -> str | None:
    """Say what is wrong with a poll that tells no state."""
    if response.status not in OK:
        raise fault(response) or ServerFault("the poll was not answered", http_status=response.status)
    return None if words(node(body_of(response), "status")) in _STATES else "the answer tells no state"


def _completed(body: Any) -> bool | None:
    return True if words(node(body, "status")) == "COMPLETED" else None


def _is_verdict(response: Response) -> bool:
    """Whether an answer in place of the result speaks of the request itself."""
    return node(body_of(response), "detail") is not None and (400 <= response.status < 500 or response.status == 500)


def _decided(error: ExchangeError) -> ExchangeError:
    """Return the error as the task's end; its status was an answer's about a task, not of a poll."""
    error.http_status = 200
    return error
