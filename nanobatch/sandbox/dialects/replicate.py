"""Replicate's predictions: created, asked for, their output a link or a list of links. Errors are problem objects.

Any Bearer key passes unless it begins with `invalid`, and any model; those of Black Forest Labs have FLUX's fields, all
others Nano Banana's. Format: https://replicate.com/docs/reference/http.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, MalformedError, Order, Task, parsed
from nanobatch.sandbox.dialects.gemini_models import PIXELS, traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_uri
from nanobatch.sandbox.images import Drawing, Kind
from nanobatch.sandbox.limits import Excess

NAME = "replicate"
_BANANA = frozenset({"prompt", "aspect_ratio", "resolution", "image_input", "output_format", "safety_filter_level"})
_FLUX = frozenset({
    "prompt", "aspect_ratio", "resolution", "seed", "output_format", "output_quality", "safety_tolerance",
    "prompt_upsampling", "num_outputs", "num_inference_steps", "guidance", "go_fast", "megapixels", "width", "height",
    "disable_safety_checker", "image_prompt", "input_images",
})  # fmt: skip
_KINDS: Mapping[str, Kind] = {"jpg": "jpeg", "png": "png", "webp": "webp"}
_SIZES = ("1K", "2K", "4K")
_LISTS = ("flux-dev", "flux-schnell")  # these make several images, and list them even when it is one
_MOST_IMAGES, _MOST_REFERENCES = 4, 14
_STARTING = 0.3  # of a task's time
_CUSTOM_SIDES = range(256, 1441)  # pixels


class _InvalidError(ValueError):
    """A field of the input is wrong: the field and what is wrong with it."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(message)
        self.where = where


def read(asked: Asked) -> Order | Answer:
    """Return what a prediction wants, or the vendor's refusal."""
    refused = _door(asked)
    if refused is not None:
        return refused
    try:
        return _order(f"{asked.path['owner']}/{asked.path['name']}", parsed(asked.body), asked.uploads)
    except MalformedError as error:
        return _problem(400, "Malformed request", f"The body is not JSON: {error}")
    except _InvalidError as error:
        fields = [{"type": "invalid", "field": f"input.{error.where}", "description": str(error)}]
        return _problem(
            422, "Input validation failed", f"- input.{error.where}: {error}\n", more={"invalid_fields": fields}
        )


def models(asked: Asked) -> Answer:
    """Name the account: the free call of Replicate."""
    return _door(asked) or Answer(200, {"type": "user", "username": "sandbox", "name": "Sandbox", "github_url": None})


def over_limit(order: Order, excess: Excess) -> Answer:  # noqa: ARG001 - the same for every model
    """Answer a prediction beyond a limit."""
    return _throttled(excess.wait_seconds)


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:  # noqa: ARG001 - the same for every model
    """Return the answer to an order that is not taken."""
    match fault:
        case "429":
            return _throttled(wish_seconds)
        case "429money":
            return _problem(402, "Insufficient credit", "You have insufficient credit to run this model.")
        case "badkey":
            return _no_access()
        case "500":
            return _broken()
        case "503":
            return _problem(503, "Service unavailable", "The service is unavailable. Please try again later.")
    raise ValueError(f"replicate has no words for the fault {fault!r}")


def created(task: Task) -> Answer:
    """Return the prediction as it begins, however soon it ends."""
    return Answer(201, _prediction(task, 0.0))


def task_id(asked: Asked) -> str:
    """Return the prediction that the path names."""
    return asked.path["prediction"]


def polled(task: Task | None, asked: Asked) -> Answer:
    """Tell how a prediction stands."""
    refused = _door(asked)
    if refused is not None:
        return refused
    if task is None:
        return _problem(404, "Not found", "The requested resource could not be found.")
    return Answer(200, _prediction(task, task.progress(asked.time)))


def stumbled(fault: str, wish_seconds: float) -> Answer:
    """Return a poll that goes wrong."""
    return _throttled(wish_seconds) if fault == "poll429" else _broken()


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-request-id": f"{number:032x}", "x-served-ms": str(milliseconds)}


def _prediction(task: Task, progress: float) -> dict[str, Any]:
    base = f"https://api.replicate.com/v1/predictions/{task.id}"
    body: dict[str, Any] = {
        "id": task.id,
        "model": task.order.model,
        "version": "hidden",
        "input": {"prompt": task.order.drawing.prompt},
        "logs": "",
        "output": None,
        "data_removed": False,
        "error": None,
        "status": "starting" if progress < _STARTING else "processing",
        "created_at": _iso(task.created),
        "urls": {"get": base, "cancel": f"{base}/cancel"},
    }
    return body | (_end(task) if progress == 1.0 else {})


def _end(task: Task) -> dict[str, Any]:
    times = {"completed_at": _iso(task.ready), "metrics": {"predict_time": round(task.ready - task.created, 3)}}
    match task.fault:
        case None | "noimage":
            listed = task.order.model.endswith(_LISTS)
            output = list(task.links) if listed else next(iter(task.links), None)
            return times | {"status": "succeeded", "output": output}
        case "blocked" | "safety" | "taskrefuse":
            why = "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"
            return times | {"status": "failed", "error": why}
        case _:
            return times | {"status": "failed", "error": "Prediction failed: the model stopped. (E9243)"}


def _order(model: str, body: Any, uploads: Mapping[str, str]) -> Order:
    inputs = body.get("input") if isinstance(body, Mapping) else None
    if not isinstance(inputs, Mapping):
        raise _InvalidError("prompt", "prompt is required")
    flux = "flux" in model
    if unknown := [name for name in inputs if name not in (_FLUX if flux else _BANANA)]:
        raise _InvalidError(unknown[0], f"Additional property {unknown[0]} is not allowed")
    prompt, images = inputs.get("prompt"), inputs.get("num_outputs", 1)
    if not isinstance(prompt, str) or not prompt:
        raise _InvalidError("prompt", "prompt is required")
    if isinstance(images, bool) or not isinstance(images, int) or not 1 <= images <= _MOST_IMAGES:
        raise _InvalidError("num_outputs", f"Must be from 1 to {_MOST_IMAGES}")
    kind = _KINDS[_choice(inputs, "output_format", tuple(_KINDS), "webp" if flux else "jpg")]
    width, height = _pixels(inputs, flux=flux)
    references = _references(inputs, "input_images" if flux else "image_input", uploads)
    return Order(model, Drawing(prompt, width, height, kind, f"{model}  {width}x{height}"), images, references)


def _choice(inputs: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    value = inputs.get(name, default)
    if value not in choices:
        raise _InvalidError(name, f"{name} must be one of the following: {', '.join(choices)}")
    return str(value)


def _pixels(inputs: Mapping[str, Any], *, flux: bool) -> tuple[int, int]:
    matched = "match_input_image"
    ratio = _choice(inputs, "aspect_ratio", (*PIXELS, "custom" if flux else matched), "1:1")
    if ratio == "custom":
        sides = [inputs.get(name, 1024) for name in ("width", "height")]
        if any(isinstance(side, bool) or side not in _CUSTOM_SIDES for side in sides):
            raise _InvalidError("width", "width and height must be from 256 to 1440")
        return sides[0], sides[1]
    size = "1K" if flux else _choice(inputs, "resolution", _SIZES, "1K")
    return traits("").size(None if ratio == matched else ratio, size)


def _references(inputs: Mapping[str, Any], name: str, uploads: Mapping[str, str]) -> tuple[str, ...]:
    links = inputs.get(name, [])
    if not isinstance(links, list) or len(links) > _MOST_REFERENCES:
        raise _InvalidError(name, f"Must be a list of at most {_MOST_REFERENCES} links")
    try:
        return tuple(uploads.get(str(link)) or digest_of_uri(link) for link in links)
    except UnreadableError as error:
        raise _InvalidError(name, f"Does not match format 'uri': {error}") from error


def _throttled(wait_seconds: float) -> Answer:
    seconds = max(1, math.ceil(wait_seconds))
    why = f"Request was throttled. Expected available in {seconds} second{'s' if seconds > 1 else ''}."
    return _problem(429, "Too many requests", why, {"retry-after": str(seconds)}, {"retry_after": seconds})


def _broken() -> Answer:
    return _problem(500, "Internal server error", "Something went wrong on our side.")


def _no_access() -> Answer:
    return _problem(401, "Unauthenticated", "You did not pass a valid authentication token")


def _problem(
    status: int,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Answer:
    """Return an error as RFC 7807 writes it."""
    body = {"title": title, "detail": detail, "status": status} | dict(more or {})
    return Answer(status, body, headers or {}, "application/problem+json")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _door(asked: Asked) -> Answer | None:
    return _no_access() if not asked.bearer or asked.bearer.startswith(UNACCEPTED) else None
