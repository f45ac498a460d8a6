"""The laws of the circuit breaker, as a state machine that tries to let two probes through."""

from __future__ import annotations

from math import inf

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nanobatch.limits.circuit_breaker import BreakerState, CircuitBreaker

THRESHOLD, COOLDOWN, LONGEST = 3, 60.0, 600.0


class Breaker(RuleBasedStateMachine):
    """Any traffic: requests that start, end well, end badly or are cancelled, in any order and at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker(THRESHOLD, cooldown_seconds=COOLDOWN, longest_cooldown_seconds=LONGEST)
        self.now = 0.0
        self.flying: list[float] = []  # start times of requests in flight
        self.probe: float | None = None
        self.opened_at = -inf
        self.faults_in_a_row = 0
        self.failed_probes = 0

    @rule(seconds=st.floats(0.001, 700.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def somebody_asks(self) -> None:
        if not self.breaker.allows(self.now):
            return
        assert self.probe is None, "a second request passed while a probe was out"
        if self.breaker.state is BreakerState.OPEN:
            cooldown = min(LONGEST, COOLDOWN * 2**self.failed_probes)
            assert self.now >= self.opened_at + cooldown - 1e-6, "a probe left before the cooldown was over"
            self.breaker.on_probe_started(self.now)
            self.probe = self.now
        else:
            self.flying.append(self.now)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), fault=st.booleans())
    def one_in_flight_ends(self, data: st.DataObject, fault: bool) -> None:
        started = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        before = self.breaker.state
        if fault:
            self.breaker.on_fault(self.now, started_at=started)
        else:
            self.breaker.on_success(started_at=started)
        if started <= self.opened_at:
            assert self.breaker.state is before, "old news changed the state"
            return
        assert before is BreakerState.CLOSED
        self.faults_in_a_row = self.faults_in_a_row + 1 if fault else 0
        if self.faults_in_a_row == THRESHOLD:
            self.opened()
        assert (self.breaker.state is BreakerState.OPEN) == (self.faults_in_a_row == 0 and fault)

    @precondition(lambda self: self.probe is not None)
    @rule()
    def the_probe_succeeds(self) -> None:
        assert self.probe is not None
        self.breaker.on_success(started_at=self.probe)
        self.probe, self.failed_probes = None, 0
        assert self.breaker.state is BreakerState.CLOSED

    @precondition(lambda self: self.probe is not None)
    @rule()
    def the_probe_fails(self) -> None:
        assert self.probe is not None
        self.breaker.on_fault(self.now, started_at=self.probe)
        self.probe = None
        self.failed_probes += 1
        self.opened()
        assert self.breaker.state is BreakerState.OPEN

    @precondition(lambda self: self.probe is not None)
    @rule()
    def the_probe_is_cancelled(self) -> None:
        self.breaker.on_probe_cancelled()
        self.probe = None
        assert self.breaker.allows(self.now), "nobody may probe in the place of the cancelled one"

    def opened(self) -> None:
        self.opened_at = self.now
        self.faults_in_a_row = 0

    @invariant()
    def half_open_means_one_probe(self) -> None:
        assert (self.breaker.state is BreakerState.HALF_OPEN) == (self.probe is not None)

    @invariant()
    def waits_are_possible(self) -> None:
        delay = self.breaker.delay(self.now)
        assert delay >= 0.0
        assert (delay == inf) == (self.probe is not None)
        assert delay == inf or delay <= LONGEST
        assert self.breaker.failed_probes == self.failed_probes


TestBreaker = Breaker.TestCase
