"""The cache in a run: what need not be sent is not sent, and whatever is wrong with the cache costs nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from nanobatch.attempts import OpenTask, Tally
from nanobatch.caches.base import Entry, Match, options_of
from nanobatch.caches.database import FILE
from nanobatch.caches.embedded import EmbeddedCache
from nanobatch.caching import Asking, Caching, asking_of
from nanobatch.clock import SystemClock
from nanobatch.engines.local import LocalEngine
from nanobatch.errors import CacheError
from nanobatch.events import JobFinished, Warned
from nanobatch.manifest import fingerprint
from nanobatch.model import Job, Record, Status
from nanobatch.settings import CacheSettings, Defaults, OutputSettings, ProviderSettings, RunSettings, Settings
from tests.fakes import ManualClock
from tests.harness import Bench, Step, failure, finish, make_job, png, settings, success

pytestmark = pytest.mark.anyio
LOCAL = Asking({"a": True})


def bench(root: Path, *script: Step, jobs: int = 3, clock: Any = None) -> Bench:
    return Bench(
        root, clock or SystemClock(), {"a": list(script) or [success()]}, [make_job(n) for n in range(1, jobs + 1)]
    )


def embedded(tmp_path: Path, **more: Any) -> EmbeddedCache:
    return EmbeddedCache(tmp_path / "cache", **{"ttl_seconds": 3600.0, **more})


def caching(one: Bench, cache: Any, *, asking: Asking = LOCAL, **more: Any) -> Caching:
    found = Caching(cache, asking, one.folder, one.clock, one.seen, one.stop, **more)
    remember = one.pipeline.observe

    def observe(event: Any) -> None:
        remember(event)
        found.note(event)

    one.pipeline.observe = observe
    return found


async def run(one: Bench, its: Caching) -> list[Record]:
    """Run all jobs through the engine; return the records as they were told."""
    engine = LocalEngine(
        pipeline=one.pipeline, clock=one.clock, observe=one.seen, stop=one.stop, workers=2, grace_seconds=1.0,
        sync=lambda: None, tick=lambda: None, sieve=its,
    )  # fmt: skip
    await engine.run(job for job in one.jobs if one.folder.wants(job))
    await its.close()
    return [event.record for event in one.events(JobFinished)]


async def drawn(tmp_path: Path, name: str = "first", *script: Step, **more: Any) -> Bench:
    """Run with an empty cache."""
    one = bench(tmp_path / name, *script)
    await run(one, caching(one, embedded(tmp_path), **more))
    return one


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "images").iterdir()}


async def test_the_same_jobs_in_another_folder_cost_nothing(tmp_path: Path) -> None:
    """No request; every image is there and identical; the records say where it came from and that it cost nothing."""
    first = await drawn(tmp_path)
    second = bench(tmp_path / "second")
    records = await run(second, caching(second, embedded(tmp_path)))
    assert (first.requests("a"), second.requests("a")) == (3, 0)
    assert files(second.root) == files(first.root)
    assert len(records) == 3
    for record in records:
        assert (record.status, record.cost_usd, record.cost_basis, record.attempts) == (Status.CACHED, 0.0, "none", 0)
        assert (record.provider, record.mime, record.width, record.latency_seconds) == ("a", "image/png", 8, None)
        assert hashlib.sha256((second.root / str(record.file)).read_bytes()).hexdigest() == record.sha256
    told = second.events(JobFinished)
    assert all(event.from_cache for event in told)
    assert sum(event.saved_usd for event in told) == pytest.approx(3 * 0.134)


async def test_resume_takes_cached_images_for_done(tmp_path: Path) -> None:
    """Their records stand in the manifest like others; the next run in the folder has nothing to do."""
    await drawn(tmp_path)
    second = bench(tmp_path / "second")
    await run(second, caching(second, embedded(tmp_path)))
    again = bench(tmp_path / "second")
    assert again.folder.done == {fingerprint(job.id) for job in again.jobs}


async def test_only_what_is_new_is_sent(tmp_path: Path) -> None:
    """Two of three are known: one request."""
    await drawn(tmp_path)
    second = bench(tmp_path / "second")
    second.jobs = [*second.jobs[:2], make_job(9)]
    records = await run(second, caching(second, embedded(tmp_path)))
    assert second.requests("a") == 1
    assert sorted(record.status for record in records) == ["cached", "cached", "ok"]
    assert not next(e for e in second.events(JobFinished) if e.record.status is Status.OK).from_cache


@pytest.mark.parametrize("harm", ["deleted", "changed", "cut"])
async def test_an_image_that_is_not_what_it_was_is_a_miss(tmp_path: Path, harm: str) -> None:
    """It is drawn again, without an error, and the new one is what the cache knows from then on."""
    first = await drawn(tmp_path)
    victim = first.root / "images" / "row-2.png"
    data = victim.read_bytes()
    victim.unlink()
    if harm != "deleted":
        victim.write_bytes(data[:-1] + b"?" if harm == "changed" else data[:-1])
    second = bench(tmp_path / "second")
    records = await run(second, caching(second, embedded(tmp_path)))
    assert second.requests("a") == 1
    assert {record.id: record.status for record in records}["row-2"] is Status.OK
    assert second.events(Warned) == []
    third = bench(tmp_path / "third")
    await run(third, caching(third, embedded(tmp_path)))
    assert third.requests("a") == 0


async def test_an_image_is_found_in_whichever_folder_is_left(tmp_path: Path) -> None:
    """Last night's folder had it from the night before, which is gone."""
    first = await drawn(tmp_path)
    second = bench(tmp_path / "second")
    await run(second, caching(second, embedded(tmp_path)))
    for path in (first.root / "images").iterdir():
        path.unlink()
    third = bench(tmp_path / "third")
    await run(third, caching(third, embedded(tmp_path)))
    assert third.requests("a") == 0
    assert files(third.root) == files(second.root)


async def test_editing_one_image_changes_no_other(tmp_path: Path) -> None:
    """Two folders of a user never share a file unasked."""
    first = await drawn(tmp_path)
    second = bench(tmp_path / "second")
    await run(second, caching(second, embedded(tmp_path)))
    before = files(first.root)
    with (second.root / "images" / "row-1.png").open("r+b") as opened:
        opened.write(b"edited in place")
    assert files(first.root) == before


async def test_what_was_drawn_with_other_options_is_drawn_again(tmp_path: Path) -> None:
    """A draft of low quality is no image of high quality, though the words are the same."""
    low, high = Asking({"a": True}, options={"a": "low"}), Asking({"a": True}, options={"a": "high"})
    await drawn(tmp_path, asking=low)
    for name, asking, requests in (("second", high, 3), ("third", high, 0)):
        one = bench(tmp_path / name)
        await run(one, caching(one, embedded(tmp_path), asking=asking))
        assert one.requests("a") == requests


async def test_a_refusal_is_not_asked_again(tmp_path: Path) -> None:
    """The record says what the provider said then, and when; --retry-failed asks again."""
    first = await drawn(tmp_path, "first", finish("IMAGE_SAFETY"))
    assert first.requests("a") == 3
    second = bench(tmp_path / "second")
    records = await run(second, caching(second, embedded(tmp_path)))
    assert second.requests("a") == 0
    assert {record.status for record in records} == {Status.REFUSED}
    [old], [new] = ([e.record for e in each.events(JobFinished)][:1] for each in (first, second))
    assert (new.error, new.provider, new.attempts, new.cost_usd) == (old.error, "a", 0, 0.0)
    assert new.warnings[0].startswith("refused by a on 20")
    retried = bench(tmp_path / "retried")
    await run(retried, caching(retried, embedded(tmp_path), asking=Asking({"a": True}, refusals=False)))
    assert retried.requests("a") == 3


async def test_a_refusal_that_was_heard_of_does_not_grow_younger(tmp_path: Path) -> None:
    """Its time to live counts from the day on which the provider said it."""
    clock = ManualClock()
    first = bench(tmp_path / "first", finish("IMAGE_SAFETY"), jobs=1, clock=clock)
    its = caching(first, embedded(tmp_path))
    await first.pipeline.run(first.jobs[0])
    await its.close()
    for hours, hits in ((0.9, 1), (1.1, 0)):
        later = bench(tmp_path / str(hours), jobs=1, clock=ManualClock(clock.now + hours * 3600))
        its = caching(later, embedded(tmp_path))
        _, found = await its.sift(later.jobs)
        assert len(found) == hits
        await its.deliver(found)
        await its.close()


async def test_failures_are_not_remembered(tmp_path: Path) -> None:
    """What a provider rejects today may be right tomorrow."""
    await drawn(tmp_path, "first", failure(400))
    second = bench(tmp_path / "second")
    await run(second, caching(second, embedded(tmp_path)))
    assert second.requests("a") == 3


ONE, TWO = (
    Entry("j", 0.0, "refused", provider="a", asked=("a",)),
    Entry("j", 0.0, "refused", provider="b", asked=("a", "b")),
)
VENDORS, DOUBLE = {"a": False, "b": False}, {"a": False, "own": True}


@pytest.mark.parametrize(
    ("entry", "asking", "named", "accepted"),
    [
        (Entry("j", 0.0), Asking(VENDORS), None, True),
        (Entry("j", 0.0, is_local=True), Asking(VENDORS), None, False),
        (Entry("j", 0.0, is_local=True), Asking(DOUBLE), None, True),
        (Entry("j", 0.0), Asking(VENDORS, images=False), None, False),
        (ONE, Asking(VENDORS), None, True),
        (ONE, Asking(VENDORS), "b", False),
        (ONE, Asking({"b": False}), None, False),
        (ONE, Asking(VENDORS, refusals=False), None, False),
        (ONE, Asking(VENDORS, fallback_on_refusal=True), None, False),
        (TWO, Asking(VENDORS, fallback_on_refusal=True), None, True),
        (TWO, Asking({**VENDORS, "c": False}, fallback_on_refusal=True), None, False),
        (Entry("j", 0.0, provider="a", options="low"), Asking(VENDORS, options={"a": "low"}), None, True),
        (Entry("j", 0.0, provider="a", options="low"), Asking(VENDORS, options={"a": "high"}), None, False),
        (Entry("j", 0.0, provider="a", options="low"), Asking(VENDORS), None, False),
        (Entry("j", 0.0, provider="a", options=""), Asking(VENDORS, options={"a": "high"}), None, False),
        (Entry("j", 0.0, provider="a"), Asking(VENDORS, options={"a": "high"}), None, True),
        (Entry("j", 0.0, provider="z", options="low"), Asking(VENDORS, options={"a": "high"}), None, True),
        (replace(ONE, options="safe"), Asking(VENDORS, options={"a": "bold"}), None, False),
    ],
)  # fmt: skip
def test_what_counts_for_a_run(entry: Entry, asking: Asking, named: str | None, accepted: bool) -> None:
    """A double's image never stands in for a vendor's; a refusal counts while nobody new would be asked."""
    assert asking.accepts(make_job(provider=named), entry) == accepted


def whole(*providers: ProviderSettings, **more: Any) -> Settings:
    return Settings(Defaults(), RunSettings(), OutputSettings(), providers or (settings("a"),), **more)


def test_options_say_what_a_run_wants_to_hear() -> None:
    """--fresh sends everything again, --retry-failed what was refused."""
    assert asking_of(whole()) == Asking({"a": True})
    assert not asking_of(whole(), fresh=True).images
    assert not asking_of(whole(), fresh=True).refusals
    assert asking_of(whole(), retry_failed=True) == Asking({"a": True}, refusals=False)
    assert not asking_of(whole(cache=CacheSettings(refusals=False))).refusals
    low = dataclasses.replace(settings("a"), options={"quality": "low", "serviceTier": "flex"})
    assert asking_of(whole(low)).options == {"a": options_of({"quality": "low"})}


async def test_what_is_sent_afresh_is_remembered(tmp_path: Path) -> None:
    """Nothing is looked up, and the new images are those that later runs find."""
    await drawn(tmp_path)
    fresh = bench(tmp_path / "fresh", success(png(16, 16)))
    await run(fresh, caching(fresh, embedded(tmp_path), asking=Asking({"a": True}, images=False, refusals=False)))
    assert fresh.requests("a") == 3
    later = bench(tmp_path / "later")
    records = await run(later, caching(later, embedded(tmp_path)))
    assert {record.width for record in records} == {16}


async def test_what_is_ordered_is_fetched(tmp_path: Path) -> None:
    """A task that is paid, or will be, is not left lying because the cache has an image."""
    await drawn(tmp_path)
    second = bench(tmp_path / "second")
    second.folder.past.tasks[second.jobs[0].id] = OpenTask("x", "a", "t", 0.1, 0.0)
    its = caching(second, embedded(tmp_path))
    misses, hits = await its.sift(second.jobs)
    assert (misses, len(hits)) == (second.jobs[:1], 2)
    await its.close()


async def test_attempts_in_vain_stay_in_the_record(tmp_path: Path) -> None:
    """What earlier runs of this folder have spent on a job is not forgotten because the image is free."""
    await drawn(tmp_path)
    second = bench(tmp_path / "second", jobs=1)
    second.folder.past.tallies[second.jobs[0].id] = Tally(2, 0.05, 0.134)
    [record] = await run(second, caching(second, embedded(tmp_path)))
    assert (record.attempts, record.cost_usd, record.cost_basis, record.maybe_cost_usd) == (2, 0.05, "price", 0.134)


async def test_a_sweep_takes_all_hits_before_anything_is_planned(tmp_path: Path) -> None:
    """For batches, which are cut before they are sent: what is known is done, the rest is not."""
    await drawn(tmp_path)
    second = bench(tmp_path / "second", jobs=5)
    its = caching(second, embedded(tmp_path))
    (tmp_path / "first" / "images" / "row-3.png").unlink()
    await its.sweep(iter(second.jobs))
    await its.close()
    assert [job.id for job in second.jobs if second.folder.wants(job)] == [make_job(n).id for n in (3, 4, 5)]
    assert second.requests("a") == 0


@dataclass
class BrokenCache:
    """Fails at everything, and counts how often it was asked."""

    asked: int = 0

    def _fail(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        raise CacheError("the cache at X cannot be used: gone")

    look_up = put = used = forget = image = _fail

    def close(self) -> None:
        """Nothing is open."""


async def test_a_broken_cache_costs_a_warning(tmp_path: Path) -> None:
    """One sentence, and the run goes on as if there were none; it is left alone for a while."""
    one, broken = bench(tmp_path, jobs=10), BrokenCache()
    records = await run(one, caching(one, broken))
    assert {record.status for record in records} == {Status.OK}
    assert [event.message for event in one.events(Warned)] == [
        "the cache at X cannot be used: gone; the run goes on without it"
    ]
    assert broken.asked == 1


async def test_a_cache_that_recovers_is_used_again(tmp_path: Path) -> None:
    """After half a minute, then a minute, then longer, it is asked once more."""
    clock = ManualClock()
    one, broken = bench(tmp_path, clock=clock), BrokenCache()
    its = caching(one, broken)
    for expected, wait in ((1, 29.0), (1, 1.0), (2, 59.0), (2, 1.0), (3, 0.0)):
        assert await its.sift(one.jobs) == (one.jobs, [])
        assert broken.asked == expected
        await clock.advance(wait)
    assert len(one.events(Warned)) == 1
    await its.close()


async def test_a_cache_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    """A full disk below the user's home costs what would be remembered, not a second purchase of what is known."""
    await drawn(tmp_path)
    with sqlite3.connect(tmp_path / "cache" / FILE) as database:
        for change in ("INSERT", "UPDATE", "DELETE"):
            database.execute(
                f"CREATE TRIGGER full_{change} BEFORE {change} ON entries "
                "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
    second = bench(tmp_path / "second", jobs=5)
    its = caching(second, embedded(tmp_path))
    for part in ([0, 3], [1], [2, 4]):  # a chunk after the other
        misses, hits = await its.sift([second.jobs[number] for number in part])
        assert not await its.deliver(hits)
        for job in misses:
            await second.pipeline.run(job)
    await its.close()
    assert second.requests("a") == 2
    assert [warned.message.partition(": ")[2] for warned in second.events(Warned)] == [
        "database or disk is full; the run goes on without it"
    ]


async def test_a_damaged_database_costs_a_warning(tmp_path: Path) -> None:
    """The real thing, with rubbish where the database should be."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).write_bytes(b"rubbish" * 1000)
    one = await drawn(tmp_path)
    assert one.requests("a") == 3
    [warning] = one.events(Warned)
    assert "not a database" in warning.message


async def test_a_folder_whose_name_is_no_utf8_ends_no_run(tmp_path: Path) -> None:
    """Its images are not found again; those of other folders come into it."""
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    await drawn(tmp_path)
    second = bench(strange)
    second.jobs = [*second.jobs[:2], make_job(9)]
    records = await run(second, caching(second, embedded(tmp_path)))
    assert sorted(record.status for record in records) == ["cached", "cached", "ok"]
    assert second.events(Warned) == []
    third = bench(tmp_path / "third")
    third.jobs = [make_job(9)]
    assert [record.status for record in await run(third, caching(third, embedded(tmp_path)))] == ["ok"]


async def test_a_folder_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    """An image that cannot be brought because the folder takes nothing is no miss: nothing is bought for it."""
    await drawn(tmp_path)
    second = bench(tmp_path / "second")
    (second.root / ".nanobatch" / "parts").rmdir()
    await run(second, caching(second, embedded(tmp_path)))
    assert second.stop.reason is not None
    assert (second.stop.reason.kind, second.requests("a")) == ("store", 0)


@dataclass
class Relations:
    """A second lookup that takes every job for the first that it learned of."""

    learned: list[tuple[Record, Entry]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    closed: bool = False

    def look_up(self, jobs: Sequence[Job], *, now: float) -> Mapping[str, Match]:
        del now
        self.asked += [job.id for job in jobs]
        if not self.learned:
            return {}
        entry = self.learned[0][1]
        return {job.id: Match(entry, f"near:0.97 of {entry.job}") for job in jobs}

    def learn(self, found: Sequence[tuple[Record, Entry]]) -> None:
        self.learned += found

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("drew", "wants", "requests"), [
    ((), ("prompt",), 0), (("prompt",), ("prompt",), 0), (("prompt",), (), 3), (("prompt",), ("params",), 3),
])  # fmt: skip
async def test_words_are_in_an_image_where_they_are_wanted(
    tmp_path: Path, drew: tuple[str, ...], wants: tuple[str, ...], requests: int
) -> None:
    """They are written into images that have none; an image with words that nobody wants in it is not used."""
    await drawn(tmp_path, asking=Asking({"a": True}, embeds=drew))
    second = bench(tmp_path / "second")
    records = await run(second, caching(second, embedded(tmp_path), asking=Asking({"a": True}, embeds=wants)))
    assert second.requests("a") == requests
    if drew == ():
        for record in records:
            data = (second.root / str(record.file)).read_bytes()
            assert record.prompt.encode() in data
            assert (record.sha256, record.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    third = bench(tmp_path / "third")
    await run(third, caching(third, embedded(tmp_path), asking=Asking({"a": True}, embeds=wants)))
    assert third.requests("a") == 0


async def test_a_second_lookup_is_asked_about_the_misses(tmp_path: Path) -> None:
    """It learns what was drawn, hears only of jobs that are not known, and what it finds says so in the record."""
    second_lookup = Relations()
    first = await drawn(tmp_path, second=second_lookup)
    assert [record.id for record, _ in second_lookup.learned] == [r.record.id for r in first.events(JobFinished)]
    assert second_lookup.closed
    second_lookup.asked.clear()
    second = bench(tmp_path / "second")
    second.jobs = [second.jobs[0], make_job(9)]
    records = await run(second, caching(second, embedded(tmp_path), second=second_lookup))
    assert second_lookup.asked == [make_job(9).id]
    related = next(record for record in records if record.id == "row-9")
    assert related.status is Status.CACHED
    assert related.warnings[-1] == f"near:0.97 of {second_lookup.learned[0][1].job}"
    assert second.requests("a") == 0
    third = bench(tmp_path / "third")
    third.jobs = [make_job(9)]
    await run(third, caching(third, embedded(tmp_path)))
    assert third.requests("a") == 1, "what is only near must not become what is known"


@dataclass
class Broken(Relations):
    """A second lookup that fails when it is asked, or when it is to learn."""

    at: str = "look_up"

    def look_up(self, jobs: Sequence[Job], *, now: float) -> Mapping[str, Match]:
        self.asked += [job.id for job in jobs if now]
        if self.at == "look_up":
            raise CacheError("the second is broken")
        return {}

    def learn(self, found: Sequence[tuple[Record, Entry]]) -> None:
        self.learned += found
        if self.at == "learn":
            raise CacheError("the second is broken")


@pytest.mark.parametrize("at", ["look_up", "learn"])
async def test_a_broken_second_lookup_takes_nothing_from_the_first(tmp_path: Path, at: str) -> None:
    """One warning, and the exact cache goes on: what it knows is found, what is new is remembered."""
    await drawn(tmp_path)
    second = bench(tmp_path / "second", jobs=4)
    broken = Broken(at=at)
    await run(second, caching(second, embedded(tmp_path), second=broken))
    assert second.requests("a") == 1
    assert [event.message for event in second.events(Warned)] == ["the second is broken; the run goes on without it"]
    assert broken.closed
    third = bench(tmp_path / "third", jobs=4)
    await run(third, caching(third, embedded(tmp_path)))
    assert third.requests("a") == 0


async def test_it_is_known_to_the_cache_only_after_the_record(tmp_path: Path) -> None:
    """Killed before the record, nobody finds an image that no manifest has."""
    one = bench(tmp_path / "first", jobs=1)
    seen: list[list[str]] = []

    class Watching(EmbeddedCache):
        def put(self, entries: Sequence[Entry], *, now: float) -> None:
            lines = (one.root / "manifest.jsonl").read_text().splitlines()
            seen.append([json.loads(line)["job"] for line in lines])
            super().put(entries, now=now)

    await run(one, caching(one, Watching(tmp_path / "cache", ttl_seconds=60)))
    assert seen == [[one.jobs[0].id]]


def test_entries_survive_new_versions() -> None:
    """A value with fields that this version does not know is read all the same."""
    value = msgspec.msgpack.encode({"job": "j", "made_at": 1.0, "colour": "red"})
    assert msgspec.msgpack.decode(value, type=Entry) == Entry("j", 1.0)
