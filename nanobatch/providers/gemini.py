"""Gemini's generateContent, at Google and at the relays that speak it.

Facts: https://ai.google.dev/gemini-api/docs/image-generation, the types of google-genai 3.3.0, and recorded answers.
The last image that is not marked as a thought is the picture; images before it are drafts, each billed.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from nanobatch.errors import AccountStopped, ExchangeError, NoImage, Refused, Rejected, ServerFault
from nanobatch.model import FREE, Answer, Blob, Cost, Order, Picture, Request, Response, Usage
from nanobatch.providers.base import Exchange
from nanobatch.providers.gemini_faults import fault
from nanobatch.providers.reading import clean, count, image_data, items, node, page_title, words

__all__ = ["exchange", "fault"]

_CHARACTERS_PER_TOKEN = 4
_REFUSALS = frozenset({
    "SAFETY", "IMAGE_SAFETY", "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION",
    "IMAGE_RECITATION", "LANGUAGE", "MODEL_ARMOR", "JAILBREAK",
})  # fmt: skip


def exchange(order: Order) -> Exchange:
    """Ask for one image. `order.options` are merged into the body, key by key."""
    response = yield Request(
        "POST",
        f"/models/{order.model}:generateContent",
        json=_body(order),
        cost=Cost(tokens=max(1, len(order.prompt) // _CHARACTERS_PER_TOKEN)),
    )
    if (error := fault(response)) is not None:
        raise error
    if not isinstance(response.json, Mapping):
        what = page_title(response.text) if response.text is not None else "JSON of another shape"
        raise ServerFault(f"the answer is {what}", http_status=response.status)
    images, links = _images(response.json)
    usage, model = _usage(response.json), words(node(response.json, "modelVersion")) or None
    if images:
        picture = next((image for image, thought in reversed(images) if not thought), images[-1][0])
        drafts = tuple(image for image, _ in images if image is not picture)
        return Answer(picture, drafts, usage, model)
    if links:
        return Answer(Picture((yield from _download(links[-1]))), usage=usage, model=model)
    raise _no_image(response)


def _body(order: Order) -> dict[str, Any]:
    image: dict[str, Any] = {}
    if order.aspect_ratio is not None:
        image["aspectRatio"] = order.aspect_ratio
    if order.size is not None:
        image["imageSize"] = order.size
    # TEXT beside IMAGE lets a refusal say why; IMAGE alone gives a bare finishReason.
    config: dict[str, Any] = {"responseModalities": ["TEXT", "IMAGE"]}
    if image:
        config["imageConfig"] = image
    if order.seed is not None:
        config["seed"] = order.seed
    body = {"contents": [{"role": "user", "parts": [{"text": order.prompt}]}], "generationConfig": config}
    return _merged(body, order.options)


def _merged(base: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in more.items():
        inner = base.get(key)
        base[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return base


def _images(body: Mapping[str, Any]) -> tuple[list[tuple[Picture, bool]], list[str]]:
    """Return the images with whether each is a thought, and links to images."""
    images: list[tuple[Picture, bool]] = []
    links: list[str] = []
    for part in items(node(body, "candidates", 0, "content", "parts")):
        data = image_data(node(part, "inlineData", "data"))
        mime = words(node(part, "inlineData", "mimeType"))
        if data is not None and (not mime or mime.startswith("image/") or isinstance(data, Blob)):
            images.append((Picture(data, mime or None), node(part, "thought") is True))
        link = words(node(part, "fileData", "fileUri"))
        if link.startswith(("https://", "http://")):
            links.append(link)
    return images, links


def _download(link: str) -> Generator[Request, Response, Blob]:
    response = yield Request("GET", link, cost=FREE, repeatable=True, download=True)
    if response.blob is None:
        raise ServerFault(f"the result could not be downloaded: HTTP {response.status}", http_status=response.status)
    return response.blob


def _usage(body: Mapping[str, Any]) -> Usage | None:
    """Read the tokens. Details cover the image alone; what is beyond them is text, billed as such."""
    usage = node(body, "usageMetadata")
    if not isinstance(usage, Mapping) or not usage:
        return None
    details = [
        count(node(detail, "tokenCount"))
        for detail in items(node(usage, "candidatesTokensDetails"))
        if words(node(detail, "modality")).upper() == "IMAGE"
    ]
    image = sum(tokens for tokens in details if tokens is not None) if any(details) else None
    produced, thoughts = count(node(usage, "candidatesTokenCount")), count(node(usage, "thoughtsTokenCount"))
    text = None
    if image is not None:
        text = max(0, (produced or 0) - image) + (thoughts or 0)
    return Usage(input_tokens=count(node(usage, "promptTokenCount")), text_tokens=text, image_tokens=image)


def _no_image(response: Response) -> ExchangeError:
    """Say why a 200 holds no image. The finish reason stands on the candidate; Google does not bill blocked images."""
    body, status = response.json, response.status
    blocked = words(node(body, "promptFeedback", "blockReason"))
    if blocked:
        why = clean(words(node(body, "promptFeedback", "blockReasonMessage")))
        return Refused(f"the provider blocked the prompt ({blocked}){_said(why)}", http_status=status)
    reason = words(node(body, "candidates", 0, "finishReason"))
    why = clean(words(node(body, "candidates", 0, "finishMessage")) or _text(body))
    if reason in _REFUSALS:
        return Refused(f"the provider's content rules forbid this image ({reason}){_said(why)}", http_status=status)
    if reason == "PUP_LIMITED_DISABLED":
        return AccountStopped(f"the account may not generate ({reason}){_said(why)}", http_status=status)
    if reason == "MAX_TOKENS":
        return Rejected(
            "the answer ended before the image (MAX_TOKENS); raise or remove maxOutputTokens", http_status=status
        )
    if not reason:
        return NoImage("the answer holds no candidate and no reason", http_status=status)
    text_only = reason == "STOP" and bool(why)
    return NoImage(
        f"the model answered without an image ({reason}){_said(why)}",
        http_status=status,
        billed=None if text_only else False,
    )


def _text(body: Any) -> str:
    parts = items(node(body, "candidates", 0, "content", "parts"))
    return " ".join(words(node(part, "text")) for part in parts if node(part, "thought") is not True).strip()


def _said(why: str) -> str:
    return f": {why}" if why else ""
