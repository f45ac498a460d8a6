"""The line at a gate."""

from __future__ import annotations

import asyncio

import pytest

from nanobatch.limits.line import Line, Ticket
from nanobatch.model import Cost


def ticket(*, holds_slot: bool = False) -> Ticket:
    return Ticket(Cost(), holds_slot=holds_slot)


def test_first_come_first_served() -> None:
    """The head is who has waited longest."""
    line, tickets = Line(), [ticket() for _ in range(5)]
    for each in tickets:
        line.join(each)
    seen = []
    while (head := line.head) is not None:
        seen.append(head)
        line.leave(head)
    assert seen == tickets


def test_who_holds_a_slot_goes_first() -> None:
    """An exchange that is inside passes the newcomers, in its own order."""
    line = Line()
    newcomer, first, second = ticket(), ticket(holds_slot=True), ticket(holds_slot=True)
    for each in (newcomer, first, second):
        line.join(each)
    assert list(line) == [first, second, newcomer]
    assert line.head is first
    assert len(line) == 3


def test_anyone_may_leave_from_anywhere() -> None:
    """Leaving from the middle keeps the order of the others; leaving twice does no harm."""
    line, tickets = Line(), [ticket() for _ in range(3)]
    for each in tickets:
        line.join(each)
    line.leave(tickets[1])
    line.leave(tickets[1])
    assert list(line) == [tickets[0], tickets[2]]


def test_an_empty_line_has_no_head() -> None:
    """Nobody's turn is None, not an error."""
    assert Line().head is None


@pytest.mark.anyio
async def test_news_is_told_once() -> None:
    """Telling a ticket twice, or one that is not waiting, does no harm."""
    waiting = ticket()
    waiting.tell()
    waiting.news = asyncio.get_running_loop().create_future()
    waiting.tell()
    waiting.tell()
    await waiting.news
