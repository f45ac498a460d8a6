"""Gemini's generateContent, at Google and at the relays that speak it.

Facts: https://ai.google.dev/gemini-api/docs/image-generation, the types of google-genai 3.3.0, and recorded answers.
The last image that is not marked as a thought is the picture; images before it are drafts, each billed. A
`thoughtSignature` beside an image does not make it a thought. Which tier was served, and is billed, stands in
`usageMetadata.serviceTier` and in a header (https://ai.google.dev/gemini-api/docs/flex-inference).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from nanobatch.errors import AccountStopped, ExchangeError, NoImage, Refused, Rejected
from nanobatch.model import Answer, Blob, Order, Picture, Request, Response, Usage
from nanobatch.providers.base import Exchange
from nanobatch.providers.gemini_body import body_of_order, cost_of
from nanobatch.providers.gemini_faults import fault
from nanobatch.providers.links import download, link_of
from nanobatch.providers.reading import OK, body_of, count, image_data, items, node, words
from nanobatch.providers.sentences import clean, said, short_name

__all__ = ["SERVED_AT_FULL_PRICE", "answered", "exchange", "fault"]

SERVED_AT_FULL_PRICE = "asked for flex, served as standard: full price"
"""The warning of an answer that does not cost what was asked for."""

_REFUSALS = frozenset({
    "SAFETY", "IMAGE_SAFETY", "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION",
    "IMAGE_RECITATION", "LANGUAGE", "MODEL_ARMOR", "JAILBREAK",
})  # fmt: skip
_NOT_BILLED = frozenset({"NO_IMAGE", "IMAGE_OTHER", "OTHER"})  # "You will not be charged", says their finishMessage
_FULL_PRICE = frozenset({"STANDARD", "PRIORITY", "ON_DEMAND"})  # as Gemini's API and as Vertex AI name what they served


def exchange(order: Order) -> Exchange:
    """Ask for one image. What `order.options` may hold is said in `nanobatch.providers.gemini_body`."""
    path = f"/models/{quote(order.model, safe='/:@')}:generateContent"
    response = yield Request("POST", path, json=body_of_order(order), cost=cost_of(order))
    return (yield from answered(order, response))


def answered(order: Order, response: Response) -> Exchange:
    """Read generateContent's answer, following a link where one stands in place of the image.

    Raises:
        ExchangeError: The leaf that says why there is no image.
    """
    body = body_of(response)
    images, links = _images(body) if response.status in OK else ([], [])
    if not images and not links and (error := fault(response)) is not None:
        raise error  # an image that came beside an error was paid, and is kept
    if not images and not links:
        raise _no_image(body, response.status, order)
    usage, model = _usage(body), short_name(node(body, "modelVersion")) or None
    warnings = (SERVED_AT_FULL_PRICE,) if _asked_for_flex(order) and _served_otherwise(response) else ()
    if images:
        picture = next((image for image, thought in reversed(images) if not thought), images[-1][0])
        drafts = tuple(image for image, _ in images if image is not picture)
    else:
        picture, drafts = Picture((yield from download(links[-1]))), ()
    return Answer(picture, drafts, usage, model, warnings, full_price=bool(warnings))


def _asked_for_flex(order: Order) -> bool:
    """Whether the order asks for the tier that costs half and may be slow."""
    return words(order.options.get("serviceTier")).lower() == "flex"


def _served_otherwise(response: Response) -> bool:
    """Whether the provider says that it served, and bills, another tier than flex. Silence says nothing."""
    usage = node(body_of(response), "usageMetadata")
    named = (node(usage, "serviceTier"), node(usage, "trafficType"), response.headers.get("x-gemini-service-tier"))
    served = next((tier for tier in map(words, named) if tier), "").upper()
    return served.removeprefix("ON_DEMAND_") in _FULL_PRICE


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


def _no_image(body: Any, status: int, order: Order) -> ExchangeError:
    """Say why a 200 holds no image. The reason stands on the candidate, not in its content.

    A prompt that is blocked for OTHER within seconds is one whose references were looked at and not liked.
    Google does not bill blocked images. Whether words instead of an image are billed, and as what, nobody tells:
    Google bills the tokens, some relays the whole image.
    """
    blocked = short_name(node(body, "promptFeedback", "blockReason"))
    if blocked:
        why = clean(words(node(body, "promptFeedback", "blockReasonMessage")))
        what = "the prompt, perhaps for a reference image" if order.references else "the prompt"
        return Refused(f"the provider blocked {what} ({blocked}){said(why)}", http_status=status)
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
