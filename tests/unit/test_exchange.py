"""One whole conversation with a provider."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import pytest

from nanobatch.errors import Ambiguous, ExchangeError, NoImage, Rejected, ServerFault, Undelivered, Unsent
from nanobatch.exchange import FOLLOW_TRIES, converse
from nanobatch.model import FREE, Answer, Cost, Picture, Request, Response

pytestmark = pytest.mark.anyio

SUBMIT = Request("POST", "/create")
POLL = Request("GET", "/poll", cost=FREE, delay_seconds=2.0, repeatable=True)
FETCH = Request("GET", "https://cdn.example/a.png", cost=FREE, repeatable=True, download=True)
ANSWER = Answer(Picture("aGk="))


@dataclass
class ScriptedSender:
    """Answers from a list; remembers what was asked."""

    script: list[Response | ExchangeError]
    asked: list[Request] = field(default_factory=list)

    async def send(self, request: Request) -> Response:
        self.asked.append(request)
        step = self.script.pop(0)
        if isinstance(step, ExchangeError):
            raise step
        return step


@dataclass
class CountingPermit:
    spent: list[Cost] = field(default_factory=list)

    async def spend(self, cost: Cost) -> None:
        self.spent.append(cost)


@dataclass
class RecordingClock:
    """A clock on which sleeping takes no time and is remembered."""

    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def ok(status: int = 200) -> Response:
    return Response(status, {}, json={})


def steps(*requests: Request, then: Answer | ExchangeError = ANSWER) -> Generator[Request, Response, Answer]:
    for request in requests:
        response = yield request
        if response.status == 400:
            raise Rejected("no such thing")
    if isinstance(then, ExchangeError):
        raise then
    return then


@dataclass
class Talk:
    sender: ScriptedSender
    permit: CountingPermit = field(default_factory=CountingPermit)
    clock: RecordingClock = field(default_factory=RecordingClock)

    async def hold(self, exchange: Generator[Request, Response, Answer]) -> Answer:
        return await converse(exchange, self.sender, permit=self.permit, clock=self.clock, rng=random.Random(1))


def talk(*script: Response | ExchangeError) -> Talk:
    return Talk(ScriptedSender(list(script)))


async def test_an_answer_at_once() -> None:
    """A format that answers at once needs one request and no further quota."""
    one = talk(ok())
    assert await one.hold(steps(SUBMIT)) is ANSWER
    assert one.permit.spent == []


async def test_a_task_is_polled_and_fetched_in_order() -> None:
    """Polls wait before they are sent, and polls and downloads take nothing from the quota."""
    one = talk(ok(), ok(), ok(), ok())
    await one.hold(steps(SUBMIT, POLL, POLL, FETCH))
    assert [request.path for request in one.sender.asked] == ["/create", "/poll", "/poll", FETCH.path]
    assert one.clock.slept == [2.0, 2.0]
    assert one.permit.spent == []


async def test_a_second_paid_request_asks_the_gate() -> None:
    """An exchange that must send its order once more takes a second token."""
    one = talk(ok(), ok())
    await one.hold(steps(SUBMIT, SUBMIT))
    assert one.permit.spent == [SUBMIT.cost]


@pytest.mark.parametrize("failure", [Unsent("no route"), Ambiguous("reset"), ok(503), ok(429), ok(408)], ids=repr)
async def test_following_a_result_is_repeated_in_place(failure: Response | ExchangeError) -> None:
    """A download that fails once is sent again; the order is not."""
    one = talk(ok(), failure, ok())
    assert await one.hold(steps(SUBMIT, FETCH)) is ANSWER
    assert [request.method for request in one.sender.asked] == ["POST", "GET", "GET"]


@pytest.mark.parametrize("failure", [Unsent("no route"), Ambiguous("reset")], ids=repr)
async def test_a_result_that_cannot_be_fetched_is_never_bought_again(failure: ExchangeError) -> None:
    """After a few tries the job ends as undelivered: paid, and not repeated."""
    one = talk(ok(), *[failure] * FOLLOW_TRIES)
    with pytest.raises(Undelivered) as caught:
        await one.hold(steps(SUBMIT, FETCH))
    assert caught.value.billed is True
    assert len(one.sender.asked) == 1 + FOLLOW_TRIES


async def test_waits_between_downloads_stay_in_their_bounds() -> None:
    """Full jitter: never negative, never above the doubling ceiling."""
    one = talk(ok(), *[Unsent("x")] * FOLLOW_TRIES)
    with pytest.raises(Undelivered):
        await one.hold(steps(SUBMIT, FETCH))
    assert len(one.clock.slept) == FOLLOW_TRIES - 1
    assert all(0 <= wait <= 2.0**number for number, wait in enumerate(one.clock.slept))


async def test_a_verdict_on_a_download_does_not_buy_again() -> None:
    """When the provider file says that a fetched result is unusable, that too is undelivered."""
    with pytest.raises(Undelivered, match="no such thing"):
        await talk(ok(), ok(400)).hold(steps(SUBMIT, FETCH))


@pytest.mark.parametrize("error", [Unsent("x"), Ambiguous("y")], ids=repr)
async def test_the_order_itself_is_never_repeated_here(error: ExchangeError) -> None:
    """Repeating an order is the retry policy's business."""
    one = talk(error)
    with pytest.raises(type(error)):
        await one.hold(steps(SUBMIT))
    assert len(one.sender.asked) == 1


@pytest.mark.parametrize("error", [NoImage("nothing"), ServerFault("500")], ids=repr)
async def test_the_providers_verdict_passes_through(error: ExchangeError) -> None:
    """What the provider file raises is what the job meets."""
    with pytest.raises(type(error)):
        await talk(ok()).hold(steps(SUBMIT, then=error))


async def test_an_exchange_of_many_polls_stays_flat() -> None:
    """A thousand polls are a loop, not a recursion."""
    polls: Sequence[Request] = [POLL] * 1000
    one = talk(*[ok()] * 1001)
    assert await one.hold(steps(SUBMIT, *polls)) is ANSWER
