"""The vendor's strictness, field by field."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.sandbox.dialects.gemini_request import GEMINI_API, VERTEX_AI, InvalidError, read

PRO = "gemini-3-pro-image"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n pixel").decode()


def body(config: Any = None, **other: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "a cat"}]}], **other}
    return found | ({"generationConfig": config} if config is not None else {})


def image(**fields: Any) -> dict[str, Any]:
    return body({"imageConfig": fields})


def wrong(value: Any, model: str = PRO) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        read(model, value)
    return caught.value


def test_a_small_body_is_enough() -> None:
    """Only contents are needed; the rest has defaults."""
    order = read(PRO, {"contents": [{"parts": [{"text": "a cat"}]}]})
    assert (order.model, order.images, order.drawing.prompt) == (PRO, 1, "a cat")
    assert (order.drawing.width, order.drawing.height, order.drawing.kind) == (1408, 768, "jpeg")
    assert dict(order.details) == {"size": "1K", "references": 0, "thinks": False, "tier": "standard"}


def test_both_spellings_are_read() -> None:
    """Keys in camelCase and in snake_case mean the same."""
    snake = {
        "contents": [{"parts": [{"text": "a"}, {"inline_data": {"mime_type": "image/png", "data": PIXEL}}]}],
        "generation_config": {
            "response_modalities": ["IMAGE"], "image_config": {"aspect_ratio": "9:16", "image_size": "2K"},
        },
        "service_tier": "flex",
    }  # fmt: skip
    camel = {
        "contents": [{"parts": [{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": PIXEL}}]}],
        "generationConfig": {
            "responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "9:16", "imageSize": "2K"},
        },
        "serviceTier": "flex",
    }  # fmt: skip
    assert read(PRO, snake) == read(PRO, camel)
    assert (read(PRO, snake).drawing.width, read(PRO, snake).drawing.height) == (1536, 2752)
    assert read(PRO, snake).details["tier"] == "flex"


def test_all_words_make_the_prompt() -> None:
    """A conversation of several parts is one prompt, line by line."""
    contents = [
        {"role": "user", "parts": [{"text": "a cat"}, {"text": "on a mat"}]},
        {"role": "model", "parts": [{"text": "which cat?", "thoughtSignature": "c2ln"}]},
    ]
    assert read(PRO, {"contents": contents}).drawing.prompt == "a cat\non a mat\nwhich cat?"


@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padded", [True, False])
def test_references_come_in_either_alphabet(alphabet: Any, padded: bool) -> None:
    """Standard and URL-safe base64, with or without padding, as the vendor takes them."""
    data = alphabet(b"\x89PNG\r\n\x1a\n\xfb\xff\xfe\xfd").decode()
    data = data if padded else data.rstrip("=")
    parts = [{"inlineData": {"mimeType": "image/png", "data": data}}, {"fileData": {"fileUri": "https://x"}}]
    order = read(PRO, {"contents": [{"parts": parts}]})
    assert order.details["references"] == 2 * 258
    assert order.references[0] == hashlib.sha256(b"\x89PNG\r\n\x1a\n\xfb\xff\xfe\xfd").hexdigest()


def test_a_fifteenth_reference_is_too_many() -> None:
    """Fourteen are supported."""
    part = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    read(PRO, {"contents": [{"parts": [part] * 14}]})
    assert "fewer images" in str(wrong({"contents": [{"parts": [part] * 15}]}))


@pytest.mark.parametrize("data", ["!!!", "ab%d", 5, None, "a"])
def test_a_reference_that_is_not_base64_is_named(data: Any) -> None:
    """The place of the part is in the sentence."""
    error = wrong({"contents": [{"parts": [{"text": "x"}, {"inlineData": {"data": data}}]}]})
    assert str(error).endswith("Base64 decoding failed")
    assert error.field == "contents[0].parts[1].inline_data.data"


HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"
FILES = {
    "image/png": b"\x89PNG\r\n\x1a\n pixel",
    "image/jpeg": b"\xff\xd8\xff pixel",
    "image/webp": b"RIFF\x04\x00\x00\x00WEBPVP8 ",
    "image/heic": HEIC,
    "image/heif": HEIC.replace(b"heic", b"mif1"),
}


def inline(data: bytes, mime: Any) -> dict[str, Any]:
    part = {"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}}
    return {"contents": [{"role": "user", "parts": [{"text": "x"}, part]}]}


@pytest.mark.parametrize("mime", FILES)
def test_five_types_of_images_are_taken(mime: str) -> None:
    """Each with bytes of its own, and hashed as it is."""
    assert read(PRO, inline(FILES[mime], mime)).references == (hashlib.sha256(FILES[mime]).hexdigest(),)


@pytest.mark.parametrize(
    ("mime", "claimed"),
    [(mime, claimed) for mime in FILES for claimed in FILES if {mime, claimed} != {"image/heic", "image/heif"}
     and mime != claimed],
)  # fmt: skip
def test_bytes_of_another_type_are_refused(mime: str, claimed: str) -> None:
    """The name does not help."""
    error = wrong(inline(FILES[mime], claimed))
    assert "Unable to process input image" in str(error)
    assert error.field == "contents[0].parts[1]"


@pytest.mark.parametrize(
    "data", [b"", b"RIFF\x04\x00\x00\x00WAVEfmt ", b"RIFF", b"\x00\x00\x00\x18ftypmp42", b"GIF89a"]
)
@pytest.mark.parametrize("mime", FILES)
def test_what_is_no_image_is_refused(data: bytes, mime: str) -> None:
    """Neither nothing, nor sounds and films in the same containers."""
    assert "Unable to process input image" in str(wrong(inline(data, mime)))


@pytest.mark.parametrize("mime", ["image/gif", "image/jpg", "IMAGE/PNG", "application/pdf", "", None, 5, ["image/png"]])
def test_another_type_is_named(mime: Any) -> None:
    """Also where none is said."""
    error = wrong(inline(FILES["image/png"], mime))
    assert str(error) == f"Unsupported MIME type: {mime}"
    assert error.field == "contents[0].parts[1].inline_data.mime_type"


def test_the_lite_model_counts_more_for_a_reference() -> None:
    """As it was recorded; the others count 258."""
    lite = read("gemini-3.1-flash-lite-image", inline(FILES["image/png"], "image/png"))
    assert lite.details["references"] == 1120


@pytest.mark.parametrize("file", [{}, {"fileUri": ""}, {"fileUri": 5}, {"mimeType": "image/png"}, "https://x"])
def test_a_file_needs_its_place(file: Any) -> None:
    """An uploaded file is named by its address."""
    assert "file_data" in str(wrong({"contents": [{"parts": [{"text": "x"}, {"fileData": file}]}]}))


@pytest.mark.parametrize(
    ("role", "fine"),
    [("user", True), ("model", True), (None, True), ("", True), ("assistant", False), (5, False), (["user"], False)],
)
def test_a_role_is_user_or_model(role: Any, fine: bool) -> None:
    """The Gemini API does without; another vendor's word is refused."""
    value: Any = {"contents": [{"role": role, "parts": [{"text": "x"}]}]}
    if fine:
        assert read(PRO, value).drawing.prompt == "x"
    else:
        assert "valid role" in str(wrong(value))


def test_instructions_are_read_but_not_drawn() -> None:
    """They are no part of the prompt, and may be wrong on their own."""
    assert read(PRO, body(systemInstruction={"parts": [{"text": "be kind"}]})).drawing.prompt == "a cat"
    wrong_ones: list[Any] = ["be kind", {"parts": []}, {"parts": [{"words": "x"}]}]
    for value in wrong_ones:
        assert "system_instruction" in str(wrong(body(systemInstruction=value)))


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ({"category": "HARM_CATEGORY_SPAM", "threshold": "OFF"}, "category"),
        ({"category": "HARM_CATEGORY_IMAGE_HATE", "threshold": "OFF"}, "category"),
        ({"category": ["x"], "threshold": "OFF"}, "category"),
        ({"threshold": "OFF"}, "category"),
        ({"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_SOME"}, "threshold"),
        ({"category": "HARM_CATEGORY_HARASSMENT"}, "threshold"),
        ({"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF", "level": 1}, "level"),
        ("OFF", "safety_settings[0]"),
    ],
)
def test_safety_settings_are_checked_one_by_one(setting: Any, place: str) -> None:
    """Categories of images are for Vertex AI alone."""
    assert place in str(wrong(body(safetySettings=[setting])))
    assert "safety_settings" in str(wrong(body(safetySettings={"category": "x"})))
    read(PRO, body(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]))


def test_vertex_ai_wants_a_role() -> None:
    """Where the Gemini API supposes the user's."""
    with pytest.raises(InvalidError) as caught:
        read(PRO, {"contents": [{"parts": [{"text": "x"}]}]}, VERTEX_AI)
    assert (str(caught.value), caught.value.field) == ("Please use a valid role: user, model.", "contents[0].role")


def test_vertex_ai_takes_images_of_seven_megabytes() -> None:
    """One byte more is too much there; the Gemini API only counts the whole request."""
    full = FILES["image/png"].ljust(7 * 1024 * 1024, b"x")
    assert len(read(PRO, inline(full, "image/png"), VERTEX_AI).references) == 1
    assert len(read(PRO, inline(full + b"x", "image/png")).references) == 1
    with pytest.raises(InvalidError, match="7340032 are supported"):
        read(PRO, inline(full + b"x", "image/png"), VERTEX_AI)


@pytest.mark.parametrize(
    ("options", "kind", "quality"),
    [
        ({"mimeType": "image/png"}, "png", 85), ({"mimeType": "image/jpeg", "compressionQuality": 10}, "jpeg", 10),
        ({"compressionQuality": 0}, "jpeg", 1), ({}, "jpeg", 85),
    ],
)  # fmt: skip
def test_vertex_ai_lets_the_file_be_chosen(options: dict[str, Any], kind: str, quality: int) -> None:
    """Format and quality, which the Gemini API calls unknown names."""
    value = image(imageOutputOptions=options, personGeneration="ALLOW_ALL")
    drawing = read(PRO, value, VERTEX_AI).drawing
    assert (drawing.kind, drawing.quality) == (kind, quality)
    assert "Unknown name" in str(wrong(value))


@pytest.mark.parametrize(
    "options",
    [
        {"mimeType": "image/webp"},
        {"mimeType": 5},
        {"compressionQuality": 101},
        {"compressionQuality": True},
        {"size": 1},
        [],
    ],
)
def test_vertex_ai_checks_what_is_chosen(options: Any) -> None:
    """With the place of the mistake."""
    with pytest.raises(InvalidError, match="image_output_options"):
        read(PRO, image(imageOutputOptions=options), VERTEX_AI)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "contents is not specified"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": "a cat"}, "contents is not specified"),
        ({"contents": [{}]}, "contents[0].parts: contents.parts must not be empty"),
        ({"contents": [{"parts": []}]}, "contents.parts must not be empty"),
        ({"contents": ["a cat"]}, "Invalid value at 'contents[0]'"),
        ({"contents": [{"parts": [{}]}]}, "required oneof field 'data'"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 5"),
        ({"contents": [{"parts": [{"text": ""}]}]}, "must have a text parameter"),
        ([], "Invalid value at 'body'"),
        (None, "Invalid value at 'body'"),
        (5, "Invalid value at 'body'"),
    ],
)
def test_contents_are_needed(value: Any, sentence: str) -> None:
    """Nothing to draw, or no words where words belong, is an error."""
    assert sentence in str(wrong(value))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (body(prompt="x"), 'Unknown name "prompt": Cannot find field.'),
        (body(n=2), 'Unknown name "n": Cannot find field.'),
        (body({"aspectRatio": "1:1"}), "Unknown name \"aspectRatio\" at 'generation_config': Cannot find field."),
        (image(personGeneration="ALLOW_ALL"), "Unknown name \"personGeneration\" at 'generation_config.image_config'"),
        (image(quality="high"), 'Unknown name "quality"'),
        ({"contents": [{"parts": [{"text": "x"}], "name": "y"}]}, "Unknown name \"name\" at 'contents[0]'"),
        ({"contents": [{"parts": [{"image": "x"}]}]}, "Unknown name \"image\" at 'contents[0].parts[0]'"),
    ],
)
def test_an_unknown_field_is_named_with_its_place(value: Any, sentence: str) -> None:
    """A misspelt field is never ignored."""
    assert sentence in str(wrong(value))


def test_null_is_left_out() -> None:
    """Clients that send every field, empty, are understood."""
    value = body({"imageConfig": {"aspectRatio": None}, "seed": None}, systemInstruction=None, serviceTier=None)
    assert read(PRO, value) == read(PRO, body())


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (PRO, "1k"), (PRO, "512"), (PRO, "8K"), (PRO, 1), (PRO, ""), (PRO, ["1K"]),
        ("gemini-3.1-flash-lite-image", "2K"), ("gemini-nano-banana-2.1", "512"), ("any-relay", "1024"),
    ],
)  # fmt: skip
def test_a_size_that_the_model_lacks_is_refused(model: str, size: Any) -> None:
    """Sizes are upper case, and each model has its own."""
    error = wrong(image(imageSize=size), model)
    assert error.field == "generation_config.image_config.image_size"
    assert "must be one of" in str(error)


def test_the_oldest_model_takes_no_size_at_all() -> None:
    """Even its only size may not be said."""
    assert "not supported" in str(wrong(image(imageSize="1K"), "gemini-2.5-flash-image"))
    assert read("gemini-2.5-flash-image", image(aspectRatio="2:3")).drawing.height == 1248


@pytest.mark.parametrize(
    ("model", "ratio"),
    [(PRO, "1:8"), (PRO, "auto"), (PRO, "16x9"), (PRO, 1.5), (PRO, ["1:1"]), ("gemini-3.1-flash-image", "7:5")],
)
def test_a_ratio_that_the_model_lacks_is_refused(model: str, ratio: Any) -> None:
    """Ten ratios for some models, fourteen for others, never a word."""
    assert wrong(image(aspectRatio=ratio), model).field == "generation_config.image_config.aspect_ratio"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"responseModalities": ["Image"]}, "generation_config.response_modalities"),
        ({"responseModalities": [["IMAGE"]]}, "generation_config.response_modalities"),
        ({"responseModalities": "IMAGE"}, "generation_config.response_modalities"),
        ({"seed": 2**31}, "generation_config.seed"),
        ({"seed": "7"}, "generation_config.seed"),
        ({"seed": 1.5}, "generation_config.seed"),
        ({"seed": True}, "generation_config.seed"),
        ({"maxOutputTokens": "many"}, "generation_config.max_output_tokens"),
        ({"temperature": 2.1}, "temperature must be in the range"),
        ({"temperature": "hot"}, "temperature must be in the range"),
        ({"topP": 1.1}, "top_p must be in the range [0.0, 1.0]"),
        ({"topP": True}, "top_p must be in the range"),
        ({"thinkingConfig": {"thinkingLevel": "deep"}}, "thinking_config.thinking_level"),
        ({"thinkingConfig": {"thinkingLevel": ["high"]}}, "thinking_config.thinking_level"),
        ({"thinkingConfig": {"includeThoughts": "yes"}}, "thinking_config.include_thoughts"),
        ({"thinkingConfig": {"level": "high"}}, 'Unknown name "level"'),
        ({"candidateCount": 2}, "Multiple candidates"),
        ({"imageConfig": []}, "Invalid value at 'generation_config.image_config'"),
        ([], "Invalid value at 'generation_config'"),
    ],
)
def test_wrong_values_are_refused(config: Any, sentence: str) -> None:
    """Types and ranges are the vendor's."""
    assert sentence in str(wrong(body(config)))


@pytest.mark.parametrize("seed", [0, -(2**31), 2**31 - 1])
def test_seeds_are_32_bits(seed: int) -> None:
    """The ends of the range are inside."""
    read(PRO, body({"seed": seed, "temperature": 2, "candidateCount": 1, "topP": 0.9}))


@pytest.mark.parametrize(("tier", "fine"), [("flex", True), ("PRIORITY", True), ("cheap", False), (5, False)])
def test_tiers_are_known(tier: Any, fine: bool) -> None:
    """The tier comes back as it was asked, in lower case."""
    if fine:
        assert read(PRO, body(serviceTier=tier)).details["tier"] == tier.lower()
    else:
        assert "service_tier" in str(wrong(body(serviceTier=tier)))


def test_words_alone_order_no_image() -> None:
    """Who asks for text gets text, and no bill for an image; no modalities at all are the default."""
    assert read(PRO, body({"responseModalities": ["TEXT"]})).images == 0
    assert read(PRO, body({"responseModalities": []})).images == 1
    assert read(PRO, body({"responseModalities": ["IMAGE"]})).images == 1


@pytest.mark.parametrize(("level", "thinks"), [("minimal", False), ("MINIMAL", False), ("high", True), ("low", True)])
def test_thinking_is_asked_for_by_level(level: str, thinks: bool) -> None:
    """Anything above the least level counts thoughts."""
    assert read(PRO, body({"thinkingConfig": {"thinkingLevel": level}})).details["thinks"] is thinks


_NAMES = st.sampled_from([
    "contents", "parts", "text", "inlineData", "data", "generationConfig", "imageConfig", "imageSize", "aspectRatio",
    "responseModalities", "seed", "thinkingConfig", "thinkingLevel", "serviceTier", "other", "role", "mimeType",
    "fileData", "fileUri", "systemInstruction", "safetySettings", "category", "threshold", "imageOutputOptions",
])  # fmt: skip
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1K", "1:1"])
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=20
)


@given(_VALUES, st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_whatever_comes_is_read_or_refused(anything: Any, fields: dict[str, Any]) -> None:
    """No JSON makes the sandbox stumble: it becomes an order or an error that says why."""
    contents = {"contents": [{"role": "user", "parts": [{"text": "x"}, fields]}]}
    for value in (anything, body() | fields, body(anything), image(**fields), contents):
        for rules in (GEMINI_API, VERTEX_AI):
            with contextlib.suppress(InvalidError):
                assert read(PRO, value, rules).images in (0, 1)
