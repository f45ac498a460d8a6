"""Looks for what would keep a run from working, before it costs anything: the checks of `nanobatch doctor`."""

from __future__ import annotations

import datetime as dt
import email.utils
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol

from nanobatch.catalog import Catalog
from nanobatch.clock import Clock
from nanobatch.errors import AccountStopped, ExchangeError, ModelGone, Unsent
from nanobatch.model import FREE, Request, Response
from nanobatch.providers import load
from nanobatch.settings import ProviderSettings, Settings

OLD_DAYS = 90
LEAST_FREE_BYTES = 1_000_000_000
MOST_SKEW_SECONDS = 60.0
_LIBRARIES = ("httpx", "aiohttp", "msgspec", "pybase64", "pillow")
# One call that costs nothing for each wire format; the others have none that is documented.
FREE_CALLS = {
    "gemini": "/models?pageSize=1", "openai": "/models", "openai-chat": "/models", "kie": "/api/v1/chat/credit",
    "openrouter": "/key", "replicate": "/account", "together": "/models", "xai": "/models",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    status: Literal["ok", "warning", "problem"]
    message: str
    exit_code: int = 0


class Sender(Protocol):
    """What sends one request to a provider, with its key."""

    async def send(self, request: Request) -> Response:
        """Return the answer; raises ExchangeError."""
        ...


def machine(environ: Mapping[str, str]) -> list[Finding]:
    """Check what the machine brings: Python, libraries, proxies."""
    shown = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    found = [Finding("python", "ok", f"Python {sys.version.split()[0]} with {shown}")]
    proxies = [name for name in environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy") and environ[name]]
    if proxies:
        found.append(
            Finding("proxy", "ok", f"{', '.join(sorted(proxies))} is set, and requests to other machines go through it")
        )
    return found


def disk(folder: Path) -> Finding:
    """Check that images can be written to a folder, or to where it will be made."""
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding("disk", "problem", f"{place} cannot be looked at: {error.strerror}", 2)
    if not os.access(place, os.W_OK):
        return Finding("disk", "problem", f"{place} cannot be written; choose another folder with --out", 2)
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "warning", f"only {free / 1e9:.1f} GB are free in {place}")
    return Finding("disk", "ok", f"{free / 1e9:.0f} GB are free in {place}")


def catalog_age(catalog: Catalog, clock: Clock) -> Finding:
    """Check how old the prices are."""
    today = dt.datetime.fromtimestamp(clock.wall(), dt.UTC).date()
    age, name = max(((today - entry.as_of).days, name) for name, entry in catalog.providers.items())
    if age > OLD_DAYS:
        return Finding(
            "catalog", "warning", f"the prices of {name} are {age} days old; a newer nanobatch may know better"
        )
    return Finding("catalog", "ok", f"prices and limits are at most {max(0, age)} days old")


def keys(settings: Settings, environ: Mapping[str, str], catalog: Catalog) -> Iterable[Finding]:
    """Say which providers are used, and which keys stand twice and differ."""
    for warning in settings.warnings:
        yield Finding("keys", "warning", warning)
    for provider in settings.providers:
        entry = catalog.providers.get(provider.name)
        values = {name: environ[name].strip() for name in (entry.key_variables if entry else ()) if environ.get(name)}
        if len(set(values.values())) > 1:
            names = " and ".join(values)
            yield Finding("keys", "warning", f"{provider.name}: {names} hold different keys; the first counts")
        credentials = "a key" if provider.api_key is not None else "credentials of the machine"
        yield Finding("keys", "ok", f"{provider.priority}. {provider.name} has {credentials}")


async def ping(provider: ProviderSettings, sender: Sender, clock: Clock) -> Finding:
    """Make the one call of a provider that costs nothing, and say what came of it."""
    name, path = f"ping {provider.name}", FREE_CALLS.get(provider.protocol)
    if path is None:
        return Finding(name, "ok", f"{provider.protocol} has no call that is free, so its key is not tried")
    started = clock.monotonic()
    try:
        response = await sender.send(Request("GET", path, cost=FREE, repeatable=True))
    except Unsent as error:
        return Finding(name, "problem", f"{error.message}; is base_url {provider.base_url} right?", 5)
    except ExchangeError as error:
        return Finding(name, "problem", error.message, 5)
    milliseconds = (clock.monotonic() - started) * 1000
    error_found = load(provider.protocol).fault(response)
    if isinstance(error_found, ModelGone):  # an endpoint that lists no models says nothing of the key
        return Finding(
            name, "warning", f"answers in {milliseconds:.0f} ms, but lists no models (HTTP {response.status})"
        )
    if isinstance(error_found, AccountStopped):
        return Finding(name, "problem", error_found.message, 3)
    if error_found is not None:
        return Finding(name, "warning", f"answers in {milliseconds:.0f} ms: {error_found.message}")
    skew = _skew(response, clock)
    if skew is not None and abs(skew) > MOST_SKEW_SECONDS:
        return Finding(name, "warning", f"the key is accepted, but this machine's clock is {skew:+.0f} s off")
    return Finding(name, "ok", f"the key is accepted ({milliseconds:.0f} ms)")


def _skew(response: Response, clock: Clock) -> float | None:
    """Return how far this machine's clock is ahead of the provider's, in seconds."""
    try:
        return clock.wall() - email.utils.parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def exit_code(findings: Iterable[Finding]) -> int:
    """Return what a shell sees: the first problem's code; one provider that works makes others' trouble a warning."""
    found = list(findings)
    pings = [finding for finding in found if finding.name.startswith("ping ")]
    usable = any(finding.status != "problem" for finding in pings)
    for finding in found:
        if finding.status == "problem" and not (finding in pings and usable):
            return finding.exit_code
    return 0
