"""The simplex method against answers that can be worked out by hand, and against a search over corners."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.linear import minimise


def test_the_cheap_one_is_used_up_first() -> None:
    """Four fit into the cheap one; the rest goes to the dear one."""
    found = minimise([1.0, 3.0], equal=[({0: 1.0, 1: 1.0}, 10.0)], most=[({0: 1.0}, 4.0)])
    assert found.values == pytest.approx((4.0, 6.0))
    assert found.cost == pytest.approx(22.0)
    assert found.missing == pytest.approx(0.0)


def test_what_cannot_be_met_is_counted() -> None:
    """A program that has no answer comes as near as it can and says how much is missing."""
    found = minimise([1.0], equal=[({0: 1.0}, 10.0)], most=[({0: 2.0}, 8.0)])
    assert found.values == pytest.approx((4.0,))
    assert found.missing == pytest.approx(6.0)


def test_who_saves_most_gets_the_cheap_place() -> None:
    """Both kinds would be cheaper in the first place; it goes to the one that would lose more elsewhere."""
    costs = [1.0, 2.0, 1.0, 9.0]  # kind a: here, there; kind b: here, there
    equal = [({0: 1.0, 1: 1.0}, 5.0), ({2: 1.0, 3: 1.0}, 5.0)]
    found = minimise(costs, equal=equal, most=[({0: 1.0, 2: 1.0}, 5.0)])
    assert found.values == pytest.approx((0.0, 5.0, 5.0, 0.0))


def test_nothing_wanted_costs_nothing() -> None:
    """An empty program has an empty answer."""
    assert minimise([], equal=[], most=[]) == minimise([], equal=[({}, 0.0)], most=[])


def test_a_program_that_invites_to_turn_in_circles_ends() -> None:
    """Bounds of zero make pivots that gain nothing; the rule for choosing among them keeps the search going."""
    costs = [-0.75, 150.0, -0.02, 6.0]
    most = [
        ({0: 0.25, 1: -60.0, 2: -0.04, 3: 9.0}, 0.0),
        ({0: 0.5, 1: -90.0, 2: -0.02, 3: 3.0}, 0.0),
        ({2: 1.0}, 1.0),
    ]
    assert minimise(costs, equal=[], most=most).cost == pytest.approx(-0.05)


small = st.integers(0, 6).map(float)


@given(
    st.lists(st.tuples(small, small), min_size=2, max_size=2),
    st.lists(st.tuples(st.integers(1, 5).map(float), st.integers(1, 5).map(float)), min_size=1, max_size=3),
    st.lists(st.integers(0, 20).map(float), min_size=3, max_size=3),
    st.integers(0, 8).map(float),
)
def test_no_point_of_a_grid_is_cheaper(
    costs: list[tuple[float, float]], rows: list[tuple[float, float]], bounds: list[float], wanted: float
) -> None:
    """Among all points with quarters for coordinates that meet the rows none costs less."""
    flat = [costs[0][0], costs[1][0]]
    most = [({0: a, 1: b}, bound) for (a, b), bound in zip(rows, bounds, strict=False)]
    found = minimise(flat, equal=[({0: 1.0, 1: 1.0}, wanted)], most=most)
    quarters = [n / 4 for n in range(int(wanted * 4) + 1)]
    feasible = [
        (x, y)
        for x, y in itertools.product(quarters, repeat=2)
        if x + y == wanted and all(a * x + b * y <= bound for (a, b), bound in zip(rows, bounds, strict=False))
    ]
    if feasible:
        assert found.missing == pytest.approx(0.0, abs=1e-6)
        assert found.cost <= min(flat[0] * x + flat[1] * y for x, y in feasible) + 1e-6
    for row, bound in most:
        assert sum(value * found.values[at] for at, value in row.items()) <= bound + 1e-6
