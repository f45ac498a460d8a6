"""OpenAI's images/edits: a form with the images to start from, answered as images/generations are.

Format: https://platform.openai.com/docs/api-reference/images/createEdit. The JSON form with `images` is read too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nanobatch.sandbox.dialects import openai, openai_request
from nanobatch.sandbox.dialects.base import Answer, Asked, MalformedError, Order, parsed
from nanobatch.sandbox.dialects.forms import is_form, parts
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of, digest_of_uri
from nanobatch.sandbox.dialects.openai_request import InvalidError

NAME = openai.NAME
_MOST_IMAGES = 16
_LARGEST_IMAGE, _LARGEST_MASK = 50 * 1024 * 1024, 4 * 1024 * 1024  # bytes
_LONGEST_URI = 20_971_520  # characters
_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
_NUMBERS = frozenset({"n", "output_compression", "partial_images"})
_FLAGS = {"stream": {"true": True, "false": False}}

answer, failed, models, over_limit, stamp = (
    openai.answer, openai.failed, openai.models, openai.over_limit, openai.stamp,
)  # fmt: skip


def read(asked: Asked) -> Order | Answer:
    """Return the images that are wanted, or what the vendor says against the request."""
    refused = openai.door(asked)
    if refused is not None:
        return refused
    try:
        fields, references = _multipart(asked) if is_form(asked) else _json(asked)
        _check_count(references)
        return openai_request.read(fields, int(asked.time), tuple(references))
    except MalformedError:
        return openai.error(400, "We could not parse the body of your request.", "invalid_request_error")
    except UnreadableError as error:
        return openai.error(
            400, f"Invalid image file or mode: {error}.", "image_generation_user_error", "invalid_image_file", "image"
        )
    except InvalidError as error:
        return openai.error(400, str(error), "invalid_request_error", error.code, error.param)


def _check_count(references: list[str]) -> None:
    if not 1 <= len(references) <= _MOST_IMAGES:
        raise InvalidError(f"Expected 1 to {_MOST_IMAGES} images, got {len(references)}.", "image", "invalid_value")


def _multipart(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """Read the parts of a form: fields as they would stand in JSON, and the images' hashes in their order."""
    fields: dict[str, Any] = {}
    references: list[str] = []
    for part in parts(asked):
        if part.name in ("image", "image[]"):
            if part.mime not in _TYPES:
                raise InvalidError(f"Unsupported mimetype ('{part.mime}').", "image", "unsupported_file_mimetype")
            _check_size(len(part.data), _LARGEST_IMAGE, "image")
            references.append(digest_of(part.data, part.mime))
        elif part.name == "mask":
            _check_size(len(part.data), _LARGEST_MASK, "mask")
            digest_of(part.data, "image/png")
        else:
            number = part.name in _NUMBERS and re.fullmatch(r"-?[0-9]{1,9}", part.text)
            fields[part.name] = int(part.text) if number else _FLAGS.get(part.name, {}).get(part.text, part.text)
    return fields, references


def _check_size(size: int, most: int, name: str) -> None:
    if size > most:
        raise InvalidError(f"Invalid file '{name}': expected at most {most} bytes, got {size}.", name, "file_too_large")


def _json(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    body = parsed(asked.body)
    if not isinstance(body, Mapping) or not isinstance(body.get("images"), list):
        raise InvalidError("Missing required parameter: 'images'.", "images", "missing_required_parameter")
    references = []
    for number, image in enumerate(body["images"]):
        uri = image.get("image_url") if isinstance(image, Mapping) else None
        if isinstance(uri, str) and len(uri) > _LONGEST_URI:
            where = f"images[{number}].image_url"
            message = f"Invalid '{where}': string too long. Expected at most {_LONGEST_URI} characters, got {len(uri)}."
            raise InvalidError(message, where, "string_above_max_length")
        references.append(digest_of_uri(uri))
    return {name: value for name, value in body.items() if name != "images"}, references
