"""Reads an images/generations body: as strict as OpenAI for its own models, lenient for everybody else's.

https://platform.openai.com/docs/api-reference/images/create
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nanobatch.sandbox.dialects.base import Order
from nanobatch.sandbox.images import QUALITY, Drawing, Kind

_OWN = re.compile(r"(gpt-image|chatgpt-image)")
_FIXED_SIZES = _CHOOSES_FIDELITY = re.compile(r"gpt-image-1")
_KNOWN = frozenset({
    "model", "prompt", "n", "size", "quality", "background", "output_format", "output_compression", "moderation",
    "user", "safety_identifier", "stream", "partial_images", "complexity",
})  # fmt: skip
_SIZES_OF_1 = ("1024x1024", "1024x1536", "1536x1024", "auto")
_QUALITIES = ("low", "medium", "high", "auto")
_BETTER_QUALITIES = ("xhigh", "max")  # from 2.5 on
_KINDS: Mapping[str, Kind] = {"png": "png", "jpeg": "jpeg", "webp": "webp"}
_LONGEST_PROMPT = 32_000  # characters
_LONGEST_SIDE, _MOST_PIXELS = 3840, 3840 * 2160
_LONGEST_SIDE_ELSEWHERE = 8192
_SIDE_STEP, _MOST_STRETCHED = 16, 3


class InvalidError(ValueError):
    """The request is wrong in a way that the vendor names.

    Args:
        message: The vendor's sentence.
        param: The field.
        code: The vendor's word for it.
    """

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def read(body: Any, created: int, references: tuple[str, ...] = ()) -> Order:
    """Return what the body asks for, at a time in seconds since 1970.

    Args:
        body: The JSON object, or the fields of a form.
        created: Now.
        references: The SHA-256 of each image that is to be edited.

    Raises:
        InvalidError: The vendor would not take it.
    """
    if not isinstance(body, Mapping):
        raise InvalidError("The body of the request is a JSON object.")
    model, prompt = text(body, "model"), text(body, "prompt")
    own = _OWN.match(model) is not None
    known = _KNOWN | ({"input_fidelity"} if references else frozenset())
    if own and (unknown := [name for name in body if name not in known]):
        raise InvalidError(f"Unknown parameter: '{unknown[0]}'.", unknown[0], "unknown_parameter")
    if own and len(prompt) > _LONGEST_PROMPT:
        message = (
            f"Invalid 'prompt': string too long. Expected at most {_LONGEST_PROMPT} characters, got {len(prompt)}."
        )
        raise InvalidError(message, "prompt", "string_above_max_length")
    if references and own:
        _check_fidelity(body, model)
    if body.get("stream"):
        raise InvalidError("The sandbox does not stream images.", "stream", "unsupported_value")
    width, height = _size(body, model, own=own)
    kind = _kind(body)
    quality = _quality(body, model, own=own)
    drawing = Drawing(
        prompt, width, height, kind, f"{model}  {quality}  {width}x{height}", quality=_compression(body, kind)
    )
    details = {"quality": quality, "links": _links(body, model), "created": created}
    return Order(model, drawing, count(body), references, details)


def text(body: Mapping[str, Any], name: str) -> str:
    """Return words that are needed."""
    value = body.get(name)
    if value is None or value == "":
        raise InvalidError(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if not isinstance(value, str):
        raise InvalidError(f"Invalid type for '{name}': expected a string.", name, "invalid_type")
    return value


def count(body: Mapping[str, Any], most: int = 10) -> int:
    """Return how many images are wanted, of as many as the vendor makes at once."""
    value = body.get("n")
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidError("Invalid type for 'n': expected an integer.", "n", "invalid_type")
    if not 1 <= value <= most:
        below = "integer_below_min_value" if value < 1 else "integer_above_max_value"
        raise InvalidError(f"Invalid 'n': expected a value between 1 and {most}, got {value}.", "n", below)
    return value


def choice(body: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    """Return one of the vendor's words, or the one that stands for none."""
    value = body.get(name)
    if value is None:
        return default
    if value not in choices:
        raise _unsupported(name, value, choices)
    return str(value)


def _unsupported(name: str, value: Any, choices: tuple[str, ...]) -> InvalidError:
    supported = ", ".join(f"'{choice}'" for choice in choices)
    return InvalidError(f"Invalid value: '{value}'. Supported values are: {supported}.", name, "invalid_value")


def _size(body: Mapping[str, Any], model: str, *, own: bool) -> tuple[int, int]:
    size = body.get("size")
    if size is None and isinstance(body.get("width"), int) and isinstance(body.get("height"), int) and not own:
        size = f"{body['width']}x{body['height']}"  # as Together's API writes it
    if size is None or size == "auto":
        return 1024, 1024
    if own and _FIXED_SIZES.match(model) and size not in _SIZES_OF_1:
        raise _unsupported("size", size, _SIZES_OF_1)
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size) if isinstance(size, str) else None
    if found is None:
        raise InvalidError(f"Invalid size '{size}'. Expected 'auto' or WIDTHxHEIGHT.", "size", "invalid_value")
    width, height = int(found[1]), int(found[2])
    wrong = _wrong_size(width, height) if own else max(width, height) > _LONGEST_SIDE_ELSEWHERE
    if wrong:
        raise InvalidError(f"Invalid size '{size}' for {model}.", "size", "invalid_value")
    return width, height


def _wrong_size(width: int, height: int) -> bool:
    short, long = sorted((width, height))
    stepped = width % _SIDE_STEP == 0 and height % _SIDE_STEP == 0
    return not stepped or long > _LONGEST_SIDE or width * height > _MOST_PIXELS or long > _MOST_STRETCHED * short


def _quality(body: Mapping[str, Any], model: str, *, own: bool) -> str:
    if not own:
        return str(body.get("quality") or "medium")[:20]
    better = _BETTER_QUALITIES if re.match(r"gpt-image-2\.[5-9]", model) else ()
    quality = choice(body, "quality", (*_QUALITIES, *better), "auto")
    return "medium" if quality == "auto" else quality


def _kind(body: Mapping[str, Any]) -> Kind:
    name = choice(body, "output_format", tuple(_KINDS), "png")
    background = choice(body, "background", ("transparent", "opaque", "auto"), "auto")
    if background == "transparent" and name == "jpeg":
        raise InvalidError("Transparent background is not supported for jpeg.", "background", "invalid_value")
    choice(body, "moderation", ("low", "auto"), "auto")
    choice(body, "complexity", ("low", "medium", "high"), "medium")
    return _KINDS[name]


def _check_fidelity(body: Mapping[str, Any], model: str) -> None:
    """Refuse the choice where there is none: from gpt-image-2 on it is always high."""
    choice(body, "input_fidelity", ("low", "high"), "low")
    if body.get("input_fidelity") is not None and not _CHOOSES_FIDELITY.match(model):
        message = f"The model '{model}' does not support the 'input_fidelity' parameter."
        raise InvalidError(message, "input_fidelity", "invalid_input_fidelity_model")


def _compression(body: Mapping[str, Any], kind: Kind) -> int:
    value = body.get("output_compression")
    if value is None:
        return QUALITY
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise InvalidError("Invalid 'output_compression': expected 0 to 100.", "output_compression", "invalid_value")
    if kind == "png" and value != 100:
        raise InvalidError("Compression below 100 is for jpeg and webp.", "output_compression", "invalid_value")
    return max(1, value)


def _links(body: Mapping[str, Any], model: str) -> bool:
    wanted = body.get("response_format")
    return wanted == "url" or (wanted is None and model.startswith("url-"))
