"""Counts a run while it happens, and says at its end how it went: the content of run.json."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nanobatch import __version__
from nanobatch.clock import iso
from nanobatch.errors import AccountStopped, ModelGone, NoProvider
from nanobatch.events import AttemptFailed, AttemptStarted, Event, JobFinished, Warned
from nanobatch.model import Record, Status
from nanobatch.stopping import StopReason

KINDS_OF_FAILURE = 20  # distinct reasons that are counted; a report must not grow with the input
_ADDED = (
    "attempts",
    "cost_usd",
    "maybe_cost_usd",
    "saved_by_cache_usd",
    "warnings",
)  # of two runs that were one command
_ACCOUNT_CODES = frozenset({AccountStopped.code, ModelGone.code, NoProvider.code})


@dataclass(slots=True)
class ProviderTotals:
    """What one provider did in this run."""

    images: int = 0
    attempts: int = 0
    cost_usd: float = 0.0
    maybe_cost_usd: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Return the totals as run.json shows them."""
        return {
            "images": self.images,
            "attempts": self.attempts,
            "cost_usd": round(self.cost_usd, 6),
            "maybe_cost_usd": round(self.maybe_cost_usd, 6),
            "errors": dict(self.errors.most_common()),
        }


@dataclass(slots=True)
class Totals:
    """An observer that counts."""

    providers: defaultdict[str, ProviderTotals] = field(default_factory=lambda: defaultdict(ProviderTotals))
    new_images: int = 0
    new_images_usd: float = 0.0  # what they cost, attempts of earlier runs included
    cached_images: int = 0  # taken over from earlier runs elsewhere
    saved_by_cache_usd: float = 0.0  # what they cost then
    warnings: list[str] = field(default_factory=list)
    hooks: dict[str, int] = field(default_factory=lambda: {"run": 0, "failed": 0, "skipped": 0})  # of --exec

    def __call__(self, event: Event) -> None:
        """Count an event."""
        match event:
            case AttemptStarted(provider=provider):
                self.providers[provider].attempts += 1
            case AttemptFailed(provider=provider, code=code):
                self.providers[provider or "none"].errors[code] += 1
            case JobFinished(record=record, from_cache=True):
                self.cached_images += record.has_image
                self.saved_by_cache_usd += event.saved_usd
            case JobFinished(record=record) if record.has_image and record.provider:
                self.providers[record.provider].images += 1
                self.new_images += 1
                self.new_images_usd += record.cost_usd
            case Warned(message=message):
                self.warnings.append(message)
            case _:
                pass

    def charge(self, provider: str, cost_usd: float, maybe_usd: float) -> None:
        """Add money that an attempt cost, or may have cost."""
        totals = self.providers[provider]
        totals.cost_usd += cost_usd
        totals.maybe_cost_usd += maybe_usd


@dataclass(slots=True)
class Ledger:
    """How all jobs of the input stand at the end, those of earlier runs included."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    images_usd: float = 0.0  # what all images of the input cost when they were made
    account_stopped: bool = False  # a job is unfinished because no account accepts it

    def add(self, record: Record) -> None:
        """Count one record of the final manifest."""
        self.statuses[record.status] += 1
        if record.has_image:
            self.images_usd += record.cost_usd
        if record.error is not None:
            if record.status is Status.UNFINISHED and record.error.code in _ACCOUNT_CODES:
                self.account_stopped = True
            reason = (record.error.code, record.error.message)
            if reason in self.reasons or len(self.reasons) < KINDS_OF_FAILURE:
                self.reasons[reason] += 1

    @property
    def images(self) -> int:
        """Jobs that have an image."""
        return self.statuses[Status.OK] + self.statuses[Status.CACHED]


def exit_code(final: Ledger, stop: StopReason | None) -> int:
    """Return what a shell sees (the table in README.md)."""
    if final.statuses[Status.UNFINISHED]:
        if stop is not None:
            return stop.exit_code
        return AccountStopped.exit_code if final.account_stopped else 5
    if final.statuses[Status.FAILED] or final.statuses[Status.REFUSED]:
        return 1
    return 0


def summarise(  # noqa: PLR0913 - one argument for each source of facts
    *,
    run_id: str,
    inputs: Iterable[str],
    output: str,
    sandbox: bool,
    started: float,
    finished: float,
    totals: Totals,
    final: Ledger,
    stop: StopReason | None,
    resume_after: float | None,
    gallery: str | None = None,
) -> Mapping[str, Any]:
    """Put the summary together. Times are wall-clock seconds."""
    duration = max(0.0, finished - started)
    cost = sum(provider.cost_usd for provider in totals.providers.values())
    code = exit_code(final, stop)
    return {
        "run_id": run_id,
        "nanobatch": __version__,
        "started_at": iso(started),
        "finished_at": iso(finished),
        "duration_seconds": round(duration, 3),
        "exit_code": code,
        "resume_after": iso(resume_after) if code == 5 and resume_after is not None else None,
        "stop_reason": stop.message if stop is not None else None,
        "sandbox": sandbox,
        "inputs": list(inputs),
        "output": output,
        "gallery": gallery,
        "jobs": final.statuses.total(),
        **{status.value: final.statuses[status] for status in Status},
        "resumed": max(0, final.images - totals.new_images - totals.cached_images),  # recovered ones too
        "attempts": sum(provider.attempts for provider in totals.providers.values()),
        "saved_by_resume_usd": round(max(0.0, final.images_usd - totals.new_images_usd), 6),
        "saved_by_cache_usd": round(totals.saved_by_cache_usd, 6),
        "images_per_minute": round(totals.new_images / duration * 60, 2) if duration > 0 else 0.0,
        "cost_usd": round(cost, 6),
        "maybe_cost_usd": round(sum(provider.maybe_cost_usd for provider in totals.providers.values()), 6),
        "cost_per_image_usd": round(cost / totals.new_images, 6) if totals.new_images else None,
        "providers": {name: provider.as_dict() for name, provider in totals.providers.items()},
        "failures": [
            {"code": code, "message": message, "count": count}
            for (code, message), count in final.reasons.most_common(KINDS_OF_FAILURE)
        ],
        "warnings": totals.warnings,
        "hooks": totals.hooks,
    }


def joined(earlier: Mapping[str, Any] | None, later: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the summary of two runs that were one command: the later one's standing, and what both of them did."""
    if earlier is None:
        return later
    both: dict[str, Any] = {key: earlier[key] + later[key] for key in _ADDED}
    both["duration_seconds"] = round(earlier["duration_seconds"] + later["duration_seconds"], 3)
    names = dict.fromkeys([*earlier["providers"], *later["providers"]])
    both["providers"] = {name: _both(earlier["providers"].get(name), later["providers"].get(name)) for name in names}
    both["hooks"] = {key: earlier["hooks"].get(key, 0) + number for key, number in later["hooks"].items()}
    for key in ("started_at", "resumed", "saved_by_resume_usd"):  # what was there before is what was there at first
        both[key] = earlier[key]
    images = later["ok"] + later["cached"] - both["resumed"]
    both["cost_per_image_usd"] = round(both["cost_usd"] / images, 6) if images > 0 else None
    seconds = both["duration_seconds"]
    both["images_per_minute"] = round(images / seconds * 60, 2) if seconds > 0 else 0.0
    return {**later, **both}


def _both(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if one is None or other is None:
        return one or other or {}
    errors = Counter(one["errors"]) + Counter(other["errors"])
    figures = ("images", "attempts", "cost_usd", "maybe_cost_usd")
    return {name: round(one[name] + other[name], 6) for name in figures} | {"errors": dict(errors.most_common())}
