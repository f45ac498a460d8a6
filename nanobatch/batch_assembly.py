"""Puts together what a run through batches needs beside the usual: its journal, its kept plan, its lanes and engine."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from nanobatch.attempts import OpenTask, Tally
from nanobatch.batches.journal import BATCHES, TASK_PREFIX, Batch, BatchJournal, read_batches
from nanobatch.batches.plan import About, StoredPlan, keep
from nanobatch.batches.rows import RowDesk
from nanobatch.batches.terms import for_batches
from nanobatch.batches.wire import wire_for
from nanobatch.budget import Budget, Reservation
from nanobatch.catalog import load_catalog
from nanobatch.clock import Clock
from nanobatch.connections import Connections
from nanobatch.engines.batch import BatchEngine, Mode
from nanobatch.engines.batch_office import BatchLane, Office
from nanobatch.errors import ConfigError, LimitReached
from nanobatch.events import Observer
from nanobatch.folder import Folder
from nanobatch.google_credentials import GoogleCredential
from nanobatch.lanes import AUTHS, reference_for
from nanobatch.limits import Gate
from nanobatch.manifest_reader import require_run
from nanobatch.model import Job
from nanobatch.pipeline import Pipeline
from nanobatch.planning import Plan
from nanobatch.preparation import Prepared, Request, references_for
from nanobatch.routing import Lane, Seller
from nanobatch.settings import Settings
from nanobatch.stopping import Stop
from nanobatch.stores.local import STATE_FOLDER
from nanobatch.transport import HttpTransport

JOURNAL = f"{STATE_FOLDER}/{BATCHES}"
PLAN = f"{STATE_FOLDER}/plan.jsonl"
UPLOAD_SECONDS = 900.0  # for one piece of a file of rows, over a slow line
ROWS_TOGETHER = 64  # that pass the pipeline at once


def ordered_batches(root: Path) -> tuple[dict[str, Batch], bool]:
    """Read the batches of a folder by their titles, and whether the manifest holds all that came of them.

    Raises:
        ConfigError: It is no output folder, or nothing was ordered in batches from it.
    """
    require_run(root)
    batches, is_finished = read_batches(root / JOURNAL)
    if not batches:
        raise ConfigError(f"nothing was ordered in batches from {root}")
    return batches, is_finished


def open_batches(root: Path) -> list[Batch]:
    """Return the batches of a folder that are not collected yet. Changes nothing.

    Raises:
        ConfigError: The journal is damaged.
    """
    return [batch for batch in read_batches(root / JOURNAL)[0].values() if batch.closed is None]


def check_none_is_open(root: Path) -> None:
    """Keep a run that asks for images one by one off a folder with open batches: it would buy them a second time.

    Raises:
        ConfigError: Batches are open.
    """
    if open_ := open_batches(root):
        images = sum(len(batch.jobs) for batch in open_)
        raise ConfigError(
            f"{images} images of {root} are ordered in {len(open_)} batches; collect them first with "
            f"`nanobatch batch collect {root}`, or end them with `nanobatch batch cancel {root}`"
        )


def is_of_sandbox(root: Path) -> bool:
    """Tell whether the batches of a folder were ordered from the sandbox.

    Raises:
        ConfigError: Nothing was ordered from this folder.
    """
    return StoredPlan(root / PLAN).about.sandbox


def prepare_collection(root: Path, settings: Settings, *, mode: Mode) -> Prepared:
    """Prepare to collect what a folder has ordered, from the folder alone.

    Raises:
        ConfigError: Nothing was ordered from this folder, or no provider of the settings sells batches.
    """
    stored = StoredPlan(root / PLAN)
    about = stored.about
    request = Request(inputs=about.inputs, limit=about.limit, only=about.only, batch=mode.value)
    batching = for_batches(replace(settings, sandbox=about.sandbox))
    sellers = [Seller(provider, load_catalog()) for provider in batching.providers]
    plan = Plan(about.jobs, about.jobs)
    return Prepared(request, batching, stored, plan, sellers, root, references_for(batching))


@dataclass(frozen=True, slots=True)
class Beside:
    """What another engine that works in the same folder has to say; as long as it does, it also keeps house."""

    chosen_lane: Callable[[Job], str | None]  # whose batches take a job, if any
    give_back: Callable[[list[Job]], None]  # takes rows that came to nothing
    patience: Callable[[], float]  # until when it can wait for batches, in monotonic seconds
    is_over: Callable[[], bool]  # it has ended, and leaves the rest of the house-keeping to us


@dataclass(slots=True)
class Batching:
    """A folder's batches, while a run holds it."""

    prepared: Prepared
    journal: BatchJournal
    plan: StoredPlan
    lanes: dict[str, BatchLane] = field(default_factory=dict)
    engine: BatchEngine | None = None
    beside: Beside | None = None  # another engine, which takes what is not for batches

    @property
    def mode(self) -> Mode:
        """What the run is for."""
        return Mode(self.prepared.request.batch or Mode.RUN)

    def can_fetch(self, task: OpenTask) -> bool:
        """Tell whether an open order is in a batch that the journal knows."""
        return any(batch.task == task.task for batch in self.journal.open)

    def lane(
        self,
        seller: Seller,
        connections: Connections,
        *,
        clock: Clock,
        observe: Observer,
        folder: Folder,
        credential: GoogleCredential | None,
    ) -> Lane:
        """Open a provider's lane for batches."""
        provider = seller.settings
        wire = wire_for(provider.protocol, provider.base_url, provider.batch)
        transport = HttpTransport(
            connections,
            base_url=provider.base_url,
            auth=AUTHS[provider.auth],
            api_key=provider.api_key,
            credential=credential if provider.auth == "google" else None,
            new_part=folder.store.new_part,
            timeout_seconds=max(UPLOAD_SECONDS, self.prepared.settings.run.timeout_seconds),
            more_homes=wire.homes(),
        )
        desk = RowDesk(wire, transport, folder.store.new_part)
        gate = Gate(clock, name=provider.name, concurrency=ROWS_TOGETHER, observer=observe)
        lane = Lane(seller, desk, desk, gate)
        self.lanes[provider.name] = BatchLane(lane, desk, wire, transport, provider.batch)
        return lane

    async def go(  # noqa: PLR0913 - one argument for each part of a run
        self,
        pipeline: Pipeline,
        *,
        folder: Folder,
        budget: Budget,
        tallies: dict[str, Tally],
        clock: Clock,
        observe: Observer,
        stop: Stop,
        rng: random.Random,
        tick: Callable[[], None],
    ) -> None:
        """Run the engine."""
        request, settings, references = self.prepared.request, self.prepared.settings, self.prepared.references
        office = Office(
            pipeline=pipeline,
            lanes=self.lanes,
            folder=folder,
            journal=self.journal,
            plan=self.plan,
            budget=budget,
            clock=clock,
            observe=observe,
            stop=stop,
            rng=rng,
            retries=0 if request.spill else settings.run.retries,
            tallies=tallies,
            is_sandbox=settings.sandbox,
            load_reference=lambda digest, lane, model: reference_for(
                references, digest, seller=lane.seller, model=model
            ),
        )
        lent = _hold_money(office, pipeline.tasks)

        beside = self.beside

        def sync() -> None:
            self.journal.sync()
            if beside is None or beside.is_over():
                folder.sync()

        def tick_alone() -> None:
            if beside is None or beside.is_over():
                tick()

        engine = BatchEngine(office, self.mode, sync=sync, tick=tick_alone)
        if beside is None:
            engine.deadline_seconds = request.deadline_seconds
        else:
            engine.patience = beside.patience
            office.chosen_lane, office.give_back = beside.chosen_lane, beside.give_back
        self.engine = engine
        try:
            await engine.run()
        finally:
            for job, reservation in lent.items():
                if office.held.get(job) is reservation:
                    budget.release(reservation)  # the next run sets it aside again

    def is_all_ordered(self, *, unfinished: int, ordered: int) -> bool:
        """Tell whether a submission has done what it was for: all that is missing is in a batch."""
        return self.mode is Mode.SUBMIT and unfinished == ordered and not (self.engine and self.engine.waiting)

    def close(self, *, at: float, finished: bool) -> None:
        """Let go of the journal.

        Args:
            at: Now, in wall-clock seconds.
            finished: The manifest holds everything.
        """
        if finished:
            self.journal.finish(at=at)
        self.journal.close()


def begin(prepared: Prepared) -> Batching:
    """Read what is ordered and keep the plan; the folder is locked.

    Raises:
        ConfigError: Batches are open and everything is to be sent again, or others than this run's vendors have them.
        StoreError: The plan could not be written.
    """
    root, request = prepared.root, prepared.request
    journal = BatchJournal(root / JOURNAL)
    if request.fresh and journal.open:
        raise ConfigError(
            f"{len(journal.open)} batches are open in {root}; collect or cancel them before --fresh buys it all again"
        )
    if isinstance(prepared.planner, StoredPlan):
        return Batching(prepared, journal, prepared.planner)
    if journal.open:
        _check_vendors(root, sandbox=prepared.settings.sandbox)
    ordered = {job for batch in journal.open for job in batch.jobs}
    about = About(prepared.request.inputs, prepared.plan.jobs, request.limit, request.only, prepared.settings.sandbox)
    stored = keep(
        root / PLAN, prepared.planner, about, ordered=ordered, earlier=_earlier(root / PLAN) if ordered else ()
    )
    return Batching(replace(prepared, planner=stored), journal, stored)


def _check_vendors(root: Path, *, sandbox: bool) -> None:
    """Keep the sandbox from being asked for batches that are paid: it knows none of them, and they would count as lost.

    Raises:
        ConfigError: The open batches are the sandbox's and the run is not, or the other way round.
    """
    try:
        is_other = is_of_sandbox(root) != sandbox
    except ConfigError:
        return  # the plan is lost; it is made again
    if is_other:
        whose = "your providers" if sandbox else "the sandbox"
        raise ConfigError(
            f"batches of {root} are open at {whose}; collect them first with `nanobatch batch collect {root}`, "
            "or choose another --out"
        )


def _earlier(path: Path) -> Iterator[Job]:
    yield from StoredPlan(path).jobs(everything=True)


def _hold_money(office: Office, tasks: dict[str, OpenTask]) -> dict[str, Reservation]:
    """Set money aside for what earlier runs have ordered, as far as there is room: new orders come after it.

    Returns:
        By job, what this run had to set aside itself, because those who ordered have not done so, or not here.
    """
    lent: dict[str, Reservation] = {}
    for job, task in tasks.items():
        if not (task.task or "").startswith(TASK_PREFIX):
            continue  # one that is fetched by itself
        try:
            batch = office.journal.batches.get((task.task or "").removeprefix(TASK_PREFIX))
            day, run = (batch.day, batch.run) if batch is not None else (None, "")
            reservation = office.budget.take_over(task.worst_usd, day=day, run=run)
        except LimitReached:
            break
        if reservation is None:
            break
        office.held[job] = reservation
        if reservation.run is None:
            lent[job] = reservation
    return lent
