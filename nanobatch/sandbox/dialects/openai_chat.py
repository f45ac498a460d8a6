"""Chat completions that answer with an image: as markdown in the text, or beside it where `modalities` asks so.

Relays send the first form, OpenRouter the second; each has errors of its own. A model whose name begins with `url-`
answers with a link. Formats: https://docs.laozhang.ai, https://openrouter.ai/docs.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.sandbox.dialects import openai, openrouter
from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, MalformedError, Order, parsed, tokens
from nanobatch.sandbox.dialects.gemini_models import traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_uri
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

NAME = "openai-chat"
_KNOWN = frozenset({
    "model", "messages", "stream", "modalities", "max_tokens", "temperature", "top_p", "n", "user", "image_config",
    "seed", "provider",
})  # fmt: skip
_ROLES = frozenset({"system", "developer", "user", "assistant"})
_TOKENS_OF_AN_IMAGE = 1290
_MOST_REFERENCES = 14
_FULL = (429, "Upstream capacity is used up; try again later", "rate_limit_exceeded")
_BROKE = (403, "The token's quota is not enough", "insufficient_user_quota")
_UNKNOWN_TOKEN = (401, "Invalid token", "invalid_api_key")
_ERRORS = {  # fault: status, message, code
    "429": _FULL,
    "429day": _FULL,
    "429zero": _BROKE,
    "429money": _BROKE,
    "badkey": _UNKNOWN_TOKEN,
    "blocked": (400, "sensitive words detected", "sensitive_words_detected"),
    "500": (500, "Upstream request failed", "upstream_error"),
    "503": (503, "The upstream is overloaded", "upstream_error"),
}


class _InvalidError(ValueError):
    """The body is wrong; the text says where."""


def read(asked: Asked) -> Order | Answer:
    """Return the image that is wanted, or what a relay says against the request."""
    refused = _door(asked)
    if refused is not None:
        return refused
    body: Any = None
    try:
        body = parsed(asked.body)
        return _order(body)
    except (MalformedError, UnreadableError, _InvalidError) as error:
        beside = isinstance(body, Mapping) and "modalities" in body
        return openrouter.error(400, str(error)) if beside else _error(400, str(error), "invalid_request")


def models(asked: Asked) -> Answer:
    """List the models."""
    return _door(asked) or openai.models(asked)


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a request beyond a limit: the relay's own upstream is full."""
    if order.details["beside"]:
        return openrouter.over_limit(order, excess)
    return _error(429, f"Upstream capacity is used up ({excess.kind}); try again later", "rate_limit_exceeded")


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image."""
    match fault:
        case "safety":
            return Answer(200, _body(order, {"role": "assistant", "content": None}, "content_filter"))
        case "noimage":
            return Answer(200, _body(order, {"role": "assistant", "content": "I cannot draw this."}, "stop"))
        case "nullcandidates":
            return Answer(200, {"id": "chatcmpl-0", "object": "chat.completion", "choices": None})
        case _ if order.details["beside"]:
            return openrouter.trouble(order, fault, wish_seconds)
        case "json200err":
            return Answer(200, _error(*_ERRORS["500"]).body)
        case "listerror":
            return Answer(503, [_error(*_ERRORS["503"]).body])
        case _ if fault in _ERRORS:
            return _error(*_ERRORS[fault])
    raise ValueError(f"a chat has no words for the fault {fault!r}")


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the images, in the text or beside it; whoever asked for words only gets words."""
    del fault
    mime = order.drawing.mime
    links = [
        image.link if order.model.startswith("url-")
        else f"data:{mime};base64,{base64.b64encode(image.data).decode()}"
        for image in made
    ]  # fmt: skip
    message: dict[str, Any] = {"role": "assistant", "content": "Here is your image."}
    if not links:
        message["content"] = "I would rather describe it."
    elif order.details["beside"]:
        message["images"] = [{"type": "image_url", "image_url": {"url": link}} for link in links]
    else:
        shown = "\n\n".join(f"![image]({link})" for link in links)
        message["content"] = f"Here is your image:\n\n{shown}\n"
    return Answer(200, _body(order, message, "stop"))


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:
    """Return the headers of every answer."""
    return {"x-oneapi-request-id": f"{number:032x}", "x-served-ms": str(milliseconds)}


def _door(asked: Asked) -> Answer | None:
    return _error(*_UNKNOWN_TOKEN) if not asked.bearer or asked.bearer.startswith(UNACCEPTED) else None


def _order(body: Any) -> Order:
    if not isinstance(body, Mapping):
        raise _InvalidError("the body is no object")
    for name in body:
        if name not in _KNOWN:
            raise _InvalidError(f"unknown field {name}")
    model, modalities = body.get("model"), body.get("modalities")
    if not isinstance(model, str) or not model:
        raise _InvalidError("model is required")
    if body.get("stream") or body.get("n", 1) not in (None, 1):
        raise _InvalidError("the sandbox does not stream, and a chat makes one image")
    if modalities is not None and (
        not isinstance(modalities, list) or not modalities or any(each not in ("image", "text") for each in modalities)
    ):
        raise _InvalidError("modalities is a list of image and text")
    prompt, references = _conversation(body.get("messages"))
    width, height = _pixels(model, body.get("image_config") if modalities else None)
    drawing = Drawing(prompt, width, height, "png", f"{model}  chat  {width}x{height}")
    images = int(modalities is None or "image" in modalities)
    return Order(model, drawing, images, references, {"beside": modalities is not None})


def _pixels(model: str, config: Any) -> tuple[int, int]:
    """Return OpenRouter's choice of ratio and size; relays have none, and draw squares."""
    if config is None:
        config = {}
    if not isinstance(config, Mapping) or set(config) - {"aspect_ratio", "image_size"}:
        raise _InvalidError("image_config holds aspect_ratio and image_size")
    known = traits(model)
    ratio, size = config.get("aspect_ratio", "1:1"), config.get("image_size", "1K")
    if ratio not in known.ratios or size not in tuple(known.sizes):
        raise _InvalidError(f"image_config does not suit {model}")
    return known.size(ratio, size)


def _conversation(messages: Any) -> tuple[str, tuple[str, ...]]:
    """Return all words of all messages, and the hashes of the images between them."""
    if not isinstance(messages, list):
        raise _InvalidError("messages are required")
    words: list[str] = []
    references: list[str] = []
    for message in messages:
        if not isinstance(message, Mapping) or str(message.get("role")) not in _ROLES:
            raise _InvalidError("a message has a role and a content")
        for part in _parts(message.get("content")):
            match part:
                case {"type": "text", "text": str(text)}:
                    words.append(text)
                case {"type": "image_url"}:
                    references.append(digest_of_uri(openrouter.url_of(part)))
                case _:
                    raise _InvalidError("a part is a text or an image_url")
    if not any(words):
        raise _InvalidError("messages hold no text")
    if len(references) > _MOST_REFERENCES:
        raise _InvalidError(f"at most {_MOST_REFERENCES} images can be given")
    return "\n".join(words), tuple(references)


def _parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise _InvalidError("a content is a text or a list of parts")
    return content


def _body(order: Order, message: dict[str, Any], reason: str) -> dict[str, Any]:
    prompt = tokens(order.drawing.prompt) + len(order.references) * traits(order.model).reference_tokens
    return {
        "id": f"chatcmpl-{order.drawing.digest.hex()[:20]}",
        "object": "chat.completion",
        "created": 0,
        "model": order.model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": _TOKENS_OF_AN_IMAGE,
            "total_tokens": prompt + _TOKENS_OF_AN_IMAGE,
        },
    }


def _error(status: int, message: str, code: str) -> Answer:
    error = {"message": f"{message} (request id: 0)", "type": "new_api_error", "param": "", "code": code}
    return Answer(status, {"error": error})
