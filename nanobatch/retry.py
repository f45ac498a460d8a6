"""When a failed request is sent again, and after how long. The decision is a value; only this module knows tenacity.

    error                     repeats                                        wait, at least what the server wished
    RateLimited               30, not counted against --retries              full jitter, base 1 s, cap 60 s
    Overloaded                --retries                                      full jitter, base 5 s, cap 120 s
    Unsent, ServerFault       --retries                                      full jitter, base 1 s, cap 60 s
    NoImage                   --retries, 3 at most                           the same
    DecodeError               once per job                                   the same
    Ambiguous                 once per job, or never (on_unknown: hold)      the same
    all others                never, not on this lane                        -

Full jitter is uniform in [0, min(cap, base·2ⁿ)] after n earlier failures
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
The loop surrounds the gate, so that a wait is slept outside the slot.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import tenacity

from nanobatch.clock import Clock
from nanobatch.errors import Ambiguous, ExchangeError, Overloaded, RateLimited, Repeat

T = TypeVar("T")

RATE_LIMIT_REPEATS = 30  # the lane itself waits, so a job meets this only when the provider is wrong about its quota
FEW_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Backoff:
    """Bounds of the full jitter."""

    base_seconds: float = 1.0
    cap_seconds: float = 60.0

    def ceiling(self, failures: int) -> float:
        """Return the longest wait after so many earlier failures."""
        return min(self.cap_seconds, self.base_seconds * 2.0 ** min(failures, 60))  # a float must not overflow


NORMAL = Backoff()
SLOW = Backoff(base_seconds=5.0, cap_seconds=120.0)  # high demand lasts minutes to hours


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows after a failure."""

    again: bool
    wait_seconds: float  # before the next sending; 0.0 where there is none
    why: str


OnRetry = Callable[[ExchangeError, Decision], None]


def _tell_nobody(_: ExchangeError, __: Decision) -> None:
    """Observe nothing."""


class RetryPolicy:
    """Decide on repeats.

    Args:
        retries: How often one job may be repeated; 429s are not counted.
        on_unknown: Whether a request that nobody knows the end of, and that may have been billed, is sent once more.
        rng: The source of jitter.

    Example:
        >>> policy = RetryPolicy(4, on_unknown="retry", rng=random.Random(1))
        >>> policy.decide(RateLimited("slow down", retry_after_seconds=90.0), []).wait_seconds
        90.0
    """

    def __init__(self, retries: int, *, on_unknown: Literal["retry", "hold"], rng: random.Random) -> None:
        self._retries = max(0, retries)
        self._on_unknown = on_unknown
        self._rng = rng

    def decide(self, error: ExchangeError, history: Sequence[ExchangeError]) -> Decision:
        """Decide what follows after `error`.

        Args:
            error: The failure.
            history: All earlier failures of the same job, on whatever lane.
        """
        used, allowed, why = self._allowance(error, history)
        if used >= allowed:
            return Decision(again=False, wait_seconds=0.0, why=why)
        backoff = SLOW if isinstance(error, Overloaded) else NORMAL
        wait = self._rng.uniform(0.0, backoff.ceiling(used))
        return Decision(again=True, wait_seconds=max(wait, error.retry_after_seconds or 0.0), why=why)

    async def run(
        self,
        attempt: Callable[[int], Awaitable[T]],
        *,
        clock: Clock,
        on_retry: OnRetry = _tell_nobody,
        history: list[ExchangeError] | None = None,
    ) -> T:
        """Call `attempt` until it succeeds or its error is final, and raise that error.

        Anything but an `ExchangeError` passes through at once, cancellation included.

        Args:
            attempt: One sending; receives its number, counted from 1 over the whole history.
            clock: Sleeps between attempts.
            on_retry: Told before each wait.
            history: Earlier failures of the job, on other lanes or in an earlier run; every failure is appended.
        """
        history = [] if history is None else history
        try:  # most jobs need no second sending, and none of them should pay for the loop
            return await attempt(len(history) + 1)
        except ExchangeError as error:
            judge = _Judge(self, attempt, on_retry, history, first=error)
        retrying = tenacity.AsyncRetrying(  # one for each job: its state is not safe to share between tasks
            retry=judge.retry,
            wait=judge.wait,
            sleep=clock.sleep,
            reraise=True,
        )
        return await retrying(judge.call)

    def _allowance(self, error: ExchangeError, history: Sequence[ExchangeError]) -> tuple[int, int, str]:
        """Return how many repeats were used, how many there are, and the reason in words."""
        same = sum(past.code == error.code for past in history)
        counted = sum(not isinstance(past, RateLimited) for past in history)
        match error.repeat:
            case Repeat.NEVER:
                return 0, 0, "sending it again would not help"
            case Repeat.ELSEWHERE:
                return 0, 0, "not on this provider"
            case Repeat.FREE if isinstance(error, RateLimited):
                return same, RATE_LIMIT_REPEATS, f"rate limited, {same + 1} of {RATE_LIMIT_REPEATS}"
            case Repeat.ONCE if isinstance(error, Ambiguous) and self._on_unknown == "hold":
                return 0, 0, "it may have been billed, and on_unknown is hold"
            case Repeat.ONCE if same:
                return 0, 0, "it may be billed once more only once per job"
            case Repeat.FEW if same >= FEW_REPEATS:
                return 0, 0, f"repeated {FEW_REPEATS} times already"
            case _ if counted >= self._retries:
                return 0, 0, f"all {self._retries} retries are used"
            case _:
                return counted, self._retries, f"retry {counted + 1} of {self._retries}"


@dataclass(slots=True)
class _Judge(Generic[T]):
    """One job's loop, in the words of tenacity."""

    policy: RetryPolicy
    attempt: Callable[[int], Awaitable[T]]
    on_retry: OnRetry
    history: list[ExchangeError]
    first: ExchangeError | None  # the failure that brought the job here; it happened before the loop began
    decision: Decision = field(default=Decision(again=False, wait_seconds=0.0, why=""))

    async def call(self) -> T:
        if (error := self.first) is not None:
            self.first = None
            raise error
        return await self.attempt(len(self.history) + 1)

    def retry(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if not isinstance(error, ExchangeError):
            return False
        self.decision = self.policy.decide(error, self.history)
        self.history.append(error)
        if self.decision.again:
            self.on_retry(error, self.decision)
        return self.decision.again

    def wait(self, _: tenacity.RetryCallState) -> float:
        return self.decision.wait_seconds
