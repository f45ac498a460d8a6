"""What a provider is: a synchronous generator that asks for requests and returns an answer.

It is free of async, retries, HTTP libraries and files, so a test drives it like a function:

    exchange = provider.exchange(Order("a red fox", "some-model"))
    request = next(exchange)                       # what it wants to send
    try:
        exchange.send(Response(200, {}, json={...}))   # what came back; a Blob stands where a long base64 string stood
    except StopIteration as done:
        answer = done.value                        # the image, or one of the leaves of ExchangeError was raised

A format that answers at once yields once. A format with tasks yields the submission, then polls (`cost=FREE`,
`delay_seconds`, `repeatable=True`), then the download (`download=True`, `repeatable=True`).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, TypeAlias

from nanobatch.errors import ExchangeError
from nanobatch.model import Answer, Order, Request, Response

Exchange: TypeAlias = Generator[Request, Response, Answer]


class Provider(Protocol):
    """One wire format. A module with these two functions is a provider."""

    def exchange(self, order: Order) -> Exchange:
        """Ask for one image.

        Raises:
            ExchangeError: The leaf that says what the vendor's answer means.
        """
        ...

    def fault(self, response: Response) -> ExchangeError | None:
        """Read the vendor's quirks: what an answer that is no success means, or None for a success."""
        ...
