"""Plain text: every line that is not blank is a prompt."""

from __future__ import annotations

from collections.abc import Iterator

from nanobatch.model import Origin
from nanobatch.sources.base import HeaderCheck, Problem, Row
from nanobatch.sources.lines import PromptFile, read_lines

COLUMN = "prompt"


class Text:
    """A file with a prompt on every line."""

    def __init__(self, file: PromptFile, check_header: HeaderCheck) -> None:
        self._file = file
        self._check_header = check_header

    def rows(self) -> Iterator[Row | Problem]:
        """Read the file line by line."""
        self._check_header(self._file.name, (COLUMN,))
        for number, line in enumerate(read_lines(self._file), start=1):
            if not line.isspace():
                yield Row({COLUMN: line}, Origin(self._file.name, number))
