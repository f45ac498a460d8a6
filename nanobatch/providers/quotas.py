"""What a 429 means: too fast for the moment, done for the day, or an account that has nothing to spend.

The quota's name decides before the server's wish, which is wrong for daily quotas: Google's says a few seconds also
when the day is spent, and lists the minute's quota beside the day's (captured answers; limits are described at
https://ai.google.dev/gemini-api/docs/rate-limits and https://platform.openai.com/docs/guides/rate-limits).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nanobatch.errors import AccountStopped, ExchangeError, QuotaSpent, RateLimited
from nanobatch.model import Response
from nanobatch.providers.reading import error_object, node, retry_after, spoken_seconds, words
from nanobatch.providers.sentences import is_page, said

_ZERO = re.compile(r"(?i)\blimit(?:: ?| )0(?!\.?\d)")
_NO_CREDIT = re.compile(
    r"(?i)spending cap|credits? (?:are|is|has been) depleted|insufficient (?:balance|credit|funds)|billing hard limit"
    r"|额度不足"
)
_PER_DAY = re.compile(r"PerDay|(?i:(?<![a-z])per[\s_-]?day\b|/1?d(?:ay)?\b|\b[RIT]PD\b)")


def by_quota(
    response: Response, *, status: int, sentence: str, quotas: Sequence[str] = (), wish: float | None = None
) -> ExchangeError:
    """Classify a 429.

    Args:
        response: The answer.
        status: 429, also where the error came inside a 200.
        sentence: The vendor's own words, clean.
        quotas: Names of the quotas that are used up, where the vendor lists them; else its words are searched.
        wish: The wait in seconds that the vendor's own format asks for, where it has a place for one.
    """
    whole, more = _whole(response), said(sentence)
    if _ZERO.search(whole):
        return AccountStopped(f"this account has no quota for the model (limit: 0){more}", http_status=status)
    if _NO_CREDIT.search(whole):
        return AccountStopped(f"the account's money is used up{more}", http_status=status)
    if any(_PER_DAY.search(name) for name in quotas or (whole,)):
        return QuotaSpent(f"today's quota is spent{more}", http_status=status)
    wishes = (wish, spoken_seconds(whole), retry_after(response))
    return RateLimited(
        f"too many requests for the moment{more}",
        http_status=status,
        retry_after_seconds=next((found for found in wishes if found is not None), None),
    )


def _whole(response: Response) -> str:
    """Return the vendor's words before they are cut; what decides may stand at their end."""
    error = error_object(response)
    if error is not None:
        return words(node(error, "message"))
    return "" if is_page(response) else response.text or ""
