"""Prices and times before a run, as pure arithmetic: what every provider would ask, and what the plan comes to.

Times are those of a lane that uses all that its limits allow: n images take n x latency / concurrency, n / rpm minutes,
and as many days as the daily quota needs. The largest of these is the bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nanobatch.catalog import Catalog
from nanobatch.catalog.data import Tier
from nanobatch.catalog.tables import PriceTable, TableRow
from nanobatch.errors import ConfigError, NoProvider
from nanobatch.settings import Limits, Settings

ASSUMED_LATENCY_SECONDS = 20.0  # where the catalog has no typical answer time for the model
DEFAULT_CONCURRENCY = 8
PER_YEAR = {"day": 365.0, "week": 52.0, "month": 12.0, "year": 1.0}
_DAY = 86_400.0
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """So many images of one kind."""

    model: str  # as the user wrote it
    size: str
    images: int


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the tables."""

    wanted: Sequence[Wanted]
    tiers: Mapping[str, str]  # provider -> tier
    baseline: str | None = None  # a provider, to whose yearly sum the others are compared
    latency_seconds: float | None = None  # of every answer; None: what the catalog knows
    per: str | None = None  # how often the whole is generated: day | week | month | year


def duration(limits: Tier, images: int, latency_seconds: float) -> tuple[float, str]:
    """Return the seconds that a provider takes for some images, and what bounds it."""
    bounds = [(images * latency_seconds / (limits.concurrency or DEFAULT_CONCURRENCY), "concurrency")]
    for name, limit in (("rpm", limits.rpm), ("ipm", limits.ipm)):
        if limit is not None:
            bounds.append((images / limit * _MINUTE, name))
    if limits.rpd is not None and images > limits.rpd:
        bounds.append((math.ceil(images / limits.rpd) * _DAY, "rpd"))
    return max(bounds, key=lambda bound: bound[0])


def compare(question: Question, table: PriceTable, catalog: Catalog) -> list[dict[str, Any]]:
    """Return what each provider of a table would ask for everything that is wanted, as rows of JSON.

    Raises:
        ConfigError: A provider, a tier or the baseline is not in the table.
    """
    _check_names(question, table)
    rows = [_priced(row, wanted, question, catalog) for row in table.rows.values() for wanted in question.wanted]
    base = {row["model"] + row["size"]: row["yearly_usd"] for row in rows if row["provider"] == question.baseline}
    for row in rows:
        before = base.get(row["model"] + row["size"])
        if before is not None and row["yearly_usd"] is not None:
            row["yearly_saving_usd"] = _money(before - row["yearly_usd"])
    return rows


def _priced(row: TableRow, wanted: Wanted, question: Question, catalog: Catalog) -> dict[str, Any]:
    known = catalog.find(wanted.model)
    model = known.id if known is not None else wanted.model
    price, batch = row.price_usd(model, wanted.size), row.batch_factors.get(model)
    cost = None if price is None else price * wanted.images
    seconds, bound = duration(
        row.tiers[question.tiers.get(row.name, row.default_tier)],
        wanted.images,
        latency_of(question, catalog, wanted),
    )
    year = None if cost is None or question.per is None else cost * PER_YEAR[question.per]
    return {
        "provider": row.name,
        "model": wanted.model,
        "size": wanted.size,
        "images": wanted.images,
        "price_usd": price,
        "cost_usd": _money(cost),
        "batch_cost_usd": _money(cost * batch) if cost is not None and batch is not None else None,
        "duration_seconds": round(seconds, 1) if price is not None else None,
        "bound_by": bound if price is not None else None,
        "monthly_usd": _money(year / 12) if year is not None else None,
        "yearly_usd": _money(year),
        "yearly_saving_usd": None,
        "note": row.note,
    }


def latency_of(question: Question, catalog: Catalog, wanted: Wanted) -> float:
    """Return how long one answer takes, in seconds."""
    if question.latency_seconds is not None:
        return question.latency_seconds
    known = catalog.find(wanted.model)
    found = known.latency_seconds.get(wanted.size) if known is not None else None
    return found if found is not None else ASSUMED_LATENCY_SECONDS


def as_settings(settings: Settings, table: PriceTable, question: Question, catalog: Catalog) -> Settings:
    """Return the settings as they would be at a table's prices and tiers; who is not in it is left out.

    Raises:
        NoProvider: None of the providers is in the table.
    """
    models = {known.id for wanted in question.wanted if (known := catalog.find(wanted.model)) is not None}
    found = []
    for provider in settings.providers:
        row = table.rows.get(provider.name)
        if row is None:
            continue
        own = {size: usd for model in models for size, usd in row.prices.get(model, {}).items()}
        if not own:
            continue
        tier = row.tiers[question.tiers.get(row.name, row.default_tier)]
        limits = Limits(**{key: value for key, value in asdict(tier).items() if value is not None})
        found.append(replace(provider, terms=replace(provider.terms, prices=own), limits=limits))
    if not found:
        raise NoProvider(f"none of the providers in use is in the price table {table.name}")
    return replace(settings, providers=tuple(found))


def _check_names(question: Question, table: PriceTable) -> None:
    for name, tier in question.tiers.items():
        if name not in table.rows:
            raise ConfigError(f"--tier: {name!r} is not in the price table, which has {', '.join(table.rows)}")
        if tier not in table.rows[name].tiers:
            raise ConfigError(f"--tier: {name} has no tier {tier!r}, only {', '.join(table.rows[name].tiers)}")
    if question.baseline is not None and question.baseline not in table.rows:
        names = ", ".join(table.rows)
        raise ConfigError(f"--baseline: {question.baseline!r} is not in the price table, which has {names}")


def _money(usd: float | None) -> float | None:
    return None if usd is None else round(usd, 4)
