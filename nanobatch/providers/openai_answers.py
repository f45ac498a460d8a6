"""Reads answers in OpenAI's shape, whoever sends them: `data[]` with base64 or links, `usage`, the error object.

Links expire, so a link is followed at once.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from nanobatch.errors import DecodeError, ExchangeError, ModelGone, NoImage
from nanobatch.model import Answer, Blob, Picture, Request, Response, Usage
from nanobatch.providers.base import Exchange
from nanobatch.providers.links import download, link_of
from nanobatch.providers.quotas import by_quota
from nanobatch.providers.reading import (
    OK,
    body_of,
    count,
    error_object,
    error_status,
    image_data,
    items,
    money,
    node,
    words,
)
from nanobatch.providers.sentences import said, short_name
from nanobatch.providers.statuses import by_code, plain_fault, sentence_of


def answered(response: Response) -> Exchange:
    """Return the image of an answer, following a link where one stands in its place.

    Raises:
        ExchangeError: The leaf that says why there is no image.
    """
    answer = body_of(response)
    entries = items(node(answer, "data")) if response.status in OK else []
    pictures = [picture for entry in entries if (picture := _picture(entry)) is not None]
    if not pictures and (error := fault(response)) is not None:
        raise error  # an image that came beside an error was paid, and is kept
    if pictures:
        picture, *drafts = pictures
    else:
        picture, drafts = (yield from _followed(entries, response.status)), []
    return Answer(picture, tuple(drafts), usage_of(answer), short_name(node(answer, "model")) or None)


def fault(response: Response) -> ExchangeError | None:
    """Classify an answer, also an error that came inside a 200. None for one that may hold an image."""
    error = error_object(response)
    if error is None:
        return plain_fault(response)
    status, sentence = error_status(response, error), sentence_of(response)
    known = by_code(error, status=status, sentence=sentence)
    if known is not None:
        return known
    if words(node(error, "code")) == "rate_limit_exceeded":
        return by_quota(response, status=status, sentence=sentence)
    if status == 400 and words(node(error, "param")) == "model":
        return ModelGone(f"the provider does not have this model{said(sentence)}", http_status=status)
    return plain_fault(response)


def _picture(entry: Any) -> Picture | None:
    """Return the picture that one entry of the answer holds; a `url` may be a data: URI."""
    data = image_data(node(entry, "b64_json"))
    if data is None and (isinstance(link := node(entry, "url"), Blob) or words(link)[:5].lower() == "data:"):
        data = link
    return None if data is None or link_of(data) else Picture(data, _mime(entry))


def _followed(entries: list[Any], status: int) -> Generator[Request, Response, Picture]:
    """Return the picture behind the first link.

    Raises:
        DecodeError: Something stands where a link should, and cannot be followed.
        NoImage: The answer is empty.
    """
    for entry in entries:
        link = link_of(node(entry, "url")) or link_of(node(entry, "b64_json"))
        if link is not None:
            return Picture((yield from download(link)), _mime(entry))
    if any(words(node(entry, "url")) for entry in entries):
        raise DecodeError("the answer's link to the image is not an http(s) address", http_status=status)
    raise NoImage("the answer holds no image", http_status=status, billed=None if entries else False)


def _mime(entry: Any) -> str | None:
    return short_name(node(entry, "media_type")) or short_name(node(entry, "mime_type")) or None


def usage_of(answer: Any) -> Usage | None:
    """Read the tokens, as OpenAI names them or as chat completions do (OpenRouter), or the price itself."""
    usage = node(answer, "usage")
    if not isinstance(usage, dict) or not usage:
        return None
    output, image, text = (
        _first_count(usage, ("output_tokens",), ("completion_tokens",)),
        _first_count(usage, *_details("image_tokens")),
        _first_count(usage, *_details("text_tokens")),
    )
    if text is None and output is not None and image is not None:
        text = max(0, output - image)
    return Usage(
        input_tokens=_first_count(usage, ("input_tokens",), ("prompt_tokens",)),
        text_tokens=text,
        image_tokens=output if image is None else image,  # without details all of the output is the image
        cost_usd=money(node(usage, "cost")),
        input_image_tokens=_first_count(
            usage, ("input_tokens_details", "image_tokens"), ("prompt_tokens_details", "image_tokens")
        ),
    )


def _details(name: str) -> tuple[tuple[str, str], ...]:
    return ("output_tokens_details", name), ("completion_tokens_details", name)


def _first_count(usage: dict[str, Any], *paths: tuple[str, ...]) -> int | None:
    return next((found for path in paths if (found := count(node(usage, *path))) is not None), None)
