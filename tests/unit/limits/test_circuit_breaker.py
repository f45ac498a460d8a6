"""The circuit breaker, by example. Its laws are in tests/property/test_breaker.py."""

from __future__ import annotations

from math import inf

import pytest

from nanobatch.limits.circuit_breaker import BreakerState, CircuitBreaker


def opened(at: float = 100.0) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.on_fault(at, started_at=at - 1)
    return breaker


def test_faults_in_a_row_open_it() -> None:
    """The fifth fault in a row opens, the fourth does not."""
    breaker = CircuitBreaker()
    for _ in range(4):
        breaker.on_fault(100.0, started_at=99.0)
    assert breaker.allows(100.0)
    breaker.on_fault(100.0, started_at=99.0)
    assert breaker.state is BreakerState.OPEN
    assert breaker.delay(100.0) == 60.0


def test_an_answer_in_between_starts_the_count_again() -> None:
    """Faults that are not in a row do not open it."""
    breaker = CircuitBreaker()
    for _ in range(100):
        for _ in range(4):
            breaker.on_fault(100.0, started_at=99.0)
        breaker.on_success(started_at=99.0)
    assert breaker.state is BreakerState.CLOSED


def test_after_the_cooldown_exactly_one_request_passes() -> None:
    """The probe is alone: everybody else waits for its end."""
    breaker = opened(100.0)
    assert not breaker.allows(159.9)
    assert breaker.allows(160.0)
    breaker.on_probe_started(160.0)
    assert not breaker.allows(160.0)
    assert breaker.delay(10_000.0) == inf
    with pytest.raises(ValueError, match="no probe is due"):
        breaker.on_probe_started(161.0)


def test_no_probe_starts_before_its_time() -> None:
    """Neither a closed breaker nor a cooling one takes a probe."""
    with pytest.raises(ValueError, match="no probe"):
        CircuitBreaker().on_probe_started(0.0)
    with pytest.raises(ValueError, match="no probe"):
        opened(100.0).on_probe_started(159.0)


def test_a_probe_that_succeeds_closes() -> None:
    """One answer brings the lane back, with a fresh count."""
    breaker = opened(100.0)
    breaker.on_probe_started(160.0)
    breaker.on_success(started_at=160.0)
    assert breaker.state is BreakerState.CLOSED
    for _ in range(4):
        breaker.on_fault(170.0, started_at=165.0)
    assert breaker.allows(170.0)


def test_the_cooldown_doubles_up_to_ten_minutes_while_probes_fail() -> None:
    """A provider that stays down is asked ever more rarely, but never forgotten."""
    breaker = opened(0.0)
    now, cooldowns = 0.0, []
    for _ in range(8):
        cooldowns.append(breaker.delay(now))
        now += breaker.delay(now)
        breaker.on_probe_started(now)
        breaker.on_fault(now, started_at=now)
    assert cooldowns == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0, 600.0, 600.0]
    assert breaker.failed_probes == 8


def test_the_cooldown_is_short_again_after_a_success() -> None:
    """A recovery forgets the failed probes."""
    breaker = opened(0.0)
    breaker.on_probe_started(60.0)
    breaker.on_fault(61.0, started_at=60.0)
    breaker.on_probe_started(181.0)
    breaker.on_success(started_at=181.0)
    for _ in range(5):
        breaker.on_fault(200.0, started_at=190.0)
    assert breaker.delay(200.0) == 60.0
    assert breaker.failed_probes == 0


def test_days_of_failed_probes_do_not_overflow() -> None:
    """The doubling ends long before a float does."""
    breaker = opened(0.0)
    now = 0.0
    for _ in range(2000):
        now += breaker.delay(now)
        breaker.on_probe_started(now)
        breaker.on_fault(now, started_at=now)
    assert breaker.delay(now) == 600.0


def test_a_probe_without_a_verdict_passes_its_turn_on() -> None:
    """A cancelled probe neither closes nor lengthens the cooldown; the next request may probe at once."""
    breaker = opened(100.0)
    breaker.on_probe_started(160.0)
    breaker.on_probe_cancelled()
    assert breaker.state is BreakerState.OPEN
    assert breaker.allows(160.0)
    assert breaker.failed_probes == 0


def test_cancelling_without_a_probe_changes_nothing() -> None:
    """A late cancel neither opens a closed breaker nor ends a cooldown."""
    breaker = CircuitBreaker()
    breaker.on_probe_cancelled()
    assert breaker.state is BreakerState.CLOSED


def test_late_failures_do_not_lengthen_the_cooldown() -> None:
    """Timeouts of requests from before the opening are old news."""
    breaker = opened(100.0)
    breaker.on_fault(150.0, started_at=90.0)
    assert breaker.delay(150.0) == 10.0


def test_late_failures_do_not_open_a_breaker_that_has_closed_again() -> None:
    """The provider is back; two hundred timeouts from before do not take it away again."""
    breaker = opened(100.0)
    breaker.on_probe_started(160.0)
    breaker.on_success(started_at=160.0)
    for _ in range(200):
        breaker.on_fault(170.0, started_at=95.0)
    assert breaker.state is BreakerState.CLOSED


def test_late_successes_do_not_close_it() -> None:
    """An answer that was under way when the provider went down does not let everybody in."""
    breaker = opened(100.0)
    breaker.on_success(started_at=99.0)
    assert not breaker.allows(159.0)
    breaker.on_probe_started(160.0)
    breaker.on_success(started_at=99.5)
    breaker.on_fault(165.0, started_at=99.5)
    assert breaker.state is BreakerState.HALF_OPEN


@pytest.mark.parametrize(("threshold", "cooldown"), [(0, 60.0), (5, 0.0), (5, -1.0)])
def test_impossible_settings_are_refused(threshold: int, cooldown: float) -> None:
    """A breaker that would never close, or could not tell its probe apart, is not built."""
    with pytest.raises(ValueError, match=r"threshold|cooldown"):
        CircuitBreaker(threshold, cooldown_seconds=cooldown)


def test_a_first_cooldown_above_the_longest_counts() -> None:
    """The ceiling ends the doubling; it does not shorten what was set."""
    breaker = CircuitBreaker(1, cooldown_seconds=900.0)
    breaker.on_fault(0.0, started_at=-1.0)
    assert breaker.delay(0.0) == 900.0


def test_the_repr_shows_the_state() -> None:
    """A debugger shows the state, the count and the next probe."""
    assert repr(opened(100.0)) == "<CircuitBreaker open, 0 of 5 faults, 0 failed probes, next probe at 160.000>"
