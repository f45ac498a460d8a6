"""fal's queue: submit, status, result. Errors are a `detail`: a sentence, or a list of what is wrong where.

Any key passes in `Authorization: Key ...` unless it begins with `invalid`, and any model. A model is `owner/name`, with
more behind it, such as `/edit`, for the submission alone. Format: https://docs.fal.ai.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, MalformedError, Order, Task, parsed
from nanobatch.sandbox.dialects.gemini_models import PIXELS, traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_uri
from nanobatch.sandbox.images import Drawing, Kind
from nanobatch.sandbox.limits import Excess

NAME = "fal"
_EVERYWHERE = frozenset({"prompt", "num_images", "output_format", "sync_mode", "seed", "safety_tolerance"})
_BANANA = _EVERYWHERE | {"aspect_ratio", "resolution", "limit_generations", "enable_web_search"}
_FLUX = _EVERYWHERE | {
    "image_size", "num_inference_steps", "guidance_scale", "enable_safety_checker", "enhance_prompt", "acceleration",
}  # fmt: skip
_KINDS: Mapping[str, Kind] = {"png": "png", "jpeg": "jpeg", "webp": "webp"}
_SIZES = ("1K", "2K", "4K")
_NAMED_SIZES: Mapping[str, tuple[int, int]] = {
    "square_hd": (1024, 1024), "square": (512, 512), "portrait_4_3": (768, 1024), "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768), "landscape_16_9": (1024, 576),
}  # fmt: skip
_LONGEST_SIDE = 4096  # pixels
_MOST_IMAGES, _MOST_REFERENCES = 4, 14
_IN_QUEUE = 0.3  # of a task's time


class _InvalidError(ValueError):
    """A field is wrong: the message, the field and the vendor's word for it."""

    def __init__(self, where: str, message: str, kind: str = "value_error") -> None:
        super().__init__(message)
        self.where = where
        self.kind = kind


def read(asked: Asked) -> Order | Answer:
    """Return what a submission wants, or the vendor's refusal."""
    refused = _door(asked)
    if refused is not None:
        return refused
    try:
        return _order(asked.path["model"], parsed(asked.body), asked.uploads)
    except MalformedError:
        return _wrong(["body"], "JSON decode error", "json_invalid")
    except _InvalidError as error:
        return _wrong(["body", error.where], str(error), error.kind)


def models(asked: Asked) -> Answer:
    """Say no: the queue lists no models."""
    return _door(asked) or Answer(404, {"detail": "Not Found"})


def over_limit(order: Order, excess: Excess) -> Answer:  # noqa: ARG001 - the vendor names no limit
    """Answer a submission beyond a limit."""
    return _too_often(excess.wait_seconds)


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:  # noqa: ARG001 - the same for every model
    """Return the answer to an order that is not taken."""
    match fault:
        case "429":
            return _too_often(wish_seconds)
        case "429money":
            why = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
            return Answer(403, {"detail": why})
        case "badkey":
            return _no_access()
        case "500":
            return _broken()
        case "503":
            return Answer(503, {"detail": "Service Unavailable"})
    raise ValueError(f"fal has no words for the fault {fault!r}")


def created(task: Task) -> Answer:
    """Name the request and where it can be asked for."""
    base = f"https://queue.fal.run/{_app(task.order.model)}/requests/{task.id}"
    places = {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}
    return Answer(200, {"status": "IN_QUEUE", "request_id": task.id, "queue_position": 0} | places)


def task_id(asked: Asked) -> str:
    """Return the request that the path names."""
    return asked.path["request"]


def polled(task: Task | None, asked: Asked) -> Answer:
    """Tell the state or, below the request itself, the result."""
    refused = _door(asked)
    if refused is not None:
        return refused
    if task is None or asked.path["app"] != _app(task.order.model):
        return Answer(404, {"detail": f"Request {asked.path['request']} not found"})
    progress = task.progress(asked.time)
    if "what" in asked.path:
        return _status(task, progress)
    if progress < 1.0:
        return Answer(400, {"detail": "Request is still in progress"})
    match task.fault:
        case None | "noimage":
            return Answer(200, {"images": _images(task), "description": ""})
        case "blocked" | "safety" | "taskrefuse":
            why = "The content could not be processed because it was flagged by a content checker."
            return _wrong(["body", "prompt"], why, "content_policy_violation")
        case _:
            return _broken()


def stumbled(fault: str, wish_seconds: float) -> Answer:
    """Return a poll that goes wrong."""
    return _too_often(wish_seconds) if fault == "poll429" else _broken()


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-fal-request-id": f"{number:032x}", "x-fal-served-ms": str(milliseconds)}


def _status(task: Task, progress: float) -> Answer:
    state = "COMPLETED" if progress == 1.0 else "IN_QUEUE" if progress < _IN_QUEUE else "IN_PROGRESS"
    body: dict[str, Any] = {"status": state, "request_id": task.id}
    match state:
        case "COMPLETED":
            return Answer(200, body | {"logs": None, "metrics": {"inference_time": task.ready - task.created}})
        case "IN_QUEUE":
            return Answer(202, body | {"queue_position": 0})
        case _:
            return Answer(202, body | {"logs": None})


def _images(task: Task) -> list[dict[str, Any]]:
    drawing = task.order.drawing
    facts = {"content_type": drawing.mime, "width": drawing.width, "height": drawing.height}
    return [{"url": link, "file_name": link.rpartition("/")[2]} | facts for link in task.links]


def _app(model: str) -> str:
    return "/".join(model.split("/")[:2])


def _order(model: str, body: Any, uploads: Mapping[str, str]) -> Order:
    if not isinstance(body, Mapping):
        raise _InvalidError("input", "Input should be a valid dictionary", "model_attributes_type")
    flux, edits = "flux" in model, model.endswith("/edit")
    known = (_FLUX if flux else _BANANA) | ({"image_urls"} if edits else set())
    if unknown := [name for name in body if name not in known]:
        raise _InvalidError(unknown[0], "Extra inputs are not permitted", "extra_forbidden")
    prompt, images = body.get("prompt"), body.get("num_images", 1)
    if not isinstance(prompt, str) or not prompt:
        raise _InvalidError("prompt", "Field required", "missing")
    if isinstance(images, bool) or not isinstance(images, int) or not 1 <= images <= _MOST_IMAGES:
        raise _InvalidError("num_images", f"Input should be from 1 to {_MOST_IMAGES}", "less_than_equal")
    kind = _KINDS[_choice(body, "output_format", tuple(_KINDS), "jpeg" if flux else "png")]
    width, height = _named_or_sides(body.get("image_size", "landscape_4_3")) if flux else _ratio(body)
    drawing = Drawing(prompt, width, height, kind, f"{model}  {width}x{height}")
    return Order(model, drawing, images, _references(body.get("image_urls"), uploads) if edits else ())


def _choice(body: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    value = body.get(name, default)
    if value not in choices:
        raise _InvalidError(name, f"Input should be one of {', '.join(choices)}", "literal_error")
    return str(value)


def _ratio(body: Mapping[str, Any]) -> tuple[int, int]:
    ratio = _choice(body, "aspect_ratio", (*PIXELS, "auto"), "auto")
    size = _choice(body, "resolution", _SIZES, "1K")
    return traits("").size(None if ratio == "auto" else ratio, size)


def _named_or_sides(size: Any) -> tuple[int, int]:
    if isinstance(size, str) and size in _NAMED_SIZES:
        return _NAMED_SIZES[size]
    sides = [_side(size.get(name)) for name in ("width", "height")] if isinstance(size, Mapping) else []
    if len(sides) != 2:
        raise _InvalidError("image_size", "Input should be a name, or an object of width and height", "literal_error")
    return sides[0], sides[1]


def _side(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LONGEST_SIDE:
        raise _InvalidError("image_size", f"Input should be from 1 to {_LONGEST_SIDE}", "less_than_equal")
    return value


def _references(links: Any, uploads: Mapping[str, str]) -> tuple[str, ...]:
    if not isinstance(links, list) or not 1 <= len(links) <= _MOST_REFERENCES:
        raise _InvalidError("image_urls", f"List should have 1 to {_MOST_REFERENCES} items", "too_long")
    try:
        return tuple(uploads.get(str(link)) or digest_of_uri(link) for link in links)
    except UnreadableError as error:
        raise _InvalidError("image_urls", f"Failed to load the image: {error}", "file_download_error") from error


def _too_often(wait_seconds: float) -> Answer:
    return Answer(429, {"detail": "Too many requests"}, {"Retry-After": str(max(1, math.ceil(wait_seconds)))})


def _wrong(where: list[str], message: str, kind: str) -> Answer:
    return Answer(422, {"detail": [{"loc": where, "msg": message, "type": kind}]})


def _broken() -> Answer:
    return Answer(500, {"detail": "Internal Server Error"})


def _no_access() -> Answer:
    return Answer(401, {"detail": "Cannot access application. Authentication is required to access this application."})


def _door(asked: Asked) -> Answer | None:
    scheme, _, key = asked.headers.get("Authorization", "").partition(" ")
    key = key.strip()
    return _no_access() if scheme.lower() != "key" or not key or key.startswith(UNACCEPTED) else None
