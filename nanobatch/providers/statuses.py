"""What HTTP statuses mean at any provider, where the vendor's own words have not said more."""

from __future__ import annotations

from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    ExchangeError,
    ModelGone,
    Overloaded,
    RateLimited,
    Rejected,
    ServerFault,
)
from nanobatch.model import Response
from nanobatch.providers.reading import is_page, page_title, retry_after

_NO_CHANNEL = ("no available channel", "无可用渠道", "model_not_found")


def by_status(response: Response, message: str) -> ExchangeError:
    """Classify an answer by its status.

    A gateway that lost patience (504 or 524 with a page of its own) says nothing about the machine behind it, which
    may have drawn and billed the image; relays bill lost connections (https://docs.apiyi.com, best practices).

    Args:
        response: Any answer that is no success.
        message: The vendor's sentence, clean.
    """
    status = response.status
    said = f": {message}" if message else ""
    if any(mark in message.lower() for mark in _NO_CHANNEL):
        return ModelGone(f"the provider has nobody who serves this model{said}", http_status=status)
    match status:
        case 401 | 402 | 403:
            return AccountStopped(f"the provider does not accept the account{said}", http_status=status)
        case 404 | 410:
            return ModelGone(f"the provider does not know the model or the address{said}", http_status=status)
        case 429:
            wish = retry_after(response)
            return RateLimited(f"rate limited{said}", http_status=status, retry_after_seconds=wish)
        case 503 | 529:
            wish = retry_after(response)
            return Overloaded(f"the provider is overloaded{said}", http_status=status, retry_after_seconds=wish)
        case 408 | 504 | 522 | 524 if is_page(response):
            page = page_title(response.text or "")
            return Ambiguous(f"a gateway gave up waiting (HTTP {status}, {page})", http_status=status)
        case 408:
            return ServerFault(f"the provider timed out{said}", http_status=status)
        case _ if status >= 500:
            return ServerFault(f"the provider failed with HTTP {status}{said}", http_status=status)
        case _:
            return Rejected(f"the provider rejected the request with HTTP {status}{said}", http_status=status)
