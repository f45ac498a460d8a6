"""What Gemini's errors mean. The quota's id decides before the server's wish, which is wrong for daily quotas.

https://ai.google.dev/gemini-api/docs/rate-limits and captured 429s: `RetryInfo` says a few seconds also when the day
is spent, a spent day lists the minute beside it, and `limit: 0` stands in the message alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nanobatch.errors import AccountStopped, ExchangeError, QuotaSpent, RateLimited
from nanobatch.model import Response
from nanobatch.providers.reading import clean, count, error_object, items, node, page_title, retry_after, seconds, words
from nanobatch.providers.statuses import by_status

_OK = range(200, 300)
_PLEASE_RETRY = re.compile(r"(?i)retry in (\d+(?:\.\d+)?)s")
_KEY_TROUBLE = re.compile(r"(?i)api key (not valid|not found|expired|was reported as leaked)|API_KEY_INVALID")
_ZERO = re.compile(r"(?i)limit:\s*0\b")


def fault(response: Response) -> ExchangeError | None:
    """Classify an answer, also an error that came inside a 200."""
    error = error_object(response)
    if error is None:
        if response.status in _OK:
            return None
        return by_status(response, _unreadable(response))
    status = response.status
    if status in _OK:  # the error's own code tells what the status hides
        status = count(node(error, "code")) or 500
        status = status if status >= 400 else 500
    message = clean(words(node(error, "message")))
    if _KEY_TROUBLE.search(message) or _has_reason(error, "API_KEY_INVALID"):
        return AccountStopped(f"the provider does not accept the key: {message}", http_status=status)
    if words(node(error, "status")) == "FAILED_PRECONDITION":
        return AccountStopped(f"the account cannot be used here: {message}", http_status=status)
    if status == 429:
        return _quota(replace(response, status=status), error, message)
    return by_status(replace(response, status=status), message)


def _quota(response: Response, error: Mapping[str, Any], message: str) -> ExchangeError:
    status = response.status
    lower = message.lower()
    if _ZERO.search(words(node(error, "message"))):
        return AccountStopped(f"this account has no quota for the model (limit: 0): {message}", http_status=status)
    if "spending cap" in lower or "insufficient_quota" in words(node(error, "code")):
        return AccountStopped(f"the account's money is used up: {message}", http_status=status)
    violated = [words(node(violation, "quotaId")) for violation in _violations(error)]
    if any("perday" in quota.lower() for quota in violated):
        return QuotaSpent(f"today's quota is spent: {message}", http_status=status)
    wish = _wish(error)
    return RateLimited(
        f"rate limited: {message}",
        http_status=status,
        retry_after_seconds=wish if wish is not None else retry_after(response),
    )


def _details(error: Mapping[str, Any], kind: str) -> list[Any]:
    return [detail for detail in items(node(error, "details")) if words(node(detail, "@type")).endswith(kind)]


def _violations(error: Mapping[str, Any]) -> list[Any]:
    return [violation for detail in _details(error, "QuotaFailure") for violation in items(node(detail, "violations"))]


def _has_reason(error: Mapping[str, Any], reason: str) -> bool:
    return any(words(node(detail, "reason")) == reason for detail in _details(error, "ErrorInfo"))


def _wish(error: Mapping[str, Any]) -> float | None:
    """Return the server's wish in seconds, from RetryInfo or from the sentence."""
    for detail in _details(error, "RetryInfo"):
        found = seconds(node(detail, "retryDelay"))
        if found is not None:
            return found
    sentence = _PLEASE_RETRY.search(words(node(error, "message")))
    return float(sentence[1]) if sentence else None


def _unreadable(response: Response) -> str:
    return page_title(response.text) if response.text is not None else ""
