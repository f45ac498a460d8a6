"""What every source shares: a row as it stands in the file, a problem with one, and the contract of a format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from nanobatch.model import Origin

QUOTED_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the file has it: the file's own column names, nothing interpreted yet."""

    values: Mapping[str, Any]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be used, and why."""

    origin: Origin
    reason: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.reason}"


class BadRow(ValueError):
    """Raised while a row is read; the text is the reason that the user sees."""


HeaderCheck: TypeAlias = Callable[[str, Sequence[str]], None]
"""Receives the file's name and its columns; raises `InputError` when they cannot give prompts."""


class Source(Protocol):
    """One prompt file in one format.

    A row that is wrong in itself is a `Problem`, and reading goes on. What makes the rest of the file
    unreadable (not text, an open quote) is an `InputError`. Blank rows are nothing at all.

    Example:
        A format whose every line is a prompt::

            class Text:
                def __init__(self, file: PromptFile) -> None:
                    self._file = file

                def rows(self) -> Iterator[Row | Problem]:
                    for number, line in enumerate(read_lines(self._file), start=1):
                        if line.strip():
                            yield Row({"prompt": line}, Origin(self._file.name, number))
    """

    def rows(self) -> Iterator[Row | Problem]:
        """Read the file from its beginning, one row at a time."""
        ...


def quoted(value: object) -> str:
    """Show a value from the data in a message: short, and without control characters."""
    shown = repr(value)
    return shown if len(shown) <= QUOTED_CHARACTERS else f"{shown[: QUOTED_CHARACTERS - 1]}…"
