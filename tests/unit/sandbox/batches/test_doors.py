"""Paths of batches: whose they are, what goes wrong at them, and what waits there."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from nanobatch.sandbox.plan import PlanError
from tests.unit.sandbox.batches.test_desk import KEY, client, row, state

pytestmark = pytest.mark.anyio
BEARER = {"Authorization": "Bearer k"}


async def test_a_lost_reply_leaves_one_batch() -> None:
    """The client learns nothing; the list has it under its title."""
    async with client(first={"orderlost": 1}) as vendor:
        file = await vendor.upload([row(1)])
        with pytest.raises(aiohttp.ClientError):
            await vendor.order(file, "lost")
        _, body = await vendor.get("/v1beta/batches")
        assert [one["metadata"]["displayName"] for one in body["operations"]] == ["lost"]


async def test_an_order_that_is_not_taken() -> None:
    """429 and 503 make nothing; then it is taken."""
    async with client(first={"order429": 1, "order503": 1}) as vendor:
        file = await vendor.upload([row(1)])
        assert [(await vendor.order(file))[0] for _ in range(3)] == [429, 503, 200]
        assert vendor.sandbox.totals()["batches"] == 1


async def test_lists_have_pages_and_lag() -> None:
    """Newest first, two at a time; a list that lags lacks the newest."""
    async with client(batch_wait=3600) as vendor:
        names = [await vendor.batch(1, f"t{number}") for number in range(3)]
        _, first = await vendor.get("/v1beta/batches?pageSize=2")
        _, second = await vendor.get(f"/v1beta/batches?pageSize=2&pageToken={first['nextPageToken']}")
        assert [one["name"] for one in first["operations"] + second["operations"]] == names[::-1]
        assert "nextPageToken" not in second
        vendor.sandbox.change({"first": {"listlag": 1}})
        _, found = await vendor.get("/v1beta/batches")
        assert [one["name"] for one in found["operations"]] == names[1::-1]


async def test_polls_go_wrong_and_change_nothing() -> None:
    """429, 500, a gateway's page and a reset; then the truth."""
    async with client(first={"poll429": 1, "poll500": 1, "poll502": 1, "pollreset": 1}) as vendor:
        name = await vendor.batch(1)
        statuses = []
        for _ in range(3):
            async with vendor.session.get(f"/v1beta/{name}", headers=KEY) as answer:
                statuses.append(answer.status)
        assert statuses == [429, 500, 502]
        assert state(await vendor.look(name)) == "SUCCEEDED"  # the client's library asks again after a reset
        assert vendor.sandbox.totals()["faults"]["pollreset"] == 1


async def test_large_results_never_come_with_the_batch() -> None:
    """Inline ones beyond the limit are a 503, however often one looks; small ones come in the order of their rows."""
    async with client() as vendor:
        rows = [{"request": row(number)["request"], "metadata": {"key": str(number)}} for number in range(3)]
        body = {"batch": {"displayName": "t", "inputConfig": {"requests": {"requests": rows}}}}
        _, made = await vendor.post("/v1beta/models/gemini-3-pro-image:batchGenerateContent", body)
        found = await vendor.look(made["name"])
        inline = found["response"]["inlinedResponses"]["inlinedResponses"]
        assert [one["metadata"]["key"] for one in inline] == ["0", "1", "2"]
        vendor.sandbox.change({"inline_bytes": 1000})
        assert [(await vendor.get(f"/v1beta/{made['name']}"))[0] for _ in range(2)] == [503, 503]


async def test_strangers_see_nothing() -> None:
    """Without a key, with a bad one, and with another vendor's name: neither batches nor files."""
    async with client() as vendor:
        name = await vendor.batch(1)
        for headers, status in (({}, 403), ({"x-goog-api-key": "invalid"}, 400)):
            for path in (name, "files", "batches", "files/a"):
                async with vendor.session.get(f"/v1beta/{path}", headers=headers) as answer:
                    assert answer.status == status
        async with vendor.session.get(f"/v1/{name}", headers=BEARER) as answer:
            assert answer.status == 404
        assert (await vendor.get("/v1beta/batches/unknown"))[0] == 404
        assert (await vendor.order("files/unknown"))[0] == 403


async def test_requests_are_held_at_a_point() -> None:
    """They wait there, which can be seen, until the plan lets them go."""
    async with client(hold=("poll",)) as vendor:
        name = await vendor.batch(1)
        async with asyncio.TaskGroup() as group:
            look = group.create_task(vendor.look(name))
            assert (await vendor.get("/__held?point=poll"))[1]["held"] == 1
            assert not look.done()
            vendor.sandbox.change({"hold": []})
        assert state(look.result()) == "SUCCEEDED"
        with pytest.raises(PlanError, match="no point"):
            vendor.sandbox.change({"hold": ["lunch"]})
