"""What the answers of a provider have taught us about its lane: how much at once, since when silent, until when closed.

Each end of a request is one verdict. Its error class carries the effect (`LaneEffect`); here the effect becomes state:

    none     the provider answers: the breaker closes
    fault    one more failure for the breaker
    shrink   the same, and fewer in flight
    drain    nothing before the server's wish has passed, and fewer in flight; when nothing but this comes, faulty
    park     nothing until the provider's next day
    close    nothing more in this run

Pure: time is an argument, and the changes worth telling are returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from nanobatch.errors import ExchangeError, LaneEffect
from nanobatch.limits.adaptive import AdaptiveLimit
from nanobatch.limits.circuit_breaker import BreakerState, CircuitBreaker
from nanobatch.limits.quota import Quota
from nanobatch.model import Cost

FIRST_DRAIN_SECONDS = 5.0  # after a 429 without a hint; doubles while 429s repeat
LONGEST_DRAIN_SECONDS = 240.0  # a quota per minute is back sooner; who still refuses is asked seldom
STUBBORN_CASCADES = 4  # of 429s with nothing served in between: no quota per minute is empty for so long


class LaneParked(Exception):
    """The lane rests until its daily quota comes back."""

    def __init__(self, until: float, reason: str) -> None:
        super().__init__(reason)
        self.until = until  # wall-clock seconds
        self.reason = reason


class LaneClosed(Exception):
    """The lane takes nothing more in this run."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LaneDown(Exception):
    """The lane stopped answering while somebody waited for it; another lane may take the work."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """How a lane stands; what a router may know without waiting."""

    kind: Literal["open", "waiting", "shrunk", "parked", "closed"]
    until: float | None = None  # wall-clock seconds; None where nobody knows
    reason: str = ""
    faulty: bool = False  # waiting because the provider serves nothing: another lane should take the work


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, on both clocks."""

    now: float  # monotonic seconds
    wall: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one request ended."""

    error: ExchangeError | None
    started_at: float  # monotonic seconds
    in_flight: int  # on the lane, this one included
    paid: bool  # not a free poll or download, whose success says nothing about load


class LaneHealth:
    """Turn verdicts into a concurrency limit, a breaker, drains, a parked and a closed lane."""

    def __init__(self, quota: Quota, *, concurrency: int, breaker: CircuitBreaker | None = None) -> None:
        self.limit = AdaptiveLimit(concurrency)
        self.breaker = breaker or CircuitBreaker()
        self._quota = quota
        self._parked_until = -inf
        self._parked_because = ""
        self._closed_because: str | None = None
        self._cascades = 0  # of 429s since the last success
        self._drained_at = -inf

    @property
    def failed_probes(self) -> int:
        """How often in a row a lane that serves nothing was asked again in vain: silence, or nothing but 429s."""
        return max(self.breaker.failed_probes, self._cascades - STUBBORN_CASCADES)

    def judge(self, moment: Moment, verdict: Verdict) -> list[LaneState]:
        """Learn from the end of a request; return what changed."""
        before = self.breaker.state
        changes = self._apply(moment, verdict)
        after = self.breaker.state
        if after is BreakerState.OPEN and before is not after and verdict.error is not None:
            probe_at = moment.wall + self.breaker.delay(moment.now)
            changes.append(LaneState("waiting", probe_at, verdict.error.message, faulty=True))
        elif after is BreakerState.CLOSED and before is not after:
            changes.append(LaneState("open", None, "the provider answers again"))
        return changes

    def stop(self, moment: Moment, cost: Cost) -> LaneParked | LaneClosed | None:
        """Return why this cost cannot be paid for a long time; a parked lane still hands out what was paid before."""
        if self._closed_because is not None:
            return LaneClosed(self._closed_because)
        if cost.requests and moment.wall < self._parked_until:
            return LaneParked(self._parked_until, self._parked_because)
        if not self._quota.day_allows(moment.wall, cost):
            return LaneParked(self._quota.resets_at(moment.wall), "the daily quota is spent")
        return None

    def state(self, moment: Moment) -> LaneState:
        """Tell how the lane stands."""
        match self.stop(moment, Cost()):
            case LaneClosed(reason=reason):
                return LaneState("closed", None, reason)
            case LaneParked(until=until, reason=reason):
                return LaneState("parked", until, reason)
            case None:
                pass
        if (pause := self.breaker.delay(moment.now)) > 0:
            probe_at = None if pause == inf else moment.wall + pause
            return LaneState("waiting", probe_at, "the provider does not answer", faulty=True)
        if (pause := self._quota.drained_for(moment.now)) > 0:
            return LaneState("waiting", moment.wall + pause, "the provider asked to wait", faulty=self._is_stubborn())
        return LaneState("open")

    def park(self, until: float, reason: str) -> list[LaneState]:
        """Take no paid request before `until`, in wall-clock seconds."""
        if until <= self._parked_until:
            return []
        self._parked_until, self._parked_because = until, reason
        return [LaneState("parked", until, reason)]

    def close(self, reason: str) -> list[LaneState]:
        """Take nothing more in this run."""
        if self._closed_because is not None:
            return []
        self._closed_because = reason
        return [LaneState("closed", None, reason)]

    def _apply(self, moment: Moment, verdict: Verdict) -> list[LaneState]:
        error, started_at = verdict.error, verdict.started_at
        if error is not None and error.effect in (LaneEffect.FAULT, LaneEffect.SHRINK):
            self.breaker.on_fault(moment.now, started_at=started_at)
            return self._shrink(moment.now, started_at) if error.effect is LaneEffect.SHRINK else []
        self.breaker.on_success(started_at=started_at)
        if error is not None and error.effect is LaneEffect.DRAIN:
            return self._drain(moment, verdict, error) + self._shrink(moment.now, started_at)
        if started_at > self._drained_at:
            self._cascades = 0
        if error is None:
            if verdict.paid:  # errors are fast, so only a success may speed us up
                self.limit.on_success(started_at=started_at, in_flight=verdict.in_flight)
            return []
        if error.effect is LaneEffect.PARK:
            asked_at = moment.wall - (moment.now - started_at)  # an answer after midnight may be about yesterday
            self._quota.mark_day_spent(asked_at)
            wish = moment.wall + (error.retry_after_seconds or 0.0)  # may be seconds, which is wrong for a day
            return self.park(max(self._quota.resets_at(asked_at), wish), error.message)
        return self.close(error.message) if error.effect is LaneEffect.CLOSE else []

    def _drain(self, moment: Moment, verdict: Verdict, error: ExchangeError) -> list[LaneState]:
        """Hold the lane back as long as the server wishes, and longer while 429s repeat or it wishes nothing.

        All requests that were in flight together fail together: that is one cascade, and one step of the backoff.
        """
        hint = error.retry_after_seconds
        if new_cascade := verdict.started_at > self._drained_at:
            self._cascades += 1
            self._drained_at = moment.now
        doublings = self._cascades - (1 if hint is None else 2)  # a hint is believed the first time
        own = 0.0 if doublings < 0 else min(LONGEST_DRAIN_SECONDS, FIRST_DRAIN_SECONDS * 2.0 ** min(doublings, 10))
        self._quota.drain(moment.now, max(self._drained_at + own, moment.now + (hint or 0.0)))
        pause = self._quota.drained_for(moment.now)
        if not new_cascade or pause <= 0:
            return []
        return [LaneState("waiting", moment.wall + pause, error.message, faulty=self._is_stubborn())]

    def _is_stubborn(self) -> bool:
        return self._cascades >= STUBBORN_CASCADES

    def _shrink(self, now: float, started_at: float) -> list[LaneState]:
        if not self.limit.shrink(now, started_at=started_at):
            return []
        return [LaneState("shrunk", None, f"at most {self.limit.current} at once now, of {self.limit.maximum}")]
