"""Tasks in the sandbox: what it remembers, what it forgets, and that a seed repeats the mishaps of polls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from nanobatch.sandbox.dialects.base import Order, Task
from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.plan import Plan
from nanobatch.sandbox.server import Sandbox, serve
from nanobatch.sandbox.tasks import TASKS_KEPT, UPLOADS_KEPT, Desk

pytestmark = pytest.mark.anyio

KEY = {"Authorization": "Bearer k"}
MODEL = "/replicate/models/google/nano-banana/predictions"


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[tuple[Sandbox, aiohttp.ClientSession]]:
    plan = Plan(**{"latency": (0.0, 0.0), "seed": 4, **settings})
    async with serve(plan) as sandbox, aiohttp.ClientSession(sandbox.url, headers=KEY) as session:
        yield sandbox, session


async def order(session: aiohttp.ClientSession, prompt: str) -> str:
    async with session.post(MODEL, json={"input": {"prompt": prompt}}) as answer:
        assert answer.status == 201
        return str((await answer.json())["id"])


async def poll(session: aiohttp.ClientSession, task: str) -> int:
    async with session.get(f"/replicate/predictions/{task}") as answer:
        await answer.read()
        return answer.status


def task(name: str) -> Task:
    return Task(name, Order("m", Drawing("a cat", 8, 8)), 1.0, 2.0)


def test_a_desk_forgets_the_oldest_task() -> None:
    """A long run does not fill the memory with its tasks."""
    desk = Desk()
    for number in range(TASKS_KEPT + 2):
        desk.take(task(str(number)))
    assert len(desk.tasks) == TASKS_KEPT
    assert next(iter(desk.tasks)) == "2"


def test_a_desk_keeps_hashes_and_not_files() -> None:
    """Of the last uploads."""
    desk = Desk()
    for number in range(UPLOADS_KEPT + 1):
        desk.keep(f"http://127.0.0.1/{number}", b"")
    assert len(desk.uploads) == UPLOADS_KEPT
    assert "http://127.0.0.1/0" not in desk.uploads
    assert next(iter(desk.uploads.values())) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


async def test_the_same_file_gets_a_link_each_time() -> None:
    """Names may hold anything; the link stays a link, and a second file of the same name is another one."""
    links = []
    async with running() as (_, session):
        for data in (b"one", b"two"):
            form = aiohttp.FormData({"uploadPath": "p"})
            form.add_field("file", data, filename="a cat/ü.png")
            async with session.post("/api/file-stream-upload", data=form) as answer:
                links.append((await answer.json())["data"]["downloadUrl"])
    assert len(set(links)) == 2
    assert all(link.isascii() and " " not in link and link.count("/") == 5 for link in links)


async def test_polls_are_no_requests() -> None:
    """They have a count of their own; the log and the number of requests tell the orders."""
    async with running() as (sandbox, session):
        first = await order(session, "a cat")
        for _ in range(4):
            await poll(session, first)
        await order(session, "a dog")
        totals = sandbox.totals(full=True)
    assert (totals["requests"], totals["polls"], totals["max_in_flight"]) == (2, 4, 1)
    assert [line["request"] for line in totals["log"]] == [1, 2]


async def test_a_seed_repeats_the_mishaps_of_polls_in_any_order() -> None:
    """The prompt decides, and how often its task was asked; not the task's name, which is another one each time."""
    odds = {"poll500": 0.3, "poll429": 0.3}
    prompts = [f"prompt {number}" for number in range(6)]
    async with running(faults=odds) as (_, session):
        tasks = [await order(session, prompt) for prompt in prompts]
        one = [[await poll(session, name) for _ in range(5)] for name in tasks]
    async with running(faults=odds) as (_, session):
        tasks = [await order(session, prompt) for prompt in reversed(prompts)]
        rounds = [[await poll(session, name) for name in tasks] for _ in range(5)]
    assert one == [list(polls) for polls in zip(*rounds, strict=True)][::-1]
    assert {status for polls in one for status in polls} == {200, 429, 500}


async def test_mishaps_of_polls_leave_orders_alone() -> None:
    """Odds of orders, polls and downloads do not add up: each kind of request has its own throw."""
    async with running(faults={"500": 0.0, "poll500": 1.0, "download500": 1.0}) as (sandbox, session):
        for number in range(5):
            assert await poll(session, await order(session, str(number))) == 500
        assert sandbox.totals()["faults"] == {"poll500": 5}


async def test_an_unknown_task_meets_no_mishap() -> None:
    """There is no prompt to throw for."""
    async with running(faults={"poll500": 1.0}) as (sandbox, session):
        assert await poll(session, "unknown") == 404
        assert (sandbox.totals()["faults"], sandbox.totals()["polls"]) == ({}, 1)


async def test_a_wish_reaches_the_polls() -> None:
    """With retry_after, a poll's 429 says so."""
    async with running(faults={"poll429": 1.0}, retry_after=7.0) as (_, session):
        name = await order(session, "a cat")
        async with session.get(f"/replicate/predictions/{name}") as answer:
            assert (answer.status, answer.headers["retry-after"]) == (429, "7")


async def test_several_images_of_a_task_are_several_bills(tmp_path: Any) -> None:
    """Of one order, under one task."""
    body = {"prompt": "a cat", "num_images": 3}
    async with (
        serve(Plan(latency=(0.0, 0.0)), books=tmp_path / "books.jsonl") as sandbox,
        aiohttp.ClientSession(sandbox.url, headers={"Authorization": "Key k"}) as session,
        session.post("/fal/fal-ai/nano-banana", json=body) as answer,
    ):
        name = (await answer.json())["request_id"]
        totals = sandbox.totals()
    assert (totals["images"], totals["creations"]) == (3, 1)
    assert (tmp_path / "books.jsonl").read_text().count(f'"task":"{name}"') == 3
