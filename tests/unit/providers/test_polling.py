"""Asking for a task until it is decided."""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from typing import Any

import pytest

from nanobatch.errors import AccountStopped, ExchangeError, Refused, TaskOpen, Undelivered
from nanobatch.exchange import POLL_PATIENCE_SECONDS
from nanobatch.model import FREE, Request, Response
from nanobatch.providers.polling import DELAYS_SECONDS, MOST_BAD_POLLS, poll, task_id, unanswered

BUSY = Response(200, {}, json={"state": "busy"})
DONE = Response(200, {}, json={"state": "done", "link": "x"})
ODD = Response(200, {}, json={"odd": 1})
REFUSED = Response(200, {}, json={"state": "refused"})


def read(response: Response) -> Any | ExchangeError | None:
    match response.json.get("state"):
        case "busy":
            return None
        case "done":
            return response.json
        case "refused":
            raise Refused("no")
        case _:
            return TaskOpen("nothing told")


def asking(**more: Any) -> Generator[Request, Response, Any]:
    return poll("/tasks/7", "7", read, **more)


def asked(*answers: Response, **more: Any) -> tuple[list[Request], Any]:
    talk = asking(**more)
    requests = [next(talk)]
    for answer in answers:
        try:
            requests.append(talk.send(answer))
        except StopIteration as done:
            return requests, done.value
    return requests, None


def test_every_poll_is_free_and_names_its_task() -> None:
    """Another process can go on with it, and nothing is taken from the quota."""
    requests, found = asked(*[BUSY] * 8, DONE)
    assert found == DONE.json
    assert len(requests) == 9
    for request in requests:
        assert (request.method, request.path, request.task) == ("GET", "/tasks/7", "7")
        assert (request.cost, request.repeatable, request.download) == (FREE, True, False)
        assert (request.json, request.form) == (None, None)


def test_it_asks_less_and_less_often() -> None:
    """The waits never get shorter, and the last one stays."""
    requests, _ = asked(*[BUSY] * 8, DONE)
    waits = [request.delay_seconds for request in requests]
    assert waits == [*DELAYS_SECONDS, *[DELAYS_SECONDS[-1]] * (9 - len(DELAYS_SECONDS))]
    assert all(earlier <= later for earlier, later in pairwise(waits))
    assert waits[0] > 0


def test_a_wait_of_its_own() -> None:
    """What is ready already is asked for at once, and later only where it was not."""
    requests, _ = asked(BUSY, BUSY, DONE, delays_seconds=(0.0, 5.0))
    assert [request.delay_seconds for request in requests] == [0.0, 5.0, 5.0]


def test_bad_polls_in_a_row_end_it() -> None:
    """What the last of them was is raised."""
    requests, _ = asked(*[ODD] * (MOST_BAD_POLLS - 1))
    assert len(requests) == MOST_BAD_POLLS
    with pytest.raises(TaskOpen, match="nothing told"):
        asked(*[ODD] * MOST_BAD_POLLS)


def test_a_good_poll_starts_the_count_anew() -> None:
    """Nine bad ones, a good one and nine bad ones are no reason to give up."""
    bad = [ODD] * (MOST_BAD_POLLS - 1)
    requests, found = asked(*bad, BUSY, *bad, DONE)
    assert found == DONE.json
    assert len(requests) == 2 * MOST_BAD_POLLS


def test_fewer_bad_polls_may_be_enough() -> None:
    """Where each of them was repeated before it came here."""
    _, found = asked(ODD, ODD, DONE, most_bad=3)
    assert found == DONE.json
    with pytest.raises(TaskOpen):
        asked(ODD, ODD, ODD, most_bad=3)


def test_bad_polls_take_less_time_than_the_driver_has_patience() -> None:
    """The generator's own bound is met first, so that its reason is told."""
    waits = [request.delay_seconds for request in asked(*[ODD] * (MOST_BAD_POLLS - 1))[0]]
    assert 30 < sum(waits) < POLL_PATIENCE_SECONDS / 2


def test_good_polls_have_no_bound_here() -> None:
    """How long a task may take is the driver's to say, who knows the time."""
    requests, found = asked(*[BUSY] * 500)
    assert (len(requests), found) == (501, None)


def test_the_end_of_a_task_may_be_an_error() -> None:
    """What became of it is for the provider to say, and is not asked for again."""
    with pytest.raises(Refused):
        asked(BUSY, REFUSED)


def test_falsy_answers_are_found_too() -> None:
    """Only None means that the task is under way."""
    talk = poll("/x", "x", lambda _: 0)
    next(talk)
    with pytest.raises(StopIteration) as done:
        talk.send(BUSY)
    assert done.value.value == 0


@pytest.mark.parametrize("status", [404, 410])
def test_a_task_that_is_unknown_may_become_known(status: int) -> None:
    """It is returned, not raised: the poll is sent again before it is believed."""
    error = unanswered(Response(status, {}), None)
    assert isinstance(error, Undelivered)
    assert (error.http_status, error.billed) == (status, True)


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 503])
def test_other_statuses_leave_the_task_for_later(status: int) -> None:
    """They were repeated already, or speak of the account: never of the task's end."""
    with pytest.raises(TaskOpen, match="wrong key") as caught:
        unanswered(Response(status, {}), AccountStopped("wrong key", http_status=status))
    assert (caught.value.http_status, caught.value.billed) == (status, None)


def test_a_status_without_an_error_is_named() -> None:
    """A sentence always has an end."""
    with pytest.raises(TaskOpen, match="HTTP 302"):
        unanswered(Response(302, {}), None)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("t-1", "t-1"), ("task_nano_1765", "task_nano_1765"), ("8f3a-11ee", "8f3a-11ee"), (12345, "12345"),
        ("a/b?c=d", "a/b?c=d"), ("x" * 200, "x" * 200),
    ],
)  # fmt: skip
def test_a_task_has_a_name(value: Any, name: str) -> None:
    """Whatever the vendor calls it, as long as it is short and printable."""
    assert task_id(value) == name


@pytest.mark.parametrize(
    "value",
    [
        None, "", " ", True, [], {}, ["t-1"], "..", "../t", "t 1", "t\n1", "t\r\nHost: x", "\ud800", "é", "x" * 201,
        "-1", "/t",
    ],
)  # fmt: skip
def test_anything_else_is_no_name(value: Any) -> None:
    """What could not be sent, written down, or would lead to another path is as good as nothing."""
    assert task_id(value) is None
