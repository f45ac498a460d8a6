"""Comma-separated values as Excel, Sheets and scripts write them, whatever the separator really is."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from nanobatch.errors import InputError
from nanobatch.model import Origin
from nanobatch.sources.base import HeaderCheck, Problem, Row, quoted
from nanobatch.sources.lines import HEADER_HINT, PromptFile, read_lines

CELL_CHARACTERS = 1_048_576
DELIMITERS = (",", ";", "\t", "|")
_NO_DELIMITER = "\ud800"  # a header of one column: nothing separates, not even a comma; no decoded text can hold this
_QUOTED = re.compile(r'"[^"]*"')
_HEADER_LINES = 100  # a header cell may hold line breaks, but not a novel


class Csv:
    """A table whose first row names the columns.

    Args:
        file: Where to read.
        check_header: Raises `InputError` for columns that cannot give prompts.
        delimiter: What separates the cells; None: found in the header.
        is_known: Tells whether nanobatch knows a column of this name; helps to find the delimiter.
    """

    def __init__(
        self,
        file: PromptFile,
        check_header: HeaderCheck,
        *,
        delimiter: str | None = None,
        is_known: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._file = file
        self._check_header = check_header
        self._delimiter = delimiter
        self._is_known = is_known

    def rows(self) -> Iterator[Row | Problem]:
        """Read the table from its header on, one row at a time."""
        csv.field_size_limit(CELL_CHARACTERS)
        lines = read_lines(self._file)
        table = _Table(self._file.name, _peek_header(lines), lines, self._delimiter, self._is_known)
        header = table.header()
        self._check_header(self._file.name, header)
        yield from table.rows(header)


class _Table:
    """One reading of the file: the csv reader, and the lines that the row at hand was made of."""

    def __init__(
        self,
        name: str,
        first: Sequence[str],
        rest: Iterator[str],
        delimiter: str | None,
        is_known: Callable[[str], bool],
    ) -> None:
        self._name = name
        self._taken: list[str] = []
        self._line = 0  # lines before the row at hand
        self._ended = False
        text = "".join(first)
        self._delimiter = delimiter or find_delimiter(text, is_known=is_known)
        self._reader = csv.reader(self._feed(itertools.chain(first, rest)), delimiter=self._delimiter, strict=True)
        self._rows = self._cells()  # one for the header and what follows it

    def _feed(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self._taken.append(line)
            yield line
        self._ended = True

    def header(self) -> list[str]:
        """Read the first row that is not blank, and name what it leaves unnamed."""
        for cells in self._rows:
            if isinstance(cells, str):
                raise InputError(f"{self._name}:{self._line + 1}: {cells}")
            if any(cell.strip() for cell in cells):
                return _named(cells, f"{self._name}:{self._line + 1}")
        raise InputError(f"{self._name} has no header; {HEADER_HINT}")

    def rows(self, header: Sequence[str]) -> Iterator[Row | Problem]:
        width = len(header)
        padding = [""] * width
        for cells in self._rows:
            origin = Origin(self._name, self._line + 1)
            if isinstance(cells, str):
                yield Problem(origin, cells)
                continue
            if len(cells) > width and any(map(str.strip, cells[width:])):
                yield Problem(origin, _too_wide(len(cells), width))
            elif any(cells) or (cells and width == 1):  # a row that was emptied in a spreadsheet stays behind as ;;;
                whole = cells if len(cells) == width else [*cells, *padding]
                yield Row(dict(zip(header, whole, strict=False)), origin)

    def _cells(self) -> Iterator[list[str] | str]:
        """Yield the cells of each row, or what is wrong with it."""
        taken = self._taken
        while True:
            try:
                cells: list[str] | str = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                cells = self._recover(error)
            yield cells
            self._line += len(taken)
            taken.clear()

    def _recover(self, error: csv.Error) -> list[str] | str:
        """Read a row that breaks the rules of quoting as it stands, where that has only one meaning."""
        where = f"{self._name}:{self._line + 1}"
        if self._ended:
            raise InputError(f"{where}: a quote opens in this row and is never closed") from error
        if sum(map(len, self._taken)) > CELL_CHARACTERS:
            raise InputError(f"{where}: a cell is longer than 1 MB; is a quote left open?") from error
        if len(self._taken) > 1:
            last = self._line + len(self._taken)
            return f"a quote opens in this row and ends within a cell on line {last}; write a quote within quotes twice"
        cells = self._taken[0].rstrip("\r\n").split(self._delimiter)
        if any(cell.count('"') % 2 for cell in cells):
            return 'a quoted cell goes on after its closing quote; write a quote within quotes twice: ""'
        return [cell[1:-1] if _QUOTED.fullmatch(cell) else cell for cell in cells]


def _peek_header(lines: Iterator[str]) -> list[str]:
    """Take the lines of the header, which may have line breaks within quotes."""
    first: list[str] = []
    for line in lines:
        first.append(line)
        text = "".join(first)
        if (text.strip() and text.count('"') % 2 == 0) or len(first) > _HEADER_LINES:
            break
    return first


def find_delimiter(header: str, *, is_known: Callable[[str], bool] = lambda _: False) -> str:
    """Choose the separator that gives the most columns we know, then the most columns."""

    def score(delimiter: str) -> tuple[int, int]:
        cells = split_header(header, delimiter)
        return (sum(map(is_known, cells)) if len(cells) > 1 else 0), len(cells)

    best = max(DELIMITERS, key=score)
    return best if score(best)[1] > 1 else _NO_DELIMITER


def split_header(header: str, delimiter: str) -> list[str]:
    """Split the header's text as the reader will, but never fail."""
    rows = csv.reader(io.StringIO(header, newline=""), delimiter=delimiter)
    try:
        return next((cells for cells in rows if cells), [])
    except csv.Error:  # a cell beyond the limit is no column's name
        return []


def _named(cells: Sequence[str], where: str) -> list[str]:
    """Give columns without a name one, and refuse two of one name."""
    header: list[str] = []
    seen: dict[str, str] = {}
    for number, cell in enumerate(cells, start=1):
        name = cell.strip() or f"column {number}"
        if name.casefold() in seen:
            raise InputError(f"{where}: two columns are named {quoted(name)}; every column needs a name of its own")
        seen[name.casefold()] = name
        header.append(name)
    return header


def _too_wide(cells: int, width: int) -> str:
    columns = "1 column" if width == 1 else f"{width} columns"
    return f"{cells} cells, but the header has {columns}; put quotes around a cell that holds the separator"
