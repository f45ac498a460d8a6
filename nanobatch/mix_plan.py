"""Plans a mix: counts what is wanted by kind, solves, and says the plan as `estimate-cost` and `--dry-run` show it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nanobatch.batches.chunks import CHARACTERS_PER_TOKEN
from nanobatch.estimation import looked_up
from nanobatch.manifest import fingerprint
from nanobatch.mix import Kind, Mix, bound, cheapest, duration, fastest, with_reserve
from nanobatch.mix_lanes import WORDS, KindTable, Likeness, MixLane, expected_usd, options_of, worst_usd
from nanobatch.model import Job
from nanobatch.pools import Slots, Windows

RESERVE = 0.05  # of the time, which is kept free where money is not at stake: for repeats and slow days


@dataclass(slots=True)
class Census:
    """How many jobs there are of each kind, and how many need nothing."""

    table: KindTable
    jobs: int = 0
    already_done: int = 0
    cached: int = 0
    duplicates: int = 0
    ordered: int = 0  # in batches of earlier runs, which this one collects
    images: list[int] = field(default_factory=list)  # to be sent, by kind
    characters: list[int] = field(default_factory=list)  # of their prompts, by kind

    def add(self, job: Job) -> None:
        """Count one that is to be sent."""
        at = self.table.of(job)
        if at == len(self.images):
            self.images.append(0)
            self.characters.append(0)
        self.images[at] += 1
        self.characters[at] += len(job.prompt.text)

    def words(self, at: int) -> float:
        """Return the tokens of a usual prompt of a kind."""
        return self.characters[at] / self.images[at] / CHARACTERS_PER_TOKEN + 1 if self.images[at] else WORDS

    def kinds(self, *, latency: float | None = None) -> list[Kind]:
        """Say the kinds as the mix understands them."""
        found = []
        for at, (likeness, images) in enumerate(zip(self.table.kinds, self.images, strict=True)):
            words = self.words(at)
            found.append(Kind(images, options_of(likeness, self.table.lanes, words=words, latency=latency)))
        return found


def survey(
    jobs: Iterable[Job],
    lanes: Sequence[MixLane],
    *,
    done: Container[int] = (),
    known: Callable[[Sequence[Job]], Container[str]] = lambda _: (),
    ordered: Container[str] = (),
) -> Census:
    """Count jobs by kind.

    Args:
        jobs: All that are wanted.
        lanes: That there are.
        done: Fingerprints of the jobs whose images are on disk.
        known: Finds the jobs, among some, that the cache answers.
        ordered: Ids of the jobs that are in open batches.
    """
    census = Census(KindTable(lanes))
    for job, is_known in looked_up(jobs, known):
        census.jobs += 1
        if fingerprint(job.id) in done:
            census.already_done += 1
        elif job.twin is not None:
            census.duplicates += 1
        elif job.id in ordered:
            census.ordered += 1
        elif is_known:
            census.cached += 1
        else:
            census.add(job)
    return census


@dataclass(frozen=True, slots=True)
class MixPlan:
    """The mix for a deadline, or the fastest one where none is in time."""

    census: Census
    kinds: Sequence[Kind]
    mix: Mix
    deadline_seconds: float
    in_time: bool

    @property
    def lanes(self) -> Sequence[MixLane]:
        """Those that there are to choose from."""
        return self.census.table.lanes

    @property
    def bound_by(self) -> str:
        """Say in a word what takes the time."""
        pool = bound(self.kinds, self.mix.shares)[1]
        match pool:
            case Slots():
                return "concurrency"
            case Windows(name=name):
                return name
            case _ if any(lane.kind == "batch" and self.mix.of(lane.name) for lane in self.lanes):
                return "batches"
            case _:
                return "concurrency" if any(self.mix.shares) else "nothing"

    def parts(self) -> Iterator[tuple[MixLane, Likeness, int, float]]:
        """Yield who draws how many images of what, and what they are expected to cost in USD."""
        for lane in self.lanes:
            for at, (likeness, share) in enumerate(zip(self.census.table.kinds, self.mix.shares, strict=True)):
                if images := share.get(lane.name, 0):
                    each = expected_usd(lane.offer(likeness.model), likeness, self.census.words(at))
                    yield lane, likeness, images, each * images

    def shown(self, *, cached: int | None) -> dict[str, Any]:
        """Return the plan as JSON; money in USD, durations in seconds."""
        low = expected = high = 0.0
        allocations: dict[str, dict[str, Any]] = {}
        for lane, likeness, images, usd in self.parts():
            offer = lane.offer(likeness.model)
            low += (offer.price_usd(likeness.size) or 0.0) * images
            expected += usd
            high += worst_usd(offer, likeness) * images
            row: dict[str, Any] = {"provider": lane.provider, "lane": lane.kind, "images": 0, "cost_usd": 0.0}
            row = allocations.setdefault(lane.name, row)
            row["images"] += images
            row["cost_usd"] = round(row["cost_usd"] + usd, 4)
        return {
            "strategy": "cheapest",
            "allocations": list(allocations.values()),
            "cost_usd": {"low": round(low, 4), "expected": round(expected, 4), "high": round(high, 4)},
            "duration_seconds": round(self.mix.seconds, 1),
            "already_done": self.census.already_done,
            "cached": cached,
            "deadline_seconds": self.deadline_seconds,
            "in_time": self.in_time,
        }


def plan_mix(census: Census, deadline_seconds: float, *, latency: float | None = None) -> MixPlan:
    """Return the cheapest mix that is done in time; where there is none, the fastest.

    A part of the slots is kept free where that leaves a mix in time: for repeats, and for answers that take longer than
    usual.

    Args:
        census: What is wanted.
        deadline_seconds: From now.
        latency: Seconds of every answer at once, where the user knows better.
    """
    kinds = census.kinds(latency=latency)
    found = cheapest(with_reserve(kinds, RESERVE), deadline_seconds) or cheapest(kinds, deadline_seconds)
    mix = found if found is not None else fastest(kinds, after=deadline_seconds)
    mix = replace(mix, seconds=duration(kinds, mix.shares))
    return MixPlan(census, kinds, mix, deadline_seconds, in_time=found is not None)


def too_late(plan: Mapping[str, Any]) -> str | None:
    """Say what can be done instead, where a plan as JSON is not done in time; else None."""
    if plan.get("in_time", True):
        return None
    told, needed = as_deadline(plan["deadline_seconds"]), as_deadline(plan["duration_seconds"])
    enough = as_deadline(plan["duration_seconds"] * (1 + RESERVE))
    costs = f"costs about ${plan['cost_usd']['expected']:,.2f}"
    if plan["strategy"] == "cheapest":
        return (
            f"no mix of lanes is done within {told}; the fastest takes {needed} and {costs}. Give it "
            f"--deadline {enough}, add a provider, raise limits that are too low, or start it all the same with --yes"
        )
    return (
        f"this is not done within {told}: with --strategy {plan['strategy']} it takes {needed} and {costs}. Give it "
        f"--deadline {enough}, let --strategy cheapest find a mix, or start it all the same with --yes"
    )


def too_dear(plan: Mapping[str, Any], budget_usd: float | None) -> str | None:
    """Say that a plan as JSON is expected to cost more than a budget; else None."""
    expected = plan["cost_usd"]["expected"]
    if budget_usd is None or expected <= budget_usd:
        return None
    return f"this is expected to cost ${expected:,.2f}, and the budget is ${budget_usd:,.2f}"


def as_deadline(seconds: float) -> str:
    """Write a time as --deadline takes it, never too short: 45s, 95m, 26.5h."""
    if seconds < 2 * 60:
        return f"{math.ceil(seconds)}s"
    if seconds < 2 * 3600:
        return f"{math.ceil(seconds / 60)}m"
    return f"{math.ceil(seconds / 360) / 10:g}h"


def mixed_estimate(
    plan: MixPlan,
    *,
    inputs: Iterable[str],
    output: str,
    skipped: int,
    sandbox: bool,
    warnings: Sequence[str],
    cached_unknown: str | None,
) -> dict[str, Any]:
    """Return what `--dry-run` shows of a mix: the keys of `estimate`, and the plan."""
    census = plan.census
    shown = plan.shown(cached=census.cached if cached_unknown is None else None)
    sizes: Counter[str] = Counter()
    for _, likeness, images, _ in plan.parts():
        sizes[likeness.size or "default"] += images
    return {
        "inputs": list(inputs),
        "output": output,
        "jobs": census.jobs,
        "already_done": census.already_done,
        "cached": shown["cached"],
        "duplicates": census.duplicates,
        "to_send": sum(census.images),
        "skipped_rows": skipped,
        "sandbox": sandbox,
        "strategy": "cheapest",
        "providers": list(_rows(plan)),
        "sizes": dict(sizes),
        "cost_usd": shown["cost_usd"],
        "duration_seconds": shown["duration_seconds"],
        "bound_by": plan.bound_by,
        "warnings": [*warnings, *_remarks(census, cached_unknown)],
        "plan": shown,
    }


def _remarks(census: Census, cached_unknown: str | None) -> Iterator[str]:
    if cached_unknown is not None:
        yield cached_unknown
    if census.ordered:
        yield f"{census.ordered} images are ordered in batches already; the run collects them"


def _rows(plan: MixPlan) -> Iterator[dict[str, Any]]:
    """Yield a row for each model in each lane."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for lane, likeness, images, usd in plan.parts():
        offer = lane.offer(likeness.model)
        row = rows.setdefault(
            (lane.name, likeness.model),
            {
                "name": lane.provider,
                "lane": lane.kind,
                "model": likeness.model,
                "wire_model": offer.wire_model,
                "images": 0,
                "limits": asdict(lane.seller.settings.limits),
                "price_usd": {},
                "cost_usd": 0.0,
            },
        )
        row["images"] += images
        row["price_usd"][likeness.size or "default"] = offer.price_usd(likeness.size)
        row["cost_usd"] = round(row["cost_usd"] + usd, 4)
    yield from rows.values()


def plan_of(
    found: Mapping[str, Any], flexible: Container[str], *, lane: str = "sync", deadline_seconds: float | None = None
) -> dict[str, Any]:
    """Return the plan as JSON of an estimate in which every provider has one lane.

    Args:
        found: What `estimate` says.
        flexible: Names of the providers of which the flex tier is asked.
        lane: Of all others.
        deadline_seconds: From now.
    """
    allocations: dict[str, dict[str, Any]] = {}
    for row in found["providers"]:
        kind = "flex" if lane == "sync" and row["name"] in flexible else lane
        share = {"provider": row["name"], "lane": kind, "images": 0, "cost_usd": 0.0}
        share = allocations.setdefault(row["name"], share)
        share["images"] += row["images"]
        share["cost_usd"] = round(share["cost_usd"] + row["cost_usd"], 4)
    return {
        "strategy": found["strategy"],
        "allocations": list(allocations.values()),
        "cost_usd": found["cost_usd"],
        "duration_seconds": found["duration_seconds"],
        "already_done": found["already_done"],
        "cached": found["cached"],
        "deadline_seconds": deadline_seconds,
        "in_time": deadline_seconds is None or found["duration_seconds"] <= deadline_seconds,
    }
