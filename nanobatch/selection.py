"""Chooses the providers of a run, and puts together what is known of each: the user's words before the catalog's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from nanobatch.catalog import Catalog, ProviderEntry, Terms
from nanobatch.errors import ConfigError, NoProvider
from nanobatch.lookup import VARIABLE, Found, Sources, checked, expand, flag_name, nearest
from nanobatch.providers import known as known_protocols
from nanobatch.schema import LIMITS, PROVIDER
from nanobatch.settings import BatchSettings, Limits, ProviderSettings, Secret

SANDBOX_CONCURRENCY = 50
SANDBOX_POLL_SECONDS = 0.5  # whose batches take a second, not a day
SANDBOX_BUCKET = "gs://sandbox/nanobatch"
FLEX_PROTOCOLS = ("gemini", "vertex")
_KEYLESS = ("google", "none")


class Selection:
    """Which providers take part, and with what."""

    def __init__(
        self, sources: Sources, catalog: Catalog, sandbox_url: str | None, *, without_keys: bool = False
    ) -> None:
        self._without_keys = without_keys
        self._pretends = False
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
        found = [self._provider(name, must=name in named and not self._without_keys) for name in names]
        chosen = [provider for provider in found if provider is not None]
        if not chosen and self._without_keys:
            self._pretends = True  # nothing will be sent, so all of them are as good
            self.warnings.clear()
            chosen = [provider for name in names if (provider := self._provider(name, must=True)) is not None]
        if not chosen:
            raise NoProvider(
                f"no provider has a key: set one of {', '.join(self._variables(names))}, "
                "or add --sandbox to try everything without a key"
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
        if self._sandbox_url is not None:
            return ["google"]
        return [name for name, entry in self._catalog.providers.items() if not entry.listed_only]

    def _variables(self, names: Iterable[str]) -> list[str]:
        entries = [self._catalog.providers[name] for name in names if name in self._catalog.providers]
        return [entry.key_variables[0] for entry in entries or self._catalog.providers.values() if entry.key_variables]

    def _provider(self, name: str, *, must: bool) -> ProviderSettings | None:
        entry = self._catalog.providers.get(name)
        protocol = self._value(name, "protocol", entry.protocol if entry else None)
        if protocol is None:
            raise self._needed(name, "protocol")
        known = self._catalog.protocols.get(protocol)
        if known is None and protocol not in known_protocols():
            place, more = self._where(name, "protocol"), nearest(protocol, known_protocols())
            raise ConfigError(f"{place}: providers.{name}.protocol {protocol!r} is unknown{more}")
        url, flex = self._base_url(name, entry, protocol), self._flex(name, protocol)
        auth = self._value(name, "auth", entry.auth if entry else known.auth if known else "bearer")
        key = self._key(name, entry)
        if self._sandbox_url is not None and auth in _KEYLESS:
            auth = "bearer"
        if key is None and auth not in _KEYLESS:
            self._without_key(name, entry, must=must)
            return None
        prices, models = self._value(name, "prices", None), self._value(name, "models", None)
        own_url = self._sandbox_url is not None or self._raw(name, "base_url") is not None
        elsewhere = entry is not None and self._value(name, "base_url", None) not in (None, entry.base_url)
        return ProviderSettings(
            name=name,
            protocol=protocol,
            base_url=url,
            api_key=key if auth not in _KEYLESS else None,
            auth=auth,
            priority=self._value(name, "priority", self._default_priority(name)),
            limits=self._limits(name, entry),
            terms=Terms(name, entry, prices, models, protocol, flex=flex, elsewhere=elsewhere),
            day_zone=self._value(name, "day_zone", entry.day_zone if entry else "UTC"),
            options=self._value(name, "options", {}) | ({"serviceTier": "flex"} if flex else {}),
            upload_url=self._value(name, "upload_url", entry.upload_url if entry and not own_url else None),
            flex=flex,
            flex_in_mixes=self._raw(name, "tier_of_service") is None,
            cooldown_seconds=self._value(name, "cooldown_seconds", None),
            batch=self._batch(name, entry, protocol),
        )

    def _base_url(self, name: str, entry: ProviderEntry | None, protocol: str) -> str:
        """Return where the provider is: the sandbox's double of it, as the user says, or as the catalog knows it."""
        if self._sandbox_url is not None:
            known = self._catalog.protocols.get(protocol)
            if known is None:
                raise ConfigError(f"{self._where(name)}: the sandbox does not speak {name}'s protocol {protocol!r}")
            return self._sandbox_url + known.suffix
        listed = None
        if entry is not None:
            listed = entry.base_url if protocol == entry.protocol else entry.other_protocols.get(protocol)
        url: str | None = self._value(name, "base_url", listed)
        if url is None:
            raise self._needed(name, "base_url")
        if "{project}" not in url:
            return url
        project = self._value(name, "project", self._sources.environ.get("GOOGLE_CLOUD_PROJECT"))
        if not project:
            raise ConfigError(
                f"{self._where(name)}: {name} needs a project; set providers.{name}.project or GOOGLE_CLOUD_PROJECT"
            )
        location = self._value(name, "location", "global")
        region = "" if location == "global" else f"{location}-"  # the host of all but the global location
        return url.format(project=project, location=location, region=region)

    def _batch(self, name: str, entry: ProviderEntry | None, protocol: str) -> BatchSettings:
        """Return the terms of a provider's batches: the vendor's own, as far as the user says nothing else."""
        own = dict(self._value(name, "batch", {}))
        if (tokens := own.pop("enqueued_tokens", None)) is not None:
            own["enqueued_tokens"] = {"*": tokens}
        if self._sandbox_url is not None:
            own.setdefault("poll_seconds", SANDBOX_POLL_SECONDS)
            own.pop("storage_url", None)  # it has a storage of its own
        known = self._staging(protocol)
        if entry is None or entry.batch is None or protocol != entry.protocol:
            return BatchSettings(**(known | own))
        known["factor"] = entry.batch.factor
        if self._sandbox_url is None and self._has_presets(name, entry):
            tier = str(self._value(name, "tier", entry.default_tier))
            known |= {"jobs": entry.batch.jobs, "enqueued_tokens": entry.batch.enqueued_tokens.get(tier)}
        return BatchSettings(**(known | own))

    def _staging(self, protocol: str) -> dict[str, Any]:
        """Return where batches are staged, in formats that stage them."""
        known = self._catalog.protocols.get(protocol)
        if known is None or known.storage_url is None:
            return {}
        if self._sandbox_url is not None:
            return {"bucket": SANDBOX_BUCKET, "storage_url": self._sandbox_url}
        return {"storage_url": known.storage_url}

    def _has_presets(self, name: str, entry: ProviderEntry) -> bool:
        """Tell whether a tier's preset applies: at the vendor's own machines, elsewhere only when it is asked for."""
        url, asked = self._value(name, "base_url", None), self._value(name, "tier", None)
        return url in (None, entry.base_url) or asked is not None

    def _needed(self, name: str, what: str) -> ConfigError:
        return ConfigError(
            f"{self._where(name)}: {name} is not in the catalog, so providers.{name}.{what} is needed"
            + nearest(name, self._catalog.providers)
        )

    def _flex(self, name: str, protocol: str) -> bool:
        if self._value(name, "tier_of_service", "standard") == "standard":
            return False
        if protocol not in FLEX_PROTOCOLS:
            place = self._where(name, "tier_of_service")
            raise ConfigError(f"{place}: only providers that speak {' or '.join(FLEX_PROTOCOLS)} have a flex tier")
        return True

    def _without_key(self, name: str, entry: ProviderEntry | None, *, must: bool) -> None:
        """Warn that a listed provider is left out.

        Raises:
            NoProvider: It was asked for by name.
            ConfigError: It has a key in the configuration alone, and that is missing.
        """
        raw = self._raw(name, "api_key")
        written = VARIABLE.fullmatch(str(raw.value)) if raw is not None else None
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
            value = checked(raw, PROVIDER["api_key"], f"providers.{name}.api_key")
            if (match := VARIABLE.fullmatch(value)) and match[2] is None:
                value = self._sources.environ.get(match[1], "")  # an unset variable is a missing key, not a mistake
            else:
                value = expand(value, self._sources.environ, place)
        if not value.strip() and entry is not None:
            for variable in entry.key_variables:
                if self._sources.environ.get(variable, "").strip():
                    place, value = variable, self._sources.environ[variable]
                    break
        if not value.strip():
            return Secret("none-yet") if self._pretends else None
        try:
            return Secret(value)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error.message}") from None

    def _limits(self, name: str, entry: ProviderEntry | None) -> Limits:
        values: dict[str, Any] = {}
        if entry is not None and self._sandbox_url is None and self._has_presets(name, entry):
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
                    values[key] = checked(found, check, f"providers.{name}.limits.{key}")
            if (flagged := self._sources.flags.get(f"limits.{key}")) is not None:
                values[key] = checked(Found(flagged, flag_name(f"limits.{key}")), check, "the limit")
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
        return checked(found, PROVIDER[key], f"providers.{name}.{key}")

    def _where(self, name: str, key: str | None = None) -> str:
        path = ("providers", name) if key is None else ("providers", name, key)
        for file in self._sources.files:
            if path in file.lines:
                return file.where(path)
        return self._sources.files[0].name if self._sources.files else "configuration"
