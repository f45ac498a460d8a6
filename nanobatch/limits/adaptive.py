"""How many requests may be in flight at once, following what the provider can bear (AIMD).

It starts at the number that the user or the catalog set and uses it at once. Overload cuts it; every full round of
successes adds a little. Cutting and growing look only at requests that started after the last cut: one burst of
failures that were in flight together is one piece of news, not fifty.
"""

from __future__ import annotations

from math import inf

SHRINK_FACTOR = 0.7
"""What overload leaves of the limit.

Milder than TCP's classic half: an image takes 10 to 30 s and a round of growth as long, so half would take many minutes
to win back, and a second cascade brings 0.49 anyway.
"""

ROUNDS_TO_FULL = 20
"""Clean rounds from one to the maximum, however large that is: from 1 to 500 by ones would take hours."""


class AdaptiveLimit:
    """A concurrency limit between 1 and `maximum`: additive increase, multiplicative decrease."""

    def __init__(self, maximum: int) -> None:
        if maximum < 1:
            raise ValueError(f"a concurrency of {maximum} lets nothing through")
        self.maximum = maximum
        self.current = maximum
        self._step = max(1, maximum // ROUNDS_TO_FULL)
        self._successes = 0  # of this round, at the limit
        self._shrunk_at = -inf

    def __repr__(self) -> str:
        return f"<AdaptiveLimit {self.current} of {self.maximum}, {self._successes} successes in this round>"

    def shrink(self, now: float, *, started_at: float) -> bool:
        """Cut the limit after an overload, once per cascade; tell whether it became smaller.

        Args:
            now: The moment of the failure.
            started_at: When the failed request started. If it was in flight at the last cut, it is old news.
        """
        if started_at <= self._shrunk_at:
            return False
        before = self.current
        self.current = max(1, int(self.current * SHRINK_FACTOR))
        self._shrunk_at = now
        self._successes = 0
        return self.current < before

    def on_success(self, *, started_at: float, in_flight: int) -> None:
        """Count a success towards the next step up.

        It counts only if the limit was reached (`in_flight` includes the request itself): success below the limit
        says nothing about the limit, and would raise it without end while the quota is what holds us back.
        """
        if self.current == self.maximum or in_flight < self.current or started_at <= self._shrunk_at:
            return
        self._successes += 1
        if self._successes >= self.current:
            self.current = min(self.maximum, self.current + self._step)
            self._successes = 0
