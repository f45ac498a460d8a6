"""JSON Lines: one JSON object per line, its keys are the columns."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from nanobatch.model import Origin
from nanobatch.sources.base import Problem, Row
from nanobatch.sources.lines import PromptFile, read_lines

_decode = msgspec.json.Decoder().decode  # strict: no NaN, no lone surrogates, which could never be written again
_KINDS = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}


class Jsonl:
    """A file with a JSON object on every line; blank lines are skipped."""

    def __init__(self, file: PromptFile) -> None:
        self._file = file

    def rows(self) -> Iterator[Row | Problem]:
        """Read the file line by line."""
        for number, line in enumerate(read_lines(self._file), start=1):
            if not line.isspace():
                yield _row(line, Origin(self._file.name, number))


def _row(line: str, origin: Origin) -> Row | Problem:
    try:
        values = _decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return Problem(origin, f"not valid JSON: {error}")
    if not isinstance(values, dict):
        return Problem(origin, f"not a JSON object but {_KINDS[type(values)]}; write one {{...}} a line")
    return Row(values, origin)
