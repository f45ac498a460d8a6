"""Gemini's answers without an image, in the vendor's shapes."""

from __future__ import annotations

from typing import Any

import pytest

from nanobatch.sandbox.dialects import gemini_errors as errors
from nanobatch.sandbox.dialects.base import Order
from nanobatch.sandbox.dialects.gemini_request import InvalidError
from nanobatch.sandbox.faults import FAULTS, GEMINI, Stage
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

ORDER = Order("gemini-3-pro-image", Drawing("a cat", 10, 10), details={"tier": "standard"})
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def details(body: dict[str, Any]) -> dict[str, Any]:
    return {detail["@type"].removeprefix("type.googleapis.com/google.rpc."): detail for detail in
            body["error"]["details"]}  # fmt: skip


def quota_ids(body: dict[str, Any]) -> list[str]:
    return [violation["quotaId"] for violation in details(body)["QuotaFailure"]["violations"]]


def wish(body: dict[str, Any]) -> float:
    return float(details(body)["RetryInfo"]["retryDelay"].removesuffix("s"))


@pytest.mark.parametrize(("kind", "word"), [("rpm", "Requests"), ("ipm", "Images")])
def test_a_spent_minute_names_quota_limit_and_wait(kind: Any, word: str) -> None:
    """Id, value and wish stand in the details, and again in the message."""
    answer = errors.over_limit(ORDER, Excess(kind, 7, 12.3456))
    assert answer.status == answer.body["error"]["code"] == 429
    assert answer.body["error"]["status"] == "RESOURCE_EXHAUSTED"
    (quota,) = details(answer.body)["QuotaFailure"]["violations"]
    assert quota["quotaId"] == f"Generate{word}PerMinutePerProjectPerModel-PaidTier1"
    assert (quota["quotaValue"], quota["quotaDimensions"]["model"]) == ("7", "gemini-3-pro-image")
    assert wish(answer.body) == 12.346
    assert answer.body["error"]["message"].endswith("Please retry in 12.346s.")
    assert "limit: 7," in answer.body["error"]["message"]


@pytest.mark.parametrize("seconds", [0.0004, 59.9999, 123456.7891, 0.0])
def test_a_wish_is_never_earlier_than_the_truth(seconds: float) -> None:
    """Who obeys to the millisecond is not refused again."""
    assert seconds <= wish(errors.over_limit(ORDER, Excess("rpm", 7, seconds)).body) <= seconds + 0.0011


def test_a_spent_day_lists_the_minute_and_lies_about_the_wait() -> None:
    """As at the vendor, only the id tells that hours are meant."""
    answer = errors.over_limit(ORDER, Excess("rpd", 250, 40_000.0))
    assert [("PerDay" in quota, "PerMinute" in quota) for quota in quota_ids(answer.body)] == [
        (True, False),
        (False, True),
    ]
    assert wish(answer.body) < 5


def test_too_many_at_once_has_no_details() -> None:
    """The client is left to its own back-off."""
    answer = errors.over_limit(ORDER, Excess("concurrency", 3, 1.0))
    assert (answer.status, set(answer.body["error"])) == (429, {"code", "message", "status"})


def test_no_quota_says_zero_in_the_message_alone() -> None:
    """There is no quotaValue, and a RetryInfo that means nothing."""
    answer = errors.failed(ORDER, "429zero", 1.0)
    assert "limit: 0," in answer.body["error"]["message"]
    assert all("quotaValue" not in each for each in details(answer.body)["QuotaFailure"]["violations"])
    assert wish(answer.body) > 20


def test_a_429_passes_the_wish_on() -> None:
    """The plan's retry_after is what the client reads."""
    assert wish(errors.failed(ORDER, "429", 33.5).body) == 33.5


def test_a_wrong_key_is_a_400_with_a_reason() -> None:
    """Neither 401 nor 403: the reason must be read."""
    answer = errors.failed(ORDER, "badkey", 1.0)
    assert answer == errors.bad_key()
    assert (answer.status, answer.body["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert details(answer.body)["ErrorInfo"]["reason"] == "API_KEY_INVALID"
    assert details(answer.body)["LocalizedMessage"]["message"] == answer.body["error"]["message"]


def test_a_wrong_field_is_named_twice() -> None:
    """In the sentence and in the violation; without a place, the violation has none."""
    answer = errors.invalid(InvalidError("bad ratio", "a.b"))
    assert answer.body["error"]["message"] == "bad ratio"
    violations = details(answer.body)["BadRequest"]["fieldViolations"]
    assert violations == [{"description": "bad ratio", "field": "a.b"}]
    bare = errors.invalid(InvalidError("bad"))
    assert details(bare.body)["BadRequest"]["fieldViolations"] == [{"description": "bad"}]


def test_a_missing_model_names_version_and_method() -> None:
    """As the vendor words it."""
    message = errors.not_found("gone", "v1", "predict").body["error"]["message"]
    assert message.startswith("models/gone is not found for API version v1, or is not supported for predict.")


@pytest.mark.parametrize(
    ("fault", "status", "word"),
    [
        ("429money", 429, "spending cap"),
        ("leaked", 403, "reported as leaked"),
        ("500", 500, "internal error"),
        ("503", 503, "overloaded"),
    ],
)
def test_errors_of_one_sentence(fault: str, status: int, word: str) -> None:
    """Code, status word and sentence, nothing else."""
    answer = errors.failed(ORDER, fault, 1.0)
    assert (answer.status, answer.body["error"]["code"]) == (status, status)
    assert word in answer.body["error"]["message"]
    assert "details" not in answer.body["error"]


def test_errors_in_disguise() -> None:
    """An error inside a 200, and one inside a list, are the same error."""
    plain = errors.failed(ORDER, "500", 1.0)
    hidden = errors.failed(ORDER, "json200err", 1.0)
    assert (hidden.status, hidden.body) == (200, plain.body)
    listed = errors.failed(ORDER, "listerror", 1.0)
    assert (listed.status, listed.body) == (503, [errors.failed(ORDER, "503", 1.0).body])


def test_answers_without_an_image() -> None:
    """Five shapes of a 200 that holds no picture."""
    shapes = {kind: errors.failed(ORDER, kind, 1.0) for kind in
              ("noimage", "safety", "blocked", "textonly", "nullcandidates")}  # fmt: skip
    assert {answer.status for answer in shapes.values()} == {200}
    bodies = {kind: answer.body for kind, answer in shapes.items()}
    assert bodies["noimage"]["candidates"] == [{"finishReason": "NO_IMAGE", "index": 0}]
    (refused,) = bodies["safety"]["candidates"]
    assert (refused["finishReason"], refused["content"]) == ("IMAGE_SAFETY", {"role": "model"})
    assert "not be charged" in refused["finishMessage"]
    assert "candidates" not in bodies["blocked"]
    assert bodies["blocked"]["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
    (words,) = bodies["textonly"]["candidates"]
    assert (words["finishReason"], set(words["content"]["parts"][0])) == ("STOP", {"text"})
    assert bodies["nullcandidates"]["candidates"] is None
    assert all(body["usageMetadata"]["promptTokenCount"] == 2 for body in bodies.values())


def test_gemini_has_words_for_every_fault_without_an_image() -> None:
    """No kind of the table ends in a crash of the sandbox; an unknown one does, loudly."""
    kinds = [
        kind for kind, fault in FAULTS.items() if GEMINI in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    ]
    assert {FAULTS[kind].stage for kind in kinds} == {Stage.DOOR, Stage.LATE}
    for kind in set(kinds) - SERVER_S_OWN:
        assert errors.failed(ORDER, kind, 1.0).encoded()
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        errors.failed(ORDER, "gremlins", 1.0)


def test_a_body_that_is_too_large_hears_the_limit() -> None:
    """In bytes, with a 400."""
    answer = errors.too_large(1000)
    assert (answer.status, answer.body["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert answer.body["error"]["message"] == "Request payload size exceeds the limit: 1000 bytes."


def test_answers_without_an_image_tell_their_tier() -> None:
    """In the header that answers with one have; errors have none."""
    assert errors.failed(ORDER, "noimage", 1.0).headers == {errors.TIER_HEADER: "standard"}
    assert errors.failed(ORDER, "503", 1.0).headers == {}
