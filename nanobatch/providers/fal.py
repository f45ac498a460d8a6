"""fal's queue: a request is submitted, asked for, its result read and its image downloaded.

Facts: https://docs.fal.ai/model-apis/model-endpoints/queue, https://docs.fal.ai/errors and
https://docs.fal.ai/documentation/model-apis/request-errors. A model's sub-path (`fal-ai/flux/dev`) is used to submit
only; state and result are below its first two parts. Paths are built here, for the links in answers are another's word.

A request that failed is `COMPLETED` too, and its error stands where the result would be: a list of objects with a
`type` from the model, or an `error_type` from fal's machines. An error without a type may be the poll's own.
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
from nanobatch.providers.reading import OK, body_of, image_data, items, node, words
from nanobatch.providers.sentences import clean, said, short_name
from nanobatch.providers.statuses import by_status, plain_fault

_EDIT = "/edit"  # the sub-path that takes references
_FLUX = "fal-ai/flux"  # these take width and height; others, and those of which no pixels are known, a ratio
_NO_MEDIA = "no_media_generated"
_REFUSALS = frozenset({"content_policy_violation", "safety_violation", "nsfw_content"})
_UNSAFE = re.compile(r"(?i)\bunsafe\b|safety|content polic|prohibited|sensitive")
_DOWNSTREAM = frozenset({"downstream_service_error", "downstream_service_unavailable"})  # a 400 and a 500 of others
_VAGUE = frozenset({"internal_error"})  # of whichever machine answered
_OF_THE_POLL = frozenset({401, 403, 404, 408, 410, 429})  # speak of the account or of the moment, never of the image
_SEPARATOR = " "  # between the parts of a task: no model and no request has one
_RESULT_DELAYS_SECONDS = (0.0, 5.0)
_MOST_FAILURES = 3  # in a row in place of the result, before an error without a type is believed
_DECIDED = 200  # the status that an error has which tells a request's end


def exchange(order: Order) -> Exchange:
    """Order one image. `order.options` are added to the input."""
    model = order.model
    if order.references and not model.endswith(_EDIT):
        model += _EDIT
    response = yield Request(
        "POST",
        f"/{quote(model)}",
        json=_input(order),
        cost=Cost(tokens=estimated_tokens(order.prompt)),
    )
    if (error := fault(response)) is not None:
        raise error
    request = task_id(node(body_of(response), "request_id"))
    if request is None:
        raise Ambiguous("the provider took the order and named no request", http_status=response.status)
    app = "/".join(model.split("/")[:2])
    return (yield from resume(order, f"{app}{_SEPARATOR}{request}"))


def resume(order: Order, task: str) -> Exchange:
    """Ask for a request until it is completed, read its result, download the image."""
    app, _, request = task.partition(_SEPARATOR)
    base = f"/{quote(app)}/requests/{quote(request, safe='')}"
    yield from poll(f"{base}/status", task, _read_state)
    found = yield from poll(base, task, _read_result, delays_seconds=_RESULT_DELAYS_SECONDS, most_bad=_MOST_FAILURES)
    mime = short_name(node(found, "content_type")) or None
    if (link := link_of(node(found, "url"))) is not None:
        return Answer(Picture((yield from download(link, task=task)), mime), model=order.model)
    return Answer(Picture(node(found, "url"), mime), model=order.model)


def fault(response: Response) -> ExchangeError | None:
    """Read fal's `detail`: a sentence, or a list of objects with a `type` and a `msg`."""
    kinds = _kinds(response)
    if response.status in OK or not kinds:
        return plain_fault(response)
    sentence, status = _sentence(response), response.status
    if kinds & _REFUSALS or (_NO_MEDIA in kinds and _UNSAFE.search(sentence)):
        return Refused(f"the provider's content rules forbid this image{said(sentence)}", http_status=status)
    if _NO_MEDIA in kinds:
        return NoImage(f"the model made no image{said(sentence)}", http_status=status, billed=None)
    if kinds & _DOWNSTREAM:
        return ServerFault(f"the provider's own provider failed{said(sentence)}", http_status=status)
    if status == 422:
        return Rejected(f"the provider rejected the input{said(sentence)}", http_status=status)
    return by_status(response, status=status, sentence=sentence)


def _input(order: Order) -> dict[str, Any]:
    body: dict[str, Any] = {"prompt": order.prompt, "num_images": 1}
    if order.pixels is not None and order.model.startswith(_FLUX):
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


def _read_state(response: Response) -> str | ExchangeError | None:
    """Read a poll: the state when the request is completed, None before, or what is wrong with the poll."""
    if response.status not in OK:
        return unanswered(response, fault(response))
    state = node(body_of(response), "status")
    if not isinstance(state, str) or not state:
        return TaskOpen("the request cannot be asked about: the answer tells no state", http_status=response.status)
    return state if state == "COMPLETED" else None


def _read_result(response: Response) -> Any | ExchangeError:
    """Read what stands where the result should be: the last image, or why there is none."""
    if response.status not in OK:
        return _failure(response)
    body = body_of(response)
    for entry in [*reversed(items(node(body, "images"))), node(body, "image")]:
        url = node(entry, "url")
        if link_of(url) is not None or image_data(url) is not None:
            return entry
    if not isinstance(body, Mapping) or "status" in body:  # not a result yet
        return TaskOpen("the request is completed, but its result is not there", http_status=response.status)
    raise NoImage("the request was completed without an image", http_status=response.status, billed=None)


def _failure(response: Response) -> ExchangeError:
    """Say what an error in place of the result means: the request's end, or only a poll that went wrong."""
    error = fault(response)
    if response.status in _OF_THE_POLL:
        return unanswered(response, error)
    failed = ServerFault(f"the request failed{said(_sentence(response))}", http_status=_DECIDED)
    kinds = _kinds(response) - _VAGUE
    match error:
        case Refused() | Rejected() | NoImage() if kinds:
            error.http_status = _DECIDED
            raise error
        case _ if kinds:
            raise failed
        case _ if response.status == 500:
            return failed
        case _:
            return unanswered(response, error)


def _kinds(response: Response) -> set[str]:
    """Return the types of an error: the model's, or that of fal's machines."""
    body = body_of(response)
    found = [node(entry, "type") for entry in items(node(body, "detail"))]
    found += [node(body, "error_type"), response.headers.get("x-fal-error-type")]
    return {kind for kind in found if isinstance(kind, str) and kind}


def _sentence(response: Response) -> str:
    detail = node(body_of(response), "detail")
    return clean(words(detail) or " ".join(words(node(entry, "msg")) for entry in items(detail)))
