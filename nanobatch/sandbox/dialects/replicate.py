"""Replicate's predictions: created, asked for, their output a link. Errors are problem objects.

Any Bearer key passes unless it begins with `invalid`. Format: https://replicate.com/docs/reference/http.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, MalformedError, Order, Task, parsed
from nanobatch.sandbox.dialects.gemini_models import PIXELS, traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_uri
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

NAME = "replicate"
_GOOGLE = frozenset({"prompt", "aspect_ratio", "resolution", "image_input", "output_format", "safety_filter_level"})
_FLUX = frozenset({
    "prompt", "aspect_ratio", "seed", "input_images", "output_format", "output_quality", "safety_tolerance",
    "prompt_upsampling", "num_outputs", "go_fast", "megapixels",
})  # fmt: skip
_SIZES = ("1K", "2K", "4K")
_MOST_IMAGES = 14


class _InvalidError(ValueError):
    """The input is wrong; the text says where."""


def read(asked: Asked) -> Order | Answer:
    """Return what a prediction wants, or the vendor's refusal."""
    refused = _door(asked)
    if refused is not None:
        return refused
    try:
        return _order(f"{asked.path['owner']}/{asked.path['name']}", parsed(asked.body))
    except MalformedError:
        return _problem(400, "Invalid JSON", "The request body is not JSON")
    except _InvalidError as error:
        return _problem(422, "Input validation failed", str(error))


def models(asked: Asked) -> Answer:
    """Name the account: the free call of Replicate."""
    return _door(asked) or Answer(200, {"type": "user", "username": "sandbox", "name": "Sandbox"})


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a prediction beyond a limit."""
    del order
    return _throttled(excess.wait_seconds)


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of an order that is not taken."""
    del order
    match fault:
        case "429" | "429day":
            return _throttled(wish_seconds)
        case "429money" | "429zero":
            return _problem(402, "Insufficient credit", "You have insufficient credit to run this model.")
        case "badkey" | "leaked":
            return _problem(401, "Unauthenticated", "You did not pass a valid authentication token")
        case "blocked":
            return _problem(422, "Input validation failed", "- input.prompt: flagged as sensitive (E005)")
        case "503":
            return _problem(503, "Service unavailable", "Please try again later.")
        case _:
            return _problem(500, "Internal server error", "Something went wrong.")


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Orders are answered by `created`."""
    raise NotImplementedError


def created(task: Task) -> Answer:
    """Return the prediction as it begins."""
    return Answer(201, _prediction(task) | {"status": "starting", "output": None, "error": None})


def task_id(asked: Asked) -> str:
    """Return the prediction that the path names."""
    return asked.path.get("prediction", "")


def polled(task: Task | None, asked: Asked) -> Answer:
    """Tell how a prediction stands."""
    refused = _door(asked)
    if refused is not None:
        return refused
    if task is None:
        return _problem(404, "Not found", "The requested resource could not be found.")
    return Answer(200, _prediction(task))


def stumbled(fault: str, wish_seconds: float) -> Answer:
    """Return a poll that goes wrong."""
    if fault == "poll429":
        return _throttled(wish_seconds)
    return _problem(500, "Internal server error", "Something went wrong.")


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-request-id": f"{number:032x}", "x-served-ms": str(milliseconds)}


def _prediction(task: Task) -> dict[str, Any]:
    done = time.time() >= task.ready
    body: dict[str, Any] = {
        "id": task.id,
        "model": task.order.model,
        "version": "hidden",
        "input": {"prompt": task.order.drawing.prompt},
        "logs": "",
        "error": None,
        "output": None,
        "status": "processing" if time.time() > task.created + 0.3 else "starting",
        "created_at": _iso(task.created),
        "urls": {"get": f"https://api.replicate.com/v1/predictions/{task.id}"},
    }
    if not done:
        return body
    if task.fate is None:
        # Models differ: some name one link, some a list of one.
        output: Any = list(task.links) if "flux" in task.order.model else task.links[-1]
        return body | {
            "status": "succeeded",
            "output": output,
            "completed_at": _iso(task.ready),
            "metrics": {"predict_time": round(task.ready - task.created, 3)},
        }
    flagged = task.fate in ("taskrefuse", "safety")
    error = "The input or output was flagged as sensitive. (E005)" if flagged else "Prediction failed: model crashed"
    return body | {"status": "failed", "error": error}


def _order(model: str, body: Any) -> Order:
    inputs = body.get("input") if isinstance(body, Mapping) else None
    if not isinstance(inputs, Mapping):
        raise _InvalidError("- input: required")
    flux = "flux" in model
    for name in inputs:
        if name not in (_FLUX if flux else _GOOGLE):
            raise _InvalidError(f"- input: Additional property {name} is not allowed")
    prompt, ratio = inputs.get("prompt"), inputs.get("aspect_ratio", "1:1")
    if not isinstance(prompt, str) or not prompt:
        raise _InvalidError("- input.prompt: required")
    size = inputs.get("resolution", "1K")
    if ratio not in PIXELS or size not in _SIZES:
        raise _InvalidError("- input.aspect_ratio: must be one of the permitted values")
    links = inputs.get("input_images" if flux else "image_input", [])
    if not isinstance(links, list) or len(links) > _MOST_IMAGES:
        raise _InvalidError("- input.image_input: must be a list of at most 14")
    try:
        references = tuple(map(digest_of_uri, links))
    except UnreadableError as error:
        raise _InvalidError(f"- input.image_input: {error}") from error
    width, height = traits("nano-banana-pro").size(ratio if ratio in traits("nano-banana-pro").pixels else None, size)
    drawing = Drawing(prompt, width, height, "png", f"{model}  {size}  {width}x{height}")
    return Order(model, drawing, references=references)


def _throttled(wait_seconds: float) -> Answer:
    seconds = max(1, round(wait_seconds))
    body = {"title": "Throttled", "detail": f"Request was throttled. Expected available in {seconds} seconds.",
            "status": 429, "retry_after": seconds}  # fmt: skip
    return Answer(429, body, {"retry-after": str(seconds)})


def _problem(status: int, title: str, detail: str) -> Answer:
    return Answer(status, {"title": title, "detail": detail, "status": status}, content_type="application/problem+json")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _door(asked: Asked) -> Answer | None:
    if not asked.bearer or asked.bearer.startswith(UNACCEPTED):
        return _problem(401, "Unauthenticated", "You did not pass a valid authentication token")
    return None
