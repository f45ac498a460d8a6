"""The catalog's data hang together."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import re
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from nanobatch.catalog import Catalog, load_catalog
from nanobatch.catalog.data import PROVIDERS
from nanobatch.model import SIZES
from nanobatch.providers import PROTOCOLS
from nanobatch.schema import LIMITS, base_url

CATALOG = load_catalog()


def test_there_is_something_to_check() -> None:
    """The catalog holds every provider and the models that they sell."""
    assert set(CATALOG.providers) >= {"google", "laozhang", "kie", "apiyi", "puter", "openai", "vertex"}
    assert len(CATALOG.models) >= 6
    assert load_catalog() is CATALOG
    assert tuple(CATALOG.providers) == PROVIDERS


@pytest.mark.parametrize("name", CATALOG.providers)
def test_prices_are_dated_and_sourced(name: str) -> None:
    """A price without a date or a source is a rumour."""
    entry = CATALOG.providers[name]
    assert entry.as_of > dt.date(2026, 1, 1)
    assert "https://" in entry.price_source
    assert entry.worst_factor >= 1
    assert base_url(entry.base_url.format(project="p", location="global", region=""))
    assert entry.base_url.startswith("https://")
    assert entry.key_variables or entry.auth == "google"
    assert all(re.search(r"_(KEY|TOKEN)$", variable) for variable in entry.key_variables)
    assert entry.protocol in PROTOCOLS
    assert entry.auth in ("bearer", "x-goog-api-key", "key", "google")
    assert ZoneInfo(entry.day_zone).key == entry.day_zone


@pytest.mark.parametrize("name", CATALOG.providers)
def test_presets_are_limits_that_may_be_written(name: str) -> None:
    """Each number of a tier passes the check of the configuration, and the usual tier exists."""
    entry = CATALOG.providers[name]
    assert entry.default_tier in entry.tiers
    for tier in entry.tiers.values():
        found = {key: value for key, value in dataclasses.asdict(tier).items() if value is not None}
        assert "concurrency" in found
        for key, value in found.items():
            assert LIMITS[key](value) == value


def test_tiers_grow() -> None:
    """A higher tier never allows less; no number is no limit."""
    for entry in CATALOG.providers.values():
        tiers = [entry.tiers[tier] for tier in sorted(entry.tiers)]
        for lower, higher in pairwise(tiers):
            for key in LIMITS:
                assert (getattr(lower, key) or math.inf) <= (getattr(higher, key) or math.inf)


@pytest.mark.parametrize("name", CATALOG.providers)
def test_every_price_is_of_a_known_model_and_size(name: str) -> None:
    """Tables name models and sizes that exist, and money is positive."""
    entry = CATALOG.providers[name]
    assert entry.prices or name == "together"  # which publishes none in words
    for model, prices in entry.prices.items():
        assert set(prices) <= set(CATALOG.models[model].sizes)
        assert all(0 < price < 5 or name == "puter" for price in prices.values())  # its end users pay
    for model in entry.token_prices:
        assert model in CATALOG.models


@pytest.mark.parametrize("name", CATALOG.models)
def test_models_are_described_whole(name: str) -> None:
    """Sizes are known ones, each ratio has its pixels, and they have that ratio within a tenth."""
    model = CATALOG.models[name]
    assert set(model.sizes) <= set(SIZES)
    assert set(model.pixels) == (set(model.ratios) if not name.startswith("grok") else set())  # nobody documents those
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


def test_what_is_sold_where_the_retired_are_not_is_alive() -> None:
    """A vendor's own price list holds no model that the vendor has shut down."""
    vendors = [entry for entry in CATALOG.providers.values() if not entry.sells_retired]
    assert vendors
    for entry in vendors:
        assert all(CATALOG.models[model].retired is None for model in entry.prices)


def test_retirement_is_a_fact_of_the_past() -> None:
    """Dates of shutdown lie before the day for which the catalog speaks."""
    days = [day for model in CATALOG.models.values() for day in (*model.former.values(), model.retired) if day]
    assert len(days) >= 4
    assert all(type(day) is dt.date and day <= CATALOG.as_of for day in days)


@pytest.mark.parametrize("name", ["google"])
def test_the_price_of_an_image_is_that_of_its_tokens(name: str) -> None:
    """Both tables of a vendor say the same: 1,120 tokens at $120 a million are the $0.134 of the list."""
    entry = CATALOG.providers[name]
    assert set(entry.token_prices) == set(entry.prices)
    for model, prices in entry.prices.items():
        for size, price in prices.items():
            tokens = CATALOG.models[model].image_tokens[size]
            assert tokens * entry.token_prices[model].image / 1e6 == pytest.approx(price, rel=0.01)


@pytest.mark.parametrize("name", CATALOG.models)
def test_times_and_tokens_are_of_sizes_that_exist(name: str) -> None:
    """Estimates name the model's own sizes, and a larger image is neither faster nor cheaper."""
    model = CATALOG.models[name]
    for table in (model.latency_seconds, model.image_tokens):
        assert set(table) <= set(model.sizes)
        figures = [table[size] for size in SIZES if size in table]
        assert figures == sorted(figures)
        assert all(figure > 0 for figure in figures)
    assert set(model.latency_seconds) == set(model.sizes)


def test_another_catalog_knows_its_own_names() -> None:
    """Names are looked up in the catalog that is asked, not in one that was loaded before."""
    pro = CATALOG.models["gemini-3-pro-image"]
    own = Catalog({"mine": dataclasses.replace(pro, id="mine", aliases=(), former={})}, {}, {}, CATALOG.as_of)
    assert own.find("nano-banana-pro") is None
    assert own.names == ("mine",)
    assert CATALOG.find("mine") is None


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


@pytest.mark.parametrize("name", CATALOG.protocols)
def test_protocols_are_described_whole(name: str) -> None:
    """Each wire format that the program speaks, and no other, with what it can carry."""
    assert set(CATALOG.protocols) == set(PROTOCOLS)
    protocol = CATALOG.protocols[name]
    assert protocol.suffix.startswith("/")
    assert protocol.auth in ("bearer", "x-goog-api-key", "key", "google")
    assert set(protocol.sizes or ()) <= set(SIZES)
    rules = protocol.references
    assert (rules.most > 0) == (rules.bytes > 0) == bool(rules.types)
    assert all(kind.startswith("image/") for kind in rules.types)


@pytest.mark.parametrize("name", CATALOG.providers)
def test_what_a_provider_calls_its_models_is_about_models_that_exist(name: str) -> None:
    """Names, reference limits, seeds and tiers of service speak of models in the catalog."""
    entry = CATALOG.providers[name]
    for model in (*entry.wire_models, *entry.references, *(entry.seeds or ())):
        assert model in CATALOG.models
    for model, most in entry.references.items():
        assert 0 < most <= CATALOG.models[model].references or model == "gemini-2.5-flash-image"
    if entry.flex is not None:
        assert 0 < entry.flex.factor < 1
        assert set(entry.flex.models) <= set(entry.prices)
    assert set(entry.other_protocols) <= set(PROTOCOLS)
    assert all(url.startswith("https://") for url in entry.other_protocols.values())
    assert entry.upload_url is None or entry.upload_url.startswith("https://")
