"""Price tables by name."""

from __future__ import annotations

import datetime as dt

import pytest

from nanobatch.catalog import load_catalog
from nanobatch.catalog.tables import NEWEST, SNAPSHOTS, price_table
from nanobatch.errors import ConfigError

CATALOG = load_catalog()


@pytest.mark.parametrize("name", [NEWEST, *SNAPSHOTS])
def test_a_table_is_dated_and_whole(name: str) -> None:
    """Each provider has tiers, among them the usual one; prices are of models in the catalog."""
    table = price_table(name, CATALOG)
    assert table.name == name
    assert isinstance(table.as_of, dt.date)
    for row in table.rows.values():
        assert row.default_tier in row.tiers
        assert all(CATALOG.find(model) for model in row.prices)
        assert all(0 < factor < 1 for factor in row.batch_factors.values())


def test_the_published_figures_stay_as_they_were_published() -> None:
    """Also the one that was wrong then, with a note."""
    google = price_table("2025-12", CATALOG).rows["google"]
    assert google.price_usd("gemini-3-pro-image", "1K") == 0.039
    assert "0.134" in google.note
    assert google.price_usd("gemini-3-pro-image", "512") is None
    assert google.price_usd("flux-dev", "1K") is None


def test_an_unknown_table_is_told_with_those_that_exist() -> None:
    """A typing error is answered."""
    with pytest.raises(ConfigError, match="newest, 2025-12"):
        price_table("2024", CATALOG)
