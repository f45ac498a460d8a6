"""Which column of a file is which: by name, without regard to case, blanks, hyphens and underscores."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nanobatch.sources.base import quoted

PROMPT = "prompt"
PROMPT_NAMES = ("prompt", "prompts", "text", "caption")  # the first that a file has
PLAIN_FIELDS = ("id", "model", "provider", "size", "aspect_ratio", "seed", "n", "references", "name")
_SHOWN = 12  # columns in a message
_BLANKS = str.maketrans(" -", "__")


def fold(name: str) -> str:
    """Return what equal column names have in common."""
    return name.strip().casefold().translate(_BLANKS)


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one file, or the keys of one JSON object."""

    names: tuple[str, ...]  # as the file writes them
    known: Mapping[str, str]  # our name: the file's
    others: tuple[str, ...]  # the names that nanobatch does not know
    folded: Mapping[str, str]  # what equal names have in common: the file's name

    def find(self, name: str) -> str | None:
        """Return the file's own name of the column that a template means, or None."""
        if name in self.names:
            return name
        return self.known.get(fold(name)) or self.folded.get(fold(name))

    def lacking(self, wanted: Iterable[str]) -> str | None:
        """Tell what is missing of the wanted columns, and what may have been meant; None: nothing."""
        for name in wanted:
            if self.find(name) is None:
                return describe_missing(name, self.names)
        return None


def describe_missing(name: str, columns: Sequence[str]) -> str:
    """Say that there is no such column, which is nearest, and which there are."""
    near = difflib.get_close_matches(fold(name), [fold(column) for column in columns], n=1)
    meant = next((column for column in columns if near and fold(column) == near[0]), None)
    hint = f"did you mean {quoted(meant)}? " if meant is not None else ""
    shown = [column if column.isprintable() else quoted(column) for column in columns[:_SHOWN]]
    more = ", ..." if len(columns) > _SHOWN else ""
    return f"no column {name!r} ({hint}columns: {', '.join(shown) or 'none'}{more})"


def lay_out(names: Sequence[str], *, prompt_column: str | None = None) -> Layout:
    """Find the known columns among the names of a file.

    Args:
        names: As the file writes them.
        prompt_column: The user's own choice; then a column named "prompt" is one like any other.
    """
    folded: dict[str, str] = {}
    for name in (*names, *filter(lambda name: name == fold(name), names)):  # the exact spelling wins
        folded[fold(name)] = name
    wanted = (fold(prompt_column),) if prompt_column is not None else PROMPT_NAMES
    known = {field: folded[field] for field in PLAIN_FIELDS if field in folded}
    prompt = next((folded[name] for name in wanted if name in folded), None)
    if prompt is not None:
        known = {PROMPT: prompt, **{field: name for field, name in known.items() if name != prompt}}
    taken = set(known.values())
    others = tuple(name for name in names if name not in taken)
    return Layout(names=tuple(names), known=known, others=others, folded=folded)
