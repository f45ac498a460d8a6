"""Typical situations, and whom to use in each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nanobatch.catalog import load_catalog
from nanobatch.catalog.profiles import Profile, Traits, find_profile, profile_names, provider_traits, recommend
from nanobatch.catalog.tables import SNAPSHOTS, price_table
from nanobatch.errors import ConfigError

TRAITS = {
    "vendor": Traits("vendor", "s"), "near": Traits("relay", "s", mainland_china=True), "far": Traits("relay", "s"),
    "users": Traits("user-pays", "s"),
}  # fmt: skip
PROFILE = Profile("p", "a situation", 10, "1K", "month", ("vendor", "relay"), 2)


def row(
    provider: str, cost: float | None, *, seconds: float | None = 60.0, batch: float | None = None
) -> dict[str, Any]:
    return {"provider": provider, "cost_usd": cost, "batch_cost_usd": batch, "duration_seconds": seconds}


ROWS = [row("vendor", 4.0, batch=2.0), row("near", 3.0), row("far", 1.0, seconds=90_000.0), row("users", 0.0)]


def chosen(profile: Profile, rows: list[dict[str, Any]] = ROWS) -> list[str]:
    return [choice["provider"] for choice in recommend(profile, rows, TRAITS)]


def test_the_cheapest_of_the_right_kind_comes_first() -> None:
    """Who lets the users pay is cheaper still, and yet no answer to somebody who pays himself."""
    assert chosen(PROFILE) == ["far", "near"]
    assert chosen(replace(PROFILE, best=9)) == ["far", "near", "vendor"]
    assert chosen(replace(PROFILE, kinds=("user-pays",))) == ["users"]
    assert chosen(replace(PROFILE, kinds=("vendor",))) == ["vendor"]


def test_who_is_too_slow_or_too_far_away_is_left_out() -> None:
    """A price is no help where the images come too late or nothing gets through."""
    assert chosen(replace(PROFILE, within_hours=24)) == ["near", "vendor"]
    assert chosen(replace(PROFILE, mainland_china=True)) == ["near"]


def test_who_sells_nothing_of_the_kind_or_is_unknown_is_left_out() -> None:
    """An unknown price is not a low one, and of a stranger nothing is claimed."""
    assert chosen(PROFILE, [row("vendor", None, seconds=None), row("stranger", 0.5)]) == []


def test_at_one_price_the_faster_comes_first() -> None:
    """Time is worth something, too."""
    assert chosen(PROFILE, [row("near", 3.0, seconds=70.0), row("vendor", 3.0)]) == ["vendor", "near"]


def test_the_reasons_are_words() -> None:
    """Why this one, why as the second, and what half the price needs."""
    first, second = recommend(replace(PROFILE, mainland_china=False), ROWS[:2], TRAITS)
    assert "the cheapest that fits" in first["why"]
    assert "takes over" in second["why"]
    assert "2.00 USD as a batch" in second["why"]
    [near] = recommend(replace(PROFILE, mainland_china=True), ROWS, TRAITS)
    assert "without a tunnel" in near["why"]


def test_a_profile_that_does_not_exist_names_the_nearest() -> None:
    """A slip of the pen costs one look."""
    with pytest.raises(ConfigError, match="did you mean ecommerce"):
        find_profile("ecomerce")
    with pytest.raises(ConfigError, match="only prototype"):
        find_profile("xyz")


@pytest.mark.parametrize("name", ["prototype", "ecommerce", "enterprise-4k", "frontend", "china"])
def test_every_profile_is_complete(name: str) -> None:
    """Its kinds exist, and its needs are numbers above zero."""
    profile = find_profile(name)
    assert name in profile_names()
    assert set(profile.kinds) <= {traits.kind for traits in provider_traits().values()}
    assert profile.images > 0
    assert profile.best > 0
    assert profile.situation


def test_every_trait_belongs_to_a_provider_and_has_a_source() -> None:
    """And every provider of the snapshots has its traits."""
    catalog, traits = load_catalog(), provider_traits()
    assert set(traits) <= set(catalog.providers)
    assert all("https://" in entry.source for entry in traits.values())
    for name in SNAPSHOTS:
        assert set(price_table(name, catalog).rows) <= set(traits)
