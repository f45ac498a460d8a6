"""Equal rows share their images: each is drawn once, and copied when it is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nanobatch.caches.base import entry_of
from nanobatch.caches.embedded import EmbeddedCache
from nanobatch.caches.off import NoCache
from nanobatch.caching import Asking, Caching
from nanobatch.clock import SystemClock
from nanobatch.duplicates import copy_duplicates
from nanobatch.events import JobFinished
from nanobatch.model import Record, Status
from nanobatch.stopping import StopReason
from tests.harness import Bench, Step, failure, finish, make_job, success

pytestmark = pytest.mark.anyio


async def run(root: Path, *script: Step, stop: StopReason | None = None) -> tuple[Bench, dict[str, Record]]:
    """Draw the first of two jobs, then copy it for the other."""
    first = make_job(1)
    jobs = [first, replace(make_job(2), twin=first.id)]
    one = Bench(root, SystemClock(), {"a": list(script)}, jobs, retries=0)
    await one.pipeline.run(first)
    if stop is not None:
        one.stop.ask(stop)
    caching = Caching(NoCache(), Asking({}), one.folder, one.clock, one.seen, one.stop)
    await copy_duplicates(one.jobs, one.folder, caching)
    await caching.close()
    return one, {event.record.id: event.record for event in one.events(JobFinished)}


async def test_an_equal_row_gets_a_copy(tmp_path: Path) -> None:
    """Under its own name, for nothing, and its record says of which row it is a copy."""
    one, records = await run(tmp_path, success())
    assert one.requests("a") == 1
    copy = records["row-2"]
    assert (copy.status, copy.file, copy.cost_usd) == (Status.CACHED, "images/row-2.png", 0.0)
    assert copy.warnings[-1] == "a copy of row-1"
    assert (tmp_path / "images/row-2.png").read_bytes() == (tmp_path / "images/row-1.png").read_bytes()
    assert not (tmp_path / "images/row-2.png").samefile(tmp_path / "images/row-1.png")


@pytest.mark.parametrize(("step", "status"), [(finish("IMAGE_SAFETY"), Status.REFUSED), (failure(400), Status.FAILED)])
async def test_an_equal_row_fails_as_the_first(tmp_path: Path, step: Step, status: Status) -> None:
    """What has no image for good has none twice; nobody is asked again, and nothing is counted twice."""
    one, records = await run(tmp_path, step)
    assert one.requests("a") == 1
    assert {record.status for record in records.values()} == {status}
    assert records["row-2"].error == records["row-1"].error
    assert (records["row-2"].attempts, records["row-2"].warnings) == (0, ("as row-1",))


async def test_what_is_not_finished_is_not_copied(tmp_path: Path) -> None:
    """The next run draws the one and copies it for the other."""
    _, records = await run(tmp_path, failure(500))
    assert records["row-1"].status is Status.UNFINISHED
    assert "row-2" not in records


async def test_a_run_that_stops_copies_nothing(tmp_path: Path) -> None:
    """Who presses Ctrl-C wants the end."""
    _, records = await run(tmp_path, success(), stop=StopReason("interrupted", "interrupted", 130))
    assert set(records) == {"row-1"}


@pytest.mark.parametrize("harm", [False, True])
async def test_the_cache_keeps_what_it_knows_of_the_first(tmp_path: Path, *, harm: bool) -> None:
    """A copy within a run is no use of the cache: an entry's age and the double that drew it stay in it."""
    first = make_job(1)
    one = Bench(tmp_path / "out", SystemClock(), {"a": [success()]}, [first, replace(make_job(2), twin=first.id)])
    record = await one.pipeline.run(first)
    cache = EmbeddedCache(tmp_path / "cache", ttl_seconds=3600.0)
    known = entry_of(record, one.root.absolute(), made_at=100.0, is_local=True, host="here")
    cache.put([known], now=100.0)
    if harm:
        (one.root / str(record.file)).write_bytes(b"")
    caching = Caching(cache, Asking({}), one.folder, one.clock, one.seen, one.stop)
    await copy_duplicates(one.jobs, one.folder, caching)
    await caching.close()
    after = EmbeddedCache(tmp_path / "cache", ttl_seconds=3600.0).look_up([first.id], now=100.0)[first.id]
    assert (after.made_at, after.is_local, after.host) == (100.0, True, "here")
