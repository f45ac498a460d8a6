"""The composition root: the only module that knows every concrete class of a run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from nanobatch.attempts import Tally
from nanobatch.budget import Budget
from nanobatch.catalog import Catalog, load_catalog
from nanobatch.clock import Clock, iso
from nanobatch.connections import Connections
from nanobatch.engines.local import LocalEngine
from nanobatch.errors import ConfigError, NotSent, StoreError
from nanobatch.estimate import estimate
from nanobatch.events import Event, Observer, RunFinished, RunStarted, Warned
from nanobatch.folder import Folder, input_digest, locked, open_folder, recover
from nanobatch.limits import Gate
from nanobatch.limits.circuit_breaker import CircuitBreaker
from nanobatch.manifest import Sorted64, fingerprint, peek
from nanobatch.model import Job, Params, Prompt, Record
from nanobatch.pipeline import Pipeline, record_of, record_without_image
from nanobatch.planning import REAL, SANDBOX, Plan, Planner
from nanobatch.planning import Defaults as PlanDefaults
from nanobatch.providers import load
from nanobatch.retry import RetryPolicy
from nanobatch.routing import Lane, Router, Seller, why_not
from nanobatch.settings import ProviderSettings, Settings
from nanobatch.sources.files import PromptFiles
from nanobatch.sources.rows import ReadOptions
from nanobatch.stopping import Stop, StopReason
from nanobatch.summary import Ledger, Totals, summarise
from nanobatch.transport import HttpTransport

RUN_FILE = "run.json"
MOST_WORKERS = 8192
FIRST_COOLDOWN_SECONDS = 15.0  # doubles with every probe in vain, up to ten minutes
_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for, beyond the settings."""

    inputs: tuple[str, ...]
    prompt_column: str | None = None
    template: str | None = None
    limit: int | None = None
    only: str | None = None
    skip_invalid: bool = False
    retry_failed: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run whose input and settings are checked; nothing is written or sent yet."""

    request: Request
    settings: Settings
    planner: Planner
    plan: Plan
    sellers: Sequence[Seller]
    root: Path

    @property
    def warnings(self) -> list[str]:
        """What the user should know before the first request."""
        found = [*self.settings.warnings]
        for seller in self.sellers:
            found += seller.warnings
        if self.plan.skipped_count:
            found.append(
                f"{self.plan.skipped_count} bad rows are left out: " + "; ".join(map(str, self.plan.skipped[:3]))
            )
        return list(dict.fromkeys(found))


def prepare(request: Request, settings: Settings, *, stdin: BinaryIO | None = None) -> Prepared:
    """Check the whole input against the settings.

    Raises:
        InputError: A file or a row is wrong, or no provider can draw it.
        ConfigError: The settings do not fit together.
    """
    catalog = load_catalog()
    sellers = [Seller(provider, catalog) for provider in settings.providers]
    defaults = settings.defaults

    def accept(prompt: Prompt) -> str | None:
        params = Params(
            model=prompt.model or defaults.model,
            size=prompt.size or defaults.size,
            aspect_ratio=prompt.aspect_ratio or defaults.aspect_ratio,
            seed=defaults.seed if prompt.seed is None else prompt.seed,
            references=prompt.references,
        )
        return why_not(sellers, params, provider=prompt.provider)

    options = ReadOptions(
        prompt_column=request.prompt_column,
        template=request.template,
        name=settings.output.name,
        limit=request.limit,
        only=request.only,
        skip_invalid=request.skip_invalid,
        aspect_ratios=_ratios(catalog, defaults.aspect_ratio),
        images_per_prompt=defaults.images_per_prompt,
    )
    files = PromptFiles(request.inputs, options, stdin=stdin, accept=accept)
    planner = Planner(
        files,
        PlanDefaults(model=defaults.model, size=defaults.size, aspect_ratio=defaults.aspect_ratio, seed=defaults.seed),
        realm=SANDBOX if settings.sandbox else REAL,
    )
    _check_defaults(sellers, settings)
    plan = planner.check()
    return Prepared(request, settings, planner, plan, sellers, output_folder(request, settings.output.dir))


def _ratios(catalog: Catalog, default: str | None) -> frozenset[str]:
    return catalog.ratios | ({default} if default else set())


def _check_defaults(sellers: Sequence[Seller], settings: Settings) -> None:
    """Report a model that nobody sells once, instead of once for every row."""
    defaults = settings.defaults
    params = Params(model=defaults.model, size=None, aspect_ratio=None, seed=None)
    reason = why_not(sellers, params)
    if reason is not None and settings.origin("defaults.model") != "default":
        raise ConfigError(f"{settings.origin('defaults.model')}: {reason}")


def output_folder(request: Request, told: str | None) -> Path:
    """Return where the images go: as told, or into the working folder under the first file's name."""
    if told is not None:
        return Path(told)
    first = request.inputs[0]
    return Path("prompts-images" if first == "-" else f"{Path(first).stem}-images")


def dry_run(prepared: Prepared) -> Mapping[str, Any]:
    """Say what the run would do and what it would cost. Nothing is written or sent."""
    done: set[int] = set()
    if prepared.root.exists():
        done = _peek(prepared)
    return estimate(
        prepared.planner.jobs(),
        prepared.sellers,
        done=done,
        inputs=prepared.request.inputs,
        output=str(prepared.root),
        skipped=prepared.plan.skipped_count,
        sandbox=prepared.settings.sandbox,
        warnings=prepared.warnings,
    )


def _peek(prepared: Prepared) -> set[int]:
    """Find what is done without touching the folder."""
    request = prepared.request
    return set() if request.fresh else peek(prepared.root, retry_failed=request.retry_failed)


async def run(
    prepared: Prepared, *, clock: Clock, observe: Observer, tick: Callable[[], None], stop: Stop
) -> Mapping[str, Any]:
    """Hold the folder, generate what is missing, and write the manifest and the summary.

    Returns:
        The summary, as run.json holds it.

    Raises:
        NanobatchError: The run could not start.
    """
    request, root = prepared.request, prepared.root
    with locked(root, clock):
        folder = open_folder(
            root,
            clock,
            wanted=partial(prepared.planner.fingerprints, everything=True),
            retry_failed=request.retry_failed,
            fresh=request.fresh,
        )
        recover(
            folder,
            prepared.planner.jobs(everything=True),
            lambda job, by, landed: record_of(job, by, landed, finished_at=iso(clock.wall())),
        )
        with _signals(stop):
            return await _Run(prepared, folder, clock, observe, tick, stop).go()


@contextlib.contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the run in order."""
    loop = asyncio.get_running_loop()
    for number, code in _SIGNALS.items():
        loop.add_signal_handler(number, stop.insist, StopReason("interrupted", "interrupted", code))
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


class _Run:
    """One run, from the first event to the summary."""

    def __init__(
        self, prepared: Prepared, folder: Folder, clock: Clock, observe: Observer, tick: Callable[[], None], stop: Stop
    ) -> None:
        self._prepared = prepared
        self._settings = prepared.settings
        self._folder = folder
        self._clock = clock
        self._observe_others = observe
        self._tick = tick
        self._stop = stop
        self._totals = Totals()
        self._started = clock.wall()
        self._run_id = secrets.token_hex(6)
        self._part = prepared.request.limit is not None or prepared.request.only is not None
        self._chosen = Sorted64(prepared.planner.fingerprints() if self._part else ())
        self._resumed = len(folder.done)
        if self._part:
            self._resumed = sum(key in folder.done for key in prepared.planner.fingerprints())
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret

    def _observe(self, event: Event) -> None:
        self._totals(event)
        self._observe_others(event)

    async def go(self) -> Mapping[str, Any]:
        """Generate, then write down how it went, also after a failure."""
        settings, plan = self._settings, self._prepared.plan
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
            if self._resumed < plan.jobs:
                async with Connections(limit=_total(settings)) as connections:
                    lanes = [self._lane(seller, connections) for seller in self._prepared.sellers]
                    await self._generate(lanes)
        finally:
            summary = self._finish(lanes)
        await self._folder.store.put(RUN_FILE, _pretty(summary))
        self._observe(RunFinished(summary))
        return summary

    def _lane(self, seller: Seller, connections: Connections) -> Lane:
        provider: ProviderSettings = seller.settings
        limits = provider.limits
        gate = Gate(
            self._clock,
            name=provider.name,
            concurrency=limits.concurrency,
            rpm=limits.rpm,
            ipm=limits.ipm,
            tpm=limits.tpm,
            rpd=limits.rpd,
            zone=provider.day_zone,
            breaker=_breaker(limits.concurrency),
            observer=self._observe,
        )
        gate.remember(self._folder.past.spends.get(provider.name, ()))
        transport = HttpTransport(
            connections,
            base_url=provider.base_url,
            auth="bearer" if provider.auth == "bearer" else "x-goog-api-key",
            api_key=provider.api_key,
            new_part=self._folder.store.new_part,
            timeout_seconds=self._settings.run.timeout_seconds,
        )
        return Lane(seller, load(provider.protocol), transport, gate)

    async def _generate(self, lanes: Sequence[Lane]) -> None:
        settings, folder = self._settings, self._folder
        pipeline = Pipeline(
            router=Router(lanes),
            retry=RetryPolicy(settings.run.retries, on_unknown=settings.run.on_unknown, rng=self._rng),
            budget=Budget(settings.run.budget_usd),
            store=folder.store,
            manifest=folder.manifest,
            ledger=folder.ledger,
            clock=self._clock,
            observe=self._observe,
            stop=self._stop,
            rng=self._rng,
            past=folder.past.tallies,
            charge=self._totals.charge,
            wait_for_quota=settings.run.on_quota == "wait",
        )
        todo = self._prepared.plan.jobs - self._resumed
        engine = LocalEngine(
            pipeline=pipeline,
            clock=self._clock,
            observe=self._observe,
            stop=self._stop,
            workers=min(todo, MOST_WORKERS, 2 * _total(settings)),  # some sleep before a retry while others work
            grace_seconds=settings.run.grace_seconds,
            sync=folder.sync,
            tick=self._tick,
        )
        await engine.run(job for job in self._prepared.planner.jobs() if folder.wants(job))

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
        except StoreError as error:
            self._stop.ask(StopReason("store", error.message, error.exit_code))
            final.statuses["unfinished"] += 1
        return summarise(
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
        )

    def _missing(self, job: Job) -> Record | None:
        """Write the record of a job that the run did not come to; none for what --limit or --only left out."""
        if self._part and fingerprint(job.id) not in self._chosen:
            return None
        reason = self._stop.reason
        why = NotSent(f"not sent: {reason.message}" if reason is not None else "not sent")
        tally = self._folder.past.tallies.get(job.id)
        return record_without_image(job, tally or Tally(), why, finished_at=None)

    def _resume_after(self, lanes: Sequence[Lane]) -> float | None:
        """Return when running again helps: the first moment at which a lane takes work again."""
        if self._stop.reason is not None and self._stop.reason.resume_after is not None:
            return self._stop.reason.resume_after
        waits = [state.until for lane in lanes if (state := lane.gate.state()).until is not None]
        return min(waits) if waits else self._clock.wall()


def _breaker(concurrency: int) -> CircuitBreaker:
    """Make a breaker whose threshold is more than bad luck: of many requests in flight some fail in a row by chance."""
    return CircuitBreaker(max(8, min(20, concurrency // 2)), cooldown_seconds=FIRST_COOLDOWN_SECONDS)


def _total(settings: Settings) -> int:
    return sum(provider.limits.concurrency for provider in settings.providers)


def _pretty(summary: Mapping[str, Any]) -> bytes:
    return json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n"
