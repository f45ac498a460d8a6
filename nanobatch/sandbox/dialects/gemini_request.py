"""Reads a generateContent body with the vendor's strictness: unknown names, ratios and sizes are errors that say where.

Both spellings of a key are accepted, camelCase and snake_case, as Google's JSON reader does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from nanobatch.sandbox.dialects.base import Order
from nanobatch.sandbox.dialects.gemini_models import traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of_base64
from nanobatch.sandbox.images import Drawing

_BODY = frozenset({
    "contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "cachedContent",
    "serviceTier", "store", "model",
})  # fmt: skip
_CONFIG = frozenset({
    "stopSequences", "responseMimeType", "responseSchema", "responseJsonSchema", "responseModalities", "candidateCount",
    "maxOutputTokens", "temperature", "topP", "topK", "seed", "presencePenalty", "frequencyPenalty",
    "responseLogprobs", "logprobs", "enableEnhancedCivicAnswers", "speechConfig", "thinkingConfig", "imageConfig",
    "mediaResolution",
})  # fmt: skip
_IMAGE_CONFIG = frozenset({"aspectRatio", "imageSize"})
_CONTENT = frozenset({"role", "parts"})
_PART = frozenset({"text", "inlineData", "fileData", "thought", "thoughtSignature", "mediaResolution"})
_MODALITIES = ("TEXT", "IMAGE")
_TIERS = frozenset({"standard", "flex", "priority", "unspecified"})
_TOKENS_OF_A_REFERENCE = 258
_MOST_REFERENCES = 14
_INT32 = 2**31


class InvalidError(ValueError):
    """The request is wrong in a way that the vendor names.

    Args:
        message: The vendor's sentence.
        field: Where it is wrong, for the details of the answer.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def read(model: str, body: Any) -> Order:
    """Return what the body asks of the model.

    Raises:
        InvalidError: The vendor would not take it.
    """
    fields = _fields(body, _BODY, "")
    prompt, references = _prompt(fields.get("contents"))
    config = _fields(fields.get("generationConfig", {}), _CONFIG, "generation_config")
    _check_config(config)
    ratio, size = _image_config(model, config)
    tier = fields.get("serviceTier", "standard")
    if not isinstance(tier, str) or tier.lower() not in _TIERS:
        raise _bad_value("service_tier", "ServiceTier", tier)
    size = size or "1K"
    width, height = traits(model).size(ratio, size)
    caption = f"{model}  {size}  {ratio or 'auto'}  {width}x{height}"
    details = {
        "size": size,
        "references": len(references) * _TOKENS_OF_A_REFERENCE,
        "thinks": _thinks(config),
        "tier": tier.lower(),
    }
    wanted = config.get("responseModalities") or ["TEXT", "IMAGE"]  # nothing and [] are the default
    drawing = Drawing(prompt, width, height, traits(model).kind, caption)
    return Order(model, drawing, int("IMAGE" in wanted), tuple(references), details)


def _fields(value: Any, known: frozenset[str], where: str) -> dict[str, Any]:
    """Return an object's fields under their camelCase names, without those that are null."""
    if not isinstance(value, Mapping):
        raise InvalidError(f"Invalid value at '{where or 'body'}': an object is expected.", where or None)
    found = {}
    for name, inner in value.items():
        camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
        if camel not in known:
            place = f" at '{where}'" if where else ""
            raise InvalidError(
                f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.', where or None
            )
        if inner is not None:
            found[camel] = inner
    return found


def _prompt(contents: Any) -> tuple[str, list[str]]:
    """Return all words of the conversation and the hashes of the images in it."""
    if not isinstance(contents, list) or not contents:
        raise InvalidError("* GenerateContentRequest.contents: contents is not specified\n", "contents")
    words: list[str] = []
    references: list[str] = []
    for number, content in enumerate(contents):
        parts = _fields(content, _CONTENT, f"contents[{number}]").get("parts")
        if not isinstance(parts, list) or not parts:
            where = f"contents[{number}].parts"
            raise InvalidError(f"* GenerateContentRequest.{where}: contents.parts must not be empty.\n", where)
        for index, part in enumerate(parts):
            where = f"contents[{number}].parts[{index}]"
            text, image = _part(_fields(part, _PART, where), where)
            references += [image] if image else []
            words += [text] if text else []
    if len(references) > _MOST_REFERENCES:
        raise InvalidError(f"Please use fewer images: {len(references)} were given, {_MOST_REFERENCES} are supported.")
    if not words and not references:
        raise InvalidError("Unable to submit request because it must have a text parameter.", "contents")
    return "\n".join(words), references


def _part(part: dict[str, Any], where: str) -> tuple[str, str]:
    """Return a part's words, or the hash of its image."""
    if "text" in part:
        if not isinstance(part["text"], str):
            raise _bad_value(f"{where}.text", "TYPE_STRING", part["text"])
        return str(part["text"]), ""
    if "inlineData" in part:
        data = _fields(part["inlineData"], frozenset({"data", "mimeType", "displayName"}), f"{where}.inline_data")
        _check_base64(data.get("data"), f"{where}.inline_data.data")
        try:
            return "", digest_of_base64(data["data"], str(data.get("mimeType", "")))
        except UnreadableError as error:
            raise InvalidError("Unable to process input image. Please retry or report.", where) from error
    if "fileData" in part:
        return "", hashlib.sha256(str(part["fileData"]).encode()).hexdigest()
    raise InvalidError(f"* GenerateContentRequest.{where}.data: required oneof field 'data' must have one field set\n")


def _check_base64(data: Any, where: str) -> None:
    """Accept the standard and the URL-safe alphabet, with or without padding."""
    try:
        text = data.replace("-", "+").replace("_", "/").rstrip("=")
        base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (AttributeError, ValueError, binascii.Error) as error:
        raise InvalidError(f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed", where) from error


def _check_config(config: dict[str, Any]) -> None:
    modalities = config.get("responseModalities", [])
    if not isinstance(modalities, list) or any(each not in _MODALITIES for each in modalities):
        raise _bad_value("generation_config.response_modalities", "Modality", modalities)
    for name, place in (("seed", "seed"), ("maxOutputTokens", "max_output_tokens")):
        value = config.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not -_INT32 <= value < _INT32:
            raise _bad_value(f"generation_config.{place}", "TYPE_INT32", value)
    temperature = config.get("temperature", 1)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature <= 2:
        raise InvalidError(
            "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n"
        )
    if config.get("candidateCount", 1) != 1:
        raise InvalidError("Multiple candidates is not enabled for this model")


def _image_config(model: str, config: dict[str, Any]) -> tuple[str | None, str | None]:
    where = "generation_config.image_config"
    image = _fields(config.get("imageConfig", {}), _IMAGE_CONFIG, where)
    ratio, size = image.get("aspectRatio"), image.get("imageSize")
    known = traits(model)
    if ratio is not None and ratio not in known.ratios:
        raise InvalidError(
            f"* GenerateContentRequest.{where}.aspect_ratio: must be one of {', '.join(known.ratios)}, not {ratio!r}\n",
            f"{where}.aspect_ratio",
        )
    if size is not None and not known.takes_size:
        raise InvalidError(f"Image size is not supported for {model}.", f"{where}.image_size")
    if size is not None and size not in tuple(known.sizes):
        raise InvalidError(
            f"* GenerateContentRequest.{where}.image_size: must be one of {', '.join(known.sizes)}, not {size!r}\n",
            f"{where}.image_size",
        )
    return ratio, size


def _thinks(config: dict[str, Any]) -> bool:
    thinking = _fields(
        config.get("thinkingConfig", {}),
        frozenset({"thinkingLevel", "includeThoughts", "thinkingBudget"}),
        "generation_config.thinking_config",
    )
    return str(thinking.get("thinkingLevel", "minimal")).lower() not in {"minimal", "thinking_level_unspecified"}


def _bad_value(where: str, kind: str, value: Any) -> InvalidError:
    shown = f'"{value}"' if isinstance(value, str) else str(value)[:80]
    return InvalidError(f"Invalid value at '{where}' ({kind}), {shown}", where)
