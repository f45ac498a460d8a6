"""Puts the settings of a run together; each value knows where it came from.

The nearest place wins: flags, then the environment (`NANOBATCH_<SECTION>_<KEY>`), then `./nanobatch.yaml` (or the
file of `--config`), then the user's config folder, then the catalog and the defaults of `settings.py`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nanobatch.catalog import Catalog, ProviderEntry, Terms, load_catalog
from nanobatch.errors import ConfigError, NoProvider
from nanobatch.schema import LATER, LIMITS, PROVIDER, SECTIONS, Check
from nanobatch.settings import (
    Defaults,
    Limits,
    OutputSettings,
    ProviderSettings,
    RunSettings,
    Secret,
    Settings,
)
from nanobatch.yaml_files import Document, parse

FILE = "nanobatch.yaml"
ENVIRONMENT = "NANOBATCH_"
SANDBOX_CONCURRENCY = 50
_SUFFIX = {"gemini": "/v1beta", "openai": "/v1"}
_AUTH = {"gemini": "x-goog-api-key", "openai": "bearer"}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_FLAG_NAMES = {
    "defaults.images_per_prompt": "--images-per-prompt",
    "run.budget_usd": "--budget",
    "run.timeout_seconds": "--timeout",
    "output.dir": "--out",
    "limits.concurrency": "--concurrency",
    "limits.rpm": "--rpm",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A value and its place."""

    value: Any
    where: str


@dataclass(frozen=True, slots=True)
class _Sources:
    flags: Mapping[str, Any]
    environ: Mapping[str, str]
    files: Sequence[Document]  # nearest first

    def look_up(self, section: str, key: str) -> Found | None:
        """Return the nearest value of a key, as it stands there."""
        dotted = f"{section}.{key}"
        if self.flags.get(dotted) is not None:
            return Found(self.flags[dotted], flag_name(dotted))
        variable = f"{ENVIRONMENT}{section}_{key}".upper()
        if variable in self.environ:
            return Found(self.environ[variable], variable)
        for file in self.files:
            values = file.values.get(section) or {}
            if key in values:
                return Found(expand(values[key], self.environ, file.where((section, key))), file.where((section, key)))
        return None


def flag_name(dotted: str) -> str:
    """Return the flag that sets a key."""
    return _FLAG_NAMES.get(dotted, "--" + dotted.rsplit(".", maxsplit=1)[-1].replace("_", "-"))


def load_settings(
    *,
    config_path: str | None,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    cwd: Path,
    user_folder: Path,
    sandbox_url: str | None = None,
) -> Settings:
    """Find, merge and check everything the user said.

    Args:
        config_path: The file of `--config`; None looks for `nanobatch.yaml` in `cwd`.
        flags: Dotted keys ("run.retries", "limits.rpm") and "providers", a list of names in priority order.
        environ: The environment: `NANOBATCH_...`, keys, and what `${VAR}` refers to.
        cwd: The working folder.
        user_folder: The user's own config folder; `config.yaml` in it is read.
        sandbox_url: When given, every provider is replaced by its double at this address, and no key is needed.

    Raises:
        ConfigError: Something is wrong; the message begins with its place.
        NoProvider: No provider has a key.
    """
    files = _files(config_path or environ.get(f"{ENVIRONMENT}CONFIG") or None, cwd=cwd, user_folder=user_folder)
    for file in files:
        _check_keys(file)
    _check_environment(environ)
    sources = _Sources(flags, environ, files)
    origins: dict[str, str] = {}
    values = {section: _section(sources, section, origins) for section in SECTIONS}
    values["output"].pop("gallery", None)
    catalog = load_catalog()
    selection = _Selection(sources, catalog, sandbox_url)
    return Settings(
        defaults=Defaults(**values["defaults"]),
        run=RunSettings(**values["run"]),
        output=OutputSettings(**values["output"]),
        providers=selection.providers(),
        warnings=tuple(selection.warnings),
        sandbox=sandbox_url is not None,
        origins=origins,
    )


def _files(config_path: str | None, *, cwd: Path, user_folder: Path) -> list[Document]:
    near = _read(cwd / (config_path or FILE), config_path or FILE)
    if near is None and config_path is not None:
        raise ConfigError(f"{config_path}: there is no such file")
    far = user_folder / "config.yaml"
    return [document for document in (near, _read(far, str(far))) if document is not None]


def _read(path: Path, name: str) -> Document | None:
    """Read a file, or nothing where there is none."""
    try:
        return parse(path.read_text(encoding="utf-8-sig"), name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: cannot be read as a text file: {error}") from error


def _check_keys(file: Document) -> None:
    """Refuse every key that nothing knows."""
    _known(file, (), file.values, [*SECTIONS, "providers"])
    for section, keys in SECTIONS.items():
        _known(file, (section,), _keys_of(file, (section,), file.values.get(section)), keys)
    providers = _keys_of(file, ("providers",), file.values.get("providers"))
    for name, entry in providers.items():
        path = ("providers", name)
        if not name.strip() or not name.isprintable():
            raise ConfigError(f"{file.where(path)}: {name!r} is no name for a provider")
        values = _keys_of(file, path, entry)
        _known(file, path, values, PROVIDER)
        _known(file, (*path, "limits"), _keys_of(file, (*path, "limits"), values.get("limits")), LIMITS)


def _keys_of(file: Document, path: tuple[str, ...], value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{file.where(path)}: {'.'.join(path)} must be keys with values")
    return value


def _known(file: Document, path: tuple[str, ...], values: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in values:
        if key not in known:
            under = f" under {'.'.join(path)}" if path else ""
            raise ConfigError(f"{file.where((*path, key))}: unknown key {key!r}{under}{nearest(key, known)}")


def _check_environment(environ: Mapping[str, str]) -> None:
    known = [f"{ENVIRONMENT}{section}_{key}".upper() for section, keys in SECTIONS.items() for key in keys]
    for name in environ:
        if name.startswith(ENVIRONMENT) and name != f"{ENVIRONMENT}CONFIG" and name not in known:
            raise ConfigError(f"{name}: unknown setting in the environment{nearest(name, known)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """Name the known words that come nearest, as the end of a sentence."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(words)}"


def _section(sources: _Sources, section: str, origins: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, check in SECTIONS[section].items():
        found = sources.look_up(section, key)
        if found is None:
            continue
        dotted = f"{section}.{key}"
        values[key] = _checked(found, check, dotted)
        origins[dotted] = found.where
        if dotted in LATER and LATER[dotted](values[key]):
            shown = "" if key == "url" else f" {found.value!r}"  # an address may hold a password
            raise ConfigError(f"{found.where}: {dotted}{shown} is not available in this version yet")
    return values


def _checked(found: Found, check: Check, name: str) -> Any:
    try:
        return check(found.value)
    except ValueError as error:
        raise ConfigError(f"{found.where}: {name} {error}") from None


def expand(value: Any, environ: Mapping[str, str], where: str) -> Any:
    """Replace `${VAR}` and `${VAR:-default}` in every string of a value.

    Raises:
        ConfigError: A variable is not set and has no default.
    """
    if isinstance(value, Mapping):
        return {key: expand(inner, environ, where) for key, inner in value.items()}
    if isinstance(value, list):
        return [expand(inner, environ, where) for inner in value]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if environ.get(name):
            return environ[name]
        if default is None:
            raise ConfigError(f"{where}: the variable {name} is not set; set it, or write ${{{name}:-default}}")
        return default

    return _VARIABLE.sub(replaced, value)


class _Selection:
    """Which providers take part, and with what."""

    def __init__(self, sources: _Sources, catalog: Catalog, sandbox_url: str | None) -> None:
        self._sources = sources
        self._catalog = catalog
        self._sandbox_url = sandbox_url
        self.warnings: list[str] = []

    def providers(self) -> tuple[ProviderSettings, ...]:
        """Return the providers of this run in the order in which they are tried."""
        named: list[str] = list(self._sources.flags.get("providers") or ())
        listed = self._listed()
        described = [name for file in self._sources.files for name in file.values.get("providers") or ()]
        known = dict.fromkeys([*described, *self._catalog.providers])
        for name in named:
            if name not in known:
                raise ConfigError(f"--provider: unknown provider {name!r}{nearest(name, known)}")
        names = list(dict.fromkeys(named or listed or self._unlisted()))
        found = [self._provider(name, must=name in named) for name in names]
        chosen = [provider for provider in found if provider is not None]
        if not chosen:
            raise NoProvider(
                f"no provider has a key. Set one of {', '.join(self._variables(names))}, "
                "or try everything without a key: nanobatch run --sandbox"
            )
        if named:
            return tuple(replace(provider, priority=place) for place, provider in enumerate(chosen, 1))
        return tuple(sorted(chosen, key=lambda provider: provider.priority))

    def _listed(self) -> list[str]:
        for file in self._sources.files:
            if file.values.get("providers"):
                return list(file.values["providers"])
        return []

    def _unlisted(self) -> list[str]:
        return ["google"] if self._sandbox_url is not None else list(self._catalog.providers)

    def _variables(self, names: Iterable[str]) -> list[str]:
        entries = [self._catalog.providers[name] for name in names if name in self._catalog.providers]
        return [entry.key_variables[0] for entry in entries or self._catalog.providers.values()]

    def _provider(self, name: str, *, must: bool) -> ProviderSettings | None:
        entry = self._catalog.providers.get(name)
        place = self._where(name)
        protocol = self._value(name, "protocol", entry.protocol if entry else None)
        url = self._value(name, "base_url", entry.base_url if entry else None)
        for what, value in (("protocol", protocol), ("base_url", url)):
            if value is None:
                raise ConfigError(
                    f"{place}: {name} is not in the catalog, so providers.{name}.{what} is needed"
                    + nearest(name, self._catalog.providers)
                )
        key = self._key(name, entry)
        if key is None:
            self._without_key(name, entry, must=must)
            return None
        if self._sandbox_url is not None:
            url = self._sandbox_url + _SUFFIX[protocol]
        prices, models = self._value(name, "prices", None), self._value(name, "models", None)
        return ProviderSettings(
            name=name,
            protocol=protocol,
            base_url=url,
            api_key=key,
            auth=self._value(name, "auth", entry.auth if entry and entry.protocol == protocol else _AUTH[protocol]),
            priority=self._value(name, "priority", self._default_priority(name)),
            limits=self._limits(name, entry),
            terms=Terms(name, entry, prices, models),
            day_zone=self._value(name, "day_zone", entry.day_zone if entry else "UTC"),
            options=self._value(name, "options", {}),
        )

    def _without_key(self, name: str, entry: ProviderEntry | None, *, must: bool) -> None:
        """Warn that a listed provider is left out.

        Raises:
            NoProvider: It was asked for by name.
            ConfigError: It has a key in the configuration alone, and that is missing.
        """
        raw = self._raw(name, "api_key")
        written = _VARIABLE.fullmatch(str(raw.value)) if raw is not None else None
        variables = [written[1]] if written else []
        variables += entry.key_variables if entry else [] if written else [f"providers.{name}.api_key"]
        to_set = " or ".join(dict.fromkeys(variables))
        if must:
            raise NoProvider(f"{name} has no key; set {to_set}")
        if entry is None:
            raise ConfigError(f"{raw.where if raw else self._where(name)}: {name} has no key; set {to_set}")
        if name in self._listed():
            self.warnings.append(f"{name} is left out, because it has no key; set {to_set}")

    def _default_priority(self, name: str) -> int:
        order = self._listed() or list(self._catalog.providers)
        return order.index(name) + 1 if name in order else len(order) + 1

    def _key(self, name: str, entry: ProviderEntry | None) -> Secret | None:
        if self._sandbox_url is not None:
            return Secret("sandbox")
        raw = self._raw(name, "api_key")
        place, value = "", ""
        if raw is not None and str(raw.value or "").strip():
            place = f"{raw.where}: providers.{name}.api_key"
            value = _checked(raw, PROVIDER["api_key"], f"providers.{name}.api_key")
            if (match := _VARIABLE.fullmatch(value)) and match[2] is None:
                value = self._sources.environ.get(match[1], "")  # an unset variable is a missing key, not a mistake
            else:
                value = expand(value, self._sources.environ, place)
        if not value.strip() and entry is not None:
            for variable in entry.key_variables:
                if self._sources.environ.get(variable, "").strip():
                    place, value = variable, self._sources.environ[variable]
                    break
        if not value.strip():
            return None
        try:
            return Secret(value)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error.message}") from None

    def _limits(self, name: str, entry: ProviderEntry | None) -> Limits:
        values: dict[str, Any] = {}
        # A preset speaks of the vendor's own machines: at an address of the user's own it holds only when asked for.
        url, asked = self._value(name, "base_url", None), self._value(name, "tier", None)
        if entry is not None and self._sandbox_url is None and (url in (None, entry.base_url) or asked is not None):
            tier = str(self._value(name, "tier", entry.default_tier))
            tier = {"free": "0"}.get(tier.lower(), tier)
            if tier not in entry.tiers:
                where = self._where(name, "tier")
                raise ConfigError(f"{where}: {name} has no tier {tier!r}, only {', '.join(entry.tiers)}")
            preset = entry.tiers[tier]
            values = {key: getattr(preset, key) for key in LIMITS if getattr(preset, key) is not None}
        elif self._sandbox_url is not None:
            values = {"concurrency": SANDBOX_CONCURRENCY}
        for key, check in LIMITS.items():
            for file in reversed(self._sources.files):
                own = ((file.values.get("providers") or {}).get(name) or {}).get("limits") or {}
                if key in own:
                    where = file.where(("providers", name, "limits", key))
                    found = Found(expand(own[key], self._sources.environ, where), where)
                    values[key] = _checked(found, check, f"providers.{name}.limits.{key}")
            if (flagged := self._sources.flags.get(f"limits.{key}")) is not None:
                values[key] = _checked(Found(flagged, flag_name(f"limits.{key}")), check, "the limit")
        return Limits(**values)

    def _raw(self, name: str, key: str) -> Found | None:
        for file in self._sources.files:
            entry = (file.values.get("providers") or {}).get(name) or {}
            if key in entry:
                return Found(entry[key], file.where(("providers", name, key)))
        return None

    def _value(self, name: str, key: str, default: Any) -> Any:
        raw = self._raw(name, key)
        if raw is None or raw.value is None:
            return default
        found = Found(expand(raw.value, self._sources.environ, raw.where), raw.where)
        return _checked(found, PROVIDER[key], f"providers.{name}.{key}")

    def _where(self, name: str, key: str | None = None) -> str:
        path = ("providers", name) if key is None else ("providers", name, key)
        for file in self._sources.files:
            if path in file.lines:
                return file.where(path)
        return self._sources.files[0].name if self._sources.files else "configuration"
