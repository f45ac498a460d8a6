"""Chat completions that answer with images, as relays and OpenRouter send them.

Facts: https://docs.laozhang.ai, https://docs.apiyi.com, https://openrouter.ai/docs and recorded answers. The image may
stand in `message.images`, in a list of content parts, or inside the text: as markdown, as a `data:` URI, as a link. A
chat has no fields for size, ratio and seed, so jobs that need them go elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nanobatch.errors import ExchangeError, NoImage, Refused
from nanobatch.model import Answer, Blob, Cost, Order, Picture, Request
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.inline import data_uri
from nanobatch.providers.links import download, link_of
from nanobatch.providers.openai_answers import fault, usage_of
from nanobatch.providers.reading import OK, body_of, items, node, words
from nanobatch.providers.sentences import clean, said, short_name

__all__ = ["exchange", "fault"]

_MARKDOWN = re.compile(r"!\[[^\]]{0,1000}\]\(\s*<?((?:data:|https?://)[^)>\s]+)>?[^)]{0,300}\)", re.IGNORECASE)
_DATA = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,[A-Za-z0-9+/=_-]+", re.IGNORECASE)
_IMAGE_LINK = re.compile(r"https?://[^\s)\]>\"']+\.(?:png|jpe?g|webp)(?:\?[^\s)\]>\"']*)?", re.IGNORECASE)
_REFUSED = frozenset({"content_filter", "safety", "prohibited_content", "image_safety"})


def exchange(order: Order) -> Exchange:
    """Ask for one image. `order.options` are added to the body: OpenRouter wants `modalities: [image, text]`."""
    content: Any = order.prompt
    if order.references:
        content = [{"type": "text", "text": order.prompt}] + [
            {"type": "image_url", "image_url": {"url": data_uri(reference)}} for reference in order.references
        ]
    body = {"model": order.model, "messages": [{"role": "user", "content": content}], "stream": False}
    response = yield Request(
        "POST",
        "/chat/completions",
        json=body | dict(order.options),
        cost=Cost(tokens=estimated_tokens(order.prompt)),
    )
    answer = body_of(response)
    message = node(answer, "choices", 0, "message") if response.status in OK else None
    found = list(_images(message))
    if not found and (error := fault(response)) is not None:
        raise error
    if not found:
        raise _no_image(answer, message, response.status)
    *drafts, last = found
    data = (yield from download(last)) if isinstance(last, str) and link_of(last) else last
    kept = tuple(Picture(draft) for draft in drafts if link_of(draft) is None)
    return Answer(Picture(data), kept, usage_of(answer), short_name(node(answer, "model")) or None)


def _images(message: Any) -> Iterator[Blob | str]:
    """Yield the images of a message: blobs, `data:` URIs and links. The first place that holds any decides."""
    for place in (items(node(message, "images")), items(node(message, "content"))):
        found = [image for part in place if (image := _part(part)) is not None]
        if found:
            yield from found
            return
    content = node(message, "content")
    if isinstance(content, Blob):
        yield content
        return
    yield from _in_text("".join(part for part in items(content) if isinstance(part, str)) or words(content))


def _part(part: Any) -> Blob | str | None:
    """Return the image of one content part. A blob may stand among texts, where the text around it was long."""
    if isinstance(part, Blob):
        return part
    url = node(part, "image_url", "url") or node(part, "image_url") or node(part, "url")
    if isinstance(url, Blob):
        return url
    data = node(part, "b64_json") or node(part, "data")
    if isinstance(data, Blob):
        return data
    text = words(url)
    return text if link_of(text) or _DATA.match(text) else None


def _in_text(text: str) -> Iterator[str]:
    """Yield what a text points to: markdown images, else bare `data:` URIs, else bare links to image files."""
    for pattern in (_MARKDOWN, _DATA, _IMAGE_LINK):
        found = [match[match.lastindex or 0] for match in pattern.finditer(text)]
        if found:
            yield from found
            return


def _no_image(answer: Any, message: Any, status: int) -> ExchangeError:
    """Say why a completion holds no image; relays charge for some of these."""
    refusal = clean(words(node(message, "refusal")))
    reason = short_name(node(answer, "choices", 0, "finish_reason"))
    if refusal or reason.lower() in _REFUSED:
        return Refused(f"the provider's content rules forbid this image{said(refusal or reason)}", http_status=status)
    text = clean(words(node(message, "content")))
    return NoImage(f"the model answered without an image{said(text)}", http_status=status, billed=None)
