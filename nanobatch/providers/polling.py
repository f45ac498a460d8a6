"""Asks for the state of a task until it is decided: less and less often, and patient with polls that go wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from nanobatch.errors import ExchangeError, TaskOpen, Undelivered
from nanobatch.model import FREE, Request, Response
from nanobatch.providers.reading import words

T = TypeVar("T")

DELAYS_SECONDS = (2.0, 2.0, 3.0, 4.0, 5.0)  # images take 3 to 60 s; later polls wait as long as the last of these
MOST_BAD_POLLS = 10  # in a row: about 40 s in which a task that was just ordered may become known everywhere

_ID = re.compile(r"[A-Za-z0-9][!-~]{0,199}")
_GONE = frozenset({404, 410})


def task_id(value: Any) -> str | None:
    """Return what a vendor calls a task, and None for what could not stand in a path or in the ledger."""
    name = words(value)
    return name if _ID.fullmatch(name) else None


def poll(
    path: str,
    task: str,
    read: Callable[[Response], T | ExchangeError | None],
    *,
    delays_seconds: Sequence[float] = DELAYS_SECONDS,
    most_bad: int = MOST_BAD_POLLS,
) -> Generator[Request, Response, T]:
    """Poll until `read` finds something, and return that.

    Args:
        path: Where the task's state is.
        task: What the provider's `resume` needs.
        read: Returns what a poll found, None while the task is under way, or an error where the poll itself went wrong.
            It raises what became of a task that has failed.
        delays_seconds: The waits before the polls; the last one is kept.
        most_bad: How many polls in a row may go wrong.

    Raises:
        ExchangeError: What `read` raised, or what it returned once too often.
    """
    number = bad = 0
    while True:
        delay = delays_seconds[min(number, len(delays_seconds) - 1)]
        response = yield Request("GET", path, cost=FREE, delay_seconds=delay, repeatable=True, task=task)
        number += 1
        found = read(response)
        if isinstance(found, ExchangeError):
            bad += 1
            if bad >= most_bad:
                raise found
        elif found is not None:
            return found
        else:
            bad = 0


def unanswered(response: Response, error: ExchangeError | None) -> ExchangeError:
    """Say what a poll means whose status is no success.

    A task that was just ordered may be unknown for a moment, so that is asked again before it is believed. Statuses
    that pass were repeated before they came here, and others speak of the account: the task is left for later.

    Args:
        response: The answer to the poll.
        error: What it would mean as the answer to an order.

    Raises:
        TaskOpen: There is no use in asking again now.
    """
    if response.status in _GONE:
        return Undelivered("the provider does not know the task (any more)", http_status=response.status)
    why = error.message if error is not None else f"HTTP {response.status}"
    raise TaskOpen(f"the task cannot be asked about: {why}", http_status=response.status)
