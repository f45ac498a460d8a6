"""How settings are put together, and how mistakes in them are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nanobatch.config import FILE, expand, load_settings
from nanobatch.errors import ConfigError, NoProvider
from nanobatch.schema import LIMITS, PROVIDER, SECTIONS
from nanobatch.settings import Limits, ProviderSettings, Settings

RELAY = "providers:\n  relay: {protocol: openai, base_url: 'http://127.0.0.1:1/v1', api_key: k, prices: {1k: 0.05}}\n"
KEY = {"GEMINI_API_KEY": "key-of-google"}


class Place:
    """A working folder, a user's folder, an environment."""

    def __init__(self, root: Path) -> None:
        self.cwd, self.user = root / "cwd", root / "user"
        self.cwd.mkdir()
        self.user.mkdir()

    def write(self, text: str, name: str = FILE) -> None:
        (self.cwd / name).write_text(text, encoding="utf-8")

    def load(self, flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None, **more: Any) -> Settings:
        return load_settings(
            config_path=more.get("config_path"),
            flags=flags or {},
            environ=KEY if environ is None else environ,
            cwd=self.cwd,
            user_folder=self.user,
            sandbox_url=more.get("sandbox_url"),
        )

    def only(self, text: str, **more: Any) -> ProviderSettings:
        self.write(text)
        [provider] = self.load(**more).providers
        return provider


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_nearest_place_wins(place: Place) -> None:
    """Flag over environment over the folder's file over the user's file over the default; each says where it is from."""
    settings = place.load()
    assert (settings.run.retries, settings.origin("run.retries")) == (4, "default")
    (place.user / "config.yaml").write_text("run: {retries: 1}\n")
    settings = place.load()
    assert (settings.run.retries, settings.origin("run.retries")) == (1, f"{place.user / 'config.yaml'}:1")
    place.write("run:\n  retries: 2\n")
    settings = place.load()
    assert (settings.run.retries, settings.origin("run.retries")) == (2, "nanobatch.yaml:2")
    settings = place.load(environ={**KEY, "NANOBATCH_RUN_RETRIES": "3"})
    assert (settings.run.retries, settings.origin("run.retries")) == (3, "NANOBATCH_RUN_RETRIES")
    settings = place.load({"run.retries": 9}, {**KEY, "NANOBATCH_RUN_RETRIES": "3"})
    assert (settings.run.retries, settings.origin("run.retries")) == (9, "--retries")


def test_another_file_takes_the_place_of_the_folders(place: Place) -> None:
    """`--config` and NANOBATCH_CONFIG name a file; it must exist."""
    place.write("run: {retries: 1}\n")
    place.write("run: {retries: 7}\n", "other.yaml")
    assert place.load(config_path="other.yaml").run.retries == 7
    assert place.load(environ={**KEY, "NANOBATCH_CONFIG": "other.yaml"}).run.retries == 7
    with pytest.raises(ConfigError, match="nowhere.yaml: there is no such file"):
        place.load(config_path="nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("providers:\n  google:\n    limts: {rpm: 5}\n", "nanobatch.yaml:3: unknown key 'limts' under providers.google; did you mean 'limits'?"),
        ("providers:\n  google:\n    limits:\n      rmp: 5\n", "nanobatch.yaml:4: unknown key 'rmp' under providers.google.limits; did you mean 'rpm'?"),
        ("rum: {}\n", "nanobatch.yaml:1: unknown key 'rum'; did you mean 'run'?"),
        ("run:\n  retires: 3\n", "nanobatch.yaml:2: unknown key 'retires' under run; did you mean 'retries'?"),
        ("run: {retries: many}\n", "nanobatch.yaml:1: run.retries must be a number from 0 to 100"),
        ("run: 3\n", "nanobatch.yaml:1: run must be keys with values"),
        ("providers: [google]\n", "nanobatch.yaml:1: providers must be keys with values"),
        ("defaults:\n  size: 9K\n", "nanobatch.yaml:2: defaults.size must be one of 512, 1K, 2K, 4K"),
        ("run: {budget_usd: -1}\n", "nanobatch.yaml:1: run.budget_usd must be a number of 0 or more"),
        ("run: {strategy: cheapest}\n", "nanobatch.yaml:1: run.strategy 'cheapest' is not available in this version yet"),
        ("cache: {url: 'redis://x'}\n", "nanobatch.yaml:1: cache.url 'redis://x' is not available"),
        ("output: {gallery: true}\n", "nanobatch.yaml:1: output.gallery True is not available"),
        ("usage:\n  budget_usd_per_day: 5\n", "nanobatch.yaml:2: usage.budget_usd_per_day 5 is not available"),
        ("providers:\n  google: {tier: 9}\n", "nanobatch.yaml:2: google has no tier '9', only 0, 1, 2, 3"),
        ("providers:\n  google:\n    limits: {rpm: 0}\n", "nanobatch.yaml:3: providers.google.limits.rpm must be a number of 1"),
        ("providers:\n  x: {api_key: k, base_url: 'http://127.0.0.1/v1'}\n", "nanobatch.yaml:2: x is not in the catalog, so providers.x.protocol is needed"),
        ("providers:\n  x: {api_key: k, protocol: gemini}\n", "nanobatch.yaml:2: x is not in the catalog, so providers.x.base_url is needed"),
        ("providers:\n  x: {protocol: gemini, base_url: 'http://h/v1'}\n", "nanobatch.yaml:2: providers.x.api_key is missing"),
        ("providers:\n  x: {protocol: kie, base_url: 'http://h/v1', api_key: k}\n", "nanobatch.yaml:2: providers.x.protocol must be gemini or openai"),
        ("providers:\n  google: {base_url: 'https://h/v1?key=1'}\n", "nanobatch.yaml:2: providers.google.base_url must not contain"),
        ("providers:\n  google: {prices: {1K: -1}}\n", "nanobatch.yaml:2: providers.google.prices must be a number"),
        ("output: {dir: '${NOWHERE}/x'}\n", "nanobatch.yaml:1: the variable NOWHERE is not set"),
        ("run: {retries: 1}\nrun: {retries: 2}\n", "nanobatch.yaml:2: key 'run' stands here twice"),
        ("run: [\n", "nanobatch.yaml:2: this is not valid YAML"),
        ("- x\n", "nanobatch.yaml:1: expected keys"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(place: Place, text: str, says: str) -> None:
    """Every error begins with the file and the line, and names the nearest known word."""
    place.write(text)
    with pytest.raises(ConfigError) as caught:
        place.load()
    assert caught.value.message.startswith(says)


@pytest.mark.parametrize(
    ("flags", "environ", "says"),
    [
        ({"run.budget_usd": -1.0}, KEY, "--budget: run.budget_usd must be a number of 0 or more, not -1.0"),
        ({"providers": ["gogle"]}, KEY, "--provider: unknown provider 'gogle'; did you mean 'google'?"),
        ({"limits.concurrency": 0}, KEY, "--concurrency: the limit must be a number from 1"),
        ({"defaults.aspect_ratio": "wide"}, KEY, "--aspect-ratio: defaults.aspect_ratio must be width:height"),
        ({}, {**KEY, "NANOBATCH_RUN_RETIRES": "1"}, "NANOBATCH_RUN_RETIRES: unknown setting in the environment; did you mean 'NANOBATCH_RUN_RETRIES'?"),
        ({}, {**KEY, "NANOBATCH_RUN_RETRIES": "x"}, "NANOBATCH_RUN_RETRIES: run.retries must be a number"),
        ({}, {"GEMINI_API_KEY": "two words"}, "GEMINI_API_KEY: the key contains blanks"),
    ],
)  # fmt: skip
def test_flags_and_environment_are_places_too(
    place: Place, flags: dict[str, Any], environ: dict[str, str], says: str
) -> None:
    """A flag or a variable that is wrong is named as such."""
    with pytest.raises(ConfigError) as caught:
        place.load(flags, environ)
    assert caught.value.message.startswith(says)


def test_what_the_harness_of_a_user_writes_is_fine(place: Place) -> None:
    """Features that are off by default may be written as off."""
    place.write("cache: {enabled: false}\noutput: {gallery: false}\nusage: {url: null}\n" + RELAY)
    assert place.load().providers[0].name == "relay"


def test_without_a_configuration_every_key_counts(place: Place) -> None:
    """All providers whose variable is set are used in the catalog's order."""
    environ = {"OPENAI_API_KEY": "a", "GOOGLE_API_KEY": "b", "APIYI_API_KEY": "c"}
    assert [provider.name for provider in place.load(environ=environ).providers] == ["google", "apiyi", "openai"]


def test_without_any_key_the_variables_are_named(place: Place) -> None:
    """Exit 3 comes with what to set, and with the way to try it without a key."""
    with pytest.raises(NoProvider, match=r"GEMINI_API_KEY.*OPENAI_API_KEY.*--sandbox"):
        place.load(environ={})
    with pytest.raises(NoProvider, match="openai has no key; set OPENAI_API_KEY"):
        place.load({"providers": ["openai"]})


def test_named_providers_come_in_their_order(place: Place) -> None:
    """-p decides who takes part, and in which order."""
    environ = {"OPENAI_API_KEY": "a", "GEMINI_API_KEY": "b"}
    found = place.load({"providers": ["openai", "google"]}, environ).providers
    assert [(provider.name, provider.priority) for provider in found] == [("openai", 1), ("google", 2)]


def test_listed_providers_come_by_priority(place: Place) -> None:
    """A section lists who takes part; one without a key is left out with a warning."""
    place.write(
        "providers:\n  google: {priority: 5}\n  laozhang: {priority: 1, api_key: '${LZ}'}\n  openai: {api_key: '${UNSET}'}\n"
    )
    settings = place.load(environ={**KEY, "LZ": "lz-key"})
    assert [provider.name for provider in settings.providers] == ["laozhang", "google"]
    assert settings.providers[0].api_key.reveal() == "lz-key"
    assert settings.warnings == ("openai is left out, because it has no key; set OPENAI_API_KEY",)


def test_a_known_provider_needs_only_its_key(place: Place) -> None:
    """Address, format, limits and zone come from the catalog."""
    google = place.only("providers:\n  google:\n")
    assert (google.protocol, google.auth, google.day_zone) == ("gemini", "x-goog-api-key", "America/Los_Angeles")
    assert google.base_url == "https://generativelanguage.googleapis.com/v1beta"
    assert google.limits == Limits(rpm=150, rpd=10_000, concurrency=10)
    assert google.api_key.reveal() == "key-of-google"


def test_the_users_numbers_override_the_preset_one_by_one(place: Place) -> None:
    """A number of one's own, or null for no limit; a flag overrides both."""
    text = "providers:\n  google: {tier: 2, limits: {rpm: 7, concurrency: 3}}\n"
    assert place.only(text).limits == Limits(rpm=7, concurrency=3)
    assert place.only("providers:\n  google: {limits: {rpd: null}}\n").limits == Limits(rpm=150, concurrency=10)
    assert place.only(text, flags={"limits.rpm": 9}).limits.rpm == 9
    assert place.only("providers:\n  google: {tier: free}\n").limits == Limits(rpm=5, rpd=100, concurrency=1)


def test_a_preset_speaks_of_the_vendors_machines(place: Place) -> None:
    """At an address of one's own the preset holds only when it is asked for."""
    assert place.only("providers:\n  google: {base_url: 'http://127.0.0.1:1/v1beta'}\n").limits == Limits()
    text = "providers:\n  google: {base_url: 'http://127.0.0.1:1/v1beta', tier: 1}\n"
    assert place.only(text).limits.rpm == 150


def test_any_endpoint_of_a_known_format(place: Place) -> None:
    """A relay is a few lines; its auth follows from the format unless it says otherwise."""
    relay = place.only(RELAY)
    assert (relay.auth, relay.limits, relay.terms.entry, relay.terms.prices) == ("bearer", Limits(), None, {"1K": 0.05})
    text = RELAY.replace("openai", "gemini").replace(
        "api_key: k", "api_key: k, auth: bearer, options: {a: 1}, priority: 3"
    )
    relay = place.only(text)
    assert (relay.protocol, relay.auth, relay.options, relay.priority) == ("gemini", "bearer", {"a": 1}, 3)


def test_settings_of_a_provider_fall_back_to_the_users_file(place: Place) -> None:
    """The folder's file says who takes part; what it leaves open comes from the user's file."""
    (place.user / "config.yaml").write_text("providers:\n  google: {tier: 3, priority: 4}\n  openai: {api_key: x}\n")
    google = place.only("providers:\n  google: {priority: 2}\n")
    assert (google.limits.rpm, google.priority) == (1500, 2)


def test_the_sandbox_takes_everybodys_place(place: Place) -> None:
    """No key is needed; addresses are replaced; limits are the user's or generous."""
    settings = place.load(environ={}, sandbox_url="http://127.0.0.1:9")
    [google] = settings.providers
    assert settings.sandbox
    assert (google.name, google.base_url, google.limits) == (
        "google",
        "http://127.0.0.1:9/v1beta",
        Limits(concurrency=50),
    )
    [openai] = place.load({"providers": ["openai"]}, {}, sandbox_url="http://127.0.0.1:9").providers
    assert openai.base_url == "http://127.0.0.1:9/v1"
    place.write(RELAY.replace("api_key: k", "limits: {rpm: 6}"))
    [relay] = place.load(environ={}, sandbox_url="http://127.0.0.1:9").providers
    assert (relay.base_url, relay.limits.rpm, relay.api_key.reveal()) == ("http://127.0.0.1:9/v1", 6, "sandbox")


def test_variables_are_expanded_in_every_string() -> None:
    """`${VAR}` and `${VAR:-default}`, also in lists and mappings."""
    environ = {"A": "x", "EMPTY": ""}
    assert expand({"k": ["${A}/${B:-y}", 3], "e": "${EMPTY:-z}"}, environ, "f:1") == {"k": ["x/y", 3], "e": "z"}
    with pytest.raises(ConfigError, match=r"f:1: the variable B is not set; set it, or write \$\{B:-default\}"):
        expand("${B}", environ, "f:1")


def test_keys_are_never_shown(place: Place) -> None:
    """Neither settings nor errors repeat a key."""
    place.write(RELAY.replace("api_key: k", "api_key: sk-very-secret"))
    assert "sk-very-secret" not in repr(place.load())
    place.write(RELAY.replace("api_key: k", "api_key: 'sk very secret'"))
    with pytest.raises(ConfigError) as caught:
        place.load()
    assert "very" not in caught.value.message


def test_the_example_loads_and_shows_every_key(place: Place, project_root: Path) -> None:
    """config.example.yaml is a configuration, and names all that can be set."""
    text = (project_root / "config.example.yaml").read_text()
    place.write(text)
    environ = dict.fromkeys(("GEMINI_API_KEY", "LAOZHANG_API_KEY", "OPENAI_API_KEY"), "some-key")
    settings = place.load(environ=environ)
    assert [provider.name for provider in settings.providers] == ["google", "laozhang", "my-relay"]
    for key in [*PROVIDER, *LIMITS, *(key for section in ("defaults", "run", "output") for key in SECTIONS[section])]:
        assert f"{key}:" in text, key


def test_the_documentation_names_every_key(project_root: Path) -> None:
    """docs/config.md explains each key and each variable."""
    text = (project_root / "docs/config.md").read_text()
    for section, keys in SECTIONS.items():
        for key in keys:
            assert f"`{section}.{key}`" in text
    for key in [*PROVIDER, *LIMITS]:
        assert f"`{key}`" in text
