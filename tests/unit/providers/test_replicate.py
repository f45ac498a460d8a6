"""Replicate's predictions: what is sent, what states mean, and which answers are only polls that went wrong."""

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
from nanobatch.providers.polling import DELAYS_SECONDS, MOST_BAD_POLLS
from nanobatch.providers.replicate import exchange, fault, resume

ORDER = Order("a red fox", "google/nano-banana-pro", size="1K")
BLOB = Blob(Path("fox"), 2048, "0" * 64)
LINK = "https://replicate.example/xezq/a.jpg"


def state(name: Any, **more: Any) -> Response:
    return Response(200, {}, json={"id": "p-1", "status": name, "output": None, "error": None, **more})


CREATED = Response(201, {}, json={"id": "p-1", "status": "starting", "urls": {"get": "https://evil.example/p-1"}})


def problem(status: int, detail: str, **headers: str) -> Response:
    return Response(status, headers, json={"title": "x", "detail": detail, "status": status})


def polled(*answers: Response) -> list[Request]:
    """Return the requests of a resumed prediction, the last of them not yet answered."""
    talk = resume(ORDER, "p-1")
    return [next(talk), *(talk.send(answer) for answer in answers)]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("google/nano-banana-pro", "/models/google/nano-banana-pro/predictions"),
        ("black-forest-labs/flux-1.1-pro", "/models/black-forest-labs/flux-1.1-pro/predictions"),
        ("a/b/c?d#e", "/models/a/b%2Fc%3Fd%23e/predictions"),
    ],
)
def test_the_path_names_owner_and_model(model: str, path: str) -> None:
    """Whatever else stands in a model's name stays a part of it."""
    request = next(exchange(Order("x", model)))
    assert (request.method, request.path, request.repeatable) == ("POST", path, False)
    assert request.cost == Cost(tokens=1)


@pytest.mark.parametrize(
    ("model", "name"),
    [("google/nano-banana", "image_input"), ("black-forest-labs/flux-2-pro", "input_images")],
)
def test_references_are_data_uris(model: str, name: str) -> None:
    """In the user's order, under the name that the model's family has for them."""
    cat, dog = Reference(b"cat", "image/png", "c" * 64), Reference(b"dog", "image/webp", "d" * 64)
    body = next(exchange(Order("x", model, references=(cat, dog)))).json
    assert body == {"input": {"prompt": "x", name: ["data:image/png;base64,Y2F0", "data:image/webp;base64,ZG9n"]}}


def test_a_seed_of_nothing_is_a_seed() -> None:
    """Zero is sent, and no field that was not asked for."""
    assert next(exchange(Order("x", "a/b", seed=0))).json == {"input": {"prompt": "x", "seed": 0}}


def test_options_win() -> None:
    """What the user writes into the config is sent as it is."""
    options = {"resolution": "4K", "safety_filter_level": "block_only_high"}
    assert next(exchange(Order("x", "a/b", size="1K", options=options))).json == {"input": {"prompt": "x", **options}}


def test_links_of_an_answer_are_not_asked() -> None:
    """Polls go below base_url, for they hold the key."""
    talk = exchange(ORDER)
    next(talk)
    request = talk.send(CREATED)
    assert (request.path, request.task, request.delay_seconds) == ("/predictions/p-1", "p-1", DELAYS_SECONDS[0])


def test_the_image_is_downloaded_with_its_task() -> None:
    """A link that has died is asked for again by another attempt."""
    talk = resume(ORDER, "p-1")
    next(talk)
    request = talk.send(state("succeeded", output=["https://replicate.example/1.jpg", LINK], model="google/other"))
    assert (request.path, request.download, request.task) == (LINK, True, "p-1")
    with pytest.raises(StopIteration) as done:
        talk.send(Response(200, {}, blob=BLOB))
    answer = done.value.value
    assert isinstance(answer, Answer)
    assert (answer.picture.data, answer.model, answer.usage) == (BLOB, "google/other", None)


@pytest.mark.parametrize("name", ["starting", "processing", "queued", "booting", "x" * 3000])
def test_a_state_that_nobody_knows_is_under_way(name: str) -> None:
    """A vendor adds states; none of them makes a bad poll of a good one."""
    requests = polled(*[state(name)] * (MOST_BAD_POLLS + 5))
    assert len(requests) == MOST_BAD_POLLS + 6


@pytest.mark.parametrize("name", [None, "", 7, [], {}, True])
def test_answers_without_a_state_are_bad_polls(name: Any) -> None:
    """The task stays open: its image may be there tomorrow."""
    with pytest.raises(TaskOpen):
        polled(*[state(name)] * MOST_BAD_POLLS)


@pytest.mark.parametrize("output", [None, "", [], {}, 7, "data:image/png;base64,aGk=", ["file:///etc/passwd"], [None]])
def test_success_without_a_link(output: Any) -> None:
    """There is nothing to fetch, and nobody knows whether it was billed."""
    with pytest.raises(NoImage) as caught:
        polled(state("succeeded", output=output))
    assert caught.value.billed is None


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        ("The input or output was flagged as sensitive. Please try again with different inputs. (E005)", Refused),
        ("Prediction failed (E005)", Refused),
        ("NSFW content detected. Try running it again, or try a different prompt.", Refused),
        ("Failed because of Google's content policy", Refused),
        ("Prediction failed: the model stopped. (E9243)", ServerFault),
        ("CUDA out of memory (E1001)", ServerFault),
        ("E0051 is another code", ServerFault),
        (None, ServerFault),
        ({"code": "E005"}, ServerFault),
    ],
)
@pytest.mark.parametrize("name", ["failed", "canceled", "aborted"])
def test_why_a_prediction_ended(name: str, error: Any, verdict: type[ExchangeError]) -> None:
    """Its sentence decides; a status below 300 says that the poll itself was fine."""
    with pytest.raises(ExchangeError) as caught:
        polled(state(name, error=error))
    assert type(caught.value) is verdict
    assert (caught.value.http_status, caught.value.billed) == (200, False)


def test_a_prediction_that_is_unknown_for_a_moment() -> None:
    """A 404 is believed when it stays."""
    gone = problem(404, "The requested resource could not be found.")
    assert polled(*[gone] * (MOST_BAD_POLLS - 1), state("processing"))[-1].path == "/predictions/p-1"
    with pytest.raises(Undelivered):
        polled(*[gone] * MOST_BAD_POLLS)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 422, 429, 500, 503])
def test_a_poll_that_is_not_answered_leaves_the_task_open(status: int) -> None:
    """Trouble with the key, the money or the moment is no verdict on what is paid already."""
    with pytest.raises(TaskOpen, match="because") as caught:
        polled(problem(status, "because"))
    assert caught.value.billed is None


@pytest.mark.parametrize("name", [None, "", "a b", "\ud800", {}, []])
def test_an_order_without_an_id_may_have_been_paid(name: Any) -> None:
    """It was taken and cannot be followed: that is repeated once at most."""
    talk = exchange(ORDER)
    next(talk)
    with pytest.raises(Ambiguous):
        talk.send(Response(201, {}, json={"id": name, "status": "starting"}))


@pytest.mark.parametrize("name", ["starting", "failed", "queued", None])
def test_an_order_with_an_id_is_followed(name: Any) -> None:
    """Also where it has failed already: its state tells why."""
    talk = exchange(ORDER)
    next(talk)
    answer = Response(201, {}, json={"id": "p-1", "status": name, "error": "out of memory"})
    assert fault(answer) is None
    assert talk.send(answer).path == "/predictions/p-1"


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        (problem(401, "You did not pass a valid authentication token"), AccountStopped),
        (problem(402, "You have insufficient credit to run this model."), AccountStopped),
        (problem(404, "The requested resource could not be found."), ModelGone),
        (problem(422, "- input.aspect_ratio must be one of the following"), Rejected),
        (problem(422, "The prompt was flagged as sensitive"), Refused),
        (problem(429, "Request was throttled."), RateLimited),
        (problem(500, "Something went wrong"), ServerFault),
        (problem(503, "The service is unavailable."), Overloaded),
        (Response(422, {}, json={"title": "Input validation failed"}), Rejected),
        (Response(502, {}, text="<html><title>Bad gateway</title>"), ServerFault),
    ],
    ids=repr,
)
def test_what_errors_mean(response: Response, verdict: type[ExchangeError]) -> None:
    """The problem object's status is HTTP's, and its detail the sentence."""
    error = fault(response)
    assert error is not None
    assert type(error) is verdict
    assert (error.http_status, error.billed) == (response.status, False)


def test_a_throttled_order_knows_how_long_to_wait() -> None:
    """The header tells it."""
    error = fault(problem(429, "Request was throttled.", **{"retry-after": "3"}))
    assert isinstance(error, RateLimited)
    assert error.retry_after_seconds == 3.0
