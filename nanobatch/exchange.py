"""Holds one whole conversation with a provider: sends what its generator asks for, until it returns an answer.

Following a result (a poll, a download) buys nothing, so it is repeated in place; and when it keeps failing the job
ends as `Undelivered` instead of being bought a second time.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Protocol

from nanobatch.clock import Clock
from nanobatch.errors import Ambiguous, ExchangeError, Undelivered, Unsent
from nanobatch.model import Answer, Cost, Request, Response

FOLLOW_TRIES = 5
FOLLOW_BASE_SECONDS = 1.0
FOLLOW_CAP_SECONDS = 20.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 522, 524, 529})


class Sender(Protocol):
    """What sends one request: the transport."""

    async def send(self, request: Request) -> Response:
        """Return the whole answer.

        Raises:
            Unsent: Nothing left.
            Ambiguous: The answer did not come whole.
            DecodeError: The answer came whole and cannot be read.
            StoreError: The answer could not be written down.
        """
        ...


class Spender(Protocol):
    """What grants quota to the further requests of an exchange: the gate's permit."""

    async def spend(self, cost: Cost) -> None:
        """Wait until the quota allows one more request."""
        ...


async def converse(
    exchange: Generator[Request, Response, Answer], sender: Sender, *, permit: Spender, clock: Clock, rng: random.Random
) -> Answer:
    """Drive a provider's generator to its answer.

    Raises:
        ExchangeError: The leaf that says what went wrong.
    """
    request = next(exchange)
    first = True
    while True:
        if request.delay_seconds > 0:
            await clock.sleep(request.delay_seconds)
        if not first and request.cost.requests > 0:
            await permit.spend(request.cost)
        first = False
        if request.repeatable:
            response = await _follow(request, sender, clock=clock, rng=rng)
        else:
            response = await sender.send(request)
        try:
            request = exchange.send(response)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer
        except ExchangeError as error:
            if request.repeatable:
                raise Undelivered(error.message, http_status=error.http_status) from error
            raise


async def _follow(request: Request, sender: Sender, *, clock: Clock, rng: random.Random) -> Response:
    for number in range(FOLLOW_TRIES):
        last = number == FOLLOW_TRIES - 1
        try:
            response = await sender.send(request)
        except (Unsent, Ambiguous) as error:
            if last:
                raise Undelivered(f"the image was made, but could not be fetched: {error.message}") from error
        else:
            if response.status not in _PASSING or last:
                return response
        await clock.sleep(rng.uniform(0, min(FOLLOW_CAP_SECONDS, FOLLOW_BASE_SECONDS * 2**number)))
    raise AssertionError("unreachable")
