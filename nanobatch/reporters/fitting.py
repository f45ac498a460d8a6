"""A table that leaves out columns where the terminal is narrow: a figure is shown whole or not at all."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table

_PADDING = 2  # blanks that rich reckons with for each column, at the edges too


class FittingTable:
    """Draws a table with as many of its columns as fit.

    Args:
        table: The table; columns that may not be wrapped are measured as they are.
        expendable: The titles of those that may go, the first one first.
    """

    def __init__(self, table: Table, expendable: Sequence[str]) -> None:
        self._table = table
        self._expendable = expendable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = copy.copy(self._table)
        for title in self._expendable:
            widths = [_width(column, console) for column in shown.columns]
            if sum(widths) + _PADDING * len(widths) <= options.max_width:
                break
            kept = [column for column in shown.columns if column.header != title]
            shown.columns = [dataclasses.replace(column, _index=number) for number, column in enumerate(kept)]
        yield shown


def _width(column: Column, console: Console) -> int:
    """Return what a column needs: all of a line that is not to be wrapped, else its longest word."""
    boundless = console.options.update(max_width=10_000)
    cells = [console.measure(cell, options=boundless) for cell in (column.header, *column.cells)]
    return max(column.min_width or 0, *(cell.maximum if column.no_wrap else cell.minimum for cell in cells))
