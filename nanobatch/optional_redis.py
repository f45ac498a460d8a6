"""Redis is optional: our modules that need its package are imported where a setting asks for them."""

from __future__ import annotations

import importlib
from typing import Any
from urllib.parse import urlsplit

from nanobatch.errors import ConfigError
from nanobatch.settings import Secret


def import_redis(module: str, *, key: str) -> Any:
    """Import a module of ours that needs the package; it costs a tenth of a second.

    Args:
        module: Below nanobatch, such as "spending_redis".
        key: The setting that asks for it.

    Raises:
        ConfigError: The package is not installed.
    """
    try:
        return importlib.import_module(f"nanobatch.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigError(f"{key} needs another package: pip install 'nanobatch[redis]'") from None


def where(url: Secret) -> str:
    """Call a server without its password."""
    parts = urlsplit(url.reveal())
    return f"the Redis at {parts.hostname}:{parts.port or 6379}"
