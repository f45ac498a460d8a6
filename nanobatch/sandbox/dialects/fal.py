"""fal's queue: submit, status, result. Errors are a `detail`: a sentence, or a list of what is wrong where.

Any key passes in `Authorization: Key ...` unless it begins with `invalid`. Format: https://docs.fal.ai.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, MalformedError, Order, Task, parsed
from nanobatch.sandbox.dialects.gemini_models import PIXELS, traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_uri
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

NAME = "fal"
_KNOWN = frozenset({
    "prompt", "num_images", "aspect_ratio", "resolution", "image_size", "seed", "image_urls", "output_format",
    "safety_tolerance", "num_inference_steps", "guidance_scale", "enable_safety_checker", "sync_mode",
})  # fmt: skip
_RATIOS = (*PIXELS, "auto")
_SIZES = ("1K", "2K", "4K")
_LONGEST_SIDE = 4096
_SQUARE = (1024, 1024)
_MOST_IMAGES = 14


class _InvalidError(ValueError):
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
        return _order(asked.path["model"], parsed(asked.body))
    except MalformedError:
        return Answer(422, {"detail": [{"loc": ["body"], "msg": "JSON decode error", "type": "json_invalid"}]})
    except _InvalidError as error:
        return Answer(422, {"detail": [{"loc": ["body", error.where], "msg": str(error), "type": error.kind}]})


def models(asked: Asked) -> Answer:
    """Say no: the queue lists no models."""
    return _door(asked) or Answer(404, {"detail": "Not Found"})


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a submission beyond a limit."""
    del order
    seconds = max(1, round(excess.wait_seconds))
    return Answer(429, {"detail": "Too many requests"}, {"Retry-After": str(seconds)})


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of an order that is not taken."""
    del order
    match fault:
        case "429" | "429day":
            return Answer(429, {"detail": "Too many requests"}, {"Retry-After": str(max(1, round(wish_seconds)))})
        case "429money" | "429zero":
            return Answer(403, {"detail": "User is locked. Reason: Exhausted balance. Top up your balance."})
        case "badkey" | "leaked":
            return Answer(401, {"detail": "Cannot access application. Authentication is required to access it."})
        case "blocked":
            return _refused()
        case "503":
            return Answer(503, {"detail": "Service unavailable"})
        case _:
            return Answer(500, {"detail": "Internal Server Error"})


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Orders are answered by `created`."""
    raise NotImplementedError


def created(task: Task) -> Answer:
    """Name the request and where it can be asked for."""
    base = f"https://queue.fal.run/{_app(task.order.model)}/requests/{task.id}"
    return Answer(
        200,
        {
            "status": "IN_QUEUE",
            "request_id": task.id,
            "response_url": base,
            "status_url": f"{base}/status",
            "cancel_url": f"{base}/cancel",
            "queue_position": 0,
        },
    )


def task_id(asked: Asked) -> str:
    """Return the request that the path names."""
    return asked.path.get("request", "")


def polled(task: Task | None, asked: Asked) -> Answer:
    """Tell the state, or below the request itself the result. The application is part of the path."""
    refused = _door(asked)
    if refused is not None:
        return refused
    if task is None or asked.path.get("app") != _app(task.order.model):
        return Answer(404, {"detail": "Request not found"})
    done = time.time() >= task.ready
    if asked.path.get("what") == "status":
        state = "COMPLETED" if done else "IN_PROGRESS" if time.time() > task.created + 0.3 else "IN_QUEUE"
        return Answer(200 if done else 202, {"status": state, "request_id": task.id, "logs": None})
    if not done:
        return Answer(400, {"detail": "Request is still in progress"})
    if task.fate in ("taskrefuse", "safety"):
        return _refused()
    if task.fate is not None:
        return Answer(500, {"detail": "Internal Server Error: the runner failed"})
    drawing = task.order.drawing
    images = [
        {"url": link, "content_type": drawing.mime, "width": drawing.width, "height": drawing.height}
        for link in task.links
    ]
    return Answer(200, {"images": images, "description": ""})


def stumbled(fault: str, wish_seconds: float) -> Answer:
    """Return a poll that goes wrong."""
    if fault == "poll429":
        return Answer(429, {"detail": "Too many requests"}, {"Retry-After": str(max(1, round(wish_seconds)))})
    return Answer(500, {"detail": "Internal Server Error"})


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-fal-request-id": f"{number:032x}", "x-fal-served-ms": str(milliseconds)}


def _app(model: str) -> str:
    return "/".join(model.split("/")[:2])


def _order(model: str, body: Any) -> Order:
    if not isinstance(body, Mapping):
        raise _InvalidError("input", "Input should be an object")
    for name in body:
        if name not in _KNOWN:
            raise _InvalidError(name, "Extra inputs are not permitted", "extra_forbidden")
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or len(prompt) < 3:
        raise _InvalidError("prompt", "String should have at least 3 characters", "string_too_short")
    links = body.get("image_urls", [])
    if model.endswith("/edit") != bool(links) or not isinstance(links, list) or len(links) > _MOST_IMAGES:
        raise _InvalidError("image_urls", "Field required for /edit, and not permitted elsewhere", "missing")
    try:
        references = tuple(map(digest_of_uri, links))
    except UnreadableError as error:
        raise _InvalidError("image_urls", f"Failed to load the image: {error}", "image_load_error") from error
    width, height = _pixels(model, body)
    drawing = Drawing(prompt, width, height, "png", f"{model}  {width}x{height}")
    return Order(model, drawing, references=references)


def _pixels(model: str, body: Mapping[str, Any]) -> tuple[int, int]:
    if "flux" in model:
        wanted = body.get("image_size")
        if "aspect_ratio" in body or "resolution" in body:
            raise _InvalidError("aspect_ratio", "Extra inputs are not permitted", "extra_forbidden")
        if wanted is None:
            return _SQUARE
        sides = [wanted.get(side) for side in ("width", "height")] if isinstance(wanted, Mapping) else []
        found = [side for side in sides if isinstance(side, int) and 64 <= side <= _LONGEST_SIDE]
        if len(found) != 2:
            raise _InvalidError("image_size", "Input should be an object of width and height")
        return found[0], found[1]
    ratio, size = body.get("aspect_ratio", "auto"), body.get("resolution", "1K")
    if ratio not in _RATIOS or size not in _SIZES or "image_size" in body:
        raise _InvalidError("aspect_ratio", "Input should be one of the permitted values", "literal_error")
    return traits("nano-banana-pro").size(None if ratio == "auto" else ratio, size)


def _refused() -> Answer:
    detail = {
        "loc": ["body", "prompt"],
        "msg": "The content could not be processed because it was flagged by a content checker.",
        "type": "content_policy_violation",
    }
    return Answer(422, {"detail": [detail]})


def _door(asked: Asked) -> Answer | None:
    scheme, _, key = asked.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "key" or not key.strip() or key.strip().startswith(UNACCEPTED):
        return Answer(401, {"detail": "Cannot access application. Authentication is required to access it."})
    return None
