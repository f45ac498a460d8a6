"""What Gemini's errors mean, where Google says more than a status."""

from __future__ import annotations

from typing import Any

import pytest

from nanobatch.errors import AccountStopped, QuotaSpent, RateLimited, Rejected
from nanobatch.model import Response
from nanobatch.providers.gemini_faults import fault

RPC = "type.googleapis.com/google.rpc."


def google(status: int, message: str, *details: Any, name: str = "RESOURCE_EXHAUSTED") -> Response:
    error = {"code": status, "message": message, "status": name, "details": list(details)}
    return Response(status, {}, json={"error": error})


def failure(*quotas: Any) -> dict[str, Any]:
    return {"@type": f"{RPC}QuotaFailure", "violations": [{"quotaId": quota} for quota in quotas]}


def wish(delay: Any) -> dict[str, Any]:
    return {"@type": f"{RPC}RetryInfo", "retryDelay": delay}


@pytest.mark.parametrize(
    "quotas",
    [
        ["GenerateRequestsPerDayPerProjectPerModel-FreeTier"],
        ["GenerateRequestsPerMinutePerProjectPerModel-PaidTier2", "GenerateRequestsPerDayPerProjectPerModel-PaidTier2"],
        ["GenerateRequestsPerDayPerProjectPerModel-PaidTier3", "GenerateRequestsPerMinutePerProjectPerModel-PaidTier3"],
        [None, 7, "GenerateImagesPerDay"],
    ],
)
def test_any_quota_of_the_day_means_the_day(quotas: list[Any]) -> None:
    """A spent day lists the minute as well; its RetryInfo of a few seconds is not believed."""
    error = fault(google(429, "limit: 20", failure(*quotas), wish("4s")))
    assert type(error) is QuotaSpent
    assert error.retry_after_seconds is None


def test_quotas_of_the_minute_wait_as_wished() -> None:
    """RetryInfo is right about minutes."""
    error = fault(google(429, "Please retry in 99s.", failure("GenerateRequestsPerMinute"), wish("34.4s")))
    assert type(error) is RateLimited
    assert error.retry_after_seconds == 34.4


@pytest.mark.parametrize("delay", [None, "", "soon", {"seconds": 3}, -1])
def test_a_broken_retry_info_gives_way_to_the_sentence(delay: Any) -> None:
    """An unreadable wish is none, and the next place is looked at."""
    error = fault(google(429, "Please retry in 48.9s.", failure("PerMinute"), wish(delay)))
    assert error is not None
    assert error.retry_after_seconds == 48.9


@pytest.mark.parametrize(
    "response",
    [
        google(400, "API key not valid. Please pass a valid API key."),
        google(400, "API key expired. Please renew the API key."),
        google(400, "no", {"@type": f"{RPC}ErrorInfo", "reason": "API_KEY_INVALID"}),
        google(403, "Your API key was reported as leaked. Please use another API key."),
        google(400, "API Key not found. Please pass a valid API key."),
        google(400, "User location is not supported for the API use.", name="FAILED_PRECONDITION"),
    ],
)
def test_a_key_or_an_account_that_is_not_accepted(response: Response) -> None:
    """Google answers most of these with a 400, which would otherwise be the prompt's fault."""
    assert type(fault(response)) is AccountStopped


@pytest.mark.parametrize(
    "details",
    [
        [{"@type": f"{RPC}ErrorInfo", "reason": "OTHER"}],
        [{"@type": f"{RPC}Help", "reason": "API_KEY_INVALID"}],
        [None, 7, "x"],
    ],
)
def test_any_other_400_is_the_requests_own(details: list[Any]) -> None:
    """One bad row harms one row."""
    assert type(fault(google(400, "Invalid value", *details, name="INVALID_ARGUMENT"))) is Rejected


@pytest.mark.parametrize("details", [None, {}, "x", [None], [{"@type": f"{RPC}QuotaFailure", "violations": None}]])
def test_a_429_without_usable_details(details: Any) -> None:
    """Vertex sends none at all; it is a plain rate limit."""
    error = {"code": 429, "message": "Resource has been exhausted (e.g. check quota).", "details": details}
    assert type(fault(Response(429, {}, json={"error": error}))) is RateLimited


def test_an_answer_is_no_fault() -> None:
    """A 200 with candidates goes on to be read."""
    assert fault(Response(200, {}, json={"candidates": []})) is None
