"""Which providers take part in a run, and with what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nanobatch.catalog import load_catalog, offer_for
from nanobatch.config import load_settings
from nanobatch.errors import ConfigError, NoProvider
from nanobatch.settings import ProviderSettings, Settings

CATALOG = load_catalog()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def load(
    folder: Path, text: str = "", environ: dict[str, str] | None = None, *, sandbox: bool = False, **flags: Any
) -> Settings:
    (folder / "nanobatch.yaml").write_text(text)
    return load_settings(
        config_path=None, flags=flags, environ=environ or {}, cwd=folder, user_folder=folder / "none",
        sandbox_url="http://127.0.0.1:8787" if sandbox else None,
    )  # fmt: skip


def only(folder: Path, text: str, environ: dict[str, str] | None = None, *, sandbox: bool = False) -> ProviderSettings:
    [provider] = load(folder, text, environ, sandbox=sandbox).providers
    return provider


def test_without_a_configuration_every_key_counts(folder: Path) -> None:
    """In the catalog's order; what must be listed is not among them, though its key is there."""
    environ = {name: "k" for entry in CATALOG.providers.values() for name in entry.key_variables}
    found = [provider.name for provider in load(folder, "", environ).providers]
    assert found == [name for name, entry in CATALOG.providers.items() if not entry.listed_only]
    assert "vertex" not in found
    assert "apiyi-backup" not in found


def test_what_must_be_listed_works_where_it_is(folder: Path) -> None:
    """The second address of a relay, with the same key."""
    provider = only(folder, "providers:\n  apiyi-backup: {}\n", {"APIYI_API_KEY": "k"})
    assert provider.base_url == "https://vip.apiyi.com/v1beta"


def test_vertex_needs_a_project_and_no_key(folder: Path) -> None:
    """Its address is made of project and location; its credentials are the machine's."""
    text = "providers:\n  vertex: {project: shop-1}\n"
    provider = only(folder, text)
    assert provider.base_url == "https://aiplatform.googleapis.com/v1beta1/projects/shop-1/locations/global"
    assert (provider.api_key, provider.auth, provider.protocol) == (None, "google", "vertex")
    assert "/projects/env-1/" in only(folder, "providers:\n  vertex: {}\n", {"GOOGLE_CLOUD_PROJECT": "env-1"}).base_url
    with pytest.raises(ConfigError, match=r"nanobatch\.yaml:2: vertex needs a project"):
        load(folder, "providers:\n  vertex: {}\n")


def test_a_location_has_a_host_of_its_own(folder: Path) -> None:
    """Only `global` is served by the host without a prefix."""
    provider = only(folder, "providers:\n  vertex: {project: p, location: europe-west4}\n")
    assert provider.base_url == (
        "https://europe-west4-aiplatform.googleapis.com/v1beta1/projects/p/locations/europe-west4"
    )


def test_another_protocol_of_a_relay_has_its_own_address(folder: Path) -> None:
    """Laozhang sells gpt-image through OpenAI's format; the key travels as always there."""
    environ = {"LAOZHANG_API_KEY": "k"}
    text = "providers:\n  laozhang: {protocol: openai, prices: {1K: 0.03}}\n"
    provider = only(folder, text, environ)
    assert (provider.base_url, provider.auth) == ("https://api.laozhang.ai/v1", "bearer")
    with pytest.raises(ConfigError, match=r"providers\.laozhang\.base_url is needed"):
        load(folder, "providers:\n  laozhang: {protocol: kie}\n", environ)


def test_uploads_go_to_the_vendors_service_only_at_the_vendors_address(folder: Path) -> None:
    """An endpoint of one's own takes uploads itself, unless it is told where else."""
    environ = {"KIE_API_KEY": "k"}
    assert only(folder, "providers:\n  kie: {}\n", environ).upload_url == "https://kieai.redpandaai.co"
    own = "providers:\n  kie: {base_url: 'http://127.0.0.1:1/kie'}\n"
    assert only(folder, own, environ).upload_url is None
    told = "providers:\n  kie: {base_url: 'http://127.0.0.1:1/kie', upload_url: 'http://127.0.0.1:2/up'}\n"
    assert only(folder, told, environ).upload_url == "http://127.0.0.1:2/up"


@pytest.mark.parametrize(
    ("where", "elsewhere"),
    [("", False), ("base_url: 'https://api.openai.com/v1', ", False), ("base_url: 'http://127.0.0.1:1/v1', ", True)],
)
def test_tokens_cost_what_the_vendor_says_at_the_vendors_address(folder: Path, where: str, elsewhere: bool) -> None:
    """A price of one's own for a model that the catalog does not price: a guess there, what is paid elsewhere."""
    provider = only(folder, f"providers:\n  openai: {{{where}api_key: k, prices: {{1K: 0.2}}}}\n")
    assert provider.terms.elsewhere == elsewhere
    offer = offer_for(provider.terms, "gpt-image-2.5-flare", CATALOG)
    assert offer.price_usd("1K") == 0.2
    assert (offer.token_prices is None) == elsewhere


def test_a_tier_that_is_written_down_is_the_only_one(folder: Path) -> None:
    """Where nobody says anything, a mix may use the cheaper one beside the usual one."""
    env = {"GEMINI_API_KEY": "k"}
    assert load(folder, "providers:\n  google: {}\n", env).providers[0].flex_in_mixes
    assert not load(folder, "providers:\n  google: {tier_of_service: standard}\n", env).providers[0].flex_in_mixes


def test_flex_is_a_field_on_the_wire_and_half_the_price(folder: Path) -> None:
    """Beside the user's own options; formats without such a tier refuse it with the line."""
    text = "providers:\n  google: {tier_of_service: flex, options: {temperature: 1}}\n"
    provider = only(folder, text, {"GEMINI_API_KEY": "k"})
    assert provider.flex
    assert provider.options == {"temperature": 1, "serviceTier": "flex"}
    assert provider.terms.flex
    with pytest.raises(ConfigError, match=r"nanobatch\.yaml:3: only providers that speak gemini or vertex"):
        load(folder, "providers:\n  kie:\n    tier_of_service: flex\n", {"KIE_API_KEY": "k"})


@pytest.mark.parametrize("name", [name for name in CATALOG.providers if name != "vertex"])
def test_the_sandbox_stands_in_for_every_provider(folder: Path, name: str) -> None:
    """At its own address, in its own format, without a key of the user's."""
    provider = only(folder, f"providers:\n  {name}: {{}}\n", sandbox=True)
    assert provider.base_url == "http://127.0.0.1:8787" + CATALOG.protocols[provider.protocol].suffix
    assert provider.api_key is not None
    assert provider.api_key.reveal() == "sandbox"
    assert provider.upload_url is None


def test_the_sandbox_needs_no_credentials_of_the_machine(folder: Path) -> None:
    """Also where a provider signs with those."""
    provider = only(folder, "providers:\n  vertex: {}\n", sandbox=True)
    assert provider.auth == "bearer"
    assert provider.api_key is not None


def test_a_key_is_not_needed_where_nobody_asks_for_one(folder: Path) -> None:
    """A server of one's own may be open."""
    text = "providers:\n  mine: {protocol: openai, base_url: 'http://127.0.0.1:1/v1', auth: none}\n"
    assert only(folder, text).api_key is None
    with pytest.raises(ConfigError, match="mine has no key"):
        load(folder, "providers:\n  mine: {protocol: openai, base_url: 'http://127.0.0.1:1/v1'}\n")


@pytest.mark.parametrize("protocol", CATALOG.protocols)
def test_an_endpoint_of_ones_own_may_speak_any_format(folder: Path, protocol: str) -> None:
    """With the way that the format sends keys."""
    text = f"providers:\n  mine: {{protocol: {protocol}, base_url: 'http://127.0.0.1:1', api_key: k, auth: bearer}}\n"
    assert only(folder, text).protocol == protocol


def test_another_packages_format_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an installed package brings is as good as ours; its key travels as Bearer where nothing is said."""
    package = folder / "site" / "brush-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: brush\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[nanobatch.providers]\nbrush = brush_provider\n")
    text = "providers:\n  mine: {protocol: brush, base_url: 'http://127.0.0.1:1', api_key: k}\n"
    with pytest.raises(ConfigError, match="'brush' is unknown"):
        load(folder, text)
    monkeypatch.syspath_prepend(str(folder / "site"))
    assert only(folder, text).auth == "bearer"


def test_limits_of_a_vendor_that_counts_in_short_windows(folder: Path) -> None:
    """Twenty tasks in ten seconds; the user's own rate keeps the window."""
    environ = {"KIE_API_KEY": "k"}
    limits = only(folder, "providers:\n  kie: {}\n", environ).limits
    assert (limits.rpm, limits.window_seconds, limits.concurrency) == (120, 10, 100)
    limits = only(folder, "providers:\n  kie: {limits: {rpm: 60}}\n", environ).limits
    assert (limits.rpm, limits.window_seconds) == (60, 10)


def test_a_cooldown_may_be_told(folder: Path) -> None:
    """Seconds for which a provider is left alone."""
    text = "providers:\n  google: {cooldown_seconds: 5}\n"
    assert only(folder, text, {"GEMINI_API_KEY": "k"}).cooldown_seconds == 5.0
    with pytest.raises(ConfigError, match="cooldown_seconds must be a number"):
        load(folder, "providers:\n  google: {cooldown_seconds: 0}\n", {"GEMINI_API_KEY": "k"})


def test_no_key_at_all_names_what_to_set(folder: Path) -> None:
    """The variables, and the way to try everything without one."""
    with pytest.raises(NoProvider, match=r"GEMINI_API_KEY.*--sandbox"):
        load(folder)
