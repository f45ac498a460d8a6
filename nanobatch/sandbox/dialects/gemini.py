"""Gemini's generateContent, as Google serves it and relays resell it.

Any key passes unless it begins with `invalid`, and any model name, except that Google's own dead ones answer 404 to a
key in Google's header; with `Authorization: Bearer` the sandbox is a relay, and relays still sell them. Fields are
checked as strictly as the vendor does. Format: https://ai.google.dev/api/generate-content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from nanobatch.sandbox.dialects import gemini_errors, gemini_request
from nanobatch.sandbox.dialects.base import UNACCEPTED, Answer, Asked, Made, MalformedError, Order, parsed, tokens
from nanobatch.sandbox.dialects.gemini_errors import (
    TIER_HEADER,
    bad_key,
    failed,
    invalid,
    malformed,
    not_found,
    over_limit,
    too_large,
    unregistered,
)
from nanobatch.sandbox.dialects.gemini_models import RETIRED, SOLD, traits
from nanobatch.sandbox.dialects.gemini_request import GEMINI_API, InvalidError, Rules
from nanobatch.sandbox.dialects.payload import encoded

__all__ = ["NAME", "accept", "answer", "failed", "images", "models", "over_limit", "read", "stamp", "streamed"]

NAME = "gemini"
_ACTIONS = ("generateContent", "streamGenerateContent")
_SIGNATURE = "EskFCsYFAXLI2nwq"  # repeated; a real one is opaque, too
_SMALL, _HUGE = 64, 187_500  # times: 1 kB and 3 MB
_LINE_END = b"\r\n\r\n"
_LARGEST_BODY = 20 * 1024 * 1024  # bytes, with the base64 of all images in it; relays take what the server takes


def read(asked: Asked) -> Order | Answer:
    """Return the images that are wanted, or what the vendor says against the request."""
    refused = door(asked)
    if refused is not None:
        return refused
    if _own_key(asked) and len(asked.body) > _LARGEST_BODY:
        return too_large(_LARGEST_BODY)
    return accept(asked, GEMINI_API)


def accept(asked: Asked, rules: Rules) -> Order | Answer:
    """Read a request that has passed the door, at Google's own address or at Vertex AI's."""
    model, action = asked.path["model"], asked.path["action"]
    if action not in _ACTIONS:
        return not_found(model, asked.path["version"], action)
    try:
        order = gemini_request.read(model, parsed(asked.body), rules)
    except MalformedError as error:
        return malformed(str(error))
    except InvalidError as error:
        return invalid(error)
    if action == "streamGenerateContent":
        return replace(order, details={**order.details, "stream": asked.query.get("alt", "json")})
    return order


def models(asked: Asked) -> Answer:
    """List the models of the vendor, page by page, or describe the one that was named."""
    refused = door(asked)
    if refused is not None:
        return refused
    if "model" in asked.path:
        return Answer(200, _description(asked.path["model"]))
    start, length = asked.query.get("pageToken", "0"), asked.query.get("pageSize", "50")
    if not start.isdecimal() or not length.isdecimal():
        return invalid(InvalidError("page_size and page_token must be the ones of an earlier answer."))
    end = int(start) + max(1, int(length))
    page = {"models": [_description(model) for model in SOLD[int(start) : end]]}
    return Answer(200, page | ({"nextPageToken": str(end)} if end < len(SOLD) else {}))


def answer(order: Order, made: Sequence[Made], fault: str | None) -> Answer:
    """Return the images; whoever asked for words only gets words."""
    return streamed(order, images(order, made, fault), {TIER_HEADER: order.details["tier"]})


def images(order: Order, made: Sequence[Made], fault: str | None) -> dict[str, Any]:
    """Return the body of an answer."""
    if not made:
        return gemini_errors.without_image(order, "textonly")
    mime = order.drawing.mime
    parts: list[dict[str, Any]] = [
        {"inlineData": {"data": encoded(image.data, mime, fault), "mimeType": mime}} for image in made
    ]
    if fault == "thought":
        for draft in parts[:-1]:
            draft["thought"] = True
    if fault == "signature":
        parts[-1]["thoughtSignature"] = _SIGNATURE * _HUGE
    elif mime == "image/jpeg":  # as the third generation does
        parts[-1]["thoughtSignature"] = _SIGNATURE * _SMALL
    count = sum("thought" not in part for part in parts)
    body = _body(order, {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}, count)
    return _snake(body) if fault == "snake" else body


def stamp(number: int, milliseconds: int) -> Mapping[str, str]:  # noqa: ARG001 - Google numbers its bodies instead
    """Return the headers of every answer."""
    return {"server-timing": f"gfet4t7; dur={milliseconds}"}


def door(asked: Asked) -> Answer | None:
    """Check key and model, in the vendor's order."""
    own = _own_key(asked)
    key = own or asked.bearer
    if not key:
        return unregistered()
    if key.startswith(UNACCEPTED):
        return bad_key()
    model = asked.path.get("model", "")
    if own and model in RETIRED:
        return not_found(model, asked.path["version"], asked.path.get("action", "generateContent"))
    return None


def _own_key(asked: Asked) -> str:
    """Return a key that is sent as Google has it, or nothing for a relay's."""
    return asked.headers.get("x-goog-api-key", "") or asked.query.get("key", "")


def _description(model: str) -> dict[str, Any]:
    return {
        "name": f"models/{model}",
        "version": "sandbox",
        "displayName": model,
        "description": "A double of this model: it draws the words of the prompt.",
        "inputTokenLimit": 65536,
        "outputTokenLimit": 32768,
        "supportedGenerationMethods": list(_ACTIONS),
    }


def _body(order: Order, candidate: dict[str, Any], images: int) -> dict[str, Any]:
    digest = order.drawing.digest
    return {
        "candidates": [candidate],
        "modelVersion": order.model,
        "responseId": digest.hex()[:22],
        "usageMetadata": _usage(order, images, digest),
    }


def _usage(order: Order, images: int, digest: bytes) -> dict[str, Any]:
    """Count tokens as the vendor does: the details hold the images alone, the total everything."""
    traits_ = traits(order.model)
    image = images * traits_.sizes[order.details["size"]]
    prompt = tokens(order.drawing.prompt)
    references = order.details["references"]
    produced = image + 88 + digest[4]  # recorded answers hold 88 to 630 tokens of text beside the image
    thoughts = 140 + digest[5] if traits_.thinks or order.details["thinks"] else 0
    prompt_details = [{"modality": "TEXT", "tokenCount": prompt}]
    if references:
        prompt_details.append({"modality": "IMAGE", "tokenCount": references})
    return {
        "promptTokenCount": prompt + references,
        "candidatesTokenCount": produced,
        **({"thoughtsTokenCount": thoughts} if thoughts else {}),
        "totalTokenCount": prompt + references + produced + thoughts,
        "promptTokensDetails": prompt_details,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": image}],
        "serviceTier": order.details["tier"],
    }


def _snake(value: Any) -> Any:
    """Rewrite the part's own keys as some relays do."""
    names = {"inlineData": "inline_data", "mimeType": "mime_type", "thoughtSignature": "thought_signature"}
    if isinstance(value, dict):
        return {names.get(key, key): _snake(inner) for key, inner in value.items()}
    return [_snake(inner) for inner in value] if isinstance(value, list) else value


def streamed(order: Order, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
    """Return the body as it is or, where a stream was asked, as the image's chunk and a last empty one."""
    if "stream" not in order.details:
        return Answer(200, body, headers)
    first = body | {"candidates": [{**body["candidates"][0]}]}
    del first["candidates"][0]["finishReason"]
    last = body | {
        "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0}]
    }
    if order.details["stream"] != "sse":
        return Answer(200, [first, last], headers)
    events = b"".join(b"data: " + msgspec.json.encode(chunk) + _LINE_END for chunk in (first, last))
    return Answer(200, events, headers, "text/event-stream")
