"""Puts together a run that follows a mix: lanes that answer at once and batches, side by side in one folder.

The mix says how many images of each kind go where. Which jobs go into batches is settled at the start; all others wait
at a desk until a lane asks for one. While the run goes on, the mix for what is left is made again and again from what
the lanes really do. Batches that are not back in time are cancelled, and their rows come to the desk, too.
"""

from __future__ import annotations

import asyncio
import random
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf

from nanobatch.attempts import OpenTask
from nanobatch.batch_assembly import Batching, Beside, begin, check_none_is_open, open_batches
from nanobatch.batches.journal import TASK_PREFIX
from nanobatch.batches.terms import for_batches
from nanobatch.budget import Budget
from nanobatch.catalog import load_catalog
from nanobatch.clock import Clock
from nanobatch.connections import Connections
from nanobatch.deadline import Deadline
from nanobatch.engines.local import LocalEngine, Take
from nanobatch.engines.mix_desk import MixDesk
from nanobatch.engines.mix_pacer import MixPacer
from nanobatch.events import Event, Observer, Stopping
from nanobatch.folder import Folder
from nanobatch.google_credentials import GoogleCredential
from nanobatch.lanes import WayOut, open_way
from nanobatch.manifest import Sorted64, fingerprint
from nanobatch.mix_lanes import KindTable, MixLane, lanes_of
from nanobatch.mix_plan import MixPlan, plan_mix, survey
from nanobatch.model import Job
from nanobatch.pipeline import Pipeline
from nanobatch.preparation import Prepared
from nanobatch.providers import load
from nanobatch.routing import Lane, Seller
from nanobatch.stopping import Stop

NOTHING_MORE = ("limit", "quota", "account", "down")  # reasons to stop that say nothing of what is ordered
MOST_WORKERS = 4096  # of one account; a quarter more than it has slots, because some sleep before a retry


@dataclass(slots=True)
class Opening:
    """What lanes are opened with."""

    connections: Connections
    clock: Clock
    observe: Observer
    folder: Folder
    credential: GoogleCredential | None
    way_out: WayOut


@dataclass(slots=True)
class Mixing:
    """A run that follows a mix."""

    prepared: Prepared
    mix_lanes: list[MixLane]
    stop: Stop
    batching: Batching | None = None
    batch_stop: Stop = field(default_factory=lambda: Stop(hears_signals=False))
    at_once: dict[str, Lane] = field(default_factory=dict)  # by the name that the mix has for them
    lanes_for_batches: list[Lane] = field(default_factory=list)
    _opening: Opening | None = None
    _pacer: MixPacer | None = None
    _is_alone: bool = False  # the lanes that answer at once are through; batches may still be open
    _shares: dict[str, Sorted64] = field(default_factory=dict)  # by provider: jobs that go into its batches
    _earlier: set[str] = field(default_factory=set)  # jobs that were in open batches at the start, and are wanted
    _returned: set[str] = field(default_factory=set)  # jobs that came back from batches to the desk

    @property
    def lanes_at_once(self) -> list[Lane]:
        """The lanes that answer at once, flex ones included."""
        return list(self.at_once.values())

    def can_fetch(self, task: OpenTask) -> bool:
        """Tell whether this run can fetch what an earlier one ordered."""
        return self.prepared.can_fetch(task) or (self.batching is not None and self.batching.can_fetch(task))

    def is_at_desk(self, job_id: str) -> bool:
        """Tell whether a job is asked for by itself now, and not in a batch."""
        return self._pacer is not None and self._pacer.desk.at_work(job_id) is not None

    def note(self, event: Event) -> None:
        """Hear of what happens."""
        if self._pacer is not None:
            self._pacer.note(event)

    def open(self, lanes: Sequence[Lane], opening: Opening) -> None:
        """Open what a mix needs beside the providers' own lanes: a flex lane is another way through the same gate."""
        self._opening = opening
        own = {lane.name: lane for lane in lanes}
        for lane in self.mix_lanes:
            base = own[lane.provider]
            if lane.kind == "batch":
                continue
            if (lane.kind == "flex") == base.seller.settings.flex:
                self.at_once[lane.name] = base
                continue
            sender = open_way(
                lane.seller.settings,
                opening.connections,
                way_out=opening.way_out,
                new_part=opening.folder.store.new_part,
                timeout_seconds=self.prepared.settings.run.timeout_seconds,
                credential=opening.credential,
            )
            self.at_once[lane.name] = Lane(lane.seller, load(lane.seller.settings.protocol), sender, base.gate)

    async def plan(self, folder: Folder, deadline: Deadline) -> bool:
        """Make the mix for what is left; tell whether there is anything to do.

        Raises:
            StoreError: The plan of the batches could not be written.
        """
        assert self._opening is not None
        found, images, earlier = await asyncio.to_thread(self._plan, folder, deadline.to_plan_for)
        if self.batching is not None:
            for lane in self.mix_lanes:
                if lane.kind == "batch":
                    self._open_batches(self.batching, lane)
        source = (job for job in self._left(folder) if not self._is_of_batches(job.id))
        desk = MixDesk(source, found.census.table, images=images, accounts=self._accounts(), stop=self.stop)
        desk.expects_more = self.batching is not None
        self._pacer = MixPacer(
            desk=desk, plan=found, lanes=self.at_once, deadline=deadline, clock=self._opening.clock,
            observe=self._opening.observe, batches=self.batching, earlier=earlier,
        )  # fmt: skip
        return bool(sum(found.census.images)) or (self.batching is not None and bool(self.batching.journal.open))

    def _plan(self, folder: Folder, seconds: float) -> tuple[MixPlan, list[int], list[int]]:
        """Plan, settle which jobs go into batches, and count by kind the others, and those that are ordered already."""
        census = survey(self._left(folder), self.mix_lanes)
        found = plan_mix(census, seconds)
        given = self._settle(folder, found)
        if self._shares and self.batching is None:
            self.batching = begin_batches(self.prepared, self.mix_lanes)
        images = [kind.images - given[place] for place, kind in enumerate(found.kinds)]
        return found, images, self._count_ordered(folder, census.table)

    def _count_ordered(self, folder: Folder, table: KindTable) -> list[int]:
        """Count the jobs in open batches of earlier runs, by kind: should they be late, they have to be sent."""
        tasks = folder.past.tasks
        if not any(_is_in_batch(task) for task in tasks.values()):
            return []
        counts: Counter[int] = Counter()
        for job in folder.left(self.prepared.planner.jobs()):
            if job.id in tasks and _is_in_batch(tasks[job.id]):
                self._earlier.add(job.id)
                counts[table.of(job)] += 1
        return [counts[place] for place in range(len(table.kinds))]

    def _settle(self, folder: Folder, plan: MixPlan) -> Counter[int]:
        """Give the first jobs of each kind to the batches, as many as the mix says; return how many, by kind.

        What is ordered by itself already is not for a batch: it waits at its vendor's, and is fetched at once.
        """
        given: Counter[int] = Counter()
        left = [dict(share) for share in plan.mix.shares]
        names = {lane.name: lane.provider for lane in self.mix_lanes if lane.kind == "batch"}
        chosen: dict[str, array[int]] = {}
        if any(share.get(name) for share in left for name in names):
            for job in self._left(folder):
                if job.id in folder.past.tasks:
                    continue
                share = left[place := plan.census.table.of(job)]
                name = next((name for name in names if share.get(name, 0) > 0), None)
                if name is not None:
                    share[name] -= 1
                    given[place] += 1
                    chosen.setdefault(names[name], array("Q")).append(fingerprint(job.id))
        self._shares = {provider: Sorted64(jobs) for provider, jobs in chosen.items()}
        return given

    def _left(self, folder: Folder) -> Iterator[Job]:
        """Yield the jobs that are neither done nor in an open batch."""
        tasks = folder.past.tasks
        for job in folder.left(self.prepared.planner.jobs()):
            task = tasks.get(job.id)
            if task is None or not _is_in_batch(task):
                yield job

    def _batch_lane(self, job: Job) -> str | None:
        """Return whose batches take a job, by the plan."""
        key = fingerprint(job.id)
        return next((provider for provider, jobs in self._shares.items() if key in jobs), None)

    def _accounts(self) -> dict[str, str]:
        return {lane.name: lane.provider for lane in self.mix_lanes if lane.kind != "batch"}

    def _open_batches(self, batching: Batching, lane: MixLane) -> None:
        opening = self._opening
        assert opening is not None
        opened = batching.lane(
            lane.seller,
            opening.connections,
            clock=opening.clock,
            observe=opening.observe,
            folder=opening.folder,
            credential=opening.credential,
        )
        self.lanes_for_batches.append(opened)

    def lane_of(self, job: Job) -> Lane | None:
        """Return the lane that a job at the desk was handed to."""
        return self._pacer.lane_of(job) if self._pacer is not None else None

    async def go(self, engine: LocalEngine, batch_pipeline: Pipeline, *, budget: Budget, rng: random.Random) -> None:
        """Take every job to its end, or until the run is stopped."""
        pacer = self._pacer
        assert pacer is not None
        takes: list[Take] = []
        for account in dict.fromkeys(self._accounts().values()):
            slots = next(lane.seller.settings.limits.concurrency for lane in self.lanes_at_once if lane.name == account)
            takes += [partial(pacer.desk.next, account)] * min(MOST_WORKERS, slots + 1 + slots // 4)
        await pacer.look()
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(pacer.run())
            if self.batching is not None:
                group.create_task(self._through_batches(self.batching, batch_pipeline, engine, budget=budget, rng=rng))
            await engine.pull(takes)
            self._is_alone = True
            watch.cancel()

    async def _through_batches(
        self, batching: Batching, pipeline: Pipeline, engine: LocalEngine, *, budget: Budget, rng: random.Random
    ) -> None:
        """Order the batches' share and collect it; what comes back, or was never ordered, goes to the desk."""
        opening, pacer = self._opening, self._pacer
        assert opening is not None
        assert pacer is not None
        folder, stop = opening.folder, self.batch_stop
        batching.beside = Beside(self._batch_lane, self._give_back, self._patience, lambda: self._is_alone)
        link = asyncio.ensure_future(self._pass_on(pacer.deadline, opening.clock))

        def observe(event: Event) -> None:
            if not isinstance(event, Stopping):  # the run says so itself
                opening.observe(event)

        try:
            await batching.go(
                pipeline,
                folder=folder,
                budget=budget,
                tallies=folder.past.tallies,
                clock=opening.clock,
                observe=observe,
                stop=stop,
                rng=rng,
                tick=engine.tick,
            )
        finally:
            link.cancel()
        if self.stop.reason is None and stop.reason is not None:
            if stop.reason.kind in ("limit", "store"):
                self.stop.ask(stop.reason)
            else:
                pacer.warn(f"no more batches: {stop.reason.message}; what is not ordered is sent one by one")
        if self.stop.reason is None:
            images = await asyncio.to_thread(self._count_never_ordered, folder, pacer.desk.table)
            pacer.desk.add_source(self._never_ordered(folder), images)
        pacer.desk.close()

    def _patience(self) -> float:
        """Return until when batches are waited for: for ever, where nobody would send their rows in their place."""
        assert self._pacer is not None
        return self._pacer.patience() if self.stop.reason is None else inf

    def _give_back(self, jobs: list[Job]) -> None:
        """Take rows to the desk that came to nothing; those that this run was not asked for are left to another."""
        wanted = [job for job in jobs if self._is_of_batches(job.id)]
        self._returned.update(job.id for job in wanted)
        assert self._pacer is not None
        self._pacer.desk.add(wanted)

    def _count_never_ordered(self, folder: Folder, table: KindTable) -> list[int]:
        """Count the jobs of the batches' share that are in no batch, by kind; where none is, the input is not read."""
        seen = {job for job in self._landed | self._returned if self._is_of_batches(job)}
        seen |= {job for job, task in folder.past.tasks.items() if _is_in_batch(task) and self._is_of_batches(job)}
        if len(seen) == len(self._earlier) + sum(map(len, self._shares.values())):
            return []
        counts: Counter[int] = Counter(table.of(job) for job in self._never_ordered(folder))
        return [counts[place] for place in range(len(table.kinds))]

    def _never_ordered(self, folder: Folder) -> Iterator[Job]:
        """Yield the jobs of the batches' share of which nothing came, and that are in no open batch."""
        gone = self._landed | self._returned
        return (job for job in self._left(folder) if self._is_of_batches(job.id) and job.id not in gone)

    @property
    def _landed(self) -> set[str]:
        engine = self.batching.engine if self.batching is not None else None
        return engine.landed if engine is not None else set()

    def _is_of_batches(self, job_id: str) -> bool:
        """Tell whether a job is, or was at the start, for batches: it comes to the desk from there alone."""
        key = fingerprint(job_id)
        return job_id in self._earlier or any(key in jobs for jobs in self._shares.values())

    async def _pass_on(self, deadline: Deadline, clock: Clock) -> None:
        """Stop the batches when the run stops. Where only nothing more can be sent, what is ordered is waited for."""
        await self.stop.asked.wait()
        reason = self.stop.reason
        assert reason is not None
        if reason.kind in NOTHING_MORE and deadline.left > 0:
            waits = [asyncio.ensure_future(self.stop.at_once.wait()), asyncio.ensure_future(clock.sleep(deadline.left))]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        self.batch_stop.ask(reason)


def begin_mix(prepared: Prepared, stop: Stop) -> Mixing:
    """Look what there is to mix; the folder is locked.

    Raises:
        ConfigError: Batches are open of which nobody in this run knows anything, or everything is to be sent again.
        StoreError: The plan could not be written.
    """
    lanes = lanes_of(prepared.settings, load_catalog())
    mixing = Mixing(prepared, lanes, stop)
    if open_batches(prepared.root):
        if not any(lane.kind == "batch" for lane in lanes):
            check_none_is_open(prepared.root)
        mixing.batching = begin_batches(prepared, lanes)
    return mixing


def begin_batches(prepared: Prepared, lanes: Sequence[MixLane]) -> Batching:
    """Read what is ordered and keep the plan, so that any later process can collect."""
    sellers: list[Seller] = [lane.seller for lane in lanes if lane.kind == "batch"]
    return begin(replace(prepared, settings=for_batches(prepared.settings), sellers=sellers))


def _is_in_batch(task: OpenTask) -> bool:
    return (task.task or "").startswith(TASK_PREFIX)
