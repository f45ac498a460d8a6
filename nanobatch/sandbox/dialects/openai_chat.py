"""Chat completions that answer with an image: as markdown in the text, or beside it where `modalities` asks so.

Relays send the first form, OpenRouter the second. A model whose name begins with `url-` answers with a link. Formats:
https://docs.laozhang.ai, https://openrouter.ai/docs.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.sandbox.dialects import openai
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, MalformedError, Order, parsed, tokens
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_uri
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

NAME = "openai-chat"
_KNOWN = frozenset({
    "model", "messages", "stream", "modalities", "max_tokens", "temperature", "top_p", "n", "user", "image_config",
})  # fmt: skip
_SIDE = 1024
_FULL = (429, "Upstream capacity is used up; try again later", "rate_limit_exceeded")
_BROKE = (403, "The token's quota is not enough", "insufficient_user_quota")
_UNKNOWN_TOKEN = (401, "Invalid token", "invalid_api_key")
_ERRORS = {  # fault: status, message, code
    "429": _FULL,
    "429day": _FULL,
    "429zero": _BROKE,
    "429money": _BROKE,
    "badkey": _UNKNOWN_TOKEN,
    "leaked": _UNKNOWN_TOKEN,
    "blocked": (400, "sensitive words detected", "sensitive_words_detected"),
    "500": (500, "Upstream request failed", "upstream_error"),
    "503": (503, "The upstream is overloaded", "upstream_error"),
}


class _InvalidError(ValueError):
    """The body is wrong; the text says where."""


def read(asked: Asked) -> Order | Answer:
    """Return the image that is wanted, or what a relay says against the request."""
    refused = openai.door(asked)
    if refused is not None:
        return refused
    try:
        return _order(parsed(asked.body))
    except (MalformedError, UnreadableError, _InvalidError) as error:
        return _error(400, str(error), "invalid_request")


def models(asked: Asked) -> Answer:
    """List the models."""
    return openai.models(asked)


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a request beyond a limit: the relay's own upstream is full."""
    del order
    return _error(429, f"Upstream capacity is used up ({excess.kind}); try again later", "rate_limit_exceeded")


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image."""
    del wish_seconds
    if fault in _ERRORS:
        return _error(*_ERRORS[fault])
    match fault:
        case "safety":
            return Answer(200, _body(order, {"role": "assistant", "content": None}, "content_filter"))
        case "noimage":
            return Answer(200, _body(order, {"role": "assistant", "content": "I cannot draw this."}, "stop"))
        case "nullcandidates":
            return Answer(200, {"id": "chatcmpl-0", "object": "chat.completion", "choices": None})
        case "json200err":
            return Answer(200, _error(*_ERRORS["500"]).body)
        case "listerror":
            return Answer(503, [_error(*_ERRORS["503"]).body])
    raise ValueError(f"a chat has no words for the fault {fault!r}")


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the images, in the text or beside it."""
    del fault
    mime = order.drawing.mime
    links = [
        image.link if order.model.startswith("url-")
        else f"data:{mime};base64,{base64.b64encode(image.data).decode()}"
        for image in made
    ]  # fmt: skip
    if order.details["beside"]:
        images = [{"type": "image_url", "image_url": {"url": link}} for link in links]
        message = {"role": "assistant", "content": "Here is your image.", "images": images}
    else:
        shown = "\n\n".join(f"![image]({link})" for link in links)
        message = {"role": "assistant", "content": f"Here is your image:\n\n{shown}\n"}
    return Answer(200, _body(order, message, "stop"))


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-oneapi-request-id": f"{number:032x}", "x-served-ms": str(milliseconds)}


def _order(body: Any) -> Order:
    if not isinstance(body, Mapping):
        raise _InvalidError("the body is no object")
    for name in body:
        if name not in _KNOWN:
            raise _InvalidError(f"unknown field {name}")
    if not isinstance(body.get("model"), str) or not isinstance(body.get("messages"), list) or body.get("stream"):
        raise _InvalidError("model and messages are required, and the sandbox does not stream")
    words: list[str] = []
    references: list[str] = []
    for message in body["messages"]:
        content = message.get("content") if isinstance(message, Mapping) else None
        parts: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
        for part in parts:
            if part.get("type") == "text":
                words.append(part["text"])
            else:
                references.append(digest_of_uri((part.get("image_url") or {}).get("url")))
    if not any(words):
        raise _InvalidError("messages hold no text")
    drawing = Drawing("\n".join(words), _SIDE, _SIDE, "png", f"{body['model']}  chat")
    return Order(body["model"], drawing, 1, tuple(references), {"beside": "image" in (body.get("modalities") or ())})


def _body(order: Order, message: dict[str, Any], reason: str) -> dict[str, Any]:
    prompt = tokens(order.drawing.prompt)
    return {
        "id": f"chatcmpl-{order.drawing.digest.hex()[:20]}",
        "object": "chat.completion",
        "created": 0,
        "model": order.model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": 1290, "total_tokens": prompt + 1290},
    }


def _error(status: int, message: str, code: str) -> Answer:
    error = {"message": f"{message} (request id: 0)", "type": "new_api_error", "param": "", "code": code}
    return Answer(status, {"error": error})
