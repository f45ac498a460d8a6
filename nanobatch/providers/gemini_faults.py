"""What Gemini's errors mean. Google names the trouble in `details`, not in the status alone: a bad key is a 400."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nanobatch.errors import AccountStopped, ExchangeError
from nanobatch.model import Response
from nanobatch.providers.quotas import by_quota
from nanobatch.providers.reading import error_object, error_status, items, node, seconds, words
from nanobatch.providers.sentences import said
from nanobatch.providers.statuses import by_code, plain_fault, sentence_of

_KEY_TROUBLE = re.compile(r"(?i)\bAPI key (?:not valid|not found|expired|was reported as leaked)|API_KEY_INVALID")


def fault(response: Response) -> ExchangeError | None:
    """Classify an answer, also an error that came inside a 200. None for one that may hold an image."""
    error = error_object(response)
    if error is None:
        return plain_fault(response)
    status, sentence = error_status(response, error), sentence_of(response)
    if _KEY_TROUBLE.search(sentence) or _has_reason(error, "API_KEY_INVALID"):
        return AccountStopped(f"the provider does not accept the key{said(sentence)}", http_status=status)
    if words(node(error, "status")) == "FAILED_PRECONDITION":  # the region, or no billing
        return AccountStopped(f"the account cannot be used here{said(sentence)}", http_status=status)
    if status == 429:
        quotas, zero = _quotas(error)
        if zero:
            return AccountStopped(f"this account has no quota for the model{said(sentence)}", http_status=status)
        known = by_code(error, status=status, sentence=sentence)
        return known or by_quota(response, status=status, sentence=sentence, quotas=quotas, wish=_wish(error))
    return plain_fault(response)


def _details(error: Mapping[str, Any], kind: str) -> list[Any]:
    return [detail for detail in items(node(error, "details")) if words(node(detail, "@type")).endswith(kind)]


def _quotas(error: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return the names of the quotas that are used up, and whether one of them is zero."""
    violations = [found for detail in _details(error, "QuotaFailure") for found in items(node(detail, "violations"))]
    names = [words(node(found, key)) for found in violations for key in ("quotaId", "quotaMetric")]
    return [name for name in names if name], any(words(node(found, "quotaValue")) == "0" for found in violations)


def _has_reason(error: Mapping[str, Any], reason: str) -> bool:
    return any(words(node(detail, "reason")) == reason for detail in _details(error, "ErrorInfo"))


def _wish(error: Mapping[str, Any]) -> float | None:
    """Return the wait in seconds that RetryInfo asks for."""
    wishes = (seconds(node(detail, "retryDelay")) for detail in _details(error, "RetryInfo"))
    return next((wish for wish in wishes if wish is not None), None)
