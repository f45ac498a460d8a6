"""Kie.ai: createTask, recordInfo, uploads. Errors come as a `code` inside HTTP 200, as the vendor sends them.

Any Bearer key passes unless it begins with `invalid`. Inputs that are images must be links that were uploaded here.
Format: https://docs.kie.ai.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, MalformedError, Order, Task, parsed
from nanobatch.sandbox.dialects.gemini_models import traits
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

NAME = "kie"
_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "auto")
_MODELS: Mapping[str, Mapping[str, Any]] = {  # the fields of each model's input, and how many images it takes
    "nano-banana-pro": {
        "ratio": "aspect_ratio", "links": "image_input", "most": 8, "sizes": ("1K", "2K", "4K"),
        "like": "nano-banana-pro",
    },
    "nano-banana-2": {
        "ratio": "aspect_ratio", "links": "image_input", "most": 14, "sizes": ("1K", "2K", "4K"),
        "like": "gemini-3.1-flash-image",
    },
    "nano-banana-2-lite": {
        "ratio": "aspect_ratio", "links": "image_urls", "most": 10, "sizes": ("1K",),
        "like": "gemini-3.1-flash-lite-image",
    },
    "google/nano-banana": {
        "ratio": "image_size", "links": None, "most": 0, "sizes": (), "like": "gemini-2.5-flash-image",
    },
    "google/nano-banana-edit": {
        "ratio": "image_size", "links": "image_urls", "most": 10, "sizes": (), "like": "gemini-2.5-flash-image",
    },
}  # fmt: skip
_LONGEST_PROMPT = 20_000
_CREDITS = {"4K": 24}
_USUAL_CREDITS = 18


def read(asked: Asked) -> Order | Answer:
    """Return what a createTask wants, or the vendor's refusal."""
    refused = _door(asked)
    if refused is not None:
        return refused
    try:
        body = parsed(asked.body)
    except MalformedError:
        return _coded(422, "The request body is not valid JSON")
    if not isinstance(body, Mapping) or not isinstance(body.get("input"), Mapping):
        return _coded(422, "input is required")
    model = body.get("model")
    if not isinstance(model, str) or model not in _MODELS:
        return _coded(422, f"The model name you specified is not supported: {model}")
    return _order(model, body["input"], asked)


def models(asked: Asked) -> Answer:
    """Tell the balance: Kie lists no models."""
    return _door(asked) or _coded(200, "success", 12_345.5)


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a task beyond a limit; it is not queued."""
    del order
    return _coded(429, f"Rate limit exceeded: {excess.kind}. Your call frequency is too high, please try again later")


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of an order that is not taken."""
    del order, wish_seconds
    match fault:
        case "429" | "429day":
            return _coded(429, "Your call frequency is too high. Please try again later.")
        case "429money" | "429zero":
            return _coded(402, "Credits insufficient. Your current balance is not enough, please top up")
        case "badkey" | "leaked":
            return _coded(401, "You do not have access permissions")
        case "blocked":
            return _coded(422, "Your prompt was flagged as violating content policies")
        case "503":
            return _coded(455, "Service is currently undergoing maintenance")
        case _:
            return _coded(500, "Server exception, please try again later or contact customer service")


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Orders are answered by `created`."""
    raise NotImplementedError


def created(task: Task) -> Answer:
    """Name the task."""
    return _coded(200, "success", {"taskId": task.id, "recordId": task.id})


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
    share = (time.time() - task.created) / max(1e-9, task.ready - task.created)
    done = share >= 1
    data: dict[str, Any] = {
        "taskId": task.id,
        "model": task.order.model,
        "state": ("waiting", "queuing", "generating")[min(2, int(share * 3))],
        "param": json.dumps({"model": task.order.model, "input": {"prompt": task.order.drawing.prompt}}),
        "resultJson": "",
        "failCode": None,
        "failMsg": None,
        "costTime": None,
        "completeTime": None,
        "createTime": int(task.created * 1000),
        "updateTime": int(time.time() * 1000),
        "creditsConsumed": 0,
    }
    if done and task.fate is None:
        data |= {
            "state": "success",
            "resultJson": json.dumps({"resultUrls": list(task.links)}),
            "costTime": int(task.ready - task.created),
            "completeTime": int(task.ready * 1000),
            "creditsConsumed": _CREDITS.get(task.order.details["size"], _USUAL_CREDITS),
        }
    elif done:
        refused_task = task.fate in ("taskrefuse", "safety")
        data |= {
            "state": "fail",
            "failCode": "400" if refused_task else "501",
            "failMsg": "The content was flagged as sensitive" if refused_task else "Internal Error, generation failed",
        }
    return _coded(200, "success", data)


def stumbled(fault: str, wish_seconds: float) -> Answer:
    """Return a poll that goes wrong: a limit inside HTTP 200, or a real 500."""
    del wish_seconds
    if fault == "poll429":
        return _coded(429, "Your call frequency is too high. Please try again later.")
    return Answer(500, {"code": 500, "msg": "Server exception"})


def uploaded(link: str, name: str, size: int) -> Answer:
    """Return the link of an uploaded file."""
    data = {"fileName": name, "filePath": f"images/{name}", "downloadUrl": link, "fileSize": size}
    return Answer(200, {"success": True, "code": 200, "msg": "File uploaded successfully", "data": data})


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-request-id": f"{number:032x}", "x-response-time": str(milliseconds)}


def _order(model: str, inputs: Mapping[str, Any], asked: Asked) -> Order | Answer:
    rules = _MODELS[model]
    known = {"prompt", "output_format", rules["ratio"]} | ({rules["links"]} if rules["links"] else set())
    known |= {"resolution"} if rules["sizes"] else set()
    for name in inputs:
        if name not in known:
            return _coded(422, f"Unexpected field in input: {name}")
    prompt, ratio = inputs.get("prompt"), inputs.get(rules["ratio"]) or "auto"
    size = inputs.get("resolution") or "1K"
    if not isinstance(prompt, str) or not prompt or len(prompt) > _LONGEST_PROMPT:
        return _coded(422, "prompt is required and must be shorter than 20000 characters")
    if ratio not in _RATIOS or (rules["sizes"] and size not in rules["sizes"]):
        return _coded(422, f"{rules['ratio']} or resolution is not within the range of allowed options")
    if inputs.get("output_format", "png") not in ("png", "jpg", "jpeg"):
        return _coded(422, "output_format is not within the range of allowed options")
    links = inputs.get(rules["links"] or "", [])
    if not isinstance(links, list) or len(links) > rules["most"]:
        return _coded(422, f"at most {rules['most']} images are allowed")
    for link in links:
        if not isinstance(link, str) or link not in asked.uploads:
            return _coded(422, "The image could not be fetched from its URL")
    if rules["links"] and model.endswith("-edit") and not links:
        return _coded(422, "image_urls is required")
    width, height = traits(rules["like"]).size(None if ratio == "auto" else ratio, size)
    kind = "png" if inputs.get("output_format", "png") == "png" else "jpeg"
    drawing = Drawing(prompt, width, height, "png" if kind == "png" else "jpeg", f"{model}  {size}  {width}x{height}")
    hashes = tuple(asked.uploads[link] for link in links)
    return Order(model, drawing, references=hashes, details={"size": size})


def _door(asked: Asked) -> Answer | None:
    if not asked.bearer or asked.bearer.startswith(UNACCEPTED):
        return _coded(401, "You do not have access permissions")
    return None


def _coded(code: int, message: str, data: Any = None) -> Answer:
    """Return the envelope, always with HTTP 200."""
    return Answer(200, {"code": code, "msg": message, "data": data})
