"""One whole conversation with a provider."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from nanobatch.errors import (
    Ambiguous,
    ExchangeError,
    NoImage,
    Refused,
    Rejected,
    ServerFault,
    TaskOpen,
    Undelivered,
    Unsent,
)
from nanobatch.exchange import FOLLOW_TRIES, POLL_PATIENCE_SECONDS, converse
from nanobatch.model import FREE, Answer, Cost, Picture, Request, Response

pytestmark = pytest.mark.anyio

SUBMIT = Request("POST", "/create")
POLL = Request("GET", "/poll", cost=FREE, delay_seconds=2.0, repeatable=True)
FETCH = Request("GET", "https://cdn.example/a.png", cost=FREE, repeatable=True, download=True)
TASK_POLL = replace(POLL, task="t-1")
TASK_FETCH = replace(FETCH, task="t-1")
UPLOAD = Request("POST", "/upload", json={}, cost=FREE, repeatable=True)
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
        return sum(self.slept)

    def wall(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def ok(status: int = 200) -> Response:
    return Response(status, {}, json={})


def steps(*requests: Request, then: Answer | ExchangeError = ANSWER) -> Generator[Request, Response, Answer]:
    for request in requests:
        response = yield request
        if response.status >= 400:
            raise Rejected("no such thing", http_status=response.status)
    if isinstance(then, ExchangeError):
        raise then
    return then


@dataclass
class Talk:
    sender: ScriptedSender
    permit: CountingPermit = field(default_factory=CountingPermit)
    clock: RecordingClock = field(default_factory=RecordingClock)
    noted: list[tuple[str, int]] = field(default_factory=list)  # the task, and how many requests had left before

    async def hold(self, exchange: Generator[Request, Response, Answer], *, task: str | None = None) -> Answer:
        return await converse(
            exchange,
            self.sender,
            permit=self.permit,
            clock=self.clock,
            rng=random.Random(1),
            note_task=lambda task: self.noted.append((task, len(self.sender.asked))),
            task=task,
        )


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


# Formats with tasks


async def test_a_task_is_written_down_once_and_before_the_first_poll() -> None:
    """Between the order and its note nothing is sent: a crash later finds the task."""
    one = talk(ok(), ok(), ok(), ok())
    await one.hold(steps(SUBMIT, TASK_POLL, TASK_POLL, TASK_FETCH))
    assert one.noted == [("t-1", 1)]


async def test_a_resumed_task_orders_nothing_and_is_not_written_down_again() -> None:
    """What is known already is only fetched."""
    one = talk(ok(), ok())
    assert await one.hold(steps(TASK_POLL, TASK_FETCH), task="t-1") is ANSWER
    assert one.noted == []
    assert one.permit.spent == []


async def test_a_resumed_exchange_that_orders_again_pays_again() -> None:
    """A second order is never covered by the first one's quota, whoever made that."""
    one = talk(ok(), ok())
    await one.hold(steps(TASK_POLL, SUBMIT), task="t-1")
    assert one.permit.spent == [SUBMIT.cost]


@pytest.mark.parametrize("failure", [Unsent("no route"), Ambiguous("reset"), ok(503), ok(429)], ids=repr)
async def test_a_poll_that_keeps_failing_leaves_the_task_open(failure: Response | ExchangeError) -> None:
    """The image is made or being made: the job waits for a better moment, and nothing is bought again."""
    one = talk(ok(), *[failure] * FOLLOW_TRIES)
    with pytest.raises(TaskOpen) as caught:
        await one.hold(steps(SUBMIT, TASK_POLL))
    assert caught.value.billed is None
    assert [request.path for request in one.sender.asked].count("/create") == 1


@pytest.mark.parametrize("status", [400, 401, 403, 500])
async def test_a_poll_that_is_not_answered_says_nothing_of_the_task(status: int) -> None:
    """A wrong key or a bad day is no verdict on what was ordered."""
    with pytest.raises(TaskOpen, match="no such thing"):
        await talk(ok(), *[ok(status)] * FOLLOW_TRIES).hold(steps(SUBMIT, TASK_POLL))


@pytest.mark.parametrize("status", [404, 410])
async def test_a_task_that_is_gone_is_given_up(status: int) -> None:
    """The provider has forgotten it: there is nothing to come back for, and nothing is bought again."""
    with pytest.raises(Undelivered) as caught:
        await talk(ok(), ok(status)).hold(steps(SUBMIT, TASK_POLL))
    assert caught.value.http_status == status


@pytest.mark.parametrize(
    "verdict", [Refused("never"), ServerFault("failed", http_status=200), NoImage("nothing")], ids=repr
)
async def test_a_poll_that_is_answered_well_decides(verdict: ExchangeError) -> None:
    """The provider says what became of the task: that is the job's end, as with an answer at once."""
    with pytest.raises(type(verdict)):
        await talk(ok(), ok()).hold(steps(SUBMIT, TASK_POLL, then=verdict))


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_dead_link_of_a_living_task_is_asked_for_again_later(status: int) -> None:
    """Links expire; the task gives a new one."""
    with pytest.raises(TaskOpen):
        await talk(ok(), ok(), *[ok(status)] * FOLLOW_TRIES).hold(steps(SUBMIT, TASK_POLL, TASK_FETCH))


async def test_a_provider_may_decide_by_itself() -> None:
    """Trouble inside a well-answered poll stays open when the provider says so."""
    for verdict in (TaskOpen("try later"), Undelivered("expired")):
        with pytest.raises(type(verdict)):
            await talk(ok(), ok()).hold(steps(SUBMIT, TASK_POLL, then=verdict))


async def test_patience_ends() -> None:
    """A task that hangs does not hold a worker for ever; the next run asks again."""
    polls = [TASK_POLL] * round(POLL_PATIENCE_SECONDS)
    one = talk(*[ok()] * (len(polls) + 1))
    with pytest.raises(TaskOpen, match="15 minutes"):
        await one.hold(steps(SUBMIT, *polls))
    assert POLL_PATIENCE_SECONDS < one.clock.monotonic() <= POLL_PATIENCE_SECONDS + 4


# Uploads


async def test_an_upload_comes_before_the_order_and_is_free() -> None:
    """The order is the first request that costs something; what the permit paid for is that one."""
    one = talk(ok(), ok(), ok())
    await one.hold(steps(UPLOAD, UPLOAD, SUBMIT))
    assert one.permit.spent == []


async def test_an_upload_is_repeated_in_place() -> None:
    """It buys nothing."""
    one = talk(Ambiguous("reset"), ok(503), ok(), ok())
    assert await one.hold(steps(UPLOAD, SUBMIT)) is ANSWER
    assert [request.path for request in one.sender.asked] == ["/upload"] * 3 + ["/create"]


@pytest.mark.parametrize("failure", [Unsent("no route"), Ambiguous("reset")], ids=repr)
async def test_an_upload_that_fails_has_cost_nothing(failure: ExchangeError) -> None:
    """Nothing was ordered, so the job may go on as after any failure of the provider."""
    with pytest.raises(ServerFault) as caught:
        await talk(*[failure] * FOLLOW_TRIES).hold(steps(UPLOAD, SUBMIT))
    assert caught.value.billed is False


async def test_a_verdict_on_an_upload_is_the_providers_own() -> None:
    """A reference that the provider does not take is a rejection, not something undelivered."""
    with pytest.raises(Rejected):
        await talk(ok(400)).hold(steps(UPLOAD, SUBMIT))
