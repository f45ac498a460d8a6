"""The catalog's data hang together."""

from __future__ import annotations

import datetime as dt

import pytest

from nanobatch.catalog import load_catalog
from nanobatch.model import SIZES

CATALOG = load_catalog()


def test_there_is_something_to_check() -> None:
    """The catalog holds the first providers and their models."""
    assert set(CATALOG.providers) == {"google", "openai", "laozhang", "apiyi"}
    assert len(CATALOG.models) >= 6
    assert load_catalog() is CATALOG


@pytest.mark.parametrize("name", CATALOG.providers)
def test_prices_are_dated_and_sourced(name: str) -> None:
    """A price without a date or a source is a rumour."""
    entry = CATALOG.providers[name]
    assert dt.date(2026, 1, 1) < entry.as_of <= dt.date.today() + dt.timedelta(days=1)  # noqa: DTZ011
    assert "https://" in entry.price_source
    assert entry.worst_factor >= 1
    assert entry.base_url.startswith("https://")
    assert entry.key_variables
    assert entry.default_tier in entry.tiers


@pytest.mark.parametrize("name", CATALOG.providers)
def test_every_price_is_of_a_known_model_and_size(name: str) -> None:
    """Tables name models and sizes that exist, and money is positive."""
    entry = CATALOG.providers[name]
    assert entry.prices
    for model, prices in entry.prices.items():
        assert set(prices) <= set(CATALOG.models[model].sizes)
        assert all(0 < price < 5 for price in prices.values())
    for model in entry.token_prices:
        assert model in CATALOG.models


@pytest.mark.parametrize("name", CATALOG.models)
def test_models_are_described_whole(name: str) -> None:
    """Sizes are known ones, each ratio has its pixels, and they have that ratio within a tenth."""
    model = CATALOG.models[name]
    assert set(model.sizes) <= set(SIZES)
    assert set(model.pixels) == set(model.ratios)
    for ratio, (width, height) in model.pixels.items():
        across, down = map(int, ratio.split(":"))
        assert width / height == pytest.approx(across / down, rel=0.1)
        assert width % 16 == height % 16 == 0


def test_the_retired_have_a_living_successor() -> None:
    """Following successors ends at a model that is sold."""
    retired = [model for model in CATALOG.models.values() if model.retired]
    assert retired
    for model in retired:
        assert model.successor is not None
        assert CATALOG.models[model.successor].retired is None


def test_no_name_means_two_models() -> None:
    """Ids, aliases and former ids are unique."""
    assert len(set(CATALOG.names)) == len(CATALOG.names)


def test_names_lead_to_models() -> None:
    """Our name, the vendor's id and a former id find the same model."""
    pro = CATALOG.models["gemini-3-pro-image"]
    assert CATALOG.find("nano-banana-pro") is CATALOG.find("gemini-3-pro-image-preview") is pro
    assert CATALOG.find("no-such-model") is None


def test_documented_pixels() -> None:
    """The table is the documented one."""
    pro = CATALOG.models["gemini-3-pro-image"]
    assert (pro.pixels["16:9"], pro.pixels["21:9"], pro.pixels["1:1"]) == ((1376, 768), (1584, 672), (1024, 1024))
    assert "1:8" in CATALOG.ratios
    assert "1:8" not in pro.ratios
