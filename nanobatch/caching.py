"""The cache in a run: which jobs need not be sent, their images brought into the folder, and new ones remembered.

Jobs are looked up in chunks before they enter the engine's queue. The orders are those of the pipeline: an image is
stored before it is recorded, recorded before it is reported, and only then known to the cache. Whatever is wrong with
the cache costs one warning and misses, never the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from nanobatch.attempts import Landed, Tally
from nanobatch.caches.base import Cache, Entry, Match, SecondLookup, entry_of, options_of, with_place
from nanobatch.caches.delivery import fetch
from nanobatch.clock import Clock, iso
from nanobatch.errors import CacheError, Refused, StoreError
from nanobatch.events import Event, JobFinished, Observer, Warned
from nanobatch.examination import words_of
from nanobatch.folder import Folder
from nanobatch.inscriptions import inscribe
from nanobatch.manifest import fingerprint
from nanobatch.model import Blob, Job, Record, Status
from nanobatch.parts import discard
from nanobatch.records import record_of, record_without_image
from nanobatch.settings import ProviderSettings, Settings
from nanobatch.stopping import Stop, StopReason

T = TypeVar("T")
CHUNK = 2000  # jobs that are looked up at once
COPIES_AT_ONCE = 32  # images that are brought before they are recorded
THREADS = 4
REST_SECONDS = 30.0  # after a failure; doubles up to ten minutes
MOST_REST_SECONDS = 600.0
_HERE = frozenset({"localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Hit:
    """A job that need not be sent, and why."""

    job: Job
    entry: Entry
    warnings: tuple[str, ...] = ()
    is_cached: bool = True  # else the entry is made up, of an image of this very run, and the cache has its own of it


@dataclass(frozen=True, slots=True)
class Brought:
    """The image of a hit, as a part that is whole and flushed."""

    part: Path
    entry: Entry  # with the digest of the part; another one than the hit's where words were written into it


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom a run would ask, and what it wants to hear of earlier runs."""

    providers: Mapping[str, bool]  # by name: is it a server on this machine
    images: bool = True
    refusals: bool = True
    fallback_on_refusal: bool = False
    embeds: tuple[str, ...] = ()  # --embed
    options: Mapping[str, str] = field(default_factory=dict)  # by name, as `options_of` names them

    def asked(self, provider: str | None) -> list[str]:
        """Return who may be asked for a job that names a provider, or none."""
        return [name for name in self.providers if provider in (None, name)]

    def accepts(self, job: Job, entry: Entry) -> bool:
        """Tell whether what an earlier run has met would be met again.

        What a server on this machine has drawn (a double of the vendor, a model of one's own) is for runs with such a
        server. Words that are in an image stay there, so it is for runs that want the same ones in it. A refusal counts
        while nobody new would be asked. A provider with other options today counts as one that was not asked.
        """
        if entry.provider in self.providers and entry.options not in (None, self.options.get(entry.provider, "")):
            return False
        if entry.has_image:
            fits = not entry.embedded or set(entry.embedded) == set(self.embeds)
            return self.images and fits and (not entry.is_local or any(self.providers.values()))
        able = self.asked(job.prompt.provider)
        if not self.refusals or not able:
            return False
        return set(able) <= set(entry.asked) if self.fallback_on_refusal else entry.provider in able


def asking_of(settings: Settings, *, fresh: bool = False, retry_failed: bool = False) -> Asking:
    """Say what a run wants to hear: with --fresh nothing, with --retry-failed of no refusals."""
    return Asking(
        providers={provider.name: _is_here(provider) for provider in settings.providers},
        images=not fresh,
        refusals=settings.cache.refusals and not fresh and not retry_failed,
        fallback_on_refusal=settings.run.fallback_on_refusal,
        embeds=settings.output.embed,
        options={provider.name: told for provider in settings.providers if (told := options_of(provider.options))},
    )


@dataclass(slots=True)
class Caching:
    """A run's cache. Use `sift` and `deliver` for jobs, `note` for events, `close` at the end."""

    cache: Cache
    asking: Asking
    folder: Folder
    clock: Clock
    observe: Observer
    stop: Stop
    second: SecondLookup | None = None
    hard_links: bool = False
    remembers: bool = True
    with_refusals: bool = True  # are remembered, too
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="cache"))
    _copiers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, "cache-copies"))
    _new: deque[Record] = field(default_factory=deque)  # recorded, not yet in the cache
    _trouble: CacheError | None = None
    _is_told: bool = False
    _rests_until: dict[bool, float] = field(default_factory=lambda: {False: 0.0, True: 0.0})  # by: is it for writing
    _rest: float = REST_SECONDS
    _host: str = field(default_factory=socket.gethostname)

    async def sift(self, jobs: Sequence[Job]) -> tuple[list[Job], list[Hit]]:
        """Part the jobs that must be sent from those that earlier runs have met. What is ordered already is fetched."""
        if not self.asking.images:
            return list(jobs), []
        ordered = self.folder.past.tasks
        nothing: dict[str, Hit] = {}
        hits = await self._in_thread(lambda: self._found([job for job in jobs if job.id not in ordered]), nothing)
        return [job for job in jobs if job.id not in hits], list(hits.values())

    async def deliver(self, hits: Sequence[Hit]) -> list[Job]:
        """Take hits to their records; return the jobs whose images turned out to be gone or changed.

        A folder that cannot be written stops the run.
        """
        missed: list[Job] = []
        try:
            for start in range(0, len(hits), COPIES_AT_ONCE):
                if self.stop.reason is not None:
                    break
                missed += await self._deliver(hits[start : start + COPIES_AT_ONCE])
        except StoreError as error:
            self.stop.ask(StopReason("store", error.message, error.exit_code))
        return missed

    async def _deliver(self, hits: Sequence[Hit]) -> list[Job]:
        """Deliver a few hits at once.

        Raises:
            StoreError: An image or a record could not be written.
        """
        loop = asyncio.get_running_loop()
        found = await asyncio.gather(*(loop.run_in_executor(self._copiers, self._bring, hit) for hit in hits))
        pairs = list(zip(hits, found, strict=True))
        gone = [hit for hit, brought in pairs if brought is None and hit.entry.has_image]
        used = [self._land(hit, brought) for hit, brought in pairs if brought is not None or not hit.entry.has_image]
        if all(hit.is_cached for hit in hits):
            await self._in_thread(lambda: self._settle(used, [hit.entry for hit in gone]), None, writing=True)
        return [hit.job for hit in gone]

    async def sweep(self, jobs: Iterable[Job]) -> None:
        """Take all jobs that earlier runs have met to their records, for an engine that plans before it works."""
        source = iter(jobs)
        while self.stop.reason is None and (some := list(islice(source, CHUNK))):
            _, hits = await self.sift(some)
            missed = {job.id for job in await self.deliver(hits)}
            if self.stop.reason is None:
                self.folder.done.update(fingerprint(hit.job.id) for hit in hits if hit.job.id not in missed)

    def note(self, event: Event) -> None:
        """Remember what was drawn or refused just now; it is recorded already."""
        match event:
            case JobFinished(record=record, from_cache=False) if self.remembers:
                if record.status is Status.OK or (record.status is Status.REFUSED and self.with_refusals):
                    self._new.append(record)
                    asyncio.get_running_loop().run_in_executor(self._thread, self._write)

    def repeat(self, job: Job, record: Record) -> None:
        """Record and report that a job has ended as an equal one has, without an image."""
        again = replace(
            record, job=job.id, id=job.prompt.id, variant=job.variant, index=job.prompt.index,
            columns=dict(job.prompt.columns), attempts=0, cost_usd=0.0, cost_basis="none", maybe_cost_usd=0.0,
            warnings=(f"as {record.id}",), started_at=None, latency_seconds=None,
        )  # fmt: skip
        self.folder.manifest.append(again)
        self.observe(JobFinished(again, from_cache=True))

    async def close(self) -> None:
        """Wait until all that is new is in the cache, and let go of it."""
        await self._in_thread(self._write, None, writing=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._close)
        await loop.run_in_executor(None, self._shut)
        self._tell()

    def _found(self, jobs: Sequence[Job]) -> dict[str, Hit]:
        """Look jobs up; in the thread."""
        now = self.clock.wall()
        known = self.cache.look_up([job.id for job in jobs], now=now)
        hits = {
            job.id: Hit(job, entry)
            for job in jobs
            if (entry := known.get(job.id)) is not None and self.asking.accepts(job, entry)
        }
        if self.second is not None:
            rest = {job.id: job for job in jobs if job.id not in hits}
            try:
                matches = self.second.look_up(list(rest.values()), now=now)
            except CacheError as error:
                matches = self._without_second(error)
            for job_id, match in matches.items():
                if match.entry.has_image and self.asking.accepts(rest[job_id], match.entry):
                    hits[job_id] = Hit(rest[job_id], match.entry, (match.warning,))
        return hits

    def _without_second(self, error: CacheError) -> dict[str, Match]:
        """Go on with the exact cache alone."""
        self._trouble = self._trouble or error
        second, self.second = self.second, None
        if second is not None:
            second.close()
        return {}

    def _bring(self, hit: Hit) -> Brought | None:
        """Make a part of a hit's image, verified and flushed; in a thread.

        Raises:
            StoreError: The part could not be written.
        """
        entry, store = hit.entry, self.folder.store
        if not entry.has_image:
            return None
        part = store.new_part()
        if not fetch(entry, part, image=self._image, hard_links=self.hard_links and not self.asking.embeds):
            return None
        brought = Brought(part, entry)
        if self.asking.embeds and not entry.embedded:
            brought = self._inscribed(brought, hit.job)
        store.flush(brought.part)
        return brought

    def _inscribed(self, brought: Brought, job: Job) -> Brought:
        """Write into an image what this run wants in it, and the run that drew it did not."""
        entry = brought.entry
        words = words_of(self.asking.embeds, job, provider=entry.provider, provider_model=entry.provider_model)
        blob = Blob(brought.part, entry.bytes, entry.sha256)
        copy, warnings = inscribe(blob, entry.mime, words, self.folder.store.new_part)
        told = msgspec.structs.replace(entry, warnings=entry.warnings + warnings)
        if copy is None:
            return Brought(brought.part, told)
        discard(brought.part)
        return Brought(copy.path, msgspec.structs.replace(told, sha256=copy.sha256, bytes=copy.size))

    def _image(self, entry: Entry) -> bytes | None:
        """Ask the cache for the bytes themselves; in a thread."""
        if self._is_resting():
            return None
        try:
            return self.cache.image(entry)
        except CacheError as error:
            self._fail(error)
            return None

    def _land(self, hit: Hit, brought: Brought | None) -> Entry:
        """Store, record, report; return what the cache should know now."""
        job, entry = hit.job, hit.entry
        now = iso(self.clock.wall())
        tally = self.folder.past.tallies.get(job.id, Tally())
        if brought is None:
            refusal = Refused(entry.message, http_status=entry.http_status)
            refusal.provider = entry.provider
            told = f"refused by {entry.provider} on {iso(entry.made_at)}; not asked again"
            record = replace(record_without_image(job, tally, refusal, finished_at=now), warnings=(told,))
        else:
            file = self.folder.manifest.free_name(job.key, entry.extension)
            self.folder.store.adopt(brought.part, file)
            record = _record(replace(hit, entry=brought.entry), file, tally, finished_at=now)
            if brought.entry is entry:  # else other bytes lie there
                entry = with_place(entry, str(self.folder.store.root.absolute() / file))
        self.folder.manifest.append(record)
        self.observe(JobFinished(record, from_cache=True, saved_usd=entry.cost_usd if entry.has_image else 0.0))
        return entry

    def _settle(self, used: Sequence[Entry], gone: Sequence[Entry]) -> None:
        if used:
            self.cache.used(used, now=self.clock.wall())
        if gone:
            self.cache.forget(gone)

    def _write(self) -> None:
        """Put what is new into the cache; in the thread. What comes while it rests is not remembered."""
        new: list[Record] = []
        with contextlib.suppress(IndexError):
            while True:
                new.append(self._new.popleft())
        if not new or self._is_resting(writing=True):
            return
        now, root = self.clock.wall(), self.folder.store.root.absolute()
        entries = [
            entry_of(
                record, root, made_at=now, is_local=self.asking.providers.get(record.provider or "", False),
                host=self._host, asked=self._asked(record), embedded=self.asking.embeds,
                options=self.asking.options.get(record.provider or "", ""),
            )
            for record in new
        ]  # fmt: skip
        try:
            self.cache.put(entries, now=now)
        except CacheError as error:
            self._fail(error, writing=True)
            return
        if self.second is not None:
            try:
                self.second.learn(list(zip(new, entries, strict=True)))
            except CacheError as error:
                self._without_second(error)

    def _asked(self, record: Record) -> list[str]:
        """Say who was asked for what was refused in the end."""
        if self.asking.fallback_on_refusal:
            return self.asking.asked(None)
        return [record.provider or ""]

    def _close(self) -> None:
        if self.second is not None:
            self.second.close()
        self.cache.close()

    def _shut(self) -> None:
        self._thread.shutdown()
        self._copiers.shutdown()

    async def _in_thread(self, work: Callable[[], T], otherwise: T, *, writing: bool = False) -> T:
        """Do something with the cache beside the loop; a cache that fails is left alone for a while."""
        if self._is_resting(writing=writing):
            return otherwise
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except CacheError as error:
            self._fail(error, writing=writing)
            return otherwise
        finally:
            self._tell()

    def _is_resting(self, *, writing: bool = False) -> bool:
        return self.clock.monotonic() < self._rests_until[writing]

    def _fail(self, error: CacheError, *, writing: bool = False) -> None:
        self._trouble = self._trouble or error
        for kind in {writing, True}:  # what cannot be written may be read still: a full disk, a full server
            self._rests_until[kind] = self.clock.monotonic() + self._rest
        self._rest = min(2 * self._rest, MOST_REST_SECONDS)

    def _tell(self) -> None:
        """Say once that something is wrong."""
        if self._trouble is not None and not self._is_told:
            self._is_told = True
            self.observe(Warned(f"{self._trouble.message}; the run goes on without it"))


def _record(hit: Hit, file: str, tally: Tally, *, finished_at: str) -> Record:
    """Write the record of a job whose image came from the cache: it cost nothing now."""
    entry = hit.entry
    landed = Landed(
        part="",
        file=file,
        sha256=entry.sha256,
        bytes=entry.bytes,
        mime=entry.mime,
        width=entry.width,
        height=entry.height,
        provider_model=entry.provider_model,
        cost_usd=tally.cost_usd,  # of attempts in vain, by earlier runs in this folder
        cost_basis="price" if tally.cost_usd else "none",
        maybe_cost_usd=tally.maybe_usd,
        attempts=tally.attempts,
        warnings=entry.warnings + hit.warnings,
    )
    return replace(record_of(hit.job, entry.provider, landed, finished_at=finished_at), status=Status.CACHED)


def _is_here(provider: ProviderSettings) -> bool:
    """Tell whether a provider is a server on this machine."""
    host = urlsplit(provider.base_url).hostname or ""
    return host in _HERE or host.startswith("127.")
