"""Puts the settings of a run together; each value knows where it came from.

The nearest place wins: flags, then the environment (`NANOBATCH_<SECTION>_<KEY>`), then `./nanobatch.yaml` (or the
file of `--config`), then the user's config folder, then the catalog and the defaults of `settings.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nanobatch.catalog import load_catalog
from nanobatch.errors import ConfigError
from nanobatch.lookup import ENVIRONMENT, Found, Sources, checked, nearest
from nanobatch.schema import LIMITS, PROVIDER, SECTIONS, SEMANTIC, Check
from nanobatch.selection import Selection
from nanobatch.settings import (
    CacheSettings,
    Defaults,
    OutputSettings,
    RunSettings,
    Secret,
    SemanticSettings,
    Settings,
    UsageSettings,
)
from nanobatch.yaml_files import Document, parse

FILE = "nanobatch.yaml"


def load_settings(
    *,
    config_path: str | None,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    cwd: Path,
    user_folder: Path,
    sandbox_url: str | None = None,
    without_keys: bool = False,
) -> Settings:
    """Find, merge and check everything the user said.

    Args:
        config_path: The file of `--config`; None looks for `nanobatch.yaml` in `cwd`.
        flags: Dotted keys ("run.retries", "limits.rpm") and "providers", a list of names in priority order.
        environ: The environment: `NANOBATCH_...`, keys, and what `${VAR}` refers to.
        cwd: The working folder.
        user_folder: The user's own config folder; `config.yaml` in it is read.
        without_keys: Where no provider has a key, take all of them: for plans that send nothing.
        sandbox_url: When given, every provider is replaced by its double at this address, and no key is needed.

    Raises:
        ConfigError: Something is wrong; the message begins with its place.
        NoProvider: No provider has a key.
    """
    files = _files(config_path or environ.get(f"{ENVIRONMENT}CONFIG") or None, cwd=cwd, user_folder=user_folder)
    for file in files:
        _check_keys(file)
    _check_environment(environ)
    sources = Sources(flags, environ, files)
    origins: dict[str, str] = {}
    values = {section: _section(sources, section, origins) for section in SECTIONS}
    catalog = load_catalog()
    selection = Selection(sources, catalog, sandbox_url, without_keys=without_keys)
    return Settings(
        defaults=Defaults(**values["defaults"]),
        run=RunSettings(**values["run"]),
        output=OutputSettings(**values["output"]),
        providers=selection.providers(),
        warnings=tuple(selection.warnings),
        sandbox=sandbox_url is not None,
        usage=_usage(values["usage"]),
        cache=_cache(values["cache"]),
        origins=origins,
    )


def _usage(values: Mapping[str, Any]) -> UsageSettings:
    url = values.get("url")
    return UsageSettings(values.get("budget_usd_per_day"), None if url is None else Secret(url))


def _cache(values: Mapping[str, Any]) -> CacheSettings:
    own = {key: value for key, value in values.items() if key not in ("url", "ttl", "semantic")}
    if values.get("url") is not None:
        own["url"] = Secret(values["url"])
    if "ttl" in values:
        own["ttl_seconds"] = values["ttl"]
    if "semantic" in values:
        own["semantic"] = SemanticSettings(**values["semantic"])
    return CacheSettings(**own)


def _files(config_path: str | None, *, cwd: Path, user_folder: Path) -> list[Document]:
    near = _read(cwd / (config_path or FILE), config_path or FILE)
    if near is None and config_path is not None:
        raise ConfigError(f"{config_path}: there is no such file; `nanobatch init` writes one to start from")
    far = user_folder / "config.yaml"
    return [document for document in (near, _read(far, str(far))) if document is not None]


def _read(path: Path, name: str) -> Document | None:
    """Read a file, or nothing where there is none."""
    try:
        return parse(path.read_text(encoding="utf-8-sig"), name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        raise ConfigError(f"{name} is a folder; name a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: cannot be read as a text file: {error}") from error


def _check_keys(file: Document) -> None:
    """Refuse every key that nothing knows."""
    _known(file, (), file.values, [*SECTIONS, "providers"])
    for section, keys in SECTIONS.items():
        _known(file, (section,), _keys_of(file, (section,), file.values.get(section)), keys)
    semantic = (file.values.get("cache") or {}).get("semantic")
    if isinstance(semantic, Mapping):
        _known(file, ("cache", "semantic"), semantic, SEMANTIC)
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
            homes = [section for section, keys in SECTIONS.items() if key in keys and not path]
            advice = f"; it belongs under {' or '.join(homes)}" if homes else nearest(key, known)
            raise ConfigError(f"{file.where((*path, key))}: unknown key {key!r}{under}{advice}")


def _check_environment(environ: Mapping[str, str]) -> None:
    known = [f"{ENVIRONMENT}{section}_{key}".upper() for section, keys in SECTIONS.items() for key in keys]
    for name in environ:
        if name.startswith(ENVIRONMENT) and name != f"{ENVIRONMENT}CONFIG" and name not in known:
            raise ConfigError(f"{name}: unknown setting in the environment{nearest(name, known)}")


def _section(sources: Sources, section: str, origins: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, check in SECTIONS[section].items():
        found = sources.look_up(section, key)
        if found is None:
            continue
        dotted = f"{section}.{key}"
        if dotted == "cache.semantic":
            _check_within(found, SEMANTIC, dotted)
        values[key] = checked(found, check, dotted)
        origins[dotted] = found.where
    return values


def _check_within(found: Found, keys: Mapping[str, Check], dotted: str) -> None:
    """Check the keys within a value where each of them stands."""
    for name, where in found.inner.items():
        checked(Found(found.value[name], where), keys[name], f"{dotted}.{name}")
