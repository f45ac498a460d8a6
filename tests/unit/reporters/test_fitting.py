"""Tables in narrow terminals: fewer columns, and every figure whole."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.table import Table

from nanobatch.reporters.fitting import FittingTable


def lines(width: int) -> list[str]:
    table = Table(box=None, pad_edge=False, caption="a sentence below", caption_justify="left")
    for title in ("provider", "size", "total", "bound by"):
        table.add_column(title, no_wrap=True)
    table.add_row("google", "1K", "1234.56", "concurrency")
    console = Console(width=width, color_system=None)
    fitting = FittingTable(table, ["bound by", "size"])
    with console.capture() as first:
        console.print(fitting)
    with console.capture() as again:
        console.print(fitting)
    assert first.get() == again.get()
    return [" ".join(line.split()) for line in first.get().splitlines()]


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (80, "google 1K 1234.56 concurrency"),
        (38, "google 1K 1234.56 concurrency"),
        (37, "google 1K 1234.56"),
        (22, "google 1234.56"),
    ],
)
def test_what_does_not_fit_is_left_out(width: int, row: str) -> None:
    """The first of the expendable columns goes first, with its title; it is there again in a wider terminal."""
    found = lines(width)
    assert found[1] == row
    assert len(found[0].split()) >= len(row.split())
    assert "…" not in "".join(found)


def test_what_must_stay_stays() -> None:
    """Nothing else is left out, however narrow it gets."""
    assert lines(10)[0].startswith("pro")
