"""What generateContent is sent, by Gemini's own API and by Vertex AI alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nanobatch.model import Cost, Order
from nanobatch.providers.base import estimated_tokens

TOKENS_PER_REFERENCE = 1120  # what Gemini 3 counts for one image of its input; older models count 258

_IMAGE_KEYS = frozenset({"personGeneration", "prominentPeople", "imageOutputOptions"})  # taken by Vertex AI alone
_GENERATION_KEYS = frozenset({
    "responseModalities", "imageConfig", "thinkingConfig", "mediaResolution", "temperature", "topP", "topK", "seed",
    "maxOutputTokens", "stopSequences", "candidateCount",
})  # fmt: skip


def body_of_order(order: Order) -> dict[str, Any]:
    """Write an order as generateContent wants it: the words, then the references in the user's order.

    `order.options` are merged into the body key by key, spelt as the wire spells them: `safetySettings`, `serviceTier`
    or `generationConfig: {...}`. What belongs into generationConfig may also stand by itself (`thinkingConfig`,
    `temperature` and so on), and so may what belongs into its imageConfig (`personGeneration`, `imageOutputOptions`).

    >>> body_of_order(Order("a red fox", "some-model"))["contents"]
    [{'role': 'user', 'parts': [{'text': 'a red fox'}]}]
    """
    parts: list[dict[str, Any]] = [{"text": order.prompt}]
    parts += [{"inlineData": {"mimeType": found.mime, "data": found.data}} for found in order.references]
    body = {"contents": [{"role": "user", "parts": parts}], "generationConfig": _config(order)}
    image = {key: value for key, value in order.options.items() if key in _IMAGE_KEYS}
    own = {key: value for key, value in order.options.items() if key in _GENERATION_KEYS}
    rest = {key: value for key, value in order.options.items() if key not in own and key not in image}
    if image:
        body = _merged(body, {"generationConfig": {"imageConfig": image}})
    return _merged(_merged(body, {"generationConfig": own}), rest)


def cost_of(order: Order) -> Cost:
    """Estimate what an order takes from a quota."""
    return Cost(tokens=estimated_tokens(order.prompt) + TOKENS_PER_REFERENCE * len(order.references))


def _config(order: Order) -> dict[str, Any]:
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
    return config


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
