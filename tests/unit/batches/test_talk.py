"""Driving a conversation: what buys nothing is sent again, what orders is sent once, and failures reach the generator."""

from __future__ import annotations

import random
from typing import Any

import pytest

from nanobatch.batches.talk import TRIES, hold
from nanobatch.batches.wire import Talk
from nanobatch.errors import Ambiguous, ExchangeError, Unsent
from nanobatch.model import FREE, Request, Response

pytestmark = pytest.mark.anyio


class Instant:
    """A clock whose sleeps end at once, and are remembered."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Script:
    """A sender that answers from a list."""

    def __init__(self, *steps: Response | ExchangeError) -> None:
        self.steps = list(steps)
        self.paths: list[str] = []

    async def send(self, request: Request) -> Response:
        self.paths.append(request.path)
        step = self.steps.pop(0)
        if isinstance(step, ExchangeError):
            raise step
        return step


def ok(status: int = 200) -> Response:
    return Response(status, {}, json={})


def asking(*, repeatable: bool, delay: float = 0.0) -> Talk[int]:
    response = yield Request("GET", "/one", cost=FREE, repeatable=repeatable, delay_seconds=delay)
    return response.status


async def driven(talk: Talk[Any], script: Script, clock: Instant | None = None) -> Any:
    return await hold(talk, script, clock=clock or Instant(), rng=random.Random(1))


async def test_a_repeatable_request_outlives_bad_moments() -> None:
    """Cut, unsent and overloaded are passing; the fourth answer counts."""
    script = Script(Ambiguous("cut"), Unsent("no"), ok(503), ok(200))
    assert await driven(asking(repeatable=True), script) == 200
    assert len(script.paths) == 4


async def test_patience_ends() -> None:
    """The last failure is passed on, as an error or as the answer that it is."""
    with pytest.raises(Unsent):
        await driven(asking(repeatable=True), Script(*[Unsent("no")] * TRIES))
    assert await driven(asking(repeatable=True), Script(*[ok(503)] * TRIES)) == 503


async def test_an_order_is_sent_once() -> None:
    """Nobody sends it again, whatever became of it."""
    script = Script(ok(503), ok(200))
    assert await driven(asking(repeatable=False), script) == 503
    with pytest.raises(Ambiguous):
        await driven(asking(repeatable=False), Script(Ambiguous("cut"), ok()))


async def test_a_failure_reaches_the_generator() -> None:
    """It may ask something else, or answer."""

    def talk() -> Talk[str]:
        try:
            yield Request("POST", "/order", cost=FREE)
        except Ambiguous:
            response = yield Request("GET", "/what-happened", cost=FREE)
            return f"found {response.status}"
        return "ordered"

    script = Script(Ambiguous("cut"), ok(204))
    assert await driven(talk(), script) == "found 204"
    assert script.paths == ["/order", "/what-happened"]


async def test_a_generator_may_answer_a_failure() -> None:
    """It need not ask anything more."""

    def talk() -> Talk[str]:
        try:
            yield Request("POST", "/order", cost=FREE)
        except Ambiguous:
            return "lost"
        return "ordered"

    assert await driven(talk(), Script(Ambiguous("cut"))) == "lost"


async def test_delays_are_slept_first() -> None:
    """A delay belongs to the request."""
    clock = Instant()
    await driven(asking(repeatable=True, delay=7.5), Script(ok()), clock)
    assert clock.slept == [7.5]
