"""Gemini's answers without an image: errors, spent quotas, refusals. The shapes follow recorded answers.

https://ai.google.dev/gemini-api/docs/troubleshooting lists the statuses. A spent day names the minute's quota as well,
and its RetryInfo promises seconds where hours are true: clients must look at the quota's id first.
"""

from __future__ import annotations

import math
from typing import Any

from nanobatch.sandbox.dialects.base import Answer, Order, tokens
from nanobatch.sandbox.dialects.gemini_request import InvalidError
from nanobatch.sandbox.limits import Excess

_STATUS = {
    400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL",
    503: "UNAVAILABLE",
}  # fmt: skip
_TYPE = "type.googleapis.com/google.rpc."
_SERVICE = "generativelanguage.googleapis.com"
_DOCS = "https://ai.google.dev/gemini-api/docs/rate-limits"
_METRIC = f"{_SERVICE}/generate_requests_per_model"
_FREE_METRIC = f"{_SERVICE}/generate_content_free_tier_requests"
_BAD_KEY = "API key not valid. Please pass a valid API key."
TIER_HEADER = "x-gemini-service-tier"
_LIE_SECONDS = 4.697527827  # what RetryInfo says when the day is spent
_ZERO_SECONDS = 23.104


def error(code: int, message: str, details: list[dict[str, Any]] | None = None) -> Answer:
    """Return Google's envelope of an error."""
    inner: dict[str, Any] = {"code": code, "message": message, "status": _STATUS[code]}
    return Answer(code, {"error": inner | ({"details": details} if details else {})})


def unregistered() -> Answer:
    """Answer a request without any key."""
    return error(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). "
        "Please use API Key or other form of API consumer identity to call this API.",
    )


def bad_key() -> Answer:
    """Answer a key that is not accepted; with a 400, not a 401."""
    reason = {
        "@type": f"{_TYPE}ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": _SERVICE},
    }
    local = {"@type": f"{_TYPE}LocalizedMessage", "locale": "en-US", "message": _BAD_KEY}
    return error(400, _BAD_KEY, [reason, local])


def not_found(model: str, version: str, action: str) -> Answer:
    """Answer a model that is no more, or a method that it does not have."""
    return error(
        404,
        f"models/{model} is not found for API version {version}, or is not supported for {action}. Call "
        "ModelService.ListModels to see the list of available models and their supported methods.",
    )


def malformed(why: str) -> Answer:
    """Answer a body that is not JSON."""
    return error(400, f"Invalid JSON payload received. {why}")


def too_large(limit: int) -> Answer:
    """Answer a body of more bytes than the vendor reads."""
    return error(400, f"Request payload size exceeds the limit: {limit} bytes.")


def invalid(wrong: InvalidError) -> Answer:
    """Answer a wrong field."""
    violation = {"description": str(wrong)} | ({"field": wrong.field} if wrong.field else {})
    return error(400, str(wrong), [{"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]}])


def over_limit(order: Order, excess: Excess) -> Answer:
    """Answer a request beyond a quota; beyond what may run at once there are no details, as on Vertex."""
    match excess.kind:
        case "rpm" | "ipm":
            what = "Requests" if excess.kind == "rpm" else "Images"
            return _quota(order, excess.limit, excess.wait_seconds, [f"Generate{what}PerMinutePerProjectPerModel"])
        case "rpd":
            return _spent_day(order, excess.limit)
        case "concurrency":
            return error(429, "Resource has been exhausted (e.g. check quota).")


def failed(order: Order, fault: str, wish_seconds: float) -> Answer:
    """Return the answer of a fault that makes no image."""
    match fault:
        case "429":
            return _quota(order, 10, wish_seconds, ["GenerateRequestsPerMinutePerProjectPerModel"])
        case "429day":
            return _spent_day(order, 250)
        case "429zero":
            return _no_quota(order)
        case "429money":
            return error(429, "Your project has exceeded its spending cap. Raise it in the billing settings.")
        case "badkey":
            return bad_key()
        case "leaked":
            return error(403, "Your API key was reported as leaked. Please use another API key.")
        case "500" | "json200err":
            broken = error(500, "An internal error has occurred. Please retry.")
            return broken if fault == "500" else Answer(200, broken.body)
        case "503" | "listerror":
            busy = error(503, "The model is overloaded. Please try again later.")
            return busy if fault == "503" else Answer(503, [busy.body])
        case _:
            return Answer(200, without_image(order, fault), {TIER_HEADER: order.details["tier"]})


def _quota(order: Order, limit: int, wait_seconds: float, ids: list[str]) -> Answer:
    violations = [_violation(order, _METRIC, f"{quota}-PaidTier1", str(limit)) for quota in ids]
    return _exhausted(order, _METRIC, limit, violations, wait_seconds)


def _spent_day(order: Order, limit: int) -> Answer:
    ids = ["GenerateRequestsPerDayPerProjectPerModel", "GenerateRequestsPerMinutePerProjectPerModel"]
    return _quota(order, limit, _LIE_SECONDS, ids)


def _no_quota(order: Order) -> Answer:
    """Answer an account without billing: the zero stands in the message alone."""
    ids = ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier")
    violations = [_violation(order, _FREE_METRIC, quota, None) for quota in ids]
    return _exhausted(order, _FREE_METRIC, 0, violations, _ZERO_SECONDS)


def _violation(order: Order, metric: str, quota: str, limit: str | None) -> dict[str, Any]:
    where = {"model": order.model, "location": "global"}
    found = {"quotaMetric": metric, "quotaId": quota, "quotaDimensions": where}
    return found | ({"quotaValue": limit} if limit is not None else {})


def _exhausted(order: Order, metric: str, limit: int, violations: list[dict[str, Any]], wait_seconds: float) -> Answer:
    wish = f"{math.ceil(max(0.0, wait_seconds) * 1000) / 1000:.3f}s"  # never earlier than the truth
    message = (
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        f"error, head to: {_DOCS}. \n* Quota exceeded for metric: {metric}, limit: {limit}, model: {order.model}\n"
        f"Please retry in {wish}."
    )
    links = [{"description": "Learn more about Gemini API quotas", "url": _DOCS}]
    details: list[dict[str, Any]] = [
        {"@type": f"{_TYPE}Help", "links": links},
        {"@type": f"{_TYPE}QuotaFailure", "violations": violations},
        {"@type": f"{_TYPE}RetryInfo", "retryDelay": wish},
    ]
    return error(429, message, details)


def without_image(order: Order, fault: str) -> dict[str, Any]:
    """Return a 200 that holds no image, in the shape that the fault names."""
    prompt = tokens(order.drawing.prompt)
    body: dict[str, Any] = {
        "modelVersion": order.model,
        "responseId": order.drawing.digest.hex()[:22],
        "usageMetadata": {"promptTokenCount": prompt, "totalTokenCount": prompt, "serviceTier": order.details["tier"]},
    }
    match fault:
        case "noimage":
            return body | {"candidates": [{"finishReason": "NO_IMAGE", "index": 0}]}
        case "safety":
            why = (
                "Unable to show the generated image. It was filtered out by the rules on responsible use. "
                "You will not be charged for blocked images. Try rephrasing the prompt."
            )
            candidate = {"content": {"role": "model"}, "finishReason": "IMAGE_SAFETY", "finishMessage": why, "index": 0}
            return body | {"candidates": [candidate]}
        case "blocked":
            return body | {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
        case "textonly":
            return body | {"candidates": [_words()]}
        case "nullcandidates":
            body["usageMetadata"]["candidatesTokenCount"] = 0
            return body | {"candidates": None}
    raise ValueError(f"gemini has no words for the fault {fault!r}")


def _words() -> dict[str, Any]:
    text = "I would rather describe this picture than draw it: it shows exactly what you wrote."
    return {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}
