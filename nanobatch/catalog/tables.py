"""Price tables: the newest, made of the catalog, and snapshots by name, so that old plans can be recomputed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from nanobatch.catalog.data import Catalog, Tier
from nanobatch.errors import ConfigError
from nanobatch.yaml_files import parse

NEWEST = "newest"
SNAPSHOTS = ("2025-12",)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One provider in a price table."""

    name: str
    prices: Mapping[str, Mapping[str, float]]  # model id -> size -> USD per image
    tiers: Mapping[str, Tier]
    default_tier: str
    batch_factors: Mapping[str, float] = field(default_factory=dict)  # model id -> times the price; missing: no batch
    note: str = ""

    def price_usd(self, model: str, size: str) -> float | None:
        """Return the price of one image, or None where it is unknown or not offered."""
        return self.prices.get(model, {}).get(size)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices and limits of all providers at one time."""

    name: str
    as_of: dt.date
    rows: Mapping[str, TableRow]


def price_table(name: str, catalog: Catalog) -> PriceTable:
    """Return a table by its name.

    Raises:
        ConfigError: There is none.
    """
    if name == NEWEST:
        return _newest(catalog)
    if name not in SNAPSHOTS:
        raise ConfigError(f"there is no price table {name!r}; there are {', '.join((NEWEST, *SNAPSHOTS))}")
    text = resources.files(__package__).joinpath(f"prices-{name}.yaml").read_text(encoding="utf-8")
    document: Mapping[str, Any] = parse(text, f"prices-{name}.yaml").values
    model = document["model"]
    rows = {provider: _row(provider, entry, model) for provider, entry in document["providers"].items()}
    return PriceTable(name, document["as_of"], rows)


def _newest(catalog: Catalog) -> PriceTable:
    rows = {
        name: TableRow(
            name=name,
            prices=entry.prices,
            tiers=entry.tiers,
            default_tier=entry.default_tier,
            batch_factors=dict.fromkeys(entry.batch.models, entry.batch.factor) if entry.batch else {},
        )
        for name, entry in catalog.providers.items()
        if not entry.listed_only
    }
    return PriceTable(NEWEST, min(entry.as_of for entry in catalog.providers.values()), rows)


def _row(name: str, entry: Mapping[str, Any], model: str) -> TableRow:
    return TableRow(
        name=name,
        prices={model: entry["prices"]},
        tiers={tier: Tier(**preset) for tier, preset in entry["tiers"].items()},
        default_tier=entry.get("default_tier", "1"),
        batch_factors={model: entry["batch_factor"]} if "batch_factor" in entry else {},
        note=entry.get("note", ""),
    )
