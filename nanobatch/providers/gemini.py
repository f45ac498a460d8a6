"""Gemini's generateContent, at Google and at the relays that speak it.

Facts: https://ai.google.dev/gemini-api/docs/image-generation, the types of google-genai 3.3.0, and recorded answers.
The last image that is not marked as a thought is the picture; images before it are drafts, each billed. A
`thoughtSignature` beside an image does not make it a thought.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from nanobatch.errors import AccountStopped, ExchangeError, NoImage, Refused, Rejected
from nanobatch.model import Answer, Blob, Cost, Order, Picture, Request, Usage
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.gemini_faults import fault
from nanobatch.providers.links import download, link_of
from nanobatch.providers.reading import OK, body_of, count, image_data, items, node, words
from nanobatch.providers.sentences import clean, said, short_name

__all__ = ["exchange", "fault"]

_REFUSALS = frozenset({
    "SAFETY", "IMAGE_SAFETY", "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION",
    "IMAGE_RECITATION", "LANGUAGE", "MODEL_ARMOR", "JAILBREAK",
})  # fmt: skip
_NOT_BILLED = frozenset({"NO_IMAGE", "IMAGE_OTHER", "OTHER"})  # "You will not be charged", says their finishMessage
_GENERATION_KEYS = frozenset({
    "responseModalities", "imageConfig", "thinkingConfig", "mediaResolution", "temperature", "topP", "topK", "seed",
    "maxOutputTokens", "stopSequences", "candidateCount",
})  # fmt: skip


def exchange(order: Order) -> Exchange:
    """Ask for one image.

    `order.options` are merged into the body key by key, spelt as the wire spells them: `safetySettings`, `serviceTier`
    or `generationConfig: {...}`. What belongs into generationConfig may also stand by itself: `thinkingConfig`,
    `temperature` and so on.
    """
    response = yield Request(
        "POST",
        f"/models/{quote(order.model, safe='/:@')}:generateContent",
        json=_body(order),
        cost=Cost(tokens=estimated_tokens(order.prompt)),
    )
    body = body_of(response)
    images, links = _images(body) if response.status in OK else ([], [])
    if not images and not links and (error := fault(response)) is not None:
        raise error  # an image that came beside an error was paid, and is kept
    usage, model = _usage(body), short_name(node(body, "modelVersion")) or None
    if images:
        picture = next((image for image, thought in reversed(images) if not thought), images[-1][0])
        drafts = tuple(image for image, _ in images if image is not picture)
        return Answer(picture, drafts, usage, model)
    if links:
        return Answer(Picture((yield from download(links[-1]))), usage=usage, model=model)
    raise _no_image(body, response.status)


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
    own = {key: value for key, value in order.options.items() if key in _GENERATION_KEYS}
    return _merged(
        _merged(body, {"generationConfig": own}),
        {key: value for key, value in order.options.items() if key not in own},
    )


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new mapping in which objects are merged and everything else is replaced."""
    merged = dict(base)
    for key, value in more.items():
        inner = merged.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(inner, value)
        else:
            merged[key] = value
    return merged


def _images(body: Any) -> tuple[list[tuple[Picture, bool]], list[str]]:
    """Return the images with whether each is a thought, and links to images."""
    images: list[tuple[Picture, bool]] = []
    links: list[str] = []
    for candidate in items(node(body, "candidates")):
        for part in items(node(candidate, "content", "parts")):
            data = image_data(node(part, "inlineData", "data"))
            mime = short_name(node(part, "inlineData", "mimeType"))
            link = link_of(node(part, "fileData", "fileUri")) or link_of(data)
            if link is not None:
                links.append(link)
            elif data is not None and (isinstance(data, Blob) or not mime or mime.lower().startswith("image/")):
                images.append((Picture(data, mime or None), node(part, "thought") is True))
    return images, links


def _usage(body: Any) -> Usage | None:
    """Read the tokens. Details cover the image alone; what is beyond them is text, billed as such."""
    usage = node(body, "usageMetadata")
    if not isinstance(usage, Mapping) or not usage:
        return None
    found = [
        count(node(detail, "tokenCount"))
        for detail in items(node(usage, "candidatesTokensDetails"))
        if words(node(detail, "modality")).upper() == "IMAGE"
    ]
    image = sum(tokens or 0 for tokens in found) or None
    produced, thoughts = count(node(usage, "candidatesTokenCount")), count(node(usage, "thoughtsTokenCount"))
    text = None
    if image is not None and (produced is not None or thoughts is not None):
        text = max(0, (produced or 0) - image) + (thoughts or 0)
    return Usage(input_tokens=count(node(usage, "promptTokenCount")), text_tokens=text, image_tokens=image)


def _no_image(body: Any, status: int) -> ExchangeError:
    """Say why a 200 holds no image. The reason stands on the candidate, not in its content.

    Google does not bill blocked images. Whether words instead of an image are billed, and as what, nobody tells:
    Google bills the tokens, some relays the whole image.
    """
    blocked = short_name(node(body, "promptFeedback", "blockReason"))
    if blocked:
        why = clean(words(node(body, "promptFeedback", "blockReasonMessage")))
        return Refused(f"the provider blocked the prompt ({blocked}){said(why)}", http_status=status)
    reason = short_name(node(body, "candidates", 0, "finishReason"))
    why = clean(words(node(body, "candidates", 0, "finishMessage")) or _text(body))
    if not reason and not why:
        return NoImage("the answer holds no image and no reason", http_status=status)
    because = f"{f' ({reason})' if reason else ''}{said(why)}"
    if reason in _REFUSALS:
        return Refused(f"the provider's content rules forbid this image{because}", http_status=status)
    if reason == "PUP_LIMITED_DISABLED":
        return AccountStopped(f"the account may not generate images{because}", http_status=status)
    if reason == "MAX_TOKENS":
        happened = "the answer ended before the image (MAX_TOKENS); raise or remove maxOutputTokens"
        return Rejected(happened, http_status=status, billed=None)
    return NoImage(
        f"the model answered without an image{because}",
        http_status=status,
        billed=False if reason in _NOT_BILLED else None,
    )


def _text(body: Any) -> str:
    parts = items(node(body, "candidates", 0, "content", "parts"))
    return " ".join(words(node(part, "text")) for part in parts if node(part, "thought") is not True).strip()
