"""The adaptive limit: at once at the maximum, down once per cascade, up only where it was reached."""

from __future__ import annotations

import pytest

from nanobatch.limits.adaptive import AdaptiveLimit


def succeed(limit: AdaptiveLimit, times: int, *, started_at: float) -> None:
    for _ in range(times):
        limit.on_success(started_at=started_at, in_flight=limit.current)


def test_the_number_that_was_set_is_used_at_once() -> None:
    """There is no slow start: the limit begins at its maximum."""
    assert AdaptiveLimit(64).current == 64


def test_overload_cuts_by_the_factor() -> None:
    """A cut leaves seven tenths."""
    limit = AdaptiveLimit(100)
    assert limit.shrink(10.0, started_at=5.0)
    assert limit.current == 70


def test_one_cascade_cuts_once() -> None:
    """Fifty requests that were in flight together and fail together are one piece of news."""
    limit = AdaptiveLimit(50)
    cuts = [limit.shrink(10.0 + i / 10, started_at=9.0 + i / 100) for i in range(50)]
    assert cuts == [True] + [False] * 49
    assert limit.current == 35


def test_a_failure_of_a_later_request_cuts_again() -> None:
    """What started after the cut and still failed says that it was not enough."""
    limit = AdaptiveLimit(50)
    limit.shrink(10.0, started_at=9.0)
    assert limit.shrink(12.0, started_at=11.0)
    assert limit.current == 24


@pytest.mark.parametrize("maximum", [1, 2, 3, 1000])
def test_one_request_is_always_allowed(maximum: int) -> None:
    """However long the overload lasts, the limit falls to one and no further."""
    limit = AdaptiveLimit(maximum)
    for i in range(40):
        limit.shrink(2.0 * i + 1, started_at=2.0 * i + 0.5)
    assert limit.current == 1
    assert not limit.shrink(1000.0, started_at=999.0)


def test_a_round_of_successes_adds_one() -> None:
    """As many successes as the limit allows at once raise it by one."""
    limit = AdaptiveLimit(10)
    limit.shrink(10.0, started_at=9.0)
    succeed(limit, 6, started_at=11.0)
    assert limit.current == 7
    succeed(limit, 1, started_at=11.0)
    assert limit.current == 8


def test_a_large_limit_recovers_in_larger_steps() -> None:
    """From one to the maximum takes about twenty rounds, whatever the maximum."""
    limit = AdaptiveLimit(500)
    for i in range(40):
        limit.shrink(2.0 * i + 1, started_at=2.0 * i + 0.5)
    rounds = 0
    while limit.current < 500:
        succeed(limit, limit.current, started_at=1000.0)
        rounds += 1
    assert rounds == 20
    assert limit.current == 500


def test_it_never_grows_beyond_the_maximum() -> None:
    """Success does not raise what the user has set."""
    limit = AdaptiveLimit(47)
    limit.shrink(1.0, started_at=0.0)
    succeed(limit, 10_000, started_at=2.0)
    assert limit.current == 47


def test_success_below_the_limit_proves_nothing() -> None:
    """A lane held back by its quota does not raise a concurrency that it never reaches."""
    limit = AdaptiveLimit(10)
    limit.shrink(10.0, started_at=9.0)
    for _ in range(1000):
        limit.on_success(started_at=11.0, in_flight=6)
    assert limit.current == 7


def test_stragglers_from_before_the_cut_do_not_raise_it() -> None:
    """The rest of the burst that was too much does not count as a sign of health."""
    limit = AdaptiveLimit(10)
    limit.shrink(10.0, started_at=9.0)
    for _ in range(100):
        limit.on_success(started_at=9.5, in_flight=10)
    assert limit.current == 7


def test_a_cut_begins_a_new_round() -> None:
    """Successes from before a cut do not help the step after it."""
    limit = AdaptiveLimit(10)
    limit.shrink(10.0, started_at=9.0)
    succeed(limit, 6, started_at=11.0)
    limit.shrink(12.0, started_at=11.5)
    succeed(limit, 3, started_at=13.0)
    assert limit.current == 4


def test_a_limit_of_nothing_is_refused() -> None:
    """A concurrency below one would stand still for ever."""
    with pytest.raises(ValueError, match="nothing through"):
        AdaptiveLimit(0)


def test_the_repr_shows_the_state() -> None:
    """A debugger shows the limit, the maximum and the round."""
    limit = AdaptiveLimit(10)
    limit.shrink(1.0, started_at=0.0)
    succeed(limit, 2, started_at=2.0)
    assert repr(limit) == "<AdaptiveLimit 7 of 10, 2 successes in this round>"
