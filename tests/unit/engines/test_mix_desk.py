"""Who gets the next job: cheap lanes at once, dear ones little by little, nobody beyond the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from nanobatch.catalog import load_catalog
from nanobatch.engines.mix_desk import MixDesk
from nanobatch.mix import Kind, Mix, Option
from nanobatch.mix_lanes import KindTable, MixLane
from nanobatch.model import Job
from nanobatch.routing import Seller
from nanobatch.stopping import Stop, StopReason
from tests.harness import make_job, settings

pytestmark = pytest.mark.anyio
ACCOUNTS = {"a/flex": "a", "a/sync": "a", "b/sync": "b"}
PRICES = {"a/flex": 0.05, "a/sync": 0.1, "b/sync": 0.2}


def desk(count: int, **share: int) -> MixDesk:
    """A desk with so many jobs of one kind, and a plan for them: a_flex=3 gives three to a's flex lane."""
    lanes = [MixLane("sync", Seller(settings(name), load_catalog())) for name in ("a", "b")]
    jobs = (make_job(number) for number in range(1, count + 1))
    found = MixDesk(jobs, KindTable(lanes), images=[count], accounts=ACCOUNTS, stop=Stop())
    follow(found, {name.replace("_", "/"): images for name, images in share.items()})
    return found


def follow(found: MixDesk, share: Mapping[str, int], seconds: float = 100.0) -> None:
    kind = Kind(sum(share.values()), tuple(Option(lane, PRICES[lane], 1.0) for lane in ACCOUNTS))
    found.follow([kind], Mix((share,), 0.0, seconds), seconds=seconds)


async def taken(found: MixDesk, account: str) -> str | None:
    """Return the lane that an account's next job is for, or None where it has to wait."""
    try:
        async with asyncio.timeout(0.01):
            job = await found.next(account)
    except TimeoutError:
        return None
    return None if job is None else found.lane_of(job)


async def test_the_plan_is_followed_to_the_image() -> None:
    """Three for one lane and one for another account; then there is nothing more."""
    found = desk(4, a_sync=3, b_sync=1)
    found.pass_time(100)
    assert [await taken(found, "b"), *[await taken(found, "a") for _ in range(3)]] == ["b/sync", *["a/sync"] * 3]
    assert await found.next("a") is None
    assert await found.next("b") is None


async def test_dear_lanes_get_theirs_in_step_with_the_time() -> None:
    """Ten of a hundred seconds' share after a tenth of the time; the cheap lane may go ahead."""
    found = desk(200, a_sync=100, b_sync=100)
    assert await taken(found, "b") is None
    assert [await taken(found, "a") for _ in range(100)] == ["a/sync"] * 100
    for _ in range(10):
        found.pass_time(1.0)
        assert await taken(found, "b") == "b/sync"
    assert await taken(found, "b") is None
    assert sum(found.left) == 90


async def test_the_cheap_lane_of_an_account_comes_first() -> None:
    """Flex and usual requests have the same slots; what is saved by the first is saved early."""
    found = desk(10, a_flex=2, a_sync=8)
    found.pass_time(50)
    assert [await taken(found, "a") for _ in range(3)] == ["a/flex", "a/flex", "a/sync"]


async def test_a_lane_that_could_not_finish_begins_nothing() -> None:
    """Near the end a slow lane is shut; its share waits for the next plan."""
    found = desk(2, a_flex=1, a_sync=1)
    found.pass_time(1000, shut=["a/flex"])
    assert await taken(found, "a") == "a/sync"
    assert await taken(found, "a") is None


async def test_what_nobody_has_makes_the_desk_dry() -> None:
    """Rows that come back from batches are in no plan yet."""
    found = desk(1, a_sync=1)
    assert [found.is_dry] == [False]
    found.expects_more = True
    assert await taken(found, "a") == "a/sync"
    assert await taken(found, "a") is None  # it waits: more may come
    back = make_job(99)
    found.add([back])
    assert [found.is_dry] == [True]
    follow(found, {"b/sync": 1})
    assert [found.is_dry] == [False]
    assert await found.next("b") == back
    found.close()
    assert await found.next("a") is None


async def test_a_second_source_follows_the_first() -> None:
    """What batches never took is read after everything else, as it is needed."""
    found = desk(1, a_sync=1)
    found.expects_more = True
    assert await taken(found, "a") == "a/sync"
    assert await taken(found, "a") is None
    found.add_source(iter([]), [])
    assert [found.is_dry] == [False]
    found.add_source(iter([make_job(7), make_job(8)]), [2])
    assert [found.is_dry] == [True]
    follow(found, {"a/sync": 2})
    found.close()
    assert [await taken(found, "a") for _ in range(2)] == ["a/sync"] * 2
    assert await found.next("a") is None


async def test_whoever_waits_hears_of_the_end() -> None:
    """No worker is left standing when the batches are over, nor when the run stops."""
    found = desk(0)
    found.expects_more = True
    waiting = asyncio.create_task(found.next("a"))
    await asyncio.sleep(0)
    found.close()
    assert await waiting is None
    stopping = MixDesk(iter(()), found.table, images=[5], accounts=ACCOUNTS, stop=Stop(StopReason("limit", "x", 4)))
    assert await stopping.next("a") is None


async def test_many_rows_are_read_as_they_are_needed() -> None:
    """A kind that comes late in the file is found; no more is read than the lanes may need."""
    lanes = [MixLane("sync", Seller(settings(name), load_catalog())) for name in ("a", "b")]
    read: list[Job] = []

    def source() -> object:
        for number in range(1, 2001):
            read.append(make_job(number, provider="b" if number > 1500 else "a"))
            yield read[-1]

    found = MixDesk(source(), KindTable(lanes), images=[1500, 500], accounts=ACCOUNTS, stop=Stop())  # type: ignore[arg-type]
    kinds = [Kind(1500, (Option("a/sync", 0.1, 1.0),)), Kind(500, (Option("b/sync", 0.2, 1.0),))]
    found.follow(kinds, Mix(({"a/sync": 1500}, {"b/sync": 500}), 0.0, 1.0), seconds=1.0)
    assert await found.next("a") is read[0]
    assert len(read) == 256
    job = await found.next("b")
    assert job is not None
    assert (job.prompt.index, found.at_work(job.id)) == (1501, ("b/sync", 1))
    found.end(job.id)
    assert found.at_work(job.id) is None
