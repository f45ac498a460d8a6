"""fal's queue: which errors are a request's end, and which are only a poll that went wrong."""

from __future__ import annotations

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
    RateLimited,
    Refused,
    Rejected,
    ServerFault,
    TaskOpen,
    Undelivered,
)
from nanobatch.model import Answer, Blob, Cost, Order, Reference, Request, Response
from nanobatch.providers.fal import exchange, fault, resume
from nanobatch.providers.polling import DELAYS_SECONDS, MOST_BAD_POLLS

ORDER = Order("a red fox", "fal-ai/nano-banana-pro", size="1K")
TASK = "fal-ai/nano-banana-pro r-1"
STATUS, RESULT = "/fal-ai/nano-banana-pro/requests/r-1/status", "/fal-ai/nano-banana-pro/requests/r-1"
BLOB = Blob(Path("fox"), 2048, "0" * 64)
LINK = "https://v3.fal.example/files/a.png"
SUBMITTED = Response(200, {}, json={"request_id": "r-1", "status": "IN_QUEUE", "status_url": "https://evil.example/"})
COMPLETED = Response(200, {}, json={"status": "COMPLETED"})


def state(name: Any, status: int = 200) -> Response:
    return Response(status, {}, json={"status": name, "request_id": "r-1"})


def sentence(status: int, detail: str, **more: Any) -> Response:
    return Response(status, {}, json={"detail": detail, **more})


def typed(status: int, kind: str, message: str = "because") -> Response:
    return Response(status, {}, json={"detail": [{"loc": ["body"], "msg": message, "type": kind}]})


def polled(*answers: Response, task: str = TASK) -> list[Request]:
    """Return the requests of a resumed task, the last of them not yet answered."""
    talk = resume(ORDER, task)
    return [next(talk), *(talk.send(answer) for answer in answers)]


# The order


@pytest.mark.parametrize(
    ("model", "references", "path", "task"),
    [
        ("fal-ai/nano-banana", 0, "/fal-ai/nano-banana", "fal-ai/nano-banana r-1"),
        ("fal-ai/nano-banana", 1, "/fal-ai/nano-banana/edit", "fal-ai/nano-banana r-1"),
        ("fal-ai/nano-banana/edit", 1, "/fal-ai/nano-banana/edit", "fal-ai/nano-banana r-1"),
        ("fal-ai/flux/dev", 0, "/fal-ai/flux/dev", "fal-ai/flux r-1"),
        ("fal-ai/flux-pro/v1.1", 0, "/fal-ai/flux-pro/v1.1", "fal-ai/flux-pro r-1"),
        ("google/nano-banana-2.1", 0, "/google/nano-banana-2.1", "google/nano-banana-2.1 r-1"),
        ("a/b?c#d", 0, "/a/b%3Fc%23d", "a/b?c#d r-1"),
    ],
)
def test_sub_paths_are_for_submitting_only(model: str, references: int, path: str, task: str) -> None:
    """State and result are below owner and app, and no link of the answer is asked with the key."""
    photos = tuple(Reference(b"cat", "image/png", "c" * 64) for _ in range(references))
    talk = exchange(Order("x", model, references=photos))
    request = next(talk)
    assert (request.method, request.path, request.cost, request.repeatable) == ("POST", path, Cost(tokens=1), False)
    poll = talk.send(SUBMITTED)
    assert poll.task == task
    assert poll.path.startswith("/")
    assert poll.path.endswith("/requests/r-1/status")


@pytest.mark.parametrize(
    ("order", "fields"),
    [
        (Order("x", "fal-ai/flux/dev", pixels=(1360, 768), aspect_ratio="16:9"), {"image_size": {"width": 1360, "height": 768}}),
        (Order("x", "fal-ai/flux-2-pro", pixels=(1024, 1024), seed=0), {"image_size": {"width": 1024, "height": 1024}, "seed": 0}),
        (Order("x", "fal-ai/flux-pro/v1.1-ultra", aspect_ratio="16:9"), {"aspect_ratio": "16:9"}),
        (Order("x", "fal-ai/nano-banana", pixels=(1344, 768), aspect_ratio="16:9"), {"aspect_ratio": "16:9"}),
        (Order("x", "google/nano-banana-2.1", size="4K", pixels=(4096, 4096)), {"resolution": "4K"}),
        (Order("x", "acme/my-flux", pixels=(1024, 1024), aspect_ratio="1:1"), {"aspect_ratio": "1:1"}),
        (Order("x", "fal-ai/nano-banana", options={"output_format": "webp", "num_images": 1}), {"output_format": "webp"}),
    ],
)  # fmt: skip
def test_what_a_model_is_asked(order: Order, fields: dict[str, Any]) -> None:
    """FLUX takes sides, the others a ratio and a resolution; nothing is sent that was not asked for."""
    assert next(exchange(order)).json == {"prompt": "x", "num_images": 1, **fields}


@pytest.mark.parametrize("name", [None, "", "a b", "r\n1", {}, []])
def test_an_order_without_a_request_may_have_been_paid(name: Any) -> None:
    """It was taken and cannot be followed: that is repeated once at most."""
    talk = exchange(ORDER)
    next(talk)
    with pytest.raises(Ambiguous):
        talk.send(Response(200, {}, json={"request_id": name}))


# Polls


def test_the_result_is_read_as_soon_as_it_is_there() -> None:
    """Only polls of the state wait."""
    requests = polled(state("IN_QUEUE", 202), state("IN_PROGRESS", 202), COMPLETED)
    assert [request.path for request in requests] == [STATUS] * 3 + [RESULT]
    assert [request.delay_seconds for request in requests] == [*DELAYS_SECONDS[:3], 0.0]
    assert {request.task for request in requests} == {TASK}


@pytest.mark.parametrize("name", ["IN_QUEUE", "IN_PROGRESS", "CANCELLATION_REQUESTED", "completed?"])
def test_a_state_that_nobody_knows_is_under_way(name: str) -> None:
    """A vendor adds states; none of them makes a bad poll of a good one."""
    assert len(polled(*[state(name)] * (MOST_BAD_POLLS + 5))) == MOST_BAD_POLLS + 6


@pytest.mark.parametrize("name", [None, "", 7, [], {}])
def test_answers_without_a_state_are_bad_polls(name: Any) -> None:
    """The task stays open: its image may be there tomorrow."""
    with pytest.raises(TaskOpen):
        polled(*[state(name)] * MOST_BAD_POLLS)


@pytest.mark.parametrize("before", [(), (COMPLETED,)], ids=["state", "result"])
@pytest.mark.parametrize("status", [401, 403, 429, 502, 503])
def test_a_poll_that_is_not_answered_leaves_the_task_open(status: int, before: tuple[Response, ...]) -> None:
    """Trouble with the key, the money or the moment is no verdict on what is paid already."""
    with pytest.raises(TaskOpen, match="because") as caught:
        polled(*before, sentence(status, "because"))
    assert caught.value.billed is None


@pytest.mark.parametrize(("before", "most"), [((), MOST_BAD_POLLS), ((COMPLETED,), 3)], ids=["state", "result"])
def test_a_request_that_is_unknown_for_a_moment(before: tuple[Response, ...], most: int) -> None:
    """A 404 is believed when it stays."""
    gone = sentence(404, "Request not found")
    assert polled(*before, *[gone] * (most - 1))[-1].task == TASK
    with pytest.raises(Undelivered):
        polled(*before, *[gone] * most)


def test_a_task_that_is_none_asks_for_nothing_else() -> None:
    """A ledger that was written by hand leads to a path that does not exist, not to another request."""
    assert polled(task="r-1")[0].path == "/r-1/requests//status"
    assert polled(task="fal-ai/x ../../y")[0].path == "/fal-ai/x/requests/..%2F..%2Fy/status"


# Results


@pytest.mark.parametrize(
    ("body", "mime"),
    [
        ({"images": [{"url": LINK, "content_type": "image/png"}]}, "image/png"),
        ({"images": [{"url": "https://v3.fal.example/draft.png"}, {"url": LINK}]}, None),
        ({"images": [{"url": LINK}, {"url": None}, "odd"]}, None),
        ({"image": {"url": LINK, "content_type": 7}}, None),
        ({"images": [], "image": {"url": LINK}}, None),
    ],
)
def test_the_last_image_counts(body: Any, mime: str | None) -> None:
    """It is downloaded as a part of its task."""
    talk = resume(ORDER, TASK)
    next(talk)
    talk.send(COMPLETED)
    request = talk.send(Response(200, {}, json=body))
    assert (request.path, request.download, request.task) == (LINK, True, TASK)
    with pytest.raises(StopIteration) as done:
        talk.send(Response(200, {}, blob=BLOB))
    answer = done.value.value
    assert isinstance(answer, Answer)
    assert (answer.picture.data, answer.picture.mime, answer.model) == (BLOB, mime, ORDER.model)


@pytest.mark.parametrize("data", [BLOB, "aGk="])
def test_an_image_may_stand_in_the_result_itself(data: Any) -> None:
    """As `sync_mode` gives it: a data URI, which the transport has taken out of the JSON where it was long."""
    talk = resume(ORDER, TASK)
    next(talk)
    talk.send(COMPLETED)
    with pytest.raises(StopIteration) as done:
        talk.send(Response(200, {}, json={"images": [{"url": data, "content_type": "image/jpeg"}]}))
    assert done.value.value.picture.data == data


@pytest.mark.parametrize("body", [{}, {"images": []}, {"images": None}, {"images": [{}]}, {"description": "no"}])
def test_a_result_without_an_image(body: Any) -> None:
    """There is nothing to fetch, and nobody knows whether it was billed."""
    with pytest.raises(NoImage) as caught:
        polled(COMPLETED, Response(200, {}, json=body))
    assert caught.value.billed is None


@pytest.mark.parametrize(
    "late", [state("IN_PROGRESS", 202), Response(200, {}, text="<html>"), Response(200, {}, json=[])]
)
def test_a_result_that_is_not_there_yet(late: Response) -> None:
    """What is no result is asked for again, and never taken for one without an image."""
    assert polled(COMPLETED, late, late)[-1].path == RESULT
    with pytest.raises(TaskOpen):
        polled(COMPLETED, late, late, late)


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        (typed(422, "content_policy_violation"), Refused),
        (typed(422, "no_media_generated", "unsafe content, because"), Refused),
        (typed(422, "no_media_generated"), NoImage),
        (typed(422, "image_too_large"), Rejected),
        (typed(422, "file_download_error"), Rejected),
        (typed(400, "downstream_service_error"), ServerFault),
        (typed(500, "downstream_service_unavailable"), ServerFault),
        (typed(500, "internal_server_error"), ServerFault),
        (typed(504, "generation_timeout"), ServerFault),
        (sentence(504, "because", error_type="request_timeout"), ServerFault),
        (sentence(503, "because", error_type="runner_scheduling_failure"), ServerFault),
        (sentence(499, "because", error_type="client_cancelled"), ServerFault),
        (Response(502, {"x-fal-error-type": "runner_incomplete_response"}, json={"detail": "because"}), ServerFault),
    ],
    ids=repr,
)
def test_an_error_with_a_type_is_the_end_of_a_request(response: Response, verdict: type[ExchangeError]) -> None:
    """It stands where the result would be; a status below 300 says that the poll itself was fine."""
    with pytest.raises(ExchangeError, match="because") as caught:
        polled(COMPLETED, response)
    assert type(caught.value) is verdict
    assert caught.value.http_status == 200
    assert caught.value.billed is (None if verdict is NoImage else False)


@pytest.mark.parametrize(
    "response",
    [
        sentence(500, "Internal Server Error"),
        sentence(500, "x", error_type="internal_error"),
        Response(500, {}, text=""),
    ],
)
def test_an_error_without_a_type_is_believed_when_it_stays(response: Response) -> None:
    """A poll that goes wrong looks the same: believed at once, it would buy the image a second time."""
    assert polled(COMPLETED, response, response)[-1].path == RESULT
    with pytest.raises(ServerFault) as caught:
        polled(COMPLETED, *[response] * 3)
    assert (caught.value.http_status, caught.value.billed) == (200, False)


@pytest.mark.parametrize("status", [401, 403, 408, 429])
def test_the_account_and_the_moment_are_no_end_of_a_request(status: int) -> None:
    """Even an error with a type speaks of the poll there: the key was changed, or there were too many polls."""
    with pytest.raises(TaskOpen, match="because"):
        polled(COMPLETED, sentence(status, "because", error_type="odd"))


def test_repeated_results_wait() -> None:
    """The first is asked for at once, the next ones later."""
    broken = sentence(500, "Internal Server Error")
    assert [request.delay_seconds for request in polled(COMPLETED, broken, broken)[1:]] == [0.0, 5.0, 5.0]


# Errors of an order


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        (sentence(401, "Cannot access application."), AccountStopped),
        (sentence(403, "User is locked. Reason: Exhausted balance."), AccountStopped),
        (sentence(404, "Application not found"), ModelGone),
        (sentence(429, "Too many requests"), RateLimited),
        (sentence(500, "Internal Server Error"), ServerFault),
        (sentence(503, "unavailable"), Overloaded),
        (sentence(422, "prompt is required"), Rejected),
        (typed(422, "missing", "Field required"), Rejected),
        (typed(422, "content_policy_violation", "flagged"), Refused),
        (typed(400, "value_error", "odd"), Rejected),
        (typed(500, "internal_server_error", "odd"), ServerFault),
        (typed(503, "odd", "odd"), Overloaded),
        (Response(502, {}, text="<html><title>Bad gateway</title>"), ServerFault),
        (Response(422, {}, json={"detail": [7, None, {"type": ["odd"]}]}), Rejected),
    ],
    ids=repr,
)
def test_what_errors_mean(response: Response, verdict: type[ExchangeError]) -> None:
    """A `type` decides before the status."""
    error = fault(response)
    assert error is not None
    assert type(error) is verdict
    assert (error.http_status, error.billed) == (response.status, False)


@pytest.mark.parametrize("response", [SUBMITTED, COMPLETED, Response(202, {}, json={"status": "IN_QUEUE"})])
def test_a_success_is_no_fault(response: Response) -> None:
    """Also where it is a 202."""
    assert fault(response) is None
