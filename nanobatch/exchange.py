"""Holds one whole conversation with a provider: sends what its generator asks for, until it returns an answer.

An upload, a poll or a download buys nothing, so it is repeated in place. When an image that is ordered cannot be
fetched, it stays a `TaskOpen` where its task is known, so that a later attempt fetches it, and ends as `Undelivered`
where it is not. It is never bought a second time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from nanobatch.clock import Clock
from nanobatch.errors import Ambiguous, ExchangeError, ServerFault, TaskOpen, Undelivered, Unsent
from nanobatch.model import Answer, Cost, Request, Response

FOLLOW_TRIES = 5
FOLLOW_BASE_SECONDS = 1.0
FOLLOW_CAP_SECONDS = 20.0
POLL_PATIENCE_SECONDS = 900.0  # three times what the slowest documented image takes
_GONE = frozenset({404, 410})
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
    exchange: Generator[Request, Response, Answer],
    sender: Sender,
    *,
    permit: Spender,
    clock: Clock,
    rng: random.Random,
    note_task: Callable[[str], None] = lambda _: None,
    task: str | None = None,
) -> Answer:
    """Drive a provider's generator to its answer.

    Args:
        exchange: What asks and answers.
        sender: The way to the provider.
        permit: Grants quota to a second order; the first is paid by whoever holds the permit.
        clock: Sleeps before polls.
        rng: The source of jitter.
        note_task: Writes down the task of an order, before it is polled for the first time.
        task: What an earlier exchange ordered; this one only fetches it.

    Raises:
        ExchangeError: The leaf that says what went wrong. `TaskOpen` where the task can be fetched later.
    """
    talk = _Talk(sender, clock, rng, note_task, task, polling_since=clock.monotonic())
    request, paid = next(exchange), task is not None
    while True:
        if request.cost.requests > 0:
            if paid:
                await permit.spend(request.cost)
            paid = True
        response = await talk.ask(request)
        try:
            request = exchange.send(response)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer
        except ExchangeError as error:
            raise talk.verdict(request, error) from error


@dataclass(slots=True)
class _Talk:
    """How far one exchange has come: free preparations, then the order, then following what it gives."""

    sender: Sender
    clock: Clock
    rng: random.Random
    note_task: Callable[[str], None]
    task: str | None
    polling_since: float  # monotonic seconds
    is_ordered: bool = False

    def __post_init__(self) -> None:
        self.is_ordered = self.task is not None

    async def ask(self, request: Request) -> Response:
        if request.task is not None and request.task != self.task:
            self.polling_since = self.clock.monotonic()
            self.task = request.task
            self.note_task(request.task)
        if request.delay_seconds > 0:
            await self.clock.sleep(request.delay_seconds)
        if request.repeatable:
            if self.task is not None and self.clock.monotonic() - self.polling_since > POLL_PATIENCE_SECONDS:
                minutes = round(POLL_PATIENCE_SECONDS / 60)
                raise TaskOpen(f"the provider is at it since {minutes} minutes; the next run asks again")
            return await self._follow(request)
        self.is_ordered = True
        return await self.sender.send(request)

    def verdict(self, request: Request, error: ExchangeError) -> ExchangeError:
        """Say what a provider's error about the answer to `request` means for what is ordered already.

        A poll that was answered well tells the fate of the task. All else is trouble on the way to an image that is
        made: it is fetched later where its task is known, and never bought again.
        """
        if not request.repeatable or not self.is_ordered or isinstance(error, Undelivered | TaskOpen):
            return error
        status = error.http_status
        if self.task is not None:
            if not request.download and (status is None or status < 300):
                return error
            if request.download or status not in _GONE:
                return TaskOpen(error.message, http_status=status)
        return Undelivered(error.message, http_status=status)

    async def _follow(self, request: Request) -> Response:
        """Send what buys nothing, several times if need be."""
        for number in range(FOLLOW_TRIES):
            last = number == FOLLOW_TRIES - 1
            try:
                response = await self.sender.send(request)
            except (Unsent, Ambiguous) as error:
                if last:
                    raise self._lost(error) from error
            else:
                if response.status not in _PASSING or last:
                    return response
            await self.clock.sleep(self.rng.uniform(0, min(FOLLOW_CAP_SECONDS, FOLLOW_BASE_SECONDS * 2**number)))
        raise AssertionError("unreachable")

    def _lost(self, error: ExchangeError) -> ExchangeError:
        if not self.is_ordered:
            return ServerFault(f"a reference image could not be uploaded: {error.message}")
        if self.task is not None:
            return TaskOpen(f"the image could not be fetched yet: {error.message}")
        return Undelivered(f"the image was made, but could not be fetched: {error.message}")
