"""What statuses and error codes mean at any provider.

OpenAI invented most of the codes, and relays of every format use them. The codes decide before the status, for relays
send the same trouble with 400, 403, 429 or 500.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    ExchangeError,
    ModelGone,
    Overloaded,
    Refused,
    Rejected,
    ServerFault,
)
from nanobatch.model import Response
from nanobatch.providers.quotas import by_quota
from nanobatch.providers.reading import OK, body_of, error_object, error_status, node, retry_after, words
from nanobatch.providers.sentences import body_in_words, clean, is_page, said

_REFUSED = (Refused, "the provider's content rules forbid this image")
_NO_CREDIT = (AccountStopped, "the account has no credit")
_BAD_KEY = (AccountStopped, "the provider does not accept the key")
_NO_MODEL = (ModelGone, "the provider does not have this model, or does not have it any more")
_CODES: Mapping[str, tuple[type[ExchangeError], str]] = {
    "moderation_blocked": _REFUSED,
    "content_policy_violation": _REFUSED,
    "content_filter": _REFUSED,
    "contentFilter": _REFUSED,
    "sensitive_words_detected": _REFUSED,
    "prompt_blocked": _REFUSED,
    "insufficient_quota": _NO_CREDIT,
    "insufficient_user_quota": _NO_CREDIT,
    "pre_consume_token_quota_failed": _NO_CREDIT,
    "billing_hard_limit_reached": _NO_CREDIT,
    "billing_not_active": _NO_CREDIT,
    "invalid_api_key": _BAD_KEY,
    "account_deactivated": _BAD_KEY,
    "model_not_found": _NO_MODEL,
}
_PASSING = frozenset({403, 408, 409, 425})  # not the request's fault; a 403 is one only as a firewall's page
_NO_CHANNEL = re.compile(r"(?i)no available channel|无可用渠道")
_FLAGGED = re.compile(
    r"(?i)safety system|content moderation|(?:input|prompt|request) (?:was|is|has been) flagged"
    r"|violates? (?:our|the) content polic"
)


def by_code(error: Mapping[str, Any], *, status: int, sentence: str) -> ExchangeError | None:
    """Classify an error by its `code` or `type`; None where these say nothing.

    Args:
        error: The error object. Its code may be a word, a number or null.
        status: The HTTP status that it means.
        sentence: The vendor's own words, clean.
    """
    for name in (words(node(error, "code")), words(node(error, "type"))):
        if name in _CODES:
            kind, happened = _CODES[name]
            return kind(f"{happened}{said(sentence)}", http_status=status)
    if _NO_CHANNEL.search(sentence):  # sent with a 503, and yet nobody will serve this model later either
        return ModelGone(f"the provider has nobody who serves this model{said(sentence)}", http_status=status)
    return None


def by_status(response: Response, *, status: int, sentence: str) -> ExchangeError:
    """Classify an answer that is no success by its status.

    A gateway that lost patience says nothing about the machine behind it, which may have drawn and billed the image:
    relays bill lost connections (https://docs.apiyi.com, best practices). Hence 524, which only a gateway sends, 499,
    and a 408 or 504 without an error object are ambiguous, and other 5xx are not. A 403 that is a page comes from a
    firewall, which may dislike one prompt alone, so it does not stop the account.

    Args:
        response: The answer.
        status: The HTTP status that it means; differs from its own for an error inside a 200.
        sentence: The vendor's own words, clean.
    """
    more = said(sentence)
    match status:
        case 400 | 403 | 422 if _FLAGGED.search(sentence):
            return Refused(f"{_REFUSED[1]}{more}", http_status=status)
        case 401 | 402 | 403 if status != 403 or not is_page(response):
            return AccountStopped(f"the provider does not accept the account{more}", http_status=status)
        case 404 | 410:
            return ModelGone(
                f"the provider does not have this model (it may be retired), or base_url is wrong{more}",
                http_status=status,
            )
        case 429:
            return by_quota(response, status=status, sentence=sentence)
        case 503 | 529:
            wish = retry_after(response)
            return Overloaded(f"the provider is overloaded{more}", http_status=status, retry_after_seconds=wish)
        case 408 | 499 | 504 | 524 if _lost(response, status):
            return Ambiguous(f"a gateway gave up the connection behind it (HTTP {status}){more}", http_status=status)
        case _ if 300 <= status < 400:
            return AccountStopped(
                f"the address answers with a redirect (HTTP {status}), so base_url is wrong{more}", http_status=status
            )
        case _ if status >= 500 or status in _PASSING:
            wish = retry_after(response)
            happened = f"the provider failed with HTTP {status}{more}"
            return ServerFault(happened, http_status=status, retry_after_seconds=wish)
        case _:
            return Rejected(f"the provider rejected the request with HTTP {status}{more}", http_status=status)


def _lost(response: Response, status: int) -> bool:
    """Whether the answer is a gateway's own, so that what happened behind it is unknown."""
    return status in (499, 524) or error_object(response) is None


def sentence_of(response: Response) -> str:
    """Return what the vendor says about a failure, clean: the error's message, or what the body is instead."""
    error = error_object(response)
    if error is not None:
        return clean(words(node(error, "message")))
    return body_in_words(response) if response.json is None else ""


def plain_fault(response: Response) -> ExchangeError | None:
    """Classify an answer by what is the same everywhere; None for a success.

    A provider's `fault` looks for its vendor's quirks first and ends with this.
    """
    error, sentence = error_object(response), sentence_of(response)
    if error is not None:
        status = error_status(response, error)
        return by_code(error, status=status, sentence=sentence) or by_status(response, status=status, sentence=sentence)
    if response.status not in OK:
        return by_status(response, status=response.status, sentence=sentence)
    if not isinstance(body_of(response), Mapping):
        return ServerFault(f"the answer is {body_in_words(response)}", http_status=response.status)
    return None
