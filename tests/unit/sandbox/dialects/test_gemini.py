"""Gemini's dialect: the door, the images, the stream."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from nanobatch.sandbox.dialects import gemini
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.dialects.gemini_models import RETIRED, SOLD

PRO = "gemini-3-pro-image"
OWN = {"x-goog-api-key": "secret"}
BEARER = {"Authorization": "Bearer secret"}
MADE = [Made(b"one", "l1"), Made(b"two", "l2"), Made(b"three", "l3")]


def asked(
    model: str = PRO, headers: dict[str, str] = OWN, body: bytes | None = None, action: str = "generateContent",
    **query: str,
) -> Asked:  # fmt: skip
    text = json.dumps({"contents": [{"parts": [{"text": "a cat"}]}]}).encode() if body is None else body
    return Asked(headers, query, {"version": "v1beta", "model": model, "action": action}, text)


def order(model: str = PRO, **other: Any) -> Order:
    found = gemini.read(asked(model, BEARER, **other))
    assert isinstance(found, Order)
    return found


def refused(request: Asked) -> tuple[int, str]:
    found = gemini.read(request)
    assert isinstance(found, Answer)
    return found.status, found.body["error"]["message"]


def parts(answer: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(answer.encoded())["candidates"][0]["content"]["parts"]
    return found


@pytest.mark.parametrize("headers", [OWN, BEARER, OWN | BEARER])
def test_any_key_passes(headers: dict[str, str]) -> None:
    """In the vendor's header or as a relay's Bearer token."""
    assert isinstance(gemini.read(asked(headers=headers)), Order)


def test_a_key_in_the_query_passes_too() -> None:
    """The vendor takes it, so the sandbox does; the books count it as a leak."""
    assert isinstance(gemini.read(asked(headers={}, key="secret")), Order)


def test_without_a_key_nobody_passes() -> None:
    """The vendor calls it an unregistered caller."""
    status, message = refused(asked(headers={}))
    assert status == 403
    assert "unregistered callers" in message


@pytest.mark.parametrize("headers", [{"x-goog-api-key": "invalid-1"}, {"Authorization": "Bearer invalid"}])
def test_an_invalid_key_is_refused_without_an_echo(headers: dict[str, str]) -> None:
    """Keys that begin with `invalid` are not accepted, and not repeated."""
    assert refused(asked(headers=headers)) == (400, "API key not valid. Please pass a valid API key.")


@pytest.mark.parametrize("model", sorted(RETIRED))
def test_retired_models_are_dead_at_the_vendor_only(model: str) -> None:
    """Google's own key meets a 404; a relay still sells them."""
    assert refused(asked(model))[0] == 404
    assert isinstance(gemini.read(asked(model, BEARER)), Order)


def test_any_other_model_exists() -> None:
    """Relays have names of their own."""
    assert order("somebody/s-model:free").model == "somebody/s-model:free"


def test_an_unknown_method_is_not_supported() -> None:
    """The sandbox speaks generateContent, as a stream or not."""
    status, message = refused(asked(action="predict"))
    assert status == 404
    assert "not supported for predict" in message


def test_a_body_that_is_not_json_is_refused() -> None:
    """And so is one that is JSON but wrong."""
    assert refused(asked(body=b"{"))[0] == 400
    assert refused(asked(body=b"{}")) == (400, "* GenerateContentRequest.contents: contents is not specified\n")


def test_an_answer_holds_the_image_and_its_tokens() -> None:
    """Details cover the image alone; the total is the sum of everything."""
    body = json.loads(gemini.answer(order(), MADE[:1], None).encoded())
    (part,) = body["candidates"][0]["content"]["parts"]
    assert base64.b64decode(part["inlineData"]["data"], validate=True) == b"one"
    assert part["inlineData"]["mimeType"] == "image/jpeg"
    assert part["thoughtSignature"]
    assert body["candidates"][0]["finishReason"] == "STOP"
    assert body["modelVersion"] == PRO
    usage = body["usageMetadata"]
    assert usage["candidatesTokensDetails"] == [{"modality": "IMAGE", "tokenCount": 1120}]
    assert 1120 + 88 <= usage["candidatesTokenCount"] <= 1120 + 630
    assert usage["totalTokenCount"] == sum(
        usage[name] for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    )


@pytest.mark.parametrize(
    ("model", "size", "tokens", "thoughts"),
    [
        (PRO, "4K", 2000, True),
        ("gemini-nano-banana-2.1", "2K", 1680, True),
        ("gemini-3.1-flash-image", "512", 747, False),
        ("gemini-3.1-flash-lite-image", "1K", 1120, False),
        ("gemini-2.5-flash-image", None, 1290, False),
    ],
)
def test_tokens_follow_from_model_and_size(model: str, size: str | None, tokens: int, thoughts: bool) -> None:
    """The numbers that the vendor publishes; thoughts only from those that always think."""
    config = {"imageConfig": {"imageSize": size}} if size else {}
    body = json.dumps({"contents": [{"parts": [{"text": "a"}]}], "generationConfig": config}).encode()
    usage = gemini.answer(order(model, body=body), MADE[:1], None).body["usageMetadata"]
    assert usage["candidatesTokensDetails"][0]["tokenCount"] == tokens
    assert ("thoughtsTokenCount" in usage) is thoughts


def test_references_are_counted_in_the_prompt() -> None:
    """And told apart by modality."""
    part = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    body = json.dumps({"contents": [{"parts": [{"text": "abcd"}, part]}]}).encode()
    usage = gemini.answer(order(body=body), MADE[:1], None).body["usageMetadata"]
    assert usage["promptTokenCount"] == 259
    assert usage["promptTokensDetails"] == [
        {"modality": "TEXT", "tokenCount": 1},
        {"modality": "IMAGE", "tokenCount": 258},
    ]


def test_a_png_model_sends_no_signature() -> None:
    """Only the third generation signs its parts."""
    (part,) = parts(gemini.answer(order("gemini-2.5-flash-image"), MADE[:1], None))
    assert part["inlineData"]["mimeType"] == "image/png"
    assert "thoughtSignature" not in part


def test_thoughts_are_flagged_drafts() -> None:
    """The last part is the picture; only it is billed as an image."""
    answer = gemini.answer(order(), MADE[:2], "thought")
    draft, final = parts(answer)
    assert draft["thought"] is True
    assert "thought" not in final
    assert "thoughtSignature" in final
    assert answer.body["usageMetadata"]["candidatesTokensDetails"][0]["tokenCount"] == 1120


def test_several_images_have_no_flag_and_all_cost() -> None:
    """Nothing but the order tells drafts from the picture."""
    answer = gemini.answer(order(), MADE, "multi")
    found = parts(answer)
    assert [base64.b64decode(part["inlineData"]["data"]) for part in found] == [b"one", b"two", b"three"]
    assert all("thought" not in part for part in found)
    assert answer.body["usageMetadata"]["candidatesTokensDetails"][0]["tokenCount"] == 3 * 1120


def test_a_huge_signature_dwarfs_the_image() -> None:
    """Three million characters beside it."""
    (part,) = parts(gemini.answer(order(), MADE[:1], "signature"))
    assert len(part["thoughtSignature"]) == 3_000_000


def test_snake_case_reaches_the_part_s_keys() -> None:
    """As some relays write them; the rest stays."""
    (part,) = parts(gemini.answer(order(), MADE[:1], "snake"))
    assert set(part) == {"inline_data", "thought_signature"}
    assert set(part["inline_data"]) == {"data", "mime_type"}


def test_words_only_is_an_answer_without_image() -> None:
    """No image was made, none is shown."""
    found = gemini.answer(order(), [], None)
    assert [set(part) for part in parts(found)] == [{"text"}]


def test_a_stream_is_the_image_and_an_end() -> None:
    """Server-sent events with their odd line ends: the image whole in the first, STOP in the last."""
    answer = gemini.answer(order(action="streamGenerateContent", alt="sse"), MADE[:1], None)
    assert answer.content_type == "text/event-stream"
    events = answer.encoded().split(b"\r\n\r\n")
    assert events.pop() == b""
    first, last = (json.loads(event.removeprefix(b"data: ")) for event in events)
    assert "inlineData" in first["candidates"][0]["content"]["parts"][0]
    assert "finishReason" not in first["candidates"][0]
    assert last["candidates"][0]["finishReason"] == "STOP"
    assert last["candidates"][0]["content"]["parts"] == [{"text": ""}]


def test_a_stream_without_sse_is_a_list() -> None:
    """As the vendor streams when nobody asks for events."""
    answer = gemini.answer(order(action="streamGenerateContent"), MADE[:1], None)
    assert [chunk["candidates"][0].get("finishReason") for chunk in json.loads(answer.encoded())] == [None, "STOP"]


def test_models_come_in_pages() -> None:
    """Every page leads to the next, until all were shown."""
    seen, token = [], "0"
    while token:
        page = gemini.models(Asked(OWN, {"pageSize": "2", "pageToken": token})).body
        seen += [model["name"] for model in page["models"]]
        token = page.get("nextPageToken", "")
    assert seen == [f"models/{model}" for model in SOLD]
    assert "nextPageToken" not in gemini.models(Asked(OWN)).body


def test_one_model_is_described() -> None:
    """By name; with the vendor's key, the dead ones are gone here as well."""
    path = {"version": "v1beta", "model": PRO}
    assert gemini.models(Asked(OWN, path=path)).body["name"] == f"models/{PRO}"
    assert gemini.models(Asked(OWN, path=path | {"model": "gemini-3-pro-image-preview"})).status == 404
    assert gemini.models(Asked({}, path=path)).status == 403
    assert gemini.models(Asked(OWN, {"pageSize": "many"})).status == 400


def test_every_answer_tells_the_server_s_time() -> None:
    """In the vendor's header."""
    assert gemini.stamp(3, 1234) == {"server-timing": "gfet4t7; dur=1234"}


def test_twenty_megabytes_are_the_most_at_the_vendor() -> None:
    """With the base64 of all images in them; relays take more."""
    limit = 20 * 1024 * 1024
    small, large = b"{}".ljust(limit), b"{}".ljust(limit + 1)
    assert "contents is not specified" in refused(asked(body=small))[1]
    assert refused(asked(body=large)) == (400, f"Request payload size exceeds the limit: {limit} bytes.")
    assert refused(asked(headers={}, body=large, key="secret"))[1].startswith("Request payload size")
    assert "contents is not specified" in refused(asked(headers=BEARER, body=large))[1]
    assert refused(asked(headers={}, body=large))[0] == 403


@pytest.mark.parametrize("tier", ["flex", "standard", "priority"])
def test_the_tier_that_served_is_told_twice(tier: str) -> None:
    """In the usage and in a header, also where there is no image."""
    text = json.dumps({"contents": [{"parts": [{"text": "a cat"}]}], "serviceTier": tier}).encode()
    for answer in (
        gemini.answer(order(body=text), MADE[:1], None), gemini.failed(order(body=text), "noimage", 1.0),
        gemini.failed(order(body=text), "safety", 1.0), gemini.answer(order(body=text), [], None),
    ):  # fmt: skip
        assert answer.headers["x-gemini-service-tier"] == tier
        assert answer.body["usageMetadata"]["serviceTier"] == tier
