"""The wire formats, one file each, loaded when a run needs them."""

from __future__ import annotations

import importlib
from typing import cast

from nanobatch.errors import ConfigError
from nanobatch.providers.base import Provider

PROTOCOLS = ("gemini", "openai")


def load(protocol: str) -> Provider:
    """Return the provider that speaks a protocol.

    Raises:
        ConfigError: There is none.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {protocol!r}; known are {', '.join(PROTOCOLS)}")
    return cast("Provider", importlib.import_module(f"{__name__}.{protocol}"))
