"""Templates over the columns of a row: `{column}` and `{column:format}`, and nothing that could reach further.

Python's own `str.format` would follow attributes and indexes of the values; here a field is a column's name, whole.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import Any, TypeAlias

from nanobatch.errors import ConfigError
from nanobatch.sources.base import BadRow, quoted

Lookup: TypeAlias = Callable[[str], Any]

_HUGE = re.compile(r"\d{4}")  # a width of a thousand is a typing error, a width of a billion takes the memory
_SURROGATES = re.compile(r"[\ud800-\udfff]")


class Template:
    """A text with places for the columns of a row.

    Args:
        source: `Photo of {product} on {background}`; a brace itself is written twice.
        option: The flag that it came with, for messages.

    Raises:
        ConfigError: The text is no template.
    """

    def __init__(self, source: str, *, option: str) -> None:
        self.source = source
        self.option = option
        if _SURROGATES.search(source):
            raise ConfigError(f"{option}: the text is not valid Unicode")
        try:
            parsed = list(string.Formatter().parse(source))
        except ValueError as error:
            raise ConfigError(f"{option} {source!r}: {error}; a brace itself is written twice: {{{{") from error
        self._parts = [
            (literal, name, self._checked(name, spec or "", conversion)) for literal, name, spec, conversion in parsed
        ]
        self.fields = tuple(dict.fromkeys(name for _, name, _ in self._parts if name is not None))

    def _checked(self, name: str | None, spec: str, conversion: str | None) -> str:
        if name is not None and not name.strip():
            raise ConfigError(f"{self.option} {self.source!r}: {{}} needs the name of a column")
        if conversion or "{" in spec or _HUGE.search(spec):
            raise ConfigError(f"{self.option} {self.source!r}: only {{column}} and {{column:format}} can be used")
        return spec

    def render(self, lookup: Lookup) -> str:
        """Fill in the values of one row.

        Args:
            lookup: Gives the value of a field; its own `BadRow` passes through.

        Raises:
            BadRow: A value does not fit its place.
        """
        filled: list[str] = []
        for literal, name, spec in self._parts:
            filled.append(literal)
            if name is not None:
                filled.append(_formatted(name, lookup(name), spec))
        return "".join(filled)


def _formatted(name: str, value: Any, spec: str) -> str:
    if not spec:
        return as_text(value, what=f"the column {name!r}")
    for kind in (_same, int, float):  # the cells of a CSV are all text: {price:.2f} means the number in it
        try:
            return format(kind(value), spec)
        except (ValueError, TypeError, OverflowError):
            continue
    raise BadRow(f"the column {name!r} is {quoted(value)}, which cannot be written as {{{name}:{spec}}}")


def _same(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def as_text(value: Any, *, what: str) -> str:
    """Read a cell as text, without the blanks around it.

    Raises:
        BadRow: The value is a list or an object.
    """
    match value:
        case str():
            return value.strip()
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            raise BadRow(f"{what} must be a text or a number, not {quoted(value)}")
