"""The counters of the vendor's account, with time as a number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nanobatch.sandbox.limits import Excess, Limits, Moment
from nanobatch.sandbox.plan import Plan


def at(now: float, day: int = 1, left: float = 1000.0) -> Moment:
    return Moment(now, day, left)


def test_without_limits_everything_passes() -> None:
    """No limit, no excess; what runs at once is counted all the same."""
    limits = Limits()
    assert all(limits.enter(Plan(), at(0.0), 1) is None for _ in range(1000))
    assert (limits.in_flight, limits.max_in_flight) == (1000, 1000)


def test_the_window_is_strict() -> None:
    """The request after the last allowed one passes exactly one window after the first, not a moment earlier."""
    limits, plan = Limits(), Plan(rpm=2)
    assert limits.enter(plan, at(100.0), 1) is None
    assert limits.enter(plan, at(130.0), 1) is None
    assert limits.enter(plan, at(130.0), 1) == Excess("rpm", 2, 30.0)
    assert limits.enter(plan, at(159.5), 1) == Excess("rpm", 2, 0.5)
    assert limits.enter(plan, at(160.0), 1) is None
    assert limits.enter(plan, at(160.0), 1) == Excess("rpm", 2, 30.0)


def test_refused_requests_take_nothing() -> None:
    """Knocking at a closed door does not keep it closed."""
    limits, plan = Limits(), Plan(rpm=1, rpd=10)
    assert limits.enter(plan, at(0.0), 1) is None
    for second in range(1, 60):
        assert limits.enter(plan, at(float(second)), 1) is not None
    assert limits.enter(plan, at(60.0), 1) is None
    assert (limits.in_flight, limits.max_in_flight) == (2, 2)


def test_the_window_s_length_is_the_plan_s() -> None:
    """Tests need not wait a minute."""
    limits, plan = Limits(), Plan(rpm=1, window=0.5)
    assert limits.enter(plan, at(0.0), 1) is None
    assert limits.enter(plan, at(0.4), 1) is not None
    assert limits.enter(plan, at(0.5), 1) is None


def test_images_are_counted_apart_from_requests() -> None:
    """A request for several images takes as many, and waits until enough of them have left the window."""
    limits, plan = Limits(), Plan(ipm=5)
    assert limits.enter(plan, at(0.0), 2) is None
    assert limits.enter(plan, at(10.0), 3) is None
    assert limits.enter(plan, at(20.0), 1) == Excess("ipm", 5, 40.0)
    assert limits.enter(plan, at(20.0), 2) == Excess("ipm", 5, 40.0)
    assert limits.enter(plan, at(20.0), 3) == Excess("ipm", 5, 50.0)
    assert limits.enter(plan, at(60.0), 2) is None
    assert limits.enter(plan, at(60.0), 1) == Excess("ipm", 5, 10.0)


def test_more_images_than_the_limit_never_fit() -> None:
    """An impossible request is told to wait a whole window, every time."""
    limits, plan = Limits(), Plan(ipm=3)
    assert limits.enter(plan, at(0.0), 4) == Excess("ipm", 3, 60.0)
    assert limits.enter(plan, at(1000.0), 4) == Excess("ipm", 3, 60.0)
    assert limits.enter(plan, at(1000.0), 3) is None


def test_the_day_ends_with_its_number() -> None:
    """A spent day stays spent until the next one, however long the window is past."""
    limits, plan = Limits(), Plan(rpd=2)
    assert limits.enter(plan, at(0.0, day=7), 1) is None
    assert limits.enter(plan, at(5000.0, day=7), 1) is None
    assert limits.enter(plan, at(9000.0, day=7, left=77.0), 1) == Excess("rpd", 2, 77.0)
    assert limits.enter(plan, at(9100.0, day=8), 1) is None


def test_the_day_is_named_before_the_minute() -> None:
    """Whoever broke both limits learns of the one that lasts longer."""
    limits, plan = Limits(), Plan(rpd=1, rpm=1, concurrency=1)
    assert limits.enter(plan, at(0.0), 1) is None
    excess = limits.enter(plan, at(1.0), 1)
    assert excess is not None
    assert excess.kind == "rpd"


def test_places_are_given_back() -> None:
    """What runs at once is limited, and free again when a request is over."""
    limits, plan = Limits(), Plan(concurrency=2)
    assert limits.enter(plan, at(0.0), 1) is None
    assert limits.enter(plan, at(0.0), 1) is None
    assert limits.enter(plan, at(0.0), 1) == Excess("concurrency", 2, 1.0)
    limits.leave()
    assert limits.enter(plan, at(0.0), 1) is None
    assert (limits.in_flight, limits.max_in_flight) == (2, 2)


def test_a_new_plan_finds_the_old_counters() -> None:
    """A limit that is set while requests run knows of those before it."""
    limits = Limits()
    for _ in range(3):
        assert limits.enter(Plan(), at(0.0), 1) is None
    assert limits.enter(Plan(rpm=3), at(1.0), 1) == Excess("rpm", 3, 59.0)
    assert limits.enter(Plan(rpd=3), at(1.0), 1) == Excess("rpd", 3, 1000.0)
    assert limits.enter(Plan(rpm=2), at(1.0), 1) == Excess("rpm", 2, 59.0)
    assert limits.enter(Plan(rpm=4, rpd=4), at(1.0), 1) is None


def test_a_repr_shows_the_counters() -> None:
    """What one would ask in a debugger."""
    limits = Limits()
    limits.enter(Plan(), at(0.0), 1)
    assert repr(limits) == "<Limits 1 in the window, 1 today, 1 in flight>"


@given(
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=80),
    sizes=st.lists(st.integers(1, 4), min_size=80, max_size=80),
    rpm=st.integers(1, 8),
    ipm=st.integers(4, 12),
)
def test_no_window_ever_holds_more_than_the_limits(gaps: list[float], sizes: list[int], rpm: int, ipm: int) -> None:
    """In any rolling window at most rpm requests and ipm images pass; and the wait that is told suffices."""
    limits, plan = Limits(), Plan(rpm=rpm, ipm=ipm)
    passed: list[tuple[float, int]] = []
    now = 0.0
    for gap, images in zip(gaps, sizes, strict=False):
        now += gap
        while (excess := limits.enter(plan, at(now), images)) is not None:
            assert 0 < excess.wait_seconds <= 60.0
            now += excess.wait_seconds + 1e-6
        passed.append((now, images))
    for start, _ in passed:
        inside = [images for when, images in passed if start <= when < start + 60.0]
        assert len(inside) <= rpm
        assert sum(inside) <= ipm
