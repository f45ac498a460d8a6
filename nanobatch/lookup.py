"""Looks a setting up where the user may have said it: a flag, the environment, a file. Each value keeps its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nanobatch.errors import ConfigError
from nanobatch.schema import Check
from nanobatch.yaml_files import Document

ENVIRONMENT = "NANOBATCH_"
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_FLAG_NAMES = {
    "defaults.images_per_prompt": "--images-per-prompt",
    "run.budget_usd": "--budget",
    "run.timeout_seconds": "--timeout",
    "output.dir": "--out",
    "cache.enabled": "--cache",
    "limits.concurrency": "--concurrency",
    "limits.rpm": "--rpm",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A value and its place."""

    value: Any
    where: str
    inner: Mapping[str, str] = field(default_factory=dict)  # the places of the keys within the value, where it has any


@dataclass(frozen=True, slots=True)
class Sources:
    """All places where the user may have said something."""

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
                where = file.where((section, key))
                within = values[key] if isinstance(values[key], Mapping) else {}
                inner = {str(name): file.where((section, key, name)) for name in within}
                return Found(expand(values[key], self.environ, where), where, inner)
        return None


def flag_name(dotted: str) -> str:
    """Return the flag that sets a key."""
    return _FLAG_NAMES.get(dotted, "--" + dotted.rsplit(".", maxsplit=1)[-1].replace("_", "-"))


def nearest(word: str, known: Iterable[str]) -> str:
    """Name the known words that come nearest, as the end of a sentence."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(words)}"


def checked(found: Found, check: Check, name: str) -> Any:
    """Return a value as it is used.

    Raises:
        ConfigError: It cannot be used; the message begins with its place.
    """
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

    return VARIABLE.sub(replaced, value)
