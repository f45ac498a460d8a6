"""Finds the cheapest point of a small linear program: the simplex method over a dense table, in plain Python.

    minimise cost·x  where  r·x = its bound for each row r of `equal`,  r·x <= its bound for each of `most`,  x >= 0

A row of `equal` that cannot be met is met as far as it can be: what is missing comes back as `missing`. So a program
has an answer always, and whoever asks sees at once whether it is the one that was wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Row = tuple[Mapping[int, float], float]  # coefficient by variable, and the bound, which is not negative
EPSILON = 1e-9
PENALTY = 1e5  # times the dearest cost, for what is missing: more than any detour may cost
MOST_PIVOTS = 20_000  # a guard; programs of some hundred rows take some hundred


@dataclass(frozen=True, slots=True)
class Solution:
    """Where the least cost is."""

    values: tuple[float, ...]
    cost: float  # of the values alone
    missing: float  # of all rows of `equal` together


def minimise(costs: Sequence[float], *, equal: Sequence[Row], most: Sequence[Row]) -> Solution:
    """Return the cheapest values.

    Example:
        minimise([1.0, 3.0], equal=[({0: 1.0, 1: 1.0}, 10.0)], most=[({0: 1.0}, 4.0)])  # 4 of the first, 6 of the other
    """
    size = len(costs)
    table = _Table(size, [*equal, *most])
    penalty = PENALTY * max(map(abs, costs), default=0.0) + PENALTY
    goal = [*costs, *([penalty] * len(equal)), *([0.0] * len(most)), 0.0]
    for row in table.rows[: len(equal)]:  # the unmet rows are the basis to begin with: their cost leaves the goal
        for column, value in enumerate(row):
            if value:
                goal[column] -= penalty * value
    table.run(goal)
    found = [0.0] * (size + len(equal))
    for row, column in zip(table.rows, table.basis, strict=True):
        if column < len(found):
            found[column] = max(0.0, row[-1])
    values = tuple(found[:size])
    return Solution(values, sum(cost * value for cost, value in zip(costs, values, strict=True)), sum(found[size:]))


class _Table:
    """The rows with one slack variable each, and which variable stands for each row."""

    def __init__(self, size: int, rows: Sequence[Row]) -> None:
        self.rows: list[list[float]] = []
        self.basis = [size + place for place in range(len(rows))]
        for place, (coefficients, bound) in enumerate(rows):
            row = [0.0] * (size + len(rows) + 1)
            for column, value in coefficients.items():
                row[column] = value
            row[size + place], row[-1] = 1.0, bound
            self.rows.append(row)

    def run(self, goal: list[float]) -> None:
        """Pivot until no variable lowers the goal."""
        scale = EPSILON * max(map(abs, goal), default=1.0)
        stalled = 0
        for _ in range(MOST_PIVOTS):
            before = goal[-1]
            # The steepest column is the fastest; the first one (Bland's rule) cannot turn in circles.
            columns = (column for column in range(len(goal) - 1) if goal[column] < -scale)
            entering = next(columns, None) if stalled > len(goal) else min(columns, key=goal.__getitem__, default=None)
            if entering is None:
                return
            leaving = self._leaving(entering)
            if leaving is None:
                return  # without a bound, which costs that are not negative do not allow
            self._pivot(leaving, entering, goal)
            stalled = 0 if abs(goal[-1] - before) > scale else stalled + 1

    def _leaving(self, entering: int) -> int | None:
        best: tuple[float, int, int] | None = None
        for place, row in enumerate(self.rows):
            if row[entering] > EPSILON:
                candidate = (row[-1] / row[entering], self.basis[place], place)
                best = candidate if best is None else min(best, candidate)
        return None if best is None else best[2]

    def _pivot(self, leaving: int, entering: int, goal: list[float]) -> None:
        pivot = self.rows[leaving]
        factor = pivot[entering]
        pivot[:] = [value / factor for value in pivot]
        pivot[entering] = 1.0
        touched = [(column, value) for column, value in enumerate(pivot) if value]
        for row in (*self.rows, goal):
            times = row[entering]
            if row is pivot or not times:
                continue
            for column, value in touched:
                row[column] -= times * value
            row[entering] = 0.0
        self.basis[leaving] = entering
