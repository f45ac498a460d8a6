"""Kie.ai: createTask, recordInfo, uploads, credit. Errors are a `code` inside HTTP 200.

Any Bearer key passes unless it begins with `invalid`. The names of the fields differ from model to model, and images to
start from are links that were uploaded here. Format: https://docs.kie.ai.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nanobatch.sandbox.dialects import forms
from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, MalformedError, Order, Task, Upload, parsed
from nanobatch.sandbox.dialects.gemini_models import ALL_RATIOS, COMMON_RATIOS, traits
from nanobatch.sandbox.images import Drawing, Kind
from nanobatch.sandbox.limits import Excess

NAME = "kie"
_KINDS: Mapping[str, Kind] = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg"}
_STATES = ("waiting", "queuing", "generating")  # each a third of a task's time
_BALANCE = 12_345.5  # credits


@dataclass(frozen=True, slots=True)
class _Rules:
    """What the input of a model may hold.

    Args:
        like: Google's name of the model, for its pixels.
        ratio: The field of the ratio.
        links: The field of the images to start from.
        most: How many of them.
        longest: Characters of a prompt.
        sizes: What `resolution` may be; none where it may not be sent.
        ratios: What the ratio may be.
        least: How many images there must be.
    """

    like: str
    ratio: str
    links: str
    most: int
    longest: int
    sizes: tuple[str, ...] = ("1K", "2K", "4K")
    ratios: tuple[str, ...] = (*COMMON_RATIOS, "auto")
    least: int = 0


_MODELS: Mapping[str, _Rules] = {
    "nano-banana-pro": _Rules("gemini-3-pro-image", "aspect_ratio", "image_input", 8, 10_000),
    "nano-banana-2": _Rules(
        "gemini-3.1-flash-image", "aspect_ratio", "image_input", 14, 20_000, ratios=(*ALL_RATIOS, "auto")
    ),
    "nano-banana-2-lite": _Rules(
        "gemini-3.1-flash-lite-image", "aspect_ratio", "image_urls", 10, 20_000, ("1K",), (*ALL_RATIOS, "auto")
    ),
    "google/nano-banana": _Rules("gemini-2.5-flash-image", "image_size", "image_urls", 0, 5_000, ()),
    "google/nano-banana-edit": _Rules("gemini-2.5-flash-image", "image_size", "image_urls", 10, 5_000, (), least=1),
}


class _InvalidError(ValueError):
    """The request is wrong; the text is the vendor's sentence."""


def read(asked: Asked) -> Order | Answer:
    """Return what a createTask wants, or the vendor's refusal."""
    refused = _door(asked)
    if refused is not None:
        return refused
    try:
        return _order(parsed(asked.body), asked.uploads)
    except MalformedError:
        return _coded(422, "The request body is not valid JSON")
    except _InvalidError as error:
        return _coded(422, str(error))


def models(asked: Asked) -> Answer:
    """Tell the balance: the free call of Kie, which lists no models."""
    return _door(asked) or _coded(200, "success", _BALANCE)


def over_limit(order: Order, excess: Excess) -> Answer:  # noqa: ARG001 - the vendor names no limit
    """Answer a task beyond a limit; it is not queued."""
    return _too_often()


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:  # noqa: ARG001 - the vendor tells no time
    """Return the answer to an order that is not taken."""
    match fault:
        case "429":
            return _too_often()
        case "429money":
            return _coded(402, "Credits insufficient. Your current balance is not enough, please top up.")
        case "badkey":
            return _no_access()
        case "500":
            return _broken()
        case "503":
            return _coded(455, "Service unavailable: the system is under maintenance.")
    raise ValueError(f"kie has no words for the fault {fault!r}")


def created(task: Task) -> Answer:
    """Name the task."""
    return _coded(200, "success", {"taskId": task.id})


def task_id(asked: Asked) -> str:
    """Return the task that a recordInfo asks about."""
    return asked.query.get("taskId", "")


def polled(task: Task | None, asked: Asked) -> Answer:
    """Tell how a task stands; `resultJson` is JSON in a string, and empty until the end."""
    refused = _door(asked)
    if refused is not None:
        return refused
    if task is None:
        return _coded(422, "recordInfo is null")
    progress = task.progress(asked.time)
    inputs = {"model": task.order.model, "input": {"prompt": task.order.drawing.prompt}}
    data: dict[str, Any] = {
        "taskId": task.id,
        "model": task.order.model,
        "state": _STATES[min(2, int(progress * 3))],
        "param": json.dumps(inputs),
        "resultJson": "",
        "failCode": None,
        "failMsg": None,
        "costTime": None,
        "completeTime": None,
        "createTime": round(task.created * 1000),
        "updateTime": round(asked.time * 1000),
        "progress": round(progress * 100),
        "creditsConsumed": 0,
    }
    return _coded(200, "success", data | (_end(task) if progress == 1.0 else {}))


def stumbled(fault: str, wish_seconds: float) -> Answer:  # noqa: ARG001 - the vendor tells no time
    """Return a poll that goes wrong, inside HTTP 200 as every error of Kie."""
    return _too_often() if fault == "poll429" else _broken()


def upload(asked: Asked) -> Upload | Answer:
    """Return the file of a form, or of base64 in JSON."""
    refused = _door(asked)
    if refused is not None:
        return refused
    try:
        file, folder = _form(asked) if forms.is_form(asked) else _base64(asked)
    except (MalformedError, ValueError) as error:
        return _unsent(str(error))
    return file if folder else _unsent("uploadPath is required")


def uploaded(upload: Upload, link: str) -> Answer:
    """Tell the link of an uploaded file."""
    data = {"fileName": upload.name, "filePath": f"kieai/{upload.name}", "downloadUrl": link}
    body = {"success": True, "code": 200, "msg": "File uploaded successfully"}
    return Answer(200, body | {"data": data | {"fileSize": len(upload.data)}})


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-request-id": f"{number:032x}", "x-response-time": f"{milliseconds}ms"}


def _order(body: Any, uploads: Mapping[str, str]) -> Order:
    inputs = body.get("input") if isinstance(body, Mapping) else None
    model = body.get("model") if isinstance(body, Mapping) else None
    if not isinstance(inputs, Mapping):
        raise _InvalidError("input is required")
    if not isinstance(model, str) or model not in _MODELS:
        raise _InvalidError(f"The model name you specified is not supported: {model}")
    rules = _MODELS[model]
    known = {"prompt", "output_format", rules.ratio, *(["resolution"] if rules.sizes else [])}
    known |= {rules.links} if rules.most else set()
    if unknown := [name for name in inputs if name not in known]:
        raise _InvalidError(f"{unknown[0]} is not a field of {model}")
    prompt = inputs.get("prompt")
    if not isinstance(prompt, str) or not 0 < len(prompt) <= rules.longest:
        raise _InvalidError(f"prompt is required, with at most {rules.longest} characters")
    ratio = _choice(inputs, rules.ratio, rules.ratios, "auto" if "auto" in rules.ratios else "1:1")
    size = _choice(inputs, "resolution", rules.sizes, "1K")
    width, height = traits(rules.like).size(None if ratio == "auto" else ratio, size)
    kind = _KINDS[_choice(inputs, "output_format", tuple(_KINDS), "png")]
    drawing = Drawing(prompt, width, height, kind, f"{model}  {size}  {width}x{height}")
    references = _references(inputs.get(rules.links, []), rules, uploads)
    return Order(model, drawing, references=references, details={"credits": _credits(model, size)})


def _choice(inputs: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    value = inputs.get(name, default)
    if name in inputs and value not in choices:
        raise _InvalidError(f"{name} is not within the range of allowed options")
    return str(value)


def _references(links: Any, rules: _Rules, uploads: Mapping[str, str]) -> tuple[str, ...]:
    if not isinstance(links, list) or not rules.least <= len(links) <= rules.most:
        raise _InvalidError(f"{rules.links} holds {rules.least} to {rules.most} links")
    hashes = tuple(uploads.get(link, "") for link in links if isinstance(link, str))
    if len(hashes) < len(links) or "" in hashes:
        raise _InvalidError(f"{rules.links}: the image could not be fetched from its link")
    return hashes


def _credits(model: str, size: str) -> int:
    """Return what a task costs: 0.005 USD each."""
    if model.startswith("google/"):
        return 4
    return 24 if size == "4K" else 18


def _end(task: Task) -> dict[str, Any]:
    times = {"completeTime": round(task.ready * 1000), "costTime": round(task.ready - task.created)}
    match task.fault:
        case None | "noimage":
            result = json.dumps({"resultUrls": list(task.links)})
            paid = task.order.details["credits"] if task.links else 0
            return times | {"state": "success", "resultJson": result, "creditsConsumed": paid}
        case "blocked" | "safety" | "taskrefuse":
            why = "Your content was flagged as violating content policies"
            return times | {"state": "fail", "failCode": "400", "failMsg": why}
        case _:
            return times | {"state": "fail", "failCode": "501", "failMsg": "Internal Error, image generation failed"}


def _form(asked: Asked) -> tuple[Upload, str]:
    fields = {part.name: part for part in forms.parts(asked)}
    file = fields.get("file")
    if file is None or file.file_name is None or not file.data:
        raise ValueError("file is required")
    name = fields["fileName"].text if "fileName" in fields else file.file_name
    return Upload(name, file.data), fields["uploadPath"].text if "uploadPath" in fields else ""


def _base64(asked: Asked) -> tuple[Upload, str]:
    body = parsed(asked.body)
    text = body.get("base64Data") if isinstance(body, Mapping) else None
    if not isinstance(text, str) or not text:
        raise ValueError("base64Data is required")
    data = base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    return Upload(str(body.get("fileName") or "file"), data), str(body.get("uploadPath") or "")


def _unsent(why: str) -> Answer:
    return Answer(200, {"success": False, "code": 400, "msg": why, "data": None})


def _door(asked: Asked) -> Answer | None:
    return _no_access() if not asked.bearer or asked.bearer.startswith(UNACCEPTED) else None


def _no_access() -> Answer:
    return _coded(401, "You do not have access permissions")


def _too_often() -> Answer:
    return _coded(429, "Your call frequency is too high. Please try again later.")


def _broken() -> Answer:
    return _coded(500, "Server exception, please try again later or contact customer service.")


def _coded(code: int, message: str, data: Any = None) -> Answer:
    """Return the envelope, always with HTTP 200."""
    return Answer(200, {"code": code, "msg": message, "data": data})
