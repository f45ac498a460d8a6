"""OpenAI's dialect: the door, the images, the errors."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from nanobatch.sandbox.dialects import openai
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.faults import FAULTS, OPENAI, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer sk-secret-secret-secret"}
MADE = [Made(b"one", "http://127.0.0.1/1.png"), Made(b"two", "http://127.0.0.1/2.png")]
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def asked(body: Any = None, headers: dict[str, str] = KEY) -> Asked:
    body = {"model": "gpt-image-2", "prompt": "a cat"} if body is None else body
    return Asked(headers, body=body if isinstance(body, bytes) else json.dumps(body).encode(), time=1234.9)


def order(**fields: Any) -> Order:
    found = openai.read(asked({"model": "gpt-image-2", "prompt": "a cat", **fields}))
    assert isinstance(found, Order)
    return found


def error(answer: Order | Answer) -> dict[str, Any]:
    assert isinstance(answer, Answer)
    found: dict[str, Any] = answer.body["error"]
    assert set(found) >= {"message", "type", "param", "code"}
    return found


def test_without_a_key_nobody_passes() -> None:
    """A 401 that says how to send one; Google's header is none."""
    for headers in ({}, {"x-goog-api-key": "k"}, {"Authorization": "Basic k"}):
        answer = openai.read(asked(headers=headers))
        assert isinstance(answer, Answer)
        assert answer.status == 401
        assert "didn't provide an API key" in error(answer)["message"]


def test_an_invalid_key_is_not_repeated() -> None:
    """Its ends are shown at most, as the vendor does."""
    for key, shown in (("invalid-0123456789-xyz", "inv***yz"), ("invalid", "***")):
        answer = openai.read(asked(headers={"Authorization": f"Bearer {key}"}))
        assert error(answer)["code"] == "invalid_api_key"
        assert error(answer)["message"] == f"Incorrect API key provided: {shown}."


def test_a_body_that_is_not_json_is_refused() -> None:
    """And a wrong field names itself."""
    assert "could not parse" in error(openai.read(asked(b"{")))["message"]
    found = error(openai.read(asked({"model": "gpt-image-2", "prompt": "x", "response_format": "url"})))
    assert found == {
        "message": "Unknown parameter: 'response_format'.",
        "type": "invalid_request_error",
        "param": "response_format",
        "code": "unknown_parameter",
    }


def test_an_answer_holds_images_and_usage() -> None:
    """Each image in base64, the settings as they were used, the tokens summed up."""
    body = json.loads(openai.answer(order(n=2, size="1280x720", quality="low"), MADE, None).encoded())
    assert [base64.b64decode(each["b64_json"]) for each in body["data"]] == [b"one", b"two"]
    assert (body["created"], body["size"], body["quality"], body["output_format"]) == (1234, "1280x720", "low", "png")
    usage = body["usage"]
    assert usage["output_tokens_details"]["image_tokens"] == usage["output_tokens"] == 2 * 106
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_better_images_cost_more_tokens() -> None:
    """Quality and size decide, the number multiplies."""
    tokens = [
        openai.answer(order(quality=quality), MADE[:1], None).body["usage"]["output_tokens"]
        for quality in ("low", "medium", "high")
    ]
    assert tokens == sorted(set(tokens))


def test_images_in_the_request_are_counted() -> None:
    """As input, beside the words."""
    plain, edited = (
        openai.answer(replace(order(), references=references), MADE[:1], None).body["usage"]
        for references in ((), ("a", "b"))
    )
    assert edited["input_tokens_details"] == plain["input_tokens_details"] | {"image_tokens": 2 * 194}
    assert edited["input_tokens"] == plain["input_tokens"] + 2 * 194
    assert edited["total_tokens"] == edited["input_tokens"] + edited["output_tokens"]


def test_links_stand_where_base64_stood() -> None:
    """For models and servers that answer so."""
    assert openai.answer(order(model="url-x"), MADE[:1], None).body["data"] == [{"url": "http://127.0.0.1/1.png"}]


def test_base64_is_bent_as_the_fault_says() -> None:
    """A data prefix stands inside b64_json."""
    (found,) = openai.answer(order(output_format="webp"), MADE[:1], "dataprefix").body["data"]
    assert found["b64_json"] == "data:image/webp;base64," + base64.b64encode(b"one").decode()


@pytest.mark.parametrize(
    ("excess", "words", "seconds", "milliseconds"),
    [
        (Excess("rpm", 5, 0.25), "requests per min (RPM): Limit: 5/min", "1", "250"),
        (Excess("ipm", 5, 12.0001), "images per min: Limit: 5/min", "13", "12001"),
        (Excess("rpd", 9, 3600.0), "requests per day (RPD): Limit: 9/day", "3600", "3600000"),
        (Excess("concurrency", 2, 1.0), "concurrent requests: Limit: 2", "1", "1000"),
    ],
)
def test_a_limit_is_a_429_with_headers(excess: Excess, words: str, seconds: str, milliseconds: str) -> None:
    """The wish is rounded up, never down; a spent day is a rate limit, since only money is insufficient_quota."""
    answer = openai.over_limit(order(), excess)
    assert answer.status == 429
    assert error(answer)["code"] == "rate_limit_exceeded"
    assert words in error(answer)["message"]
    assert answer.headers == {"retry-after": seconds, "retry-after-ms": milliseconds}


@pytest.mark.parametrize(
    ("fault", "status", "code", "words"),
    [
        ("429", 429, "rate_limit_exceeded", "per min"),
        ("429day", 429, "rate_limit_exceeded", "per day"),
        ("429zero", 429, "rate_limit_exceeded", "Limit: 0/1min"),
        ("429money", 429, "insufficient_quota", "exceeded your current quota"),
        ("badkey", 401, "invalid_api_key", "Incorrect API key"),
        ("blocked", 400, "moderation_blocked", "safety system"),
        ("safety", 400, "moderation_blocked", "safety system"),
        ("500", 500, None, "had an error"),
        ("503", 503, None, "overloaded"),
        ("json200err", 200, None, "had an error"),
    ],
)
def test_faults_speak_the_vendor_s_words(fault: str, status: int, code: str | None, words: str) -> None:
    """Status, code and sentence are those that clients look for."""
    answer = openai.failed(order(), fault, 2.0)
    assert (answer.status, error(answer)["code"]) == (status, code)
    assert words in error(answer)["message"]


def test_moderation_names_its_stage() -> None:
    """Before the image was made, or after."""
    stages = {
        fault: openai.failed(order(), fault, 1.0).body["error"]["moderation_details"]["moderation_stage"]
        for fault in ("blocked", "safety")
    }
    assert stages == {"blocked": "input", "safety": "output"}


def test_answers_without_an_image() -> None:
    """Empty, null, and an error in a list."""
    assert openai.failed(order(), "noimage", 1.0).body["data"] == []
    assert openai.failed(order(), "nullcandidates", 1.0).body["data"] is None
    listed = openai.failed(order(), "listerror", 1.0)
    assert (listed.status, len(listed.body)) == (503, 1)
    assert "error" in listed.body[0]


def test_openai_has_words_for_every_fault_without_an_image() -> None:
    """No kind of the table ends in a crash of the sandbox; an unknown one does, loudly."""
    kinds = {
        kind for kind, fault in FAULTS.items() if OPENAI in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    assert len(kinds) > 10
    for kind in kinds - SERVER_S_OWN:
        assert openai.failed(order(), kind, 1.0).encoded()
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        openai.failed(order(), "gremlins", 1.0)


def test_models_are_listed_and_described() -> None:
    """With a key only."""
    listed = openai.models(Asked(KEY)).body
    assert listed["object"] == "list"
    assert "gpt-image-2" in [model["id"] for model in listed["data"]]
    assert openai.models(Asked(KEY, path={"model": "any"})).body["id"] == "any"
    assert openai.models(Asked({})).status == 401


def test_every_answer_has_a_number() -> None:
    """In the header that people quote to the vendor."""
    stamp = openai.stamp(26, 5)
    assert stamp["x-request-id"].endswith("1a")
    assert stamp["openai-processing-ms"] == "5"
