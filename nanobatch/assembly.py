"""The composition root: the only module that knows every concrete class of a run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nanobatch.attempts import Tally
from nanobatch.batch_assembly import Batching, begin, check_none_is_open
from nanobatch.batches.journal import TASK_PREFIX
from nanobatch.cache_assembly import check_caching, open_caching
from nanobatch.clock import Clock, iso
from nanobatch.connections import Connections
from nanobatch.duplicates import copy_duplicates
from nanobatch.engines.batch_office import ORDERED
from nanobatch.errors import NotSent, StoreError
from nanobatch.events import Event, Observer, RunFinished, RunStarted, Warned
from nanobatch.folder import Folder, input_digest, locked, open_folder, recover
from nanobatch.generation import Generation, total
from nanobatch.google_credentials import GoogleCredential
from nanobatch.lanes import WayOut, check_credentials, http, open_lane
from nanobatch.manifest import Sorted64, fingerprint
from nanobatch.mix_assembly import Mixing, Opening, begin_mix
from nanobatch.model import Job, Record
from nanobatch.preparation import Prepared, is_mixed
from nanobatch.records import record_of, record_without_image
from nanobatch.reporters.gallery.making import leave_gallery
from nanobatch.reporters.hooks import Hooks
from nanobatch.routing import Lane, Seller
from nanobatch.run_note import NOTE, RUN_FILE, RunNote, encoded, without_secrets, working_folder
from nanobatch.stopping import Stop, StopReason, heeding_signals
from nanobatch.summary import Ledger, Totals, joined, summarise
from nanobatch.usage import ShareOf, budget_of, check_usage, shared_quota


async def run(
    prepared: Prepared,
    *,
    clock: Clock,
    observe: Observer,
    tick: Callable[[], None],
    stop: Stop,
    hooks: Hooks | None = None,
    way_out: WayOut = http,
    rng: random.Random | None = None,
) -> Mapping[str, Any]:
    """Hold the folder, generate what is missing, and write the manifest and the summary.

    Args:
        prepared: What to do.
        clock: Time and sleep.
        observe: Told of everything that happens.
        tick: Called about every second.
        stop: Ends the run in order.
        hooks: Commands to run for each image.
        way_out: Makes what sends a provider's requests.
        rng: For the jitter before retries.

    Returns:
        The summary, as run.json holds it.

    Raises:
        NanobatchError: The run could not start.
    """
    request, root = prepared.request, prepared.root
    check_usage(prepared.settings)
    check_caching(prepared.settings)
    with locked(root, clock):
        batching = mixing = None
        if is_mixed(request, prepared.settings):
            mixing = begin_mix(prepared, stop)
        elif request.batch is None:
            check_none_is_open(root)
        else:
            batching = begin(prepared)
            prepared = batching.prepared
        folder = open_folder(
            root,
            clock,
            wanted=partial(prepared.planner.fingerprints, everything=True),
            can_fetch=(mixing or batching or prepared).can_fetch,
            retry_failed=request.retry_failed,
            fresh=request.fresh,
            chosen=prepared.planner.fingerprints if request.limit is not None or request.only is not None else None,
        )
        recover(
            folder,
            prepared.planner.jobs(everything=True),
            lambda job, by, landed: record_of(job, by, landed, finished_at=iso(clock.wall())),
        )
        with heeding_signals(stop):
            means = _Means(clock, observe, tick, stop, way_out, rng or random.Random())  # noqa: S311 - jitter, no secret
            run_id = secrets.token_hex(6) if rng is None else f"{rng.getrandbits(48):012x}"
            work = mixing or batching
            return await _Run(prepared, folder, means, run_id=run_id, work=work).go(hooks)


@dataclass(frozen=True, slots=True)
class _Means:
    """What a run works with."""

    clock: Clock
    observe: Observer
    tick: Callable[[], None]
    stop: Stop
    way_out: WayOut
    rng: random.Random


class _Run:
    """One run, from the first event to the summary."""

    def __init__(
        self, prepared: Prepared, folder: Folder, means: _Means, *, run_id: str, work: Batching | Mixing | None
    ) -> None:
        self._prepared = prepared
        self._work = work  # what it does, unless everything is simply sent
        self._settings = prepared.settings
        self._folder = folder
        self._clock, self._stop = means.clock, means.stop
        self._observe_others, self._tick = means.observe, means.tick
        self._way_out, self._rng = means.way_out, means.rng
        self._totals = Totals()
        self._started = means.clock.wall()
        self._run_id = run_id
        self._part = prepared.request.limit is not None or prepared.request.only is not None
        self._chosen = Sorted64(prepared.planner.fingerprints() if self._part else ())
        self._resumed = len(folder.done)
        if self._part:
            self._resumed = sum(key in folder.done for key in prepared.planner.fingerprints())
        self._tasks, self._copies_ordered = folder.past.tasks, 0
        self._cache = open_caching(
            self._settings, prepared.request, folder=folder, clock=means.clock, observe=self._observe, stop=means.stop
        )

        self._generation = Generation(
            prepared, folder, self._cache, means.clock, self._observe, means.stop, means.tick, means.rng,
            self._totals.charge, todo=prepared.plan.jobs - self._resumed, work=work,
        )  # fmt: skip

    @property
    def _batching(self) -> Batching | None:
        """The batches, if there are any; a mix may come to them late."""
        return self._work.batching if isinstance(self._work, Mixing) else self._work

    def _observe(self, event: Event) -> None:
        self._totals(event)
        self._cache.note(event)
        self._generation.note(event)
        self._observe_others(event)

    async def go(self, hooks: Hooks | None) -> Mapping[str, Any]:
        """Generate, then write down how it went, also after a failure."""
        settings, plan = self._settings, self._prepared.plan
        self._folder.store.write(NOTE, encoded(self._note()))
        self._observe(
            RunStarted(
                run_id=self._run_id,
                output=str(self._prepared.root),
                jobs=plan.jobs,
                already_done=self._resumed,
                providers=tuple(provider.name for provider in settings.providers),
                concurrency={provider.name: provider.limits.concurrency for provider in settings.providers},
                sandbox=settings.sandbox,
            )
        )
        for warning in self._prepared.warnings:
            self._observe(Warned(warning))
        if self._folder.possibly_billed_usd:
            lost = f"{len(self._folder.past.interrupted)} requests were on the wire when an earlier run ended"
            self._observe(Warned(f"{lost}; they may have cost ${self._folder.possibly_billed_usd:.2f}"))
        lanes: list[Lane] = []
        try:
            if self._resumed < plan.jobs or (self._batching is not None and self._batching.journal.open):
                credential = await check_credentials(settings.providers)
                async with Connections(limit=total(settings)) as connections, self._shared_quota() as share_of:
                    sellers = self._prepared.sellers
                    lanes += [self._lane(seller, connections, credential, share_of) for seller in sellers]
                    if isinstance(self._work, Mixing):
                        means = (connections, self._clock, self._observe, self._folder, credential, self._way_out)
                        self._work.open(lanes, Opening(*means))
                    await self._generate(lanes)
        finally:
            await self._cache.close()
            await self._settle(hooks)
            summary = self._finish(lanes)
        await self._folder.store.put(RUN_FILE, _pretty(summary))
        self._observe(RunFinished(summary))
        return summary

    async def _settle(self, hooks: Hooks | None) -> None:
        """Wait for the commands that were started for this run's images, before the summary counts them."""
        if hooks is None:
            return
        report = await hooks.settle(self._stop)
        self._totals.hooks = report.counts
        for warning in report.warnings:
            self._observe(Warned(warning))

    def _note(self) -> RunNote:
        """Tell those who ask from outside what this run is about."""
        request, plan = self._prepared.request, self._prepared.plan
        return RunNote(
            run_id=self._run_id,
            started_at=iso(self._started),
            jobs=plan.jobs,
            already_done=self._resumed,
            sandbox=self._settings.sandbox,
            folder=str(self._prepared.root.absolute()),
            cwd=working_folder(),
            command=without_secrets(request.command),
            inputs=request.inputs,
        )

    def _lane(
        self, seller: Seller, connections: Connections, credential: GoogleCredential | None, share_of: ShareOf
    ) -> Lane:
        if isinstance(self._work, Batching):
            return self._work.lane(
                seller,
                connections,
                clock=self._clock,
                observe=self._observe,
                folder=self._folder,
                credential=credential,
            )
        return open_lane(
            seller,
            connections,
            clock=self._clock,
            observe=self._observe,
            new_part=self._folder.store.new_part,
            timeout_seconds=self._settings.run.timeout_seconds,
            spends=self._folder.past.spends.get(seller.name, ()),
            credential=credential,
            is_alone=len(self._prepared.sellers) == 1,
            share=share_of(seller.settings),
            way_out=self._way_out,
        )

    def _shared_quota(self) -> AbstractAsyncContextManager[ShareOf]:
        return shared_quota(
            self._settings,
            environ=os.environ,
            home=Path.home(),
            run=self._run_id,
            clock=self._clock,
            warn=lambda message: self._observe(Warned(message)),
        )

    async def _generate(self, lanes: Sequence[Lane]) -> None:
        home = Path.home()
        with budget_of(self._settings, environ=os.environ, home=home, run=self._run_id, clock=self._clock) as budget:
            async with contextlib.AsyncExitStack() as stack:
                for lane in lanes:
                    await stack.enter_async_context(lane.gate.at_work())
                await self._generation.go(budget, lanes)
        if self._prepared.request.dedupe or self._batching is not None:
            await copy_duplicates(self._prepared.planner.jobs(), self._folder, self._cache)

    def _finish(self, lanes: Sequence[Lane]) -> Mapping[str, Any]:
        """Rewrite the manifest and count what is in it."""
        final = Ledger()
        folder = self._folder
        try:
            folder.manifest.finish(
                self._prepared.planner.jobs(everything=True),
                self._missing,
                final.add,
                input_digest=input_digest(
                    self._prepared.request.inputs,
                    (self._prepared.request, self._settings.defaults, self._settings.output.name),
                ),
            )
            if self._stop.reason is None or self._stop.reason.kind != "store":
                # Else an image may wait as a part for its place: the ledger must still know it in the next run.
                folder.ledger.settle(at=self._clock.wall())
                folder.store.clean_parts()  # what came with answers that were no images
            folder.ledger.close()
            if self._batching is not None:
                self._batching.close(at=self._clock.wall(), finished=self._stop.reason is None)
        except StoreError as error:
            self._stop.ask(StopReason("store", error.message, error.exit_code))
            final.statuses["unfinished"] += 1
        gallery = self._leave_gallery()  # before the summary, which names it and holds its warning
        summary = summarise(
            run_id=self._run_id,
            inputs=self._prepared.request.inputs,
            output=str(self._prepared.root),
            sandbox=self._settings.sandbox,
            started=self._started,
            finished=self._clock.wall(),
            totals=self._totals,
            final=final,
            stop=self._stop.reason,
            resume_after=self._resume_after(lanes),
            gallery=gallery,
        )
        if self._batching is not None and self._stop.reason is None and summary["exit_code"] == NotSent.exit_code:
            unfinished = final.statuses["unfinished"]
            if self._batching.is_all_ordered(unfinished=unfinished, ordered=len(self._tasks) + self._copies_ordered):
                summary = {**summary, "exit_code": 0, "resume_after": None}
        return joined(self._prepared.request.earlier, summary)

    def _leave_gallery(self) -> str | None:
        if not self._settings.output.gallery:
            return None
        return leave_gallery(self._prepared.root, self._clock, warn=lambda message: self._observe(Warned(message)))

    def _missing(self, job: Job) -> Record | None:
        """Write the record of a job that the run did not come to; none for what --limit or --only left out."""
        if self._part and fingerprint(job.id) not in self._chosen:
            return None
        reason = self._stop.reason
        why = NotSent(f"not sent: {reason.message}" if reason is not None else "not sent")
        tally = self._folder.past.tallies.get(job.id)
        task = self._tasks.get(job.twin or job.id)
        if task is not None and (task.task or "").startswith(TASK_PREFIX):
            why = NotSent(ORDERED)
            self._copies_ordered += job.twin is not None
        open_usd = task.worst_usd if task and job.twin is None else 0.0
        return record_without_image(job, tally or Tally(), why, finished_at=None, open_usd=open_usd)

    def _resume_after(self, lanes: Sequence[Lane]) -> float | None:
        """Return when running again helps: the first moment at which a lane takes work again."""
        if self._stop.reason is not None and self._stop.reason.resume_after is not None:
            return self._stop.reason.resume_after
        if self._batching is not None and self._batching.engine is not None:
            after = self._batching.engine.resume_after()
            if after is not None or isinstance(self._work, Batching):
                return after
        waits = [state.until for lane in lanes if (state := lane.gate.state()).until is not None]
        return min(waits) if waits else self._clock.wall()


def _pretty(summary: Mapping[str, Any]) -> bytes:
    return json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n"
