"""How settings are put together, and how mistakes in them are told."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from typer import Context
from typer.main import get_command

from nanobatch.catalog import load_catalog
from nanobatch.cli.app import app
from nanobatch.config import FILE, load_settings
from nanobatch.errors import ConfigError, NoProvider
from nanobatch.lookup import expand, flag_name
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


def key_of(provider: ProviderSettings) -> str:
    assert provider.api_key is not None
    return provider.api_key.reveal()


LADDER: dict[str, tuple[Any, Any]] = {
    "defaults.model": ("a", "b"),
    "defaults.size": ("2K", "4K"),
    "defaults.aspect_ratio": ("16:9", "3:4"),
    "defaults.seed": (1, 2),
    "defaults.images_per_prompt": (2, 3),
    "run.strategy": ("cheapest", "fastest"),
    "run.retries": (1, 2),
    "run.timeout_seconds": (60.0, 90.5),
    "run.on_quota": ("wait", "stop"),
    "run.on_unknown": ("hold", "retry"),
    "run.budget_usd": (1.5, 2.0),
    "run.confirm_above_usd": (1.5, 2.0),
    "run.grace_seconds": (1.5, 2.0),
    "run.fallback_on_refusal": (True, False),
    "run.allow_private_references": (True, False),
    "output.dir": ("a", "2026-11-23"),
    "output.name": ("a-{id}", "b-{id}"),
    "output.embed": ("prompt", "prompt,params"),
    "output.gallery": (False, True),
}


def test_the_ladder_has_every_key() -> None:
    """A new key is tried at every place too."""
    keys = {f"{section}.{key}" for section in ("defaults", "run", "output") for key in SECTIONS[section]}
    assert keys == set(LADDER)


@pytest.mark.parametrize("dotted", LADDER)
def test_every_key_can_stand_at_every_place(place: Place, dotted: str) -> None:
    """Each key climbs from the default to the flag, unquoted in YAML, and each step tells its place."""
    section, key = dotted.split(".")
    one, two = LADDER[dotted]
    variable = f"NANOBATCH_{section}_{key}".upper()

    def found(flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> tuple[Any, str]:
        settings = place.load(flags, KEY | (environ or {}))
        value = getattr(getattr(settings, section), key)
        return ",".join(value) if isinstance(value, tuple) else value, settings.origin(dotted)

    assert found()[1] == "default"
    braces = one if "{" not in str(one) else f'"{one}"'
    (place.user / "config.yaml").write_text(f"{section}:\n  {key}: {braces}\n")
    assert found() == (one, f"{place.user / 'config.yaml'}:2")
    place.write(f"# first\n\n{section}:\n  {key}: {two}\n")
    assert found() == (two, "nanobatch.yaml:4")
    assert found({}, {variable: str(one)}) == (one, variable)
    assert found({dotted: two}, {variable: str(one)}) == (two, flag_name(dotted))


def test_flags_are_those_of_the_command() -> None:
    """A flag that an error names is one that the command has."""
    command = get_command(app).get_command(Context(get_command(app)), "run")  # type: ignore[attr-defined]
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert "--retries" in flags
    in_files_alone = {
        "run.confirm_above_usd", "run.grace_seconds", "run.fallback_on_refusal", "run.allow_private_references",
        "output.gallery",
    }  # fmt: skip
    for dotted in (set(LADDER) | {"run.strategy", "limits.rpm", "limits.concurrency"}) - in_files_alone:
        assert flag_name(dotted) in flags


def test_null_at_a_nearer_place_is_a_value(place: Place) -> None:
    """Writing null takes back what the user's own file says."""
    (place.user / "config.yaml").write_text("run: {budget_usd: 5}\ndefaults: {aspect_ratio: 16:9}\n")
    place.write("run: {budget_usd: null}\n")
    settings = place.load(environ={**KEY, "NANOBATCH_DEFAULTS_ASPECT_RATIO": "none"})
    assert (settings.run.budget_usd, settings.defaults.aspect_ratio) == (None, None)
    assert settings.origin("run.budget_usd") == "nanobatch.yaml:1"


def test_another_file_takes_the_place_of_the_folders(place: Place) -> None:
    """`--config` and NANOBATCH_CONFIG name a file; it must exist."""
    place.write("run: {retries: 1}\n")
    place.write("run: {retries: 7}\n", "other.yaml")
    assert place.load(config_path="other.yaml").run.retries == 7
    assert place.load(environ={**KEY, "NANOBATCH_CONFIG": "other.yaml"}).run.retries == 7
    assert place.load(environ={**KEY, "NANOBATCH_CONFIG": ""}).run.retries == 1
    with pytest.raises(ConfigError, match="nowhere.yaml: there is no such file"):
        place.load(config_path="nowhere.yaml")
    with pytest.raises(ConfigError, match="other.yaml/x: there is no such file"):
        place.load(config_path="other.yaml/x")


def test_a_file_as_windows_writes_it(place: Place) -> None:
    """A byte order mark and CRLF are no part of the first key."""
    (place.cwd / FILE).write_bytes(b"\xef\xbb\xbfrun:\r\n  retries: 7\r\n")
    settings = place.load()
    assert (settings.run.retries, settings.origin("run.retries")) == (7, "nanobatch.yaml:2")


def test_what_is_no_text_file_is_told(place: Place) -> None:
    """UTF-16, a folder, a name that no system takes: one sentence with the file's name."""
    (place.cwd / FILE).write_bytes("run: {retries: 7}\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="nanobatch.yaml: cannot be read as a text file"):
        place.load()
    (place.cwd / FILE).unlink()
    (place.cwd / FILE).mkdir()
    with pytest.raises(ConfigError, match="nanobatch.yaml is a folder; name a YAML file"):
        place.load()
    (place.cwd / FILE).rmdir()
    place.user = place.user / ("x" * 300)
    with pytest.raises(ConfigError, match="config.yaml: cannot be read"):
        place.load()


def test_a_users_folder_may_be_missing(place: Place) -> None:
    """Nobody has to have a config folder, or a home at all."""
    (place.user / "file").touch()
    for folder in (place.user / "none", place.user / "file"):
        place.user = folder
        assert place.load().run.retries == 4


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
        ("usage: {budget_usd_per_day: -5}\n", "nanobatch.yaml:1: usage.budget_usd_per_day must be a number of 0 or more"),
        ("run: {strategy: dearest}\n", "nanobatch.yaml:1: run.strategy must be priority or cheapest or fastest, not 'dearest'"),
        ("cache: {url: 'http://:password@x'}\n", "nanobatch.yaml:1: cache.url must be an address like redis://"),
        ("cache: {ttl: soon}\n", "nanobatch.yaml:1: cache.ttl must be a duration such as 90s"),
        ("cache: {max_gb: 0}\n", "nanobatch.yaml:1: cache.max_gb must be a number of 0.001 or more"),
        ("usage: {url: 'http://:password@x'}\n", "nanobatch.yaml:1: usage.url must be an address like redis://"),
        ("cache:\n  semantic:\n    enabled: true\n    threshold: 1.5\n", "nanobatch.yaml:4: cache.semantic.threshold must be a number above 0 and at most 1, not 1.5"),
        ("cache:\n  semantic:\n    treshold: 0.9\n", "nanobatch.yaml:3: unknown key 'treshold' under cache.semantic; did you mean 'threshold'?"),
        ("cache: {semantic: [0.9]}\n", "nanobatch.yaml:1: cache.semantic must be true or false"),
        ("output: {gallery: perhaps}\n", "nanobatch.yaml:1: output.gallery must be true or false, not 'perhaps'"),
        ("providers:\n  google: {tier: 9}\n", "nanobatch.yaml:2: google has no tier '9', only 0, 1, 2, 3"),
        ("providers:\n  google:\n    limits: {rpm: 0}\n", "nanobatch.yaml:3: providers.google.limits.rpm must be a number of 1"),
        ("providers:\n  x: {api_key: k, base_url: 'http://127.0.0.1/v1'}\n", "nanobatch.yaml:2: x is not in the catalog, so providers.x.protocol is needed"),
        ("providers:\n  x: {api_key: k, protocol: gemini}\n", "nanobatch.yaml:2: x is not in the catalog, so providers.x.base_url is needed"),
        ("providers:\n  x: {protocol: gemini, base_url: 'http://h/v1'}\n", "nanobatch.yaml:2: x has no key; set providers.x.api_key"),
        ("providers:\n  x:\n    protocol: gemini\n    base_url: http://h/v1\n    api_key: ${X_KEY}\n", "nanobatch.yaml:5: x has no key; set X_KEY"),
        ("providers:\n  gogle: {tier: 1}\n", "nanobatch.yaml:2: gogle is not in the catalog, so providers.gogle.protocol is needed; did you mean 'google'?"),
        ("providers:\n  gogle: {protocol: openai}\n", "nanobatch.yaml:2: gogle is not in the catalog, so providers.gogle.base_url is needed; did you mean 'google'?"),
        ('providers:\n  "a\\nb": {tier: 1}\n', "nanobatch.yaml:2: 'a\\nb' is no name for a provider"),
        ("providers:\n  google:\n    api_key: [a, b]\n", "nanobatch.yaml:3: providers.google.api_key must be a word"),
        ("providers:\n  google:\n    api_key: two words\n", "nanobatch.yaml:3: providers.google.api_key: the key contains blanks"),
        ("providers:\n  google:\n    api_key: a${NOWHERE}\n", "nanobatch.yaml:3: providers.google.api_key: the variable NOWHERE is not set"),
        ("providers:\n  google: {options: {since: 2026-11-23}}\n", "nanobatch.yaml:2: providers.google.options must hold words"),
        ("providers:\n  google: {limits: {concurrency: null}}\n", "nanobatch.yaml:2: providers.google.limits.concurrency must be a number from 1"),
        ("providers:\n  google: {prices: {8K: 1}}\n", "nanobatch.yaml:2: providers.google.prices must be one of 512, 1K, 2K, 4K, not '8K'"),
        ("providers:\n  google: {models: {a: [b]}}\n", "nanobatch.yaml:2: providers.google.models must be a word"),
        ("providers:\n  google: {day_zone: Mars}\n", "nanobatch.yaml:2: providers.google.day_zone must be a time zone"),
        ("providers:\n  google: sk-secret\n", "nanobatch.yaml:2: providers.google must be keys with values"),
        ("providers:\n  x: {protocol: kye, base_url: 'http://h/v1', api_key: k}\n", "nanobatch.yaml:2: providers.x.protocol 'kye' is unknown; did you mean 'kie'?"),
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
    """What is not wanted may be written as off."""
    assert place.load(environ=KEY).output.gallery
    place.write("cache: {enabled: false}\noutput: {gallery: false}\nusage: {url: null}\n" + RELAY)
    found = place.load()
    assert found.providers[0].name == "relay"
    assert not found.output.gallery


def test_the_cache_is_set_up_as_written(place: Place) -> None:
    """Durations become seconds, an address becomes a secret, and what is not written keeps its default."""
    place.write("cache: {url: 'redis://:password@h:6379/0', ttl: 2d, keep_images: true, max_gb: 0.5}\n" + RELAY)
    cache = place.load(environ={**KEY, "NANOBATCH_CACHE_REFUSALS": "false"}).cache
    assert (cache.ttl_seconds, cache.keep_images, cache.max_gb, cache.refusals) == (172_800.0, True, 0.5, False)
    assert (cache.enabled, cache.prefix, cache.max_value_mb, cache.hard_links) == (True, "nanobatch", 32.0, False)
    assert cache.url is not None
    assert "password" not in repr(cache)


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
    assert key_of(settings.providers[0]) == "lz-key"
    assert settings.warnings == ("openai is left out, because it has no key; set UNSET or OPENAI_API_KEY",)
    assert [provider.priority for provider in settings.providers] == [1, 5]


def test_without_priorities_the_order_of_the_list_counts(place: Place) -> None:
    """Who is written first is tried first."""
    place.write("providers:\n  openai: {api_key: a}\n  google:\n  laozhang: {api_key: b}\n")
    assert [provider.name for provider in place.load().providers] == ["openai", "google", "laozhang"]


def test_a_provider_of_the_users_own_file_can_be_named(place: Place) -> None:
    """The folder lists who takes part, and -p still finds a relay that the user described elsewhere."""
    (place.user / "config.yaml").write_text(RELAY)
    place.write("providers:\n  google:\n")
    assert [provider.name for provider in place.load().providers] == ["google"]
    [relay] = place.load({"providers": ["relay"]}).providers
    assert (relay.name, relay.base_url) == ("relay", "http://127.0.0.1:1/v1")


def test_listed_without_any_key_names_their_variables(place: Place) -> None:
    """When none of those listed has a key, only theirs are named."""
    place.write("providers:\n  openai:\n  apiyi:\n")
    with pytest.raises(NoProvider) as caught:
        place.load()
    assert caught.value.message.startswith("no provider has a key: set one of OPENAI_API_KEY, APIYI_API_KEY, ")


@pytest.mark.parametrize(
    "written", ["", "api_key: ''", "api_key: null", "api_key: '${UNSET}'", "api_key: '${UNSET:-}'"]
)
def test_a_key_that_is_not_there_comes_from_the_catalogs_variable(place: Place, written: str) -> None:
    """An empty key, or a variable that is not set, leaves the provider's usual variable."""
    assert key_of(place.only(f"providers:\n  google: {{{written}}}\n")) == "key-of-google"


@pytest.mark.parametrize("key", ["0123456701234567", "1234_5678", "12:34", "0x12ab", "123456789012345678901234567890"])
def test_a_key_is_taken_letter_by_letter(place: Place, key: str) -> None:
    """A key of digits without quotes is not a number."""
    assert key_of(place.only(f"providers:\n  google: {{api_key: {key}}}\n")) == key


def test_a_known_provider_needs_only_its_key(place: Place) -> None:
    """Address, format, limits and zone come from the catalog."""
    google = place.only("providers:\n  google:\n")
    assert (google.protocol, google.auth, google.day_zone) == ("gemini", "x-goog-api-key", "America/Los_Angeles")
    assert google.base_url == "https://generativelanguage.googleapis.com/v1beta"
    assert google.limits == Limits(rpm=150, rpd=10_000, concurrency=10)
    assert key_of(google) == "key-of-google"


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
    text = "providers:\n  google: {base_url: 'https://generativelanguage.googleapis.com/v1beta/'}\n"
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
    assert (relay.base_url, relay.limits.rpm, key_of(relay)) == ("http://127.0.0.1:9/v1", 6, "sandbox")


def test_variables_are_expanded_in_every_string() -> None:
    """`${VAR}` and `${VAR:-default}`, also in lists and mappings."""
    environ = {"A": "x", "EMPTY": ""}
    assert expand({"k": ["${A}/${B:-y}", 3], "e": "${EMPTY:-z}"}, environ, "f:1") == {"k": ["x/y", 3], "e": "z"}
    assert expand("${A:-y}${B:-}$A ${} {A}", environ, "f:1") == "x$A ${} {A}"
    with pytest.raises(ConfigError, match=r"f:1: the variable B is not set; set it, or write \$\{B:-default\}"):
        expand("${B}", environ, "f:1")


def test_keys_are_never_shown(place: Place) -> None:
    """Neither settings nor errors repeat a key."""
    place.write(RELAY.replace("api_key: k", "api_key: sk-very-secret"))
    settings = place.load()
    assert "sk-very-secret" not in repr(settings)
    with pytest.raises(TypeError, match="not written anywhere"):
        dataclasses.asdict(settings)
    place.write(RELAY.replace("api_key: k", "api_key: 'sk very secret'"))
    with pytest.raises(ConfigError) as caught:
        place.load()
    assert "very" not in caught.value.message


def test_the_example_loads_and_shows_every_key(place: Place, project_root: Path) -> None:
    """config.example.yaml is a configuration, and names all that can be set."""
    text = (project_root / "config.example.yaml").read_text()
    before, comment, block = text.partition("# providers:")
    assert comment
    place.write(before + re.sub(r"^# ?", "", comment + block, flags=re.MULTILINE))
    environ = dict.fromkeys(("GEMINI_API_KEY", "LAOZHANG_API_KEY", "OPENAI_API_KEY"), "some-key")
    settings = place.load(environ=environ)
    assert [provider.name for provider in settings.providers] == ["google", "laozhang", "my-relay"]
    for key in [*PROVIDER, *LIMITS, *(key for section in ("defaults", "run", "output") for key in SECTIONS[section])]:
        assert f"{key}:" in text, key


def test_the_example_leaves_the_providers_to_the_keys(place: Place, project_root: Path) -> None:
    """Who starts from it has one key, and must not be told to get others, nor be led to somebody's relay."""
    place.write((project_root / "config.example.yaml").read_text())
    for variable, name in (("GEMINI_API_KEY", "google"), ("LAOZHANG_API_KEY", "laozhang")):
        assert [provider.name for provider in place.load(environ={variable: "k"}).providers] == [name]


def documented(project_root: Path) -> str:
    return (project_root / "docs/configuration.md").read_text()


def test_the_documentation_names_every_key(project_root: Path) -> None:
    """docs/configuration.md explains each key and each variable."""
    text = documented(project_root)
    for section, keys in SECTIONS.items():
        for key in keys:
            assert f"\n| `{section}.{key}` |" in text
            assert f"`NANOBATCH_{section.upper()}_`" in text
    for key in [*PROVIDER, *LIMITS]:
        assert f"\n| `{key}` |" in text


def test_the_documentation_has_the_defaults(place: Place, project_root: Path) -> None:
    """The default in the table is the one of the program."""
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.*?) \|", documented(project_root), flags=re.MULTILINE))
    settings = place.load()
    for dotted in LADDER:
        section, key = dotted.split(".")
        value = getattr(getattr(settings, section), key)
        shown = "none" if value in (None, ()) else f"{value:g}" if isinstance(value, float) else str(value)
        shown = shown.lower() if isinstance(value, bool) else shown
        if dotted != "output.dir":  # depends on the prompts' file
            assert rows[dotted].strip("`") == shown


def test_the_documentation_names_every_provider(project_root: Path) -> None:
    """The table of providers is that of the catalog: names, variables, order."""
    text = documented(project_root)
    rows = [line for line in text.splitlines() if re.match(r"\| [a-z-]+ \| [A-Z]", line)]
    catalog = load_catalog().providers.values()
    assert [row.split(" | ")[0][2:] for row in rows] == [entry.name for entry in catalog]
    for row, entry in zip(rows, catalog, strict=True):
        assert (" or ".join(entry.key_variables) or "Google Cloud") in row
        assert entry.protocol in row


def test_the_examples_of_the_documentation_load(place: Place, project_root: Path) -> None:
    """Each example is a configuration that can be copied."""
    examples = re.findall(r"```yaml\n(.*?)```", documented(project_root), flags=re.DOTALL)
    assert len(examples) >= 3
    environ = {variable: "some-key" for entry in load_catalog().providers.values() for variable in entry.key_variables}
    for example in examples:
        place.write(example)
        assert place.load(environ=environ | {"MY_RELAY_KEY": "some-key"}).providers
