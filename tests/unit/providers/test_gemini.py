"""Gemini's generateContent: which image is the picture, why there is none.

The wire examples in tests/wire/gemini show each shape whole; here are the tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import AccountStopped, ExchangeError, NoImage, Refused, Rejected
from nanobatch.model import Answer, Blob, Order, Reference, Response, Usage
from nanobatch.providers import gemini
from nanobatch.providers.gemini import SERVED_AT_FULL_PRICE

# Every reason that google-genai 3.3.0 lists, and what it means here.
REASONS: dict[str, type[ExchangeError]] = {
    "FINISH_REASON_UNSPECIFIED": NoImage, "STOP": NoImage, "MAX_TOKENS": Rejected, "SAFETY": Refused,
    "RECITATION": Refused, "LANGUAGE": Refused, "OTHER": NoImage, "BLOCKLIST": Refused, "PROHIBITED_CONTENT": Refused,
    "SPII": Refused, "MALFORMED_FUNCTION_CALL": NoImage, "IMAGE_SAFETY": Refused, "IMAGE_PROHIBITED_CONTENT": Refused,
    "IMAGE_OTHER": NoImage, "NO_IMAGE": NoImage, "IMAGE_RECITATION": Refused, "UNEXPECTED_TOOL_CALL": NoImage,
    "TOO_MANY_TOOL_CALLS": NoImage, "MISSING_THOUGHT_SIGNATURE": NoImage, "MALFORMED_RESPONSE": NoImage,
    "ESCALATION": NoImage, "PUP_LIMITED_DISABLED": AccountStopped, "CONTINUATION": NoImage, "MODEL_ARMOR": Refused,
}  # fmt: skip
ORDER = Order("a red fox", "m")
FLEX = Order("a red fox", "m", options={"serviceTier": "flex"})
BLOCKED = [
    "BLOCKED_REASON_UNSPECIFIED", "SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "MODEL_ARMOR",
    "JAILBREAK", "A_REASON_OF_TOMORROW",
]  # fmt: skip


def ended(
    body: Any, status: int = 200, *, order: Order = ORDER, headers: dict[str, str] | None = None
) -> Answer | ExchangeError:
    exchange = gemini.exchange(order)
    next(exchange)
    try:
        request = exchange.send(Response(status, headers or {}, json=body))
    except StopIteration as done:
        assert isinstance(done.value, Answer)
        return done.value
    except ExchangeError as error:
        return error
    pytest.fail(f"it goes on with {request}")


def image(name: str, **more: Any) -> dict[str, Any]:
    return {"inlineData": {"mimeType": "image/png", "data": Blob(Path(name), 2048, "0" * 64)}} | more


def chosen(*parts: Any) -> tuple[str, list[str]]:
    answer = ended({"candidates": [{"content": {"parts": list(parts)}}]})
    assert isinstance(answer, Answer)
    names = [str(found.data.path) for found in (answer.picture, *answer.drafts) if isinstance(found.data, Blob)]
    return names[0], names[1:]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-nano-banana-2.1", "/models/gemini-nano-banana-2.1:generateContent"),
        ("google/gemini-3", "/models/google/gemini-3:generateContent"),
        ("a?key=b#c d", "/models/a%3Fkey%3Db%23c%20d:generateContent"),
    ],
)
def test_a_models_name_stays_a_name(model: str, path: str) -> None:
    """Whatever a row calls its model, it cannot add a query or a fragment to the address."""
    assert next(gemini.exchange(Order("x", model))).path == path


@pytest.mark.parametrize(
    ("parts", "picture", "drafts"),
    [
        ([image("a")], "a", []),
        ([image("a"), image("b")], "b", ["a"]),
        ([image("a", thought=True), image("b")], "b", ["a"]),
        ([image("b"), image("a", thought=True)], "b", ["a"]),
        ([image("a", thought=True), image("b", thought=True)], "b", ["a"]),
        ([image("a", thought=False), image("b", thoughtSignature="x")], "b", ["a"]),
        ([image("a", thoughtSignature="x"), {"text": "done", "thought": True}], "a", []),
        ([None, 7, "x", [], {"inlineData": 7}, {"inlineData": {"data": 7}}, image("a")], "a", []),
    ],
)  # fmt: skip
def test_the_last_image_that_is_no_thought_is_the_picture(parts: list[Any], picture: str, drafts: list[str]) -> None:
    """Drafts come first, with or without a flag; where all are thoughts the last is taken."""
    assert chosen(*parts) == (picture, drafts)


@pytest.mark.parametrize("mime", ["text/plain", "audio/wav", "video/mp4"])
def test_short_data_that_claims_to_be_something_else_is_no_image(mime: str) -> None:
    """A few characters of sound or text are not bought as an image."""
    assert isinstance(
        ended({"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": mime, "data": "aGk="}}]}}]}), NoImage
    )


@pytest.mark.parametrize(("reason", "verdict"), REASONS.items())
def test_every_finish_reason_has_a_meaning(reason: str, verdict: type[ExchangeError]) -> None:
    """Each reason of the vendor's list ends in its own class, and the sentence names it."""
    error = ended({"candidates": [{"content": {}, "finishReason": reason, "finishMessage": "Support code: 17"}]})
    assert isinstance(error, ExchangeError)
    assert type(error) is verdict
    assert reason in error.message
    assert error.http_status == 200


@pytest.mark.parametrize("reason", BLOCKED)
def test_a_blocked_prompt_is_refused(reason: str) -> None:
    """Whatever blocks a prompt blocks it the next time as well."""
    error = ended({"promptFeedback": {"blockReason": reason}})
    assert type(error) is Refused
    assert reason in error.message


@pytest.mark.parametrize(
    ("reason", "billed"),
    [
        ("IMAGE_SAFETY", False),
        ("NO_IMAGE", False),
        ("IMAGE_OTHER", False),
        ("STOP", None),
        ("MAX_TOKENS", None),
        ("NEW", None),
    ],
)
def test_what_is_billed(reason: str, billed: bool | None) -> None:
    """Google does not charge for blocked images; about words instead of an image nobody can know."""
    error = ended({"candidates": [{"finishReason": reason}]})
    assert isinstance(error, ExchangeError)
    assert error.billed is billed


def test_the_models_words_explain() -> None:
    """A refusal in words is told to the person; thoughts are not."""
    parts = [{"text": "I wonder.", "thought": True}, {"text": "I cannot"}, {"text": "draw that."}]
    error = ended({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]})
    assert isinstance(error, NoImage)
    assert error.message.endswith("(STOP): I cannot draw that.")


def test_words_without_a_reason() -> None:
    """A relay that drops the finish reason still lets the model speak."""
    error = ended({"candidates": [{"content": {"parts": [{"text": "No."}]}}]})
    assert isinstance(error, NoImage)
    assert error.message == "the model answered without an image: No."


@pytest.mark.parametrize("reason", [7, None, [], {"a": 1}, "x\n\x1b[31m" + "y" * 5000])
def test_a_reason_of_any_kind(reason: Any) -> None:
    """A reason that is no short word does not get into the sentence as it is."""
    error = ended({"candidates": [{"finishReason": reason}]})
    assert isinstance(error, NoImage)
    assert error.message.isprintable()
    assert len(error.message) < 200


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (None, None), ({}, None), ([], None), (7, None),
        ({"promptTokenCount": 5}, Usage(5, None, None)),
        ({"candidatesTokenCount": 100}, Usage(None, None, None)),
        ({"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}]}, Usage(None, None, 1120)),
        ({"candidatesTokenCount": 1200, "candidatesTokensDetails": [{"modality": "image", "tokenCount": 1120}]}, Usage(None, 80, 1120)),
        ({"candidatesTokenCount": 90, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}]}, Usage(None, 0, 1120)),
        ({"thoughtsTokenCount": 9, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}]}, Usage(None, 9, 1120)),
        ({"candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 7}, {"modality": "IMAGE"}, None]}, Usage(None, None, None)),
        ({"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}] * 2}, Usage(None, None, 2240)),
        ({"promptTokenCount": -1, "candidatesTokensDetails": {"modality": "IMAGE"}}, Usage(None, None, None)),
    ],
)  # fmt: skip
def test_tokens(usage: Any, found: Usage | None) -> None:
    """Details cover the image; the rest of the candidates and the thoughts are text; what is not said is None."""
    answer = ended({"candidates": [{"content": {"parts": [image("a")]}}], "usageMetadata": usage})
    assert isinstance(answer, Answer)
    assert answer.usage == found


def test_an_image_behind_an_error_status_is_not_taken() -> None:
    """Only a success can hold the picture."""
    assert isinstance(ended({"candidates": [{"content": {"parts": [image("a")]}}]}, status=500), ExchangeError)


@pytest.mark.parametrize(
    ("usage", "headers", "warned"),
    [
        ({"serviceTier": "flex"}, {}, False),
        ({"serviceTier": "FLEX"}, {}, False),
        ({"serviceTier": "standard"}, {}, True),
        ({"serviceTier": "STANDARD"}, {}, True),
        ({"serviceTier": "priority"}, {}, True),
        ({"service_tier": "standard"}, {}, True),
        ({}, {"x-gemini-service-tier": "standard"}, True),
        ({}, {"x-gemini-service-tier": "flex"}, False),
        ({"serviceTier": "flex"}, {"x-gemini-service-tier": "standard"}, False),
        ({"serviceTier": "standard"}, {"x-gemini-service-tier": "flex"}, True),
        ({"trafficType": "ON_DEMAND"}, {}, True),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, {}, True),
        ({"trafficType": "ON_DEMAND_FLEX"}, {}, False),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, {}, False),
        ({"serviceTier": "unspecified"}, {}, False),
        ({"serviceTier": {"a": 1}}, {}, False),
        ({"serviceTier": None}, {"x-gemini-service-tier": "standard"}, True),
        (None, {}, False),
    ],
)  # fmt: skip
def test_a_tier_that_costs_more_is_told(usage: Any, headers: dict[str, str], warned: bool) -> None:
    """Who asked for half the price learns when the provider says that the whole is billed; the body comes first."""
    body = {"candidates": [{"content": {"parts": [image("a")]}}], "usageMetadata": usage}
    answer = ended(body, order=FLEX, headers=headers)
    assert isinstance(answer, Answer)
    assert answer.warnings == ((SERVED_AT_FULL_PRICE,) if warned else ())


@pytest.mark.parametrize("tier", [None, "standard", "priority", 7, ["flex"]])
def test_who_did_not_ask_for_flex_is_not_warned(tier: Any) -> None:
    """The full price is what was asked for."""
    order = Order("a red fox", "m", options={} if tier is None else {"serviceTier": tier})
    body = {"candidates": [{"content": {"parts": [image("a")]}}], "usageMetadata": {"serviceTier": "standard"}}
    answer = ended(body, order=order)
    assert isinstance(answer, Answer)
    assert answer.warnings == ()


def test_a_download_is_warned_about_as_well() -> None:
    """The tier stands in the answer that was paid, not in the file that follows."""
    exchange = gemini.exchange(FLEX)
    next(exchange)
    part = {"fileData": {"fileUri": "https://cdn.example/1.png"}}
    body = {"candidates": [{"content": {"parts": [part]}}], "usageMetadata": {"serviceTier": "standard"}}
    assert exchange.send(Response(200, {}, json=body)).download
    with pytest.raises(StopIteration) as done:
        exchange.send(Response(200, {}, blob=Blob(Path("a"), 2048, "0" * 64)))
    assert done.value.value.warnings == (SERVED_AT_FULL_PRICE,)


@pytest.mark.parametrize(
    ("number", "says"), [(0, "blocked the prompt (OTHER)"), (2, "perhaps for a reference image (OTHER)")]
)
def test_a_reference_may_be_what_was_blocked(number: int, says: str) -> None:
    """Somebody who sent images is told to look at them; somebody who sent none is not."""
    references = (Reference(b"\x89PNG", "image/png", "ab" * 32),) * number
    error = ended({"promptFeedback": {"blockReason": "OTHER"}}, order=Order("x", "m", references=references))
    assert type(error) is Refused
    assert says in error.message
    assert ("reference" in error.message) == (number > 0)
