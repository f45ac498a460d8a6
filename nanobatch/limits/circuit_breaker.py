"""Leave a provider alone that is down, and ask it now and then with one request whether it is back.

    closed     all requests pass; `threshold` faults in a row open it
    open       none pass until the cooldown is over
    half-open  exactly one passes, the probe; success closes, a fault opens for twice as long

Results of requests that started before the last opening are old news in every state: they neither close the breaker
nor, coming in as late timeouts, open it again.

Pure: time is an argument.
"""

from __future__ import annotations

import enum
from math import inf


class BreakerState(enum.Enum):
    """What the breaker lets through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Open after `threshold` consecutive faults; probe after a cooldown that doubles while probes fail.

    Args:
        threshold: Faults in a row that open the breaker.
        cooldown_seconds: The first cooldown.
        longest_cooldown_seconds: Where the doubling ends.
    """

    def __init__(
        self, threshold: int = 5, *, cooldown_seconds: float = 60.0, longest_cooldown_seconds: float = 600.0
    ) -> None:
        if threshold < 1:
            raise ValueError(f"a threshold of {threshold} would never let anything through")
        if cooldown_seconds <= 0:
            raise ValueError(f"a cooldown of {cooldown_seconds} s cannot tell a probe from what was in flight before")
        self._threshold = threshold
        self._cooldown = cooldown_seconds
        self._longest = max(cooldown_seconds, longest_cooldown_seconds)
        self.state = BreakerState.CLOSED
        self.faults = 0  # in a row, while closed
        self.failed_probes = 0  # in a row, since it opened
        self._opened_at = -inf
        self._probe_at = -inf

    def __repr__(self) -> str:
        return (
            f"<CircuitBreaker {self.state.value}, {self.faults} of {self._threshold} faults,"
            f" {self.failed_probes} failed probes, next probe at {self._probe_at:.3f}>"
        )

    def allows(self, now: float) -> bool:
        """Tell whether a request may start; in the state open it must be announced with `on_probe_started`."""
        return self.delay(now) == 0

    def delay(self, now: float) -> float:
        """Return the seconds until a request may start; infinity while a probe decides."""
        match self.state:
            case BreakerState.CLOSED:
                return 0.0
            case BreakerState.OPEN:
                return max(0.0, self._probe_at - now)
            case BreakerState.HALF_OPEN:
                return inf

    def on_probe_started(self, now: float) -> None:
        """Let one request through and hold all others until it ends.

        Raises:
            ValueError: No probe is due.
        """
        if self.state is not BreakerState.OPEN or now < self._probe_at:
            raise ValueError(f"no probe is due at {now:.3f}: {self!r}")
        self.state = BreakerState.HALF_OPEN

    def on_probe_cancelled(self) -> None:
        """Take the probe back: it ended without a verdict, so the next request may probe at once."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN

    def on_success(self, *, started_at: float) -> None:
        """Close: the provider answers. Any answer counts, also a refusal or a 429."""
        if started_at <= self._opened_at:
            return
        self.state = BreakerState.CLOSED
        self.faults = 0
        self.failed_probes = 0

    def on_fault(self, now: float, *, started_at: float) -> None:
        """Count a fault; open at the threshold, or again and for longer if it was the probe's."""
        if started_at <= self._opened_at:
            return
        if self.state is BreakerState.HALF_OPEN:
            self.failed_probes += 1
            self._open(now)
        elif self.state is BreakerState.CLOSED:
            self.faults += 1
            if self.faults >= self._threshold:
                self._open(now)

    def _open(self, now: float) -> None:
        self.state = BreakerState.OPEN
        self.faults = 0
        self._opened_at = now
        doublings = min(self.failed_probes, 60)  # a float must not overflow after days of probing
        self._probe_at = now + min(self._longest, self._cooldown * 2.0**doublings)
