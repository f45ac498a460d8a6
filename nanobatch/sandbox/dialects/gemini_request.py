"""Reads a generateContent body with the vendor's strictness: unknown names, ratios and sizes are errors that say where.

Both spellings of a key are accepted, camelCase and snake_case, as Google's JSON reader does. The Gemini API and Vertex
AI differ in a few rules, such as the fields of imageConfig.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nanobatch.sandbox.dialects.base import Order
from nanobatch.sandbox.dialects.gemini_models import traits
from nanobatch.sandbox.dialects.inline import UnreadableError, digest_of
from nanobatch.sandbox.images import QUALITY, Drawing, Kind

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
_CONTENT = frozenset({"role", "parts"})
_PART = frozenset({"text", "inlineData", "fileData", "thought", "thoughtSignature", "mediaResolution"})
_MODALITIES = ("TEXT", "IMAGE")
_ROLES = ("user", "model")
_TIERS = frozenset({"standard", "flex", "priority", "unspecified"})
_LEVELS = frozenset({"thinking_level_unspecified", "minimal", "low", "medium", "high"})
_CATEGORIES = frozenset(
    f"HARM_CATEGORY_{name}"
    for name in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT", "CIVIC_INTEGRITY", "JAILBREAK")
)
_IMAGE_CATEGORIES = frozenset(
    f"HARM_CATEGORY_IMAGE_{name}" for name in ("HATE", "DANGEROUS_CONTENT", "HARASSMENT", "SEXUALLY_EXPLICIT")
)
_THRESHOLDS = frozenset({"BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"})
_KINDS: Mapping[str, Kind] = {"image/png": "png", "image/jpeg": "jpeg"}
_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_PHONE_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_MOST_REFERENCES = 14
_MOST_LABELS = 64
_LABEL, _LABEL_VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
_IMAGE = "generation_config.image_config"
_INT32 = 2**31


@dataclass(frozen=True, slots=True)
class Rules:
    """What the two doors to the same models disagree on.

    Args:
        image_config: The fields of imageConfig.
        categories: What safety settings may be about.
        needs_role: Whether each content says whose it is.
        largest_image: Bytes of one inline image; None leaves it to the size of the whole request.
        body: More fields of the body.
    """

    image_config: frozenset[str]
    categories: frozenset[str] = _CATEGORIES
    needs_role: bool = False
    largest_image: int | None = None
    body: frozenset[str] = frozenset()


GEMINI_API = Rules(frozenset({"aspectRatio", "imageSize"}))
VERTEX_AI = Rules(
    GEMINI_API.image_config | {"personGeneration", "prominentPeople", "imageOutputOptions"},
    categories=_CATEGORIES | _IMAGE_CATEGORIES,
    needs_role=True,
    largest_image=7 * 1024 * 1024,
    body=frozenset({"labels"}),
)


class InvalidError(ValueError):
    """The request is wrong in a way that the vendor names.

    Args:
        message: The vendor's sentence.
        field: Where it is wrong, for the details of the answer.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def read(model: str, body: Any, rules: Rules = GEMINI_API) -> Order:
    """Return what the body asks of the model.

    Raises:
        InvalidError: The vendor would not take it.
    """
    fields = known_fields(body, _BODY | rules.body, "")
    prompt, references = _prompt(fields.get("contents"), rules)
    if "systemInstruction" in fields:
        _content(fields["systemInstruction"], "system_instruction", rules)
    _check_safety(fields.get("safetySettings", []), rules)
    _check_labels(fields.get("labels", {}))
    config = known_fields(fields.get("generationConfig", {}), _CONFIG, "generation_config")
    _check_config(config)
    image = known_fields(config.get("imageConfig", {}), rules.image_config, _IMAGE)
    ratio, size = _ratio_and_size(model, image)
    kind, quality = _output(model, image)
    tier = fields.get("serviceTier", "standard")
    if not isinstance(tier, str) or tier.lower() not in _TIERS:
        raise _bad_value("service_tier", "ServiceTier", tier)
    known, size = traits(model), size or "1K"
    width, height = known.size(ratio, size)
    caption = f"{model}  {size}  {ratio or 'auto'}  {width}x{height}"
    details = {
        "size": size,
        "references": len(references) * known.reference_tokens,
        "thinks": _thinks(config),
        "tier": tier.lower(),
    }
    wanted = config.get("responseModalities") or ["TEXT", "IMAGE"]  # nothing and [] are the default
    drawing = Drawing(prompt, width, height, kind, caption, quality=quality)
    return Order(model, drawing, int("IMAGE" in wanted), tuple(references), details)


def known_fields(value: Any, known: frozenset[str], where: str) -> dict[str, Any]:
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


def _prompt(contents: Any, rules: Rules) -> tuple[str, list[str]]:
    """Return all words of the conversation and the hashes of the images in it."""
    if not isinstance(contents, list) or not contents:
        raise InvalidError("* GenerateContentRequest.contents: contents is not specified\n", "contents")
    words: list[str] = []
    references: list[str] = []
    for number, content in enumerate(contents):
        where = f"contents[{number}]"
        texts, images = _content(content, where, rules)
        role = content.get("role")
        if role not in _ROLES and (role or rules.needs_role):
            raise InvalidError("Please use a valid role: user, model.", f"{where}.role")
        words += texts
        references += images
    if len(references) > _MOST_REFERENCES:
        raise InvalidError(f"Please use fewer images: {len(references)} were given, {_MOST_REFERENCES} are supported.")
    if not words and not references:
        raise InvalidError("Unable to submit request because it must have a text parameter.", "contents")
    return "\n".join(words), references


def _content(content: Any, where: str, rules: Rules) -> tuple[list[str], list[str]]:
    """Return the words and the hashes of the images of one turn."""
    parts = known_fields(content, _CONTENT, where).get("parts")
    if not isinstance(parts, list) or not parts:
        place = f"{where}.parts"
        raise InvalidError(f"* GenerateContentRequest.{place}: contents.parts must not be empty.\n", place)
    read_parts = [_part(part, f"{where}.parts[{index}]", rules) for index, part in enumerate(parts)]
    return [text for text, _ in read_parts if text], [image for _, image in read_parts if image]


def _part(value: Any, where: str, rules: Rules) -> tuple[str, str]:
    """Return a part's words, or the hash of its image."""
    part = known_fields(value, _PART, where)
    if "text" in part:
        if not isinstance(part["text"], str):
            raise _bad_value(f"{where}.text", "TYPE_STRING", part["text"])
        return str(part["text"]), ""
    if "inlineData" in part:
        return "", _inline(part["inlineData"], where, rules)
    if "fileData" in part:
        place = f"{where}.file_data"
        file = known_fields(part["fileData"], frozenset({"fileUri", "mimeType", "displayName"}), place)
        if not isinstance(file.get("fileUri"), str) or not file["fileUri"]:
            raise _bad_value(f"{place}.file_uri", "TYPE_STRING", file.get("fileUri"))
        return "", hashlib.sha256(file["fileUri"].encode()).hexdigest()
    raise InvalidError(f"* GenerateContentRequest.{where}.data: required oneof field 'data' must have one field set\n")


def _inline(value: Any, where: str, rules: Rules) -> str:
    """Return the hash of an image that stands in the request."""
    place = f"{where}.inline_data"
    fields = known_fields(value, frozenset({"data", "mimeType", "displayName"}), place)
    data, mime = _decoded(fields.get("data"), f"{place}.data"), fields.get("mimeType")
    if not isinstance(mime, str) or mime not in _TYPES:
        raise InvalidError(f"Unsupported MIME type: {mime}", f"{place}.mime_type")
    if rules.largest_image is not None and len(data) > rules.largest_image:
        raise InvalidError(f"The image has {len(data)} bytes; {rules.largest_image} are supported.", f"{place}.data")
    try:
        _check_container(mime, data)
        return digest_of(data, mime)
    except UnreadableError as error:
        raise InvalidError("Unable to process input image. Please retry or report.", where) from error


def _check_container(mime: str, data: bytes) -> None:
    """Look further where other formats begin with the same bytes."""
    webp, phone = data[8:12] == b"WEBP", data[4:8] == b"ftyp" and data[8:12] in _PHONE_BRANDS
    if not {"image/webp": webp, "image/heic": phone, "image/heif": phone}.get(mime, True):
        raise UnreadableError(f"the bytes are not {mime}")


def _decoded(data: Any, where: str) -> bytes:
    """Accept the standard and the URL-safe alphabet, with or without padding."""
    try:
        text = data.replace("-", "+").replace("_", "/").rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (AttributeError, TypeError, ValueError, binascii.Error) as error:
        raise InvalidError(f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed", where) from error


def _check_safety(settings: Any, rules: Rules) -> None:
    if not isinstance(settings, list):
        raise _bad_value("safety_settings", "SafetySetting", settings)
    for number, setting in enumerate(settings):
        where = f"safety_settings[{number}]"
        fields = known_fields(setting, frozenset({"category", "threshold", "method"}), where)
        for name, choices in (("category", rules.categories), ("threshold", _THRESHOLDS)):
            if not isinstance(fields.get(name), str) or fields[name] not in choices:
                raise _bad_value(f"{where}.{name}", f"Harm{name.capitalize()}", fields.get(name))


def _check_labels(labels: Any) -> None:
    """Accept what Google Cloud accepts as labels of anything."""
    if not isinstance(labels, Mapping) or len(labels) > _MOST_LABELS:
        raise InvalidError(f"labels are an object of at most {_MOST_LABELS} pairs.", "labels")
    for name, value in labels.items():
        if not _LABEL.fullmatch(name) or not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            raise InvalidError(f"Invalid label {name!r}: lower-case letters, digits, _ and - only.", "labels")


def _check_config(config: dict[str, Any]) -> None:
    modalities = config.get("responseModalities", [])
    if not isinstance(modalities, list) or any(each not in _MODALITIES for each in modalities):
        raise _bad_value("generation_config.response_modalities", "Modality", modalities)
    for name, place in (("seed", "seed"), ("maxOutputTokens", "max_output_tokens")):
        value = config.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not -_INT32 <= value < _INT32:
            raise _bad_value(f"generation_config.{place}", "TYPE_INT32", value)
    for name, place, most in (("temperature", "temperature", 2.0), ("topP", "top_p", 1.0)):
        value = config.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise InvalidError(
                f"* GenerateContentRequest.generation_config.{place}: {place} must be in the range [0.0, {most}].\n"
            )
    if config.get("candidateCount", 1) != 1:
        raise InvalidError("Multiple candidates is not enabled for this model")


def _ratio_and_size(model: str, image: dict[str, Any]) -> tuple[str | None, str | None]:
    ratio, size = image.get("aspectRatio"), image.get("imageSize")
    known = traits(model)
    if ratio is not None and ratio not in known.ratios:
        raise _not_among(f"{_IMAGE}.aspect_ratio", known.ratios, ratio)
    if size is not None and not known.takes_size:
        raise InvalidError(f"Image size is not supported for {model}.", f"{_IMAGE}.image_size")
    if size is not None and size not in tuple(known.sizes):
        raise _not_among(f"{_IMAGE}.image_size", known.sizes, size)
    return ratio, size


def _output(model: str, image: dict[str, Any]) -> tuple[Kind, int]:
    """Return the file format and its quality; only Vertex AI lets them be chosen."""
    where = f"{_IMAGE}.image_output_options"
    options = known_fields(image.get("imageOutputOptions", {}), frozenset({"mimeType", "compressionQuality"}), where)
    mime, quality = options.get("mimeType", f"image/{traits(model).kind}"), options.get("compressionQuality", QUALITY)
    if not isinstance(mime, str) or mime not in _KINDS:
        raise _bad_value(f"{where}.mime_type", "TYPE_STRING", mime)
    if isinstance(quality, bool) or not isinstance(quality, int) or not 0 <= quality <= 100:
        raise _bad_value(f"{where}.compression_quality", "TYPE_INT32", quality)
    return _KINDS[mime], max(1, quality)


def _thinks(config: dict[str, Any]) -> bool:
    where = "generation_config.thinking_config"
    thinking = known_fields(
        config.get("thinkingConfig", {}), frozenset({"thinkingLevel", "includeThoughts", "thinkingBudget"}), where
    )
    level = thinking.get("thinkingLevel", "minimal")
    if not isinstance(level, str) or level.lower() not in _LEVELS:
        raise _bad_value(f"{where}.thinking_level", "ThinkingLevel", level)
    if not isinstance(thinking.get("includeThoughts", False), bool):
        raise _bad_value(f"{where}.include_thoughts", "TYPE_BOOL", thinking["includeThoughts"])
    return level.lower() not in {"minimal", "thinking_level_unspecified"}


def _not_among(where: str, choices: Iterable[str], value: Any) -> InvalidError:
    return InvalidError(
        f"* GenerateContentRequest.{where}: must be one of {', '.join(choices)}, not {value!r}\n", where
    )


def _bad_value(where: str, kind: str, value: Any) -> InvalidError:
    shown = f'"{value}"' if isinstance(value, str) else str(value)[:80]
    return InvalidError(f"Invalid value at '{where}' ({kind}), {shown}", where)
