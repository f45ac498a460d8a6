"""Asks for the state of a task until it is decided: less and less often, and patient with polls that go wrong."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from nanobatch.errors import TaskOpen
from nanobatch.model import FREE, Request, Response
from nanobatch.providers.reading import body_of

DELAYS_SECONDS = (2.0, 2.0, 3.0, 4.0)  # images take 3 to 60 s; later polls wait as long as the last of these
LONGEST_DELAY_SECONDS = 5.0
MOST_BAD_POLLS = 10  # in a row, before the task is left to a later attempt


def poll(
    path: str, task: str, verdict: Callable[[Any], Any | None], *, trouble: Callable[[Response], str | None]
) -> Generator[Request, Response, Any]:
    """Poll until `verdict` finds something in the answer's JSON, and return that.

    Args:
        path: Where the task's state is.
        task: What the provider's `resume` needs.
        verdict: Returns what the answer decides, or None while the task is under way; raises what became of it.
        trouble: Says what is wrong with a poll itself, or None for one that tells the state.

    Raises:
        TaskOpen: Polls keep going wrong. What they are about is paid, so it is asked for again later.
    """
    number = bad = 0
    while True:
        delay = DELAYS_SECONDS[number] if number < len(DELAYS_SECONDS) else LONGEST_DELAY_SECONDS
        response = yield Request("GET", path, cost=FREE, delay_seconds=delay, repeatable=True, task=task)
        number += 1
        why = trouble(response)
        if why is not None:
            bad += 1
            if bad >= MOST_BAD_POLLS:
                raise TaskOpen(f"the task cannot be asked about: {why}", http_status=response.status)
            continue
        bad = 0
        found = verdict(body_of(response))
        if found is not None:
            return found
