"""What is known of every provider."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nanobatch.catalog import load_catalog
from nanobatch.config import load_settings
from nanobatch.errors import ConfigError
from nanobatch.providers_report import find, report
from nanobatch.settings import Settings

CATALOG = load_catalog()


def settings(tmp_path: Path, environ: dict[str, str], text: str = "") -> Settings:
    (tmp_path / "nanobatch.yaml").write_text(text)
    return load_settings(config_path=None, flags={}, environ=environ, cwd=tmp_path, user_folder=tmp_path / "none")


def test_without_any_key_everything_is_shown() -> None:
    """Whoever has no key yet sees what there is, in the catalog's order, and nothing counts as used."""
    found = report(CATALOG, None, {})
    assert [provider["name"] for provider in found] == list(CATALOG.providers)
    assert not any(provider["used"] or provider["key_found_in"] for provider in found)
    assert all(provider["as_of"] and provider["limits"]["concurrency"] for provider in found)


def test_those_in_use_come_first_with_the_users_own_numbers(tmp_path: Path) -> None:
    """Order, limits, prices and addresses are those of the run, not those of the catalog."""
    environ = {"GEMINI_API_KEY": "k1", "KIE_API_KEY": "k2"}
    text = """
providers:
  kie: {priority: 1, limits: {rpm: 30}}
  google: {priority: 2, prices: {1K: 0.5}}
  mine: {protocol: openai, base_url: 'http://127.0.0.1:1/v1', api_key: k3, priority: 3, prices: {1K: 0.1},
         models: {nano-banana-pro: theirs}}
"""
    found = report(CATALOG, settings(tmp_path, environ, text), environ)
    kie, google, mine, *others = found
    assert [provider["name"] for provider in (kie, google, mine)] == ["kie", "google", "mine"]
    assert not any(provider["used"] for provider in others)
    assert (kie["key_found_in"], kie["limits"]["rpm"], kie["limits"]["window_seconds"]) == ("KIE_API_KEY", 30, 10)
    assert kie["models"][0]["wire_id"] == "nano-banana-pro"
    assert google["key_found_in"] == "GEMINI_API_KEY"
    assert (mine["key_found_in"], mine["as_of"], mine["key_variables"]) == ("configuration", None, [])
    assert [(model["id"], model["wire_id"], model["prices"]) for model in mine["models"]] == [
        ("nano-banana-pro", "theirs", {"1K": 0.1})
    ]


def test_a_key_never_shows(tmp_path: Path) -> None:
    """Only the name of its variable."""
    environ = {"GEMINI_API_KEY": "AIza-secret-1234567"}
    assert "secret" not in json.dumps(report(CATALOG, settings(tmp_path, environ), environ))


def test_a_tier_of_service_changes_the_price(tmp_path: Path) -> None:
    """Flex halves it, and leaves out the models that have no such tier."""
    environ = {"GEMINI_API_KEY": "k"}
    text = "providers:\n  google: {tier_of_service: flex}\n"
    google = report(CATALOG, settings(tmp_path, environ, text), environ)[0]
    assert [(model["name"], model["prices"]["1K"]) for model in google["models"]] == [("nano-banana-pro", 0.067)]


@pytest.mark.parametrize("name", CATALOG.providers)
def test_every_model_is_described_whole(name: str) -> None:
    """A name to ask for, what the vendor calls it, what it takes and what it costs."""
    for model in find(report(CATALOG, None, {}), name)["models"]:
        assert CATALOG.find(model["name"]) is not None
        assert model["wire_id"]
        assert model["prices"]
        assert set(model["prices"]) <= {"512", "1K", "2K", "4K"}
        assert isinstance(model["references"], int)
        assert isinstance(model["seed"], bool)


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    """A typing error is answered with what was meant."""
    with pytest.raises(ConfigError, match="did you mean 'replicate'"):
        find(report(CATALOG, None, {}), "replicat")
