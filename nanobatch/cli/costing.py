"""What `nanobatch estimate-cost` does once its options are read."""

from __future__ import annotations

import datetime as dt
import itertools
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table

from nanobatch.batches.journal import BATCHES, ordered_jobs
from nanobatch.cache_assembly import NOT_ASKED, Preview, preview
from nanobatch.catalog import Catalog, load_catalog
from nanobatch.catalog.profiles import Profile, find_profile, provider_traits, recommend
from nanobatch.catalog.tables import NEWEST, PriceTable, price_table
from nanobatch.cli.reporting import answer
from nanobatch.cli.running import complain
from nanobatch.clock import SystemClock
from nanobatch.costs import Question, Wanted, as_settings, compare
from nanobatch.errors import ConfigError, InputError, LimitReached, NanobatchError
from nanobatch.estimation import estimate
from nanobatch.manifest import peek
from nanobatch.mix_lanes import lanes_of
from nanobatch.mix_plan import Census, plan_mix, plan_of, survey, too_dear, too_late
from nanobatch.model import Job, Origin, Params, Prompt
from nanobatch.planning import job_id
from nanobatch.preparation import Request, is_mixed, prepare
from nanobatch.reporters.fitting import FittingTable
from nanobatch.routing import Seller, why_not
from nanobatch.settings import Settings
from nanobatch.starting import load_from_surroundings
from nanobatch.stores.local import STATE_FOLDER

OLD_DAYS = 90
DEFAULT_SIZE = "1K"


@dataclass(frozen=True, slots=True)
class Ask:
    """What the command line asks."""

    prompts: tuple[str, ...]
    count: int | None
    flags: Mapping[str, Any]
    config: str | None
    prices: str
    tiers: tuple[str, ...]
    baseline: str | None
    latency_seconds: float | None
    per: str | None
    as_json: bool
    profile: str | None = None
    deadline_seconds: float | None = None
    prompt_column: str | None = None
    template: str | None = None
    skip_invalid: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """The images in question: how many of each kind, and as jobs."""

    wanted: Sequence[Wanted]
    jobs: Iterable[Job]
    done: set[int]
    cache: Preview = NOT_ASKED
    census: Census | None = None  # of a mix, where it was taken on the way
    found: Mapping[str, Any] | None = None  # what else the plan says, where it was made on the way


def perform(ask: Ask) -> int:
    """Compute, show, and return the exit code."""
    try:
        found = _found(ask)
    except NanobatchError as error:
        complain(error)
        return error.exit_code
    answer(found, as_json=ask.as_json, render=render)
    plan = found["plan"]
    broken = [each for each in (too_late(plan), too_dear(plan, plan["budget_usd"])) if each is not None]
    for reason in broken:
        complain(LimitReached(reason))
    return LimitReached.exit_code if broken else 0


def _found(ask: Ask) -> dict[str, Any]:
    profile = find_profile(ask.profile) if ask.profile is not None else None
    if profile is not None:
        ask = _as_profile(ask, profile)
    if bool(ask.prompts) == (ask.count is not None):
        raise ConfigError("name prompt files, or say how many images with --count or --profile")
    if not ask.prompts and (ask.template or ask.prompt_column or ask.flags.get("defaults.images_per_prompt")):
        raise ConfigError("--template, --prompt-column and -n are about prompt files; name them instead of a number")
    catalog = load_catalog()
    table = price_table(ask.prices, catalog)
    _warn_of_age(table)
    settings = load_from_surroundings(ask.flags, ask.config, None, without_keys=True)
    work = _files(ask, settings) if ask.prompts else _count(ask, settings)
    question = Question(
        work.wanted, _tiers(ask.tiers), baseline=ask.baseline, latency_seconds=ask.latency_seconds, per=ask.per
    )
    rows = compare(question, table, catalog)
    advice = None if profile is None else _advice(profile, rows)
    if advice is not None and not ask.flags.get("providers"):  # the plan is what the advice comes to
        recommended = [choice["provider"] for choice in advice["recommended"]]
        settings = load_from_surroundings({**ask.flags, "providers": recommended}, ask.config, None, without_keys=True)
    return {
        "images": sum(wanted.images for wanted in work.wanted),
        "prices": table.name,
        "currency": "USD",
        "providers": rows,
        "plan": _plan(ask, work, settings, table, question, catalog),
    } | ({} if advice is None else {"profile": advice})


def _as_profile(ask: Ask, profile: Profile) -> Ask:
    """Fill in what the profile says, as far as the command line does not."""
    if ask.prompts:
        raise ConfigError("--profile stands for a typical number of images; leave out the prompt files")
    flags = {**ask.flags, "defaults.size": ask.flags.get("defaults.size") or profile.size}
    count = profile.images if ask.count is None else ask.count
    return replace(ask, flags=flags, count=count, per=ask.per or profile.per)


def _advice(profile: Profile, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say whom to use in a profile's situation."""
    return {
        "name": profile.name,
        "situation": profile.situation,
        "recommended": recommend(profile, rows, provider_traits()),
    }


def _warn_of_age(table: PriceTable) -> None:
    today = dt.datetime.fromtimestamp(SystemClock().wall(), dt.UTC).date()
    if (days := (today - table.as_of).days) > OLD_DAYS:
        sys.stderr.write(f"nanobatch: the prices of {table.name} are {days} days old\n")


def _tiers(pairs: Iterable[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, tier = pair.partition("=")
        if not equals or not name or not tier:
            raise ConfigError(f"--tier is written PROVIDER=TIER, such as google=2, not {pair!r}")
        found[name] = {"free": "0"}.get(tier.lower(), tier)
    return found


def _count(ask: Ask, settings: Settings) -> Work:
    """Take one job so many times."""
    assert ask.count is not None
    defaults = settings.defaults
    size = defaults.size or DEFAULT_SIZE
    params = Params(defaults.model, size, defaults.aspect_ratio, None)
    prompt = Prompt(1, "an image", Origin("--count", 1), id="1", name="1")
    job = Job(job_id("an image", params, 0), 0, "images/1", prompt, params)
    return Work((Wanted(defaults.model, size, ask.count),), itertools.repeat(job, ask.count), set())


def _files(ask: Ask, settings: Settings) -> Work:
    """Read the prompt files as a run would. At the newest prices one pass counts the images and plans them."""
    request = Request(
        ask.prompts, prompt_column=ask.prompt_column, template=ask.template, skip_invalid=ask.skip_invalid,
        deadline_seconds=ask.deadline_seconds,
    )  # fmt: skip
    prepared = prepare(request, settings, stdin=sys.stdin.buffer)
    planner, census, found = prepared.planner, None, None
    kinds: Counter[tuple[str, str]] = Counter()

    def counted() -> Iterator[Job]:
        for job in planner.jobs():
            kinds[job.params.model, job.params.size or DEFAULT_SIZE] += 1
            yield job

    try:
        done = peek(prepared.root) if prepared.root.exists() else set()
        cache = preview(settings, request, now=SystemClock().wall())
        if ask.prices != NEWEST or ask.tiers:
            deque(counted(), maxlen=0)
        elif is_mixed(request, settings):
            ordered = ordered_jobs(prepared.root / STATE_FOLDER / BATCHES)
            lanes = lanes_of(settings, load_catalog())
            census = survey(counted(), lanes, done=done, known=cache.find, ordered=ordered)
        else:
            found = _estimated(ask, settings, counted(), prepared.sellers, done=done, cache=cache)
    finally:
        prepared.references.close()
    wanted = [Wanted(model, size, images) for (model, size), images in kinds.items()]
    return Work(wanted, planner.jobs(), done, cache, census, found)


def _estimated(
    ask: Ask, settings: Settings, jobs: Iterable[Job], sellers: Sequence[Seller], *, done: set[int], cache: Preview
) -> Mapping[str, Any]:
    """Plan jobs with one lane at each provider."""
    found = estimate(
        jobs, sellers, done=done, inputs=ask.prompts, output="", skipped=0, sandbox=False, warnings=(),
        strategy=settings.run.strategy, latency_seconds=ask.latency_seconds, known=cache.find,
    )  # fmt: skip
    return found if cache.unknown is None else {**found, "cached": None}


def _plan(
    ask: Ask, work: Work, settings: Settings, table: PriceTable, question: Question, catalog: Catalog
) -> dict[str, Any]:
    """Plan with the providers of the configuration, at the prices of the table."""
    if ask.prices != NEWEST or ask.tiers:
        settings = as_settings(settings, table, question, catalog)
    sellers = [Seller(provider, catalog) for provider in settings.providers]
    for wanted in work.wanted:
        reason = why_not(sellers, Params(wanted.model, wanted.size, None, None))
        if reason is not None:
            raise InputError(f"nobody in this plan sells {wanted.model} at {wanted.size}: {reason}")
    own: dict[str, Any] = {"budget_usd": settings.run.budget_usd, "cached_unknown": work.cache.unknown}
    if ask.deadline_seconds is not None and settings.run.strategy == "cheapest":
        census = work.census
        if census is None:
            census = survey(work.jobs, lanes_of(settings, catalog), done=work.done, known=work.cache.find)
        mix = plan_mix(census, ask.deadline_seconds, latency=ask.latency_seconds)
        cached = census.cached if work.cache.unknown is None else None
        return {**mix.shown(cached=cached), "bound_by": mix.bound_by, **own}
    found = work.found
    if found is None:
        found = _estimated(ask, settings, work.jobs, sellers, done=work.done, cache=work.cache)
    flexible = {provider.name for provider in settings.providers if provider.flex}
    plan = plan_of(found, flexible, deadline_seconds=ask.deadline_seconds)
    return {**plan, "bound_by": found["bound_by"], **own}


def render(found: Mapping[str, Any]) -> FittingTable:
    """Draw the providers side by side, then the plan."""
    is_periodic = any(row["yearly_usd"] is not None for row in found["providers"])
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", caption_justify="left")
    table.title = f"{found['images']:,} images, prices: {found['prices']}, USD"
    titles = ["provider", "size", "each", "total", "batch", "time"]
    titles += ["a month", "a year", "saved"] if is_periodic else ["bound by"]  # all of them are too wide together
    for title in titles:
        table.add_column(title, justify="left" if title in ("provider", "bound by") else "right", no_wrap=True)
    for row in found["providers"]:
        if row["price_usd"] is None:  # it is in the data; a person needs no line to know that there is nothing
            continue
        cells = [
            row["provider"], row["size"], _usd(row["price_usd"], 4), _usd(row["cost_usd"]), _usd(row["batch_cost_usd"]),
            _time(row["duration_seconds"]),
        ]  # fmt: skip
        if is_periodic:
            cells += [_usd(row["monthly_usd"]), _usd(row["yearly_usd"]), _usd(row["yearly_saving_usd"])]
        else:
            cells.append(row["bound_by"] or "–")
        table.add_row(*cells)
    plan = found["plan"]
    shares = ", ".join(map(_share, plan["allocations"])) or "nothing to do"
    low, expected, high = (_usd(plan["cost_usd"][key]) for key in ("low", "expected", "high"))
    table.caption = (
        f"The plan ({plan['strategy']}): {shares}; {expected} expected, {low} to {high}; "
        f"{_time(plan['duration_seconds'])}"
        + (f"; {plan['already_done']:,} are there already" if plan["already_done"] else "")
        + (f"; {plan['cached']:,} are in the cache" if plan["cached"] else "")
        + (f"; {plan['cached_unknown']}" if plan["cached_unknown"] else "")
        + _paid_by_others(plan)
    )
    if (profile := found.get("profile")) is not None:
        table.caption = "\n".join([*_recommended(profile), table.caption])
    return FittingTable(table, ["bound by", "each", "saved", "a month", "batch", "size", "time"])


def _paid_by_others(plan: Mapping[str, Any]) -> str:
    """Say whose price of nothing is paid by somebody else: no plan is free."""
    traits = provider_traits()
    names = {part["provider"]: traits.get(part["provider"]) for part in plan["allocations"]}
    found = [name for name, known in names.items() if known is not None and known.kind == "user-pays"]
    return f"; images at {' and '.join(found)} are paid by the user whose key it is" if found else ""


def _share(part: Mapping[str, Any]) -> str:
    lane = "" if part["lane"] == "sync" else f" ({part['lane']})"
    return f"{part['images']:,} at {part['provider']}{lane}"


def _recommended(profile: Mapping[str, Any]) -> list[str]:
    """Say in lines whom to use, in order of priority."""
    lines = [f"{profile['name']}: {profile['situation']}"]
    for number, choice in enumerate(profile["recommended"], start=1):
        lines.append(f"  {number}. {choice['provider']}: {_usd(choice['cost_usd'])}, {choice['why']}")
    return lines if profile["recommended"] else [*lines, "  nobody in this table fits"]


def _usd(amount: float | None, digits: int = 2) -> str:
    """Write an amount; nobody counts the cents of thousands."""
    return "–" if amount is None else f"{amount:,.{0 if amount >= 1000 else digits}f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for unit, length in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
