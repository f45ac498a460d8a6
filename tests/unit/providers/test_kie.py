"""Kie.ai: what its codes mean, and how a task ends for the job that wants its image."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    ExchangeError,
    ModelGone,
    NoImage,
    Overloaded,
    QuotaSpent,
    RateLimited,
    Refused,
    Rejected,
    ServerFault,
    TaskOpen,
    Undelivered,
)
from nanobatch.exchange import FOLLOW_TRIES, converse
from nanobatch.model import FREE, Answer, Blob, Cost, Order, Reference, Request, Response
from nanobatch.providers.kie import exchange, fault, resume
from nanobatch.providers.polling import DELAYS_SECONDS, MOST_BAD_POLLS

ORDER = Order("a red fox", "nano-banana-pro", size="1K")
BLOB = Blob(Path("fox"), 2048, "0" * 64)
LINK = "https://tempfile.example/a.png?sig=secret"
CREATE, RECORD = "/api/v1/jobs/createTask", "/api/v1/jobs/recordInfo?taskId=t-1"


def coded(code: Any, message: Any = "x", data: Any = None, *, status: int = 200) -> Response:
    return Response(status, {}, json={"code": code, "msg": message, "data": data})


def state(name: str, **more: Any) -> Response:
    return coded(200, "success", {"taskId": "t-1", "state": name, "resultJson": "", **more})


CREATED = coded(200, "success", {"taskId": "t-1"})
UNKNOWN = coded(422, "recordInfo is null")
BUSY = state("generating")
DONE = state("success", resultJson=json.dumps({"resultUrls": [LINK]}))
FETCHED = Response(200, {}, blob=BLOB)


@dataclass
class Script:
    """Answers in their order, remembers what was asked, and lets nobody wait."""

    answers: list[Response]
    asked: list[Request] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)
    now: float = 0.0

    async def send(self, request: Request) -> Response:
        self.asked.append(request)
        return self.answers.pop(0)

    async def spend(self, cost: Cost) -> None:
        raise AssertionError(f"a second order: {cost}")

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def hold(self, *, task: str | None = None) -> Answer:
        talk = exchange(ORDER) if task is None else resume(ORDER, task)
        return await converse(
            talk, self, permit=self, clock=self, rng=random.Random(1), note_task=self.noted.append, task=task
        )

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.asked]


# The whole conversation, as the job meets it


@pytest.mark.anyio
async def test_a_task_is_noted_before_it_is_asked_for() -> None:
    """One order, polls that wait longer and longer, one download."""
    script = Script([CREATED, BUSY, BUSY, DONE, FETCHED])
    answer = await script.hold()
    assert answer.picture.data is BLOB
    assert script.paths == [CREATE, RECORD, RECORD, RECORD, LINK]
    assert script.noted == ["t-1"]
    assert script.now == sum(DELAYS_SECONDS[:3])


@pytest.mark.anyio
async def test_a_task_of_an_earlier_run_is_not_ordered_again() -> None:
    """It goes on where the other process stopped, and ends the same."""
    script = Script([BUSY, DONE, FETCHED])
    answer = await script.hold(task="t-1")
    assert answer.picture.data is BLOB
    assert script.paths == [RECORD, RECORD, LINK]
    assert script.noted == []


@pytest.mark.anyio
async def test_a_task_that_was_just_created_may_be_unknown() -> None:
    """Giving up at the first such poll would lose an image that is paid."""
    script = Script([CREATED, *[UNKNOWN] * (MOST_BAD_POLLS - 1), DONE, FETCHED])
    assert (await script.hold()).picture.data is BLOB
    assert script.paths.count(CREATE) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("poll", "verdict"),
    [
        (UNKNOWN, Undelivered),
        (coded(404, "Not Found"), Undelivered),
        (coded(404, "Not Found", status=404), Undelivered),
        (coded(200, "success"), TaskOpen),
        (coded(200, "success", {"taskId": "t-1", "state": ""}), TaskOpen),
        (coded(200, "success", {"taskId": "t-1", "state": ["success"]}), TaskOpen),
        (coded(429, "Your call frequency is too high"), TaskOpen),
        (coded(401, "You do not have access permissions"), TaskOpen),
        (coded(455, "maintenance"), TaskOpen),
        (coded(500, "Server exception"), TaskOpen),
        (coded(501, "generation failed"), TaskOpen),
        (Response(200, {}, text="<html><title>Just a moment</title>"), TaskOpen),
        (Response(200, {}, json=[]), TaskOpen),
    ],
    ids=repr,
)
async def test_polls_that_tell_nothing_never_end_a_task_as_failed(poll: Response, verdict: type[ExchangeError]) -> None:
    """However long they go on, the image is not bought a second time."""
    script = Script([CREATED, *[poll] * MOST_BAD_POLLS])
    with pytest.raises(verdict) as caught:
        await script.hold()
    assert script.answers == []
    assert caught.value.billed is not False
    assert script.paths.count(CREATE) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 401, 403, 500, 503])
async def test_a_poll_that_is_not_answered_leaves_the_task_open(status: int) -> None:
    """Statuses that pass are repeated in place, then a later attempt asks."""
    script = Script([CREATED, *[coded(status, "no", status=status)] * FOLLOW_TRIES])
    with pytest.raises(TaskOpen, match="no"):
        await script.hold()
    assert len(script.asked) == (2 if status < 500 else 1 + FOLLOW_TRIES)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [403, 404])
async def test_a_link_that_is_dead_leaves_the_task_open(status: int) -> None:
    """A later poll may give a new one; the sentence does not show the old one's signature."""
    script = Script([CREATED, DONE, Response(status, {}, text="<Error/>")])
    with pytest.raises(TaskOpen) as caught:
        await script.hold()
    assert "secret" not in caught.value.message


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({"failCode": "501", "failMsg": "Internal Error"}, ServerFault),
        ({"failCode": 500, "failMsg": None}, ServerFault),
        ({"failCode": None, "failMsg": None}, ServerFault),
        ({}, ServerFault),
        ({"failCode": 422, "failMsg": "image_input is not within the range of allowed options"}, Rejected),
        ({"failCode": "400", "failMsg": "The image format is wrong"}, Rejected),
        ({"failCode": "400", "failMsg": "Your content was flagged as sensitive"}, Refused),
        ({"failCode": "501", "failMsg": "Content violates our policies"}, Refused),
        ({"failCode": "501", "failMsg": "Blocked by the safety filter"}, Refused),
        ({"failCode": "501", "failMsg": "Please try a less NSFW prompt"}, Refused),
        ({"failCode": "501", "failMsg": ["flagged"]}, ServerFault),
    ],
)  # fmt: skip
async def test_why_a_task_failed(more: dict[str, Any], verdict: type[ExchangeError]) -> None:
    """A failed task costs nothing, so the job may go on at once with what the reason allows."""
    script = Script([CREATED, state("fail", **more)])
    with pytest.raises(ExchangeError) as caught:
        await script.hold()
    assert type(caught.value) is verdict
    assert caught.value.billed is False


@pytest.mark.anyio
@pytest.mark.parametrize(
    "result",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"resultUrls": []}',
        '{"resultUrls": [null, 7, "file:///a"]}',
        "[" * 100_000,
        None,
        7,
        {},
    ],
)
async def test_success_without_a_link(result: Any) -> None:
    """There is nothing to fetch, and nobody knows whether it was billed."""
    script = Script([CREATED, state("success", resultJson=result)])
    with pytest.raises(NoImage) as caught:
        await script.hold()
    assert caught.value.billed is None


# The order


@pytest.mark.parametrize(
    "data", [None, {}, [], "t-1", {"taskId": None}, {"taskId": ""}, {"taskId": "a b"}, {"taskId": {}}]
)
def test_an_order_without_a_task_may_have_been_paid(data: Any) -> None:
    """It was taken and cannot be followed: that is repeated once at most, not as often as a failure that is free."""
    talk = exchange(ORDER)
    next(talk)
    with pytest.raises(Ambiguous) as caught:
        talk.send(coded(200, "success", data))
    assert caught.value.billed is None


@pytest.mark.parametrize("code", [200, 429, 500, 501, "500", None])
def test_a_task_is_followed_whatever_the_code_says(code: Any) -> None:
    """Ordering once more what has a task already would pay twice."""
    talk = exchange(ORDER)
    next(talk)
    assert talk.send(coded(code, "x", {"taskId": "t-1"})).path == RECORD


def test_a_task_in_an_error_page_is_none() -> None:
    """A status that is no success speaks for itself."""
    talk = exchange(ORDER)
    next(talk)
    with pytest.raises(ServerFault):
        talk.send(coded(500, "x", {"taskId": "t-1"}, status=500))


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        ("nano-banana-pro", {"aspect_ratio": "16:9", "resolution": "1K"}),
        ("nano-banana-2", {"aspect_ratio": "16:9", "resolution": "1K"}),
        ("nano-banana-2-1", {"aspect_ratio": "16:9", "resolution": "1K"}),
        ("nano-banana-2-lite", {"aspect_ratio": "16:9"}),
        ("google/nano-banana", {"image_size": "16:9"}),
        ("google/nano-banana-edit", {"image_size": "16:9"}),
    ],
)
def test_fields_differ_from_model_to_model(model: str, inputs: dict[str, Any]) -> None:
    """A field that a model does not know is not sent to it."""
    request = next(exchange(Order("x", model, size="1K", aspect_ratio="16:9", pixels=(1376, 768), seed=7)))
    assert request.json == {"model": model, "input": {"prompt": "x", **inputs}}
    assert request.cost == Cost(tokens=1)
    assert not request.repeatable


def test_options_go_into_the_input_and_stay_as_they_are() -> None:
    """What the user says comes last."""
    options = {"output_format": "jpg", "resolution": "4K"}
    request = next(exchange(Order("x", "nano-banana-pro", size="1K", options=options)))
    assert request.json["input"] == {"prompt": "x", "resolution": "4K", "output_format": "jpg"}
    assert options == {"output_format": "jpg", "resolution": "4K"}


# Uploads


def photo(number: int) -> Reference:
    return Reference(bytes([0xFF, 0xD8, number]), "image/jpeg", f"{number:064x}")


def test_uploads_come_first_one_by_one() -> None:
    """They are free and repeatable, hold the bytes as they are, and say nothing about the user's files."""
    order = Order("x", "nano-banana-pro", references=(photo(1), photo(2)), upload_url="https://up.example")
    talk = exchange(order)
    request, links = next(talk), []
    for number in (1, 2):
        assert request.path == "https://up.example/api/file-stream-upload"
        assert (request.cost, request.repeatable, request.task) == (FREE, True, None)
        assert request.form is not None
        [file] = request.form.files
        assert (file.data, file.mime, file.name) == (bytes([0xFF, 0xD8, number]), "image/jpeg", "file")
        assert dict(request.form.fields)["fileName"] == file.file_name == f"{number:064x}"[:16] + ".jpg"
        links.append(f"https://up.example/{number}.jpg")
        request = talk.send(coded(200, "success", {"downloadUrl": links[-1]}))
    assert request.path == CREATE
    assert request.json["input"]["image_input"] == links


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (coded(401, "no key", status=401), AccountStopped),
        (coded(401, "no key"), AccountStopped),
        (coded(400, "File is too large"), Rejected),
        (coded(500, "storage"), ServerFault),
        (coded(429, "slow down"), RateLimited),
        (coded(200, "success", {"downloadUrl": "file:///etc/passwd"}), ServerFault),
        (coded(200, "success", {"downloadUrl": None, "fileUrl": 7}), ServerFault),
        (Response(502, {}, json={"data": {"downloadUrl": "https://up.example/1.jpg"}}), ServerFault),
        (Response(200, {}, text="<html>"), ServerFault),
    ],
    ids=repr,
)
def test_an_upload_that_fails_orders_nothing(answer: Response, verdict: type[ExchangeError]) -> None:
    """The job ends there, and nothing was billed."""
    talk = exchange(Order("x", "nano-banana-pro", references=(photo(1),)))
    next(talk)
    with pytest.raises(ExchangeError) as caught:
        talk.send(answer)
    assert type(caught.value) is verdict
    assert caught.value.billed is False


# Codes


@pytest.mark.parametrize(
    ("code", "message", "verdict"),
    [
        (401, "You do not have access permissions", AccountStopped),
        (402, "Credits insufficient", AccountStopped),
        (403, "This key may not use this model", AccountStopped),
        (505, "This feature is disabled", AccountStopped),
        (429, "Your call frequency is too high", RateLimited),
        (429, "You have reached the limit of requests per day", QuotaSpent),
        (455, "maintenance", Overloaded),
        (503, "busy", Overloaded),
        (422, "The model name you specified is not supported", ModelGone),
        (404, "model not found", ModelGone),
        (404, "Not Found", Rejected),
        (422, "prompt is required", Rejected),
        (400, "This field is not allowed", Rejected),
        (400, "Your prompt was flagged", Refused),
        (422, "The prompt contains sensitive words", Refused),
        (501, "Rejected for a violation of our policies", Refused),
        (501, "generation failed", ServerFault),
        (500, "flagged for maintenance", ServerFault),
        ("500", "as a word", ServerFault),
        (0, "nothing", ServerFault),
        (99999, "anything", ServerFault),
    ],
)  # fmt: skip
def test_what_codes_mean(code: Any, message: str, verdict: type[ExchangeError]) -> None:
    """They come inside HTTP 200; what follows for money and lane is the same as for a status."""
    error = fault(coded(code, message))
    assert error is not None
    assert type(error) is verdict
    assert error.billed is False
    assert error.http_status is not None
    assert 200 <= error.http_status < 600


@pytest.mark.parametrize(
    "body", [{"code": 200}, {"code": "200", "msg": "ok"}, {"data": {"taskId": "t"}}, {"code": None}]
)
def test_a_success_is_no_fault(body: Any) -> None:
    """Whether there is a task in it is another question."""
    assert fault(Response(200, {}, json=body)) is None


def test_a_wish_is_kept() -> None:
    """How long to wait may stand in a header also beside a code."""
    error = fault(Response(200, {"retry-after": "8"}, json={"code": 429, "msg": "slow down"}))
    assert isinstance(error, RateLimited)
    assert error.retry_after_seconds == 8.0
