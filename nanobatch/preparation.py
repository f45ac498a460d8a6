"""Checks a whole run before it starts: the input against the settings, each row against what the providers can do."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from nanobatch.attempts import OpenTask
from nanobatch.batches.journal import BATCHES, ordered_jobs
from nanobatch.batches.plan import StoredPlan
from nanobatch.cache_assembly import preview
from nanobatch.catalog import Catalog, load_catalog
from nanobatch.clock import SystemClock
from nanobatch.errors import ConfigError, InputError, LedgerError
from nanobatch.estimation import estimate
from nanobatch.manifest import fingerprint, peek
from nanobatch.mix_lanes import lanes_of
from nanobatch.mix_plan import mixed_estimate, plan_mix, plan_of, survey
from nanobatch.model import Job, Params, Prompt
from nanobatch.optional_redis import where
from nanobatch.planning import REAL, SANDBOX, Plan, Planner
from nanobatch.planning import Defaults as PlanDefaults
from nanobatch.providers import load
from nanobatch.providers.base import TaskProvider
from nanobatch.references import References
from nanobatch.routing import Seller, why_not
from nanobatch.settings import Settings
from nanobatch.sources.files import PromptFiles
from nanobatch.sources.lines import STANDARD_INPUT, PromptFile
from nanobatch.sources.rows import ReadOptions
from nanobatch.stores.local import STATE_FOLDER
from nanobatch.usage import spent_today


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for, beyond the settings."""

    inputs: tuple[str, ...]  # prompt files; none where a program hands over rows
    prompt_column: str | None = None
    template: str | None = None
    limit: int | None = None
    only: str | None = None
    skip_invalid: bool = False
    retry_failed: bool = False
    fresh: bool = False
    dedupe: bool = False  # equal rows share their images
    command: tuple[str, ...] = field(default=(), repr=False)  # what was typed after `nanobatch`; decides nothing
    batch: str | None = None  # run | submit | collect | cancel: everything goes through half-price batches
    spill: bool = False  # rows that a batch gives back are sent one by one, at the usual price
    earlier: Mapping[str, Any] | None = field(default=None, repr=False)  # the summary that this run goes on from
    deadline_seconds: float | None = None  # from the start


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run whose input and settings are checked; nothing is written or sent yet."""

    request: Request
    settings: Settings
    planner: Planner | StoredPlan
    plan: Plan
    sellers: Sequence[Seller]
    root: Path
    references: References

    def can_fetch(self, task: OpenTask) -> bool:
        """Tell whether this run uses the provider that a task was ordered from, in a format that has tasks."""
        settings = next((seller.settings for seller in self.sellers if seller.name == task.provider), None)
        return settings is not None and isinstance(load(settings.protocol), TaskProvider)

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


def prepare(
    request: Request, settings: Settings, *, stdin: BinaryIO | None = None, rows: PromptFile | None = None
) -> Prepared:
    """Check the whole input against the settings.

    Args:
        request: What is asked for.
        settings: How.
        stdin: Standard input; the process's own by default.
        rows: Read instead of the request's inputs.

    Raises:
        InputError: A file or a row is wrong, or no provider can draw it.
        ConfigError: The settings do not fit together.
    """
    catalog = load_catalog()
    sellers = [Seller(provider, catalog) for provider in settings.providers]
    defaults = settings.defaults

    for seller in sellers:
        load(seller.settings.protocol)  # a wire format that cannot be loaded is known before anything is read
    references = references_for(settings)

    def digest(source: str) -> str:
        return references.digest(source, Path())

    def accept(prompt: Prompt) -> str | None:
        params = Params(
            model=prompt.model or defaults.model,
            size=prompt.size or defaults.size,
            aspect_ratio=prompt.aspect_ratio or defaults.aspect_ratio,
            seed=defaults.seed if prompt.seed is None else prompt.seed,
            references=prompt.references,
        )
        reason = why_not(sellers, params, provider=prompt.provider)
        if reason is None and prompt.references:
            reason = _unusable(prompt.references, digest)
        return reason

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
    files = PromptFiles(request.inputs if rows is None else (rows,), options, stdin=stdin, accept=accept)
    planner = Planner(
        files,
        PlanDefaults(model=defaults.model, size=defaults.size, aspect_ratio=defaults.aspect_ratio, seed=defaults.seed),
        digest=digest,
        realm=SANDBOX if settings.sandbox else REAL,
        dedupe=request.dedupe,
    )
    _check_defaults(sellers, settings)
    plan = planner.check()
    return Prepared(request, settings, planner, plan, sellers, output_folder(request, settings.output.dir), references)


def references_for(settings: Settings) -> References:
    """Make a collection for the reference images of a run; whoever asks for it closes it."""
    return References(_temporary_folder(), allow_private=settings.run.allow_private_references)


def _temporary_folder() -> Path:
    """Name a folder for what is downloaded; whoever fills it makes it, and the system forgets it."""
    return Path(tempfile.gettempdir()) / f"nanobatch-references-{os.getpid()}-{secrets.token_hex(4)}"


def _unusable(sources: Iterable[str], digest: Callable[[str], str]) -> str | None:
    """Say why a row's reference images cannot be used, or None."""
    try:
        for source in sources:
            digest(source)
    except InputError as error:
        return error.message
    return None


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
    first = request.inputs[0] if request.inputs else STANDARD_INPUT
    return Path("prompts-images" if first == STANDARD_INPUT else f"{Path(first).stem}-images")


def dry_run(prepared: Prepared, *, now: float | None = None, latency_seconds: float | None = None) -> Mapping[str, Any]:
    """Say what the run would do and what it would cost. Nothing is written or sent.

    Args:
        prepared: The run.
        now: When it would start, in seconds since 1970; by default at once.
        latency_seconds: Of every answer, instead of typical ones.
    """
    start = SystemClock().wall() if now is None else now
    done: set[int] = set()
    if prepared.root.exists():
        done = _peek(prepared)
    cache = preview(prepared.settings, prepared.request, now=start)
    request = prepared.request

    def known(jobs: Sequence[Job]) -> Container[str]:
        return cache.find([job for job in jobs if job.twin is None and fingerprint(job.id) not in done])

    if is_mixed(request, prepared.settings):
        assert request.deadline_seconds is not None
        lanes = lanes_of(prepared.settings, load_catalog())
        ordered = set() if request.fresh else ordered_jobs(prepared.root / STATE_FOLDER / BATCHES)
        census = survey(prepared.planner.jobs(), lanes, done=done, known=known, ordered=ordered)
        mixed = mixed_estimate(
            plan_mix(census, request.deadline_seconds),
            inputs=request.inputs,
            output=str(prepared.root),
            skipped=prepared.plan.skipped_count,
            sandbox=prepared.settings.sandbox,
            warnings=prepared.warnings,
            cached_unknown=cache.unknown,
        )
        return {**mixed, "semantic": cache.nearest, "warnings": [*mixed["warnings"], *cache.warnings]}
    spent, unknown = _spent(prepared.settings, start)
    found = estimate(
        prepared.planner.jobs(),
        prepared.sellers,
        done=done,
        inputs=prepared.request.inputs,
        output=str(prepared.root),
        skipped=prepared.plan.skipped_count,
        sandbox=prepared.settings.sandbox,
        warnings=[*prepared.warnings, *unknown],
        strategy=prepared.settings.run.strategy,
        latency_seconds=latency_seconds,
        known=known,
        start=start,
        spent=spent,
        in_batches=prepared.request.batch is not None,
    )
    found = {**found, "semantic": cache.nearest, "warnings": [*found["warnings"], *cache.warnings]}
    if cache.unknown is not None:
        found = {**found, "cached": None, "warnings": [*found["warnings"], cache.unknown]}
    if request.batch is not None:
        found = _in_batches(found, prepared.settings)
    flexible = {provider.name for provider in prepared.settings.providers if provider.flex}
    lane = "sync" if request.batch is None else "batch"
    return {**found, "plan": plan_of(found, flexible, lane=lane, deadline_seconds=request.deadline_seconds)}


def is_mixed(request: Request, settings: Settings) -> bool:
    """Tell whether a run divides its images among sync, flex and batch lanes, so that a deadline is kept."""
    return request.deadline_seconds is not None and request.batch is None and settings.run.strategy == "cheapest"


def _spent(settings: Settings, now: float) -> tuple[Mapping[str, int], list[str]]:
    """Return what other runs have sent today, by provider; and why nobody knows, if so."""
    counting = any(provider.limits.rpd is not None for provider in settings.providers)
    if settings.usage.url is not None and counting and not settings.sandbox:
        return {}, [f"a plan does not ask {where(settings.usage.url)}; what other runs have sent today is not in it"]
    try:
        return spent_today(settings, environ=os.environ, home=Path.home(), now=now), []
    except LedgerError as error:
        return {}, [error.message]


def _in_batches(plan: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Say how long images take that vendors draw in their own time."""
    used = {provider["name"] for provider in plan["providers"]}
    hours = [provider.batch.hours for provider in settings.providers if provider.name in used]
    return {**plan, "duration_seconds": max(hours, default=0.0) * 3600, "bound_by": "batches" if hours else "nothing"}


def _peek(prepared: Prepared) -> set[int]:
    """Find what is done without touching the folder."""
    request = prepared.request
    return set() if request.fresh else peek(prepared.root, retry_failed=request.retry_failed)
