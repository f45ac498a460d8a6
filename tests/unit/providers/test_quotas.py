"""What a 429 means."""

from __future__ import annotations

import pytest

from nanobatch.errors import AccountStopped, ExchangeError, QuotaSpent, RateLimited
from nanobatch.model import Response
from nanobatch.providers.quotas import by_quota


def verdict(message: str, *, quotas: tuple[str, ...] = (), wish: float | None = None) -> ExchangeError:
    response = Response(429, {"retry-after": "3"}, json={"error": {"message": message}})
    return by_quota(response, status=429, sentence=message[:300], quotas=quotas, wish=wish)


@pytest.mark.parametrize(
    "message",
    [
        "limit: 0", "limit: 0, model: x", "Limit: 0/1min. Current: 1/1min.", "RPM: Limit 0, Used 0", "the limit: 0.",
        "Your project has exceeded its spending cap", "Your prepayment credits are depleted.", "insufficient balance",
        "用户额度不足", "Billing hard limit has been reached", "x" * 5000 + " limit: 0",
    ],
)  # fmt: skip
def test_an_account_that_has_nothing_to_spend(message: str) -> None:
    """A quota of zero and an empty purse do not fill up by waiting, whatever the wish says."""
    error = verdict(message, wish=23.0)
    assert type(error) is AccountStopped
    assert error.retry_after_seconds is None


@pytest.mark.parametrize(
    "message", ["limit: 20", "limit: 05", "limit: 0.5", "unlimited: 0", "limits 0", "You exceeded"]
)
def test_other_numbers_are_not_zero(message: str) -> None:
    """A limit of twenty or of one half is a limit that waiting helps with."""
    assert type(verdict(message)) is RateLimited


@pytest.mark.parametrize(
    "message",
    [
        "requests per day", "GenerateRequestsPerDayPerProject", "generate_requests_per_model_per_day", "100/day", "100/1day",
        "Limit: 100/1d", "on requests (RPD): Limit 200", "images per-day",
    ],
)  # fmt: skip
def test_the_days_quota(message: str) -> None:
    """Spelt in any way; the server's wish of seconds is not passed on, for it is wrong."""
    error = verdict(message, wish=4.0)
    assert type(error) is QuotaSpent
    assert error.retry_after_seconds is None


@pytest.mark.parametrize(
    "message", ["requests per minute", "RPM", "have a nice day", "100/minute", "model super-dayglow"]
)
def test_a_minute_is_not_a_day(message: str) -> None:
    """Nothing but a quota of the day parks a provider until midnight."""
    assert type(verdict(message)) is RateLimited


def test_listed_quotas_decide_before_words() -> None:
    """Where the vendor names what is used up, a sentence that also mentions the day does not count."""
    general = "You may send 10 requests per minute and 500 per day"
    assert type(verdict(general, quotas=("GenerateRequestsPerMinute",))) is RateLimited
    assert type(verdict(general)) is QuotaSpent
    assert type(verdict("slow down", quotas=("PerMinute", "PerDay"))) is QuotaSpent


def test_the_most_exact_wish_is_taken() -> None:
    """The format's own field, then the sentence, then the header, then none."""
    assert verdict("retry in 7s", wish=0.0).retry_after_seconds == 0.0
    assert verdict("retry in 7s").retry_after_seconds == 7.0
    assert verdict("slow down").retry_after_seconds == 3.0
    assert by_quota(Response(429, {}, text=""), status=429, sentence="").retry_after_seconds is None


def test_text_is_read_and_pages_are_not() -> None:
    """Plain text is the vendor's; what a page for people says about days or limits is not."""
    text = Response(429, {}, text="you used all requests per day")
    page = Response(429, {}, text="<html>open 24 hours per day, limit: 0</html>")
    assert type(by_quota(text, status=429, sentence="x")) is QuotaSpent
    assert type(by_quota(page, status=429, sentence="x")) is RateLimited


def test_silence_reads_well() -> None:
    """Without the vendor's words the sentence still says what happened."""
    assert by_quota(Response(429, {}), status=429, sentence="").message == "too many requests for the moment"
