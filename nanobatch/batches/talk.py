"""Drives a conversation about batches: what buys nothing is sent again when it fails, everything else once."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from nanobatch.batches.wire import Talk
from nanobatch.clock import Clock
from nanobatch.errors import Ambiguous, ExchangeError, Unsent
from nanobatch.model import Request, Response

T = TypeVar("T")
TRIES = 5
BASE_SECONDS = 1.0
CAP_SECONDS = 30.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 522, 524, 529})


class Sender(Protocol):
    """What sends one request: the transport."""

    async def send(self, request: Request) -> Response:
        """Return the whole answer, or raise an `ExchangeError`."""
        ...


async def hold(talk: Talk[T], sender: Sender, *, clock: Clock, rng: random.Random) -> T:
    """Drive a conversation to its end.

    Raises:
        ExchangeError: The leaf that says what went wrong.
    """
    request = next(talk)
    while True:
        if request.delay_seconds > 0:
            await clock.sleep(request.delay_seconds)
        try:
            response = await (
                _patiently(request, sender.send, clock, rng) if request.repeatable else sender.send(request)
            )
        except ExchangeError as error:
            step = _thrown(talk, error)
        else:
            step = _sent(talk, response)
        if not isinstance(step, Request):
            return step[0]
        request = step


def _sent(talk: Talk[T], response: Response) -> Request | tuple[T]:
    try:
        return talk.send(response)
    except StopIteration as stop:
        return (stop.value,)


def _thrown(talk: Talk[T], error: ExchangeError) -> Request | tuple[T]:
    try:
        return talk.throw(error)
    except StopIteration as stop:
        return (stop.value,)


async def _patiently(
    request: Request, send: Callable[[Request], Awaitable[Response]], clock: Clock, rng: random.Random
) -> Response:
    for number in range(TRIES):
        last = number == TRIES - 1
        try:
            response = await send(request)
        except (Unsent, Ambiguous):
            if last:
                raise
        else:
            if last or response.status not in _PASSING:
                return response
        await clock.sleep(rng.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2**number)))
    raise AssertionError("unreachable")
