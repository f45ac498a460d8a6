"""Asking for a task until it is decided."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from nanobatch.errors import Refused, TaskOpen
from nanobatch.model import FREE, Request, Response
from nanobatch.providers.polling import DELAYS_SECONDS, LONGEST_DELAY_SECONDS, MOST_BAD_POLLS, poll

BUSY = Response(200, {}, json={"state": "busy"})
DONE = Response(200, {}, json={"state": "done", "link": "x"})
ODD = Response(200, {}, json={"odd": 1})


def trouble(response: Response) -> str | None:
    return None if "state" in response.json else "nothing told"


def verdict(body: Any) -> Any | None:
    if body["state"] == "refused":
        raise Refused("no")
    return body if body["state"] == "done" else None


def asking() -> Generator[Request, Response, Any]:
    return poll("/tasks/7", "7", verdict, trouble=trouble)


def asked(*answers: Response) -> tuple[list[Request], Any]:
    talk = asking()
    requests = [next(talk)]
    for answer in answers:
        try:
            requests.append(talk.send(answer))
        except StopIteration as done:
            return requests, done.value
    return requests, None


def test_it_asks_less_and_less_often() -> None:
    """Each poll waits before it is sent, is free, and names the task that it is about."""
    requests, found = asked(*[BUSY] * 8, DONE)
    assert found == DONE.json
    assert [request.delay_seconds for request in requests] == [
        *DELAYS_SECONDS, *[LONGEST_DELAY_SECONDS] * (9 - len(DELAYS_SECONDS)),
    ]  # fmt: skip
    assert all(
        (request.method, request.path, request.task, request.cost, request.repeatable)
        == ("GET", "/tasks/7", "7", FREE, True)
        for request in requests
    )


def test_bad_polls_in_a_row_leave_the_task_open() -> None:
    """One that tells something in between starts the count anew."""
    requests, found = asked(*[ODD] * (MOST_BAD_POLLS - 1), BUSY, *[ODD] * (MOST_BAD_POLLS - 1), DONE)
    assert found == DONE.json
    assert len(requests) == 2 * MOST_BAD_POLLS
    with pytest.raises(TaskOpen, match="nothing told"):
        asked(*[ODD] * MOST_BAD_POLLS)


def test_the_end_of_a_task_may_be_an_error() -> None:
    """What became of it is for the provider to say."""
    with pytest.raises(Refused):
        asked(BUSY, Response(200, {}, json={"state": "refused"}))
