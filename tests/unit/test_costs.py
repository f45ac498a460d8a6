"""Prices and times, computed by hand beside the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nanobatch.catalog import load_catalog
from nanobatch.catalog.data import Tier
from nanobatch.catalog.tables import price_table
from nanobatch.config import load_settings
from nanobatch.costs import Question, Wanted, as_settings, compare, duration
from nanobatch.errors import ConfigError, NoProvider

CATALOG = load_catalog()
THEN = price_table("2025-12", CATALOG)


def ask(images: int, size: str, **more: Any) -> dict[str, dict[str, Any]]:
    question = Question((Wanted("nano-banana-pro", size, images),), more.pop("tiers", {}), **more)
    return {row["provider"]: row for row in compare(question, THEN, CATALOG)}


@pytest.mark.parametrize(
    ("limits", "images", "latency", "expected"),
    [
        (Tier(rpm=150, rpd=10_000, concurrency=10), 10_000, 1.0, (4000.0, "rpm")),
        (Tier(concurrency=50), 10_000, 1.0, (200.0, "concurrency")),
        (Tier(concurrency=10), 10_000, 1.0, (1000.0, "concurrency")),
        (Tier(rpm=5, rpd=100, concurrency=1), 1000, 1.0, (10 * 86_400.0, "rpd")),
        (Tier(rpm=5, rpd=100, concurrency=1), 100, 1.0, (1200.0, "rpm")),
        (Tier(ipm=5, concurrency=5), 100, 20.0, (1200.0, "ipm")),
        (Tier(), 8, 20.0, (20.0, "concurrency")),
    ],
)
def test_the_tightest_limit_decides_the_time(
    limits: Tier, images: int, latency: float, expected: tuple[float, str]
) -> None:
    """Slots, the minute's quota or the day's."""
    assert duration(limits, images, latency) == pytest.approx(expected)


def test_the_table_of_december_2025() -> None:
    """The sums that were published then: a month of 10,000 images at 1K, and a year of it."""
    found = ask(10_000, "1K", per="month", latency_seconds=1.0)
    assert {name: row["cost_usd"] for name, row in found.items()} == {
        "google": 390, "laozhang": 500, "kie": 900, "apiyi": 110, "puter": 0,
    }  # fmt: skip
    assert {name: found[name]["yearly_usd"] for name in ("google", "laozhang", "kie")} == {
        "google": 4680, "laozhang": 6000, "kie": 10_800,
    }  # fmt: skip
    assert [found[name]["duration_seconds"] for name in ("google", "laozhang", "kie")] == [4000, 200, 1000]
    assert found["google"]["bound_by"] == "rpm"
    assert found["google"]["monthly_usd"] == 390


def test_savings_are_against_a_baseline() -> None:
    """100,000 images a month at 2K, tier 2."""
    found = ask(100_000, "2K", per="month", baseline="google", tiers={"google": "2"})
    assert found["google"]["cost_usd"] == 13_400
    assert found["laozhang"]["yearly_saving_usd"] == 100_800
    assert found["kie"]["yearly_saving_usd"] == 52_800
    assert found["google"]["yearly_saving_usd"] == 0
    assert found["apiyi"]["yearly_saving_usd"] is None


def test_what_is_not_offered_is_null() -> None:
    """Never zero: an unknown price is not free."""
    found = ask(1000, "4K")
    assert (found["google"]["cost_usd"], found["kie"]["cost_usd"], found["puter"]["cost_usd"]) == (240, 120, 0)
    assert found["google"]["batch_cost_usd"] == 120
    for name in ("laozhang", "apiyi"):
        assert found[name]["price_usd"] is found[name]["cost_usd"] is found[name]["duration_seconds"] is None
    assert found["kie"]["batch_cost_usd"] is None
    assert found["google"]["yearly_usd"] is None


def test_the_newest_table_is_the_catalog() -> None:
    """What is listed only is left out; unknown models have no price."""
    table = price_table("newest", CATALOG)
    assert list(table.rows) == [name for name, entry in CATALOG.providers.items() if not entry.listed_only]
    question = Question((Wanted("nano-banana-pro", "2K", 10), Wanted("no-such", "1K", 1)), {})
    rows = {(row["provider"], row["model"]): row for row in compare(question, table, CATALOG)}
    assert rows["google", "nano-banana-pro"]["cost_usd"] == 1.34
    assert rows["google", "nano-banana-pro"]["batch_cost_usd"] == 0.67
    assert rows["google", "no-such"]["price_usd"] is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tiers": {"gogle": "1"}}, "'gogle' is not in the price table"),
        ({"tiers": {"google": "9"}}, "google has no tier '9', only 0, 1, 2, 3"),
        ({"baseline": "nobody"}, "'nobody' is not in the price table"),
    ],
)
def test_names_that_are_not_in_the_table_are_told(more: dict[str, Any], words: str) -> None:
    """With those that are."""
    with pytest.raises(ConfigError, match=words):
        ask(1, "1K", **more)


def test_settings_take_the_tables_prices_and_tiers(tmp_path: Path) -> None:
    """The plan of an old table is one at old prices; who was not in it is left out."""
    environ = {"GEMINI_API_KEY": "k", "OPENAI_API_KEY": "k"}
    settings = load_settings(config_path=None, flags={}, environ=environ, cwd=tmp_path, user_folder=tmp_path)
    question = Question((Wanted("nano-banana-pro", "1K", 1),), {"google": "2"})
    [google] = as_settings(settings, THEN, question, CATALOG).providers
    assert (google.name, google.limits.rpm, google.limits.concurrency) == ("google", 1000, 50)
    assert google.terms.prices == {"1K": 0.039, "2K": 0.134, "4K": 0.24}
    only = load_settings(
        config_path=None, flags={}, environ={"OPENAI_API_KEY": "k"}, cwd=tmp_path, user_folder=tmp_path
    )
    with pytest.raises(NoProvider, match="2025-12"):
        as_settings(only, THEN, question, CATALOG)
