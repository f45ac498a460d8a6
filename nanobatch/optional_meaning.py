"""The semantic cache is optional: what needs numbers and a model is imported where a setting asks for it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

from nanobatch.errors import ConfigError

_PACKAGES = ("numpy", "safetensors", "tokenizers", "wordllama")
_MODEL = "wordllama"  # carries the weights; nobody imports it


def import_semantic(
    importer: Callable[[str], Any] = importlib.import_module, find: Callable[[str], Any] = importlib.util.find_spec
) -> Any:
    """Import the semantic cache; it costs a fifth of a second.

    Args:
        importer: Imports a module by its name.
        find: Finds a package without importing it.

    Raises:
        ConfigError: A package that it needs is not installed.
    """
    try:
        module = importer("nanobatch.caches.semantic")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise _missing() from None
    if find(_MODEL) is None:
        raise _missing()
    return module


def _missing() -> ConfigError:
    return ConfigError("cache.semantic needs other packages: pip install 'nanobatch[semantic]'")
