"""The wire formats, one file each, loaded when a run needs them; and those that other packages bring along.

A package adds a format by an entry point of the group `nanobatch.providers` (docs/providers.md shows a whole one).
"""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from nanobatch.errors import ConfigError
from nanobatch.providers.base import Provider
from nanobatch.providers.sentences import clean, said

PROTOCOLS = (
    "gemini", "vertex", "openai", "openai-chat", "kie", "puter", "openrouter", "fal", "replicate", "together", "xai",
)  # fmt: skip
GROUP = "nanobatch.providers"


def load(protocol: str) -> Provider:
    """Return the provider that speaks a protocol. No package can take the place of one of ours.

    Raises:
        ConfigError: There is none, or the package that brings it is broken.
    """
    if protocol in PROTOCOLS:
        return cast("Provider", importlib.import_module(f"{__name__}.{protocol.replace('-', '_')}"))
    found = list(entry_points(group=GROUP, name=protocol))
    if not found:
        raise ConfigError(f"unknown protocol {protocol!r}; known are {', '.join(known())}")
    if len({point.value for point in found}) > 1:
        packages = " and ".join(sorted({_package(point) for point in found}))
        raise ConfigError(f"protocol {protocol!r} is brought by more than one package: {packages}; remove all but one")
    return _plugged_in(found[0])


def known() -> tuple[str, ...]:
    """Return the names of all protocols: ours, then those of other packages. Imports none of them."""
    return (*PROTOCOLS, *sorted({point.name for point in entry_points(group=GROUP)}.difference(PROTOCOLS)))


def _plugged_in(point: EntryPoint) -> Provider:
    blame = f"protocol {point.name!r} of the package {_package(point)} cannot be used"
    try:
        provider: Any = point.load()
    except Exception as error:  # somebody else's code runs here, and may fail in any way
        raise ConfigError(f"{blame}: {type(error).__name__}{said(clean(str(error)))}") from error
    missing = [name for name in ("exchange", "fault") if not callable(getattr(provider, name, None))]
    if missing:
        raise ConfigError(f"{blame}: {point.value} has no function {' and no function '.join(missing)}")
    return cast("Provider", provider)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
