"""The laws of the waits between attempts, for any failures in any order."""

from __future__ import annotations

import random
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from nanobatch.errors import (
    Ambiguous,
    DecodeError,
    ExchangeError,
    NoImage,
    Overloaded,
    RateLimited,
    ServerFault,
    Unsent,
)
from nanobatch.retry import NORMAL, SLOW, RetryPolicy

WISHES = st.none() | st.floats(0.0, 1000.0)
ERRORS = st.one_of(
    st.builds(lambda wish: RateLimited("x", retry_after_seconds=wish), WISHES),
    st.builds(lambda wish: Overloaded("x", retry_after_seconds=wish), WISHES),
    st.builds(lambda wish: ServerFault("x", retry_after_seconds=wish), WISHES),
    st.sampled_from([Unsent("x"), NoImage("x"), Ambiguous("x"), DecodeError("x")]),
)
RETRIES = st.integers(0, 12)


def endure(policy: RetryPolicy, errors: list[ExchangeError]) -> list[ExchangeError]:
    """Return the failures after which a job was sent again."""
    history: list[ExchangeError] = []
    for error in errors:
        if not policy.decide(error, history).again:
            break
        history.append(error)
    return history


@given(RETRIES, st.lists(ERRORS, max_size=40), ERRORS, st.integers())
def test_a_wait_is_full_jitter_above_the_servers_wish(
    retries: int, history: list[ExchangeError], error: ExchangeError, seed: int
) -> None:
    """Every wait lies in [0, min(cap, base·2ⁿ)] or is exactly what the server wished beyond that."""
    decision = RetryPolicy(retries, on_unknown="retry", rng=random.Random(seed)).decide(error, history)
    if not decision.again:
        assert decision.wait_seconds == 0.0
        return
    backoff = SLOW if isinstance(error, Overloaded) else NORMAL
    limited = isinstance(error, RateLimited)
    failures = sum(isinstance(past, RateLimited) == limited for past in history)
    ceiling = min(backoff.cap_seconds, backoff.base_seconds * 2**failures)
    wish = error.retry_after_seconds or 0.0
    assert wish <= decision.wait_seconds <= max(wish, ceiling)


@given(st.integers(0, 20), st.integers())
def test_jitter_uses_the_whole_range_also_at_the_cap(failures: int, seed: int) -> None:
    """Fifty jobs that failed together do not come back together, however often they failed."""
    policy = RetryPolicy(100, on_unknown="retry", rng=random.Random(seed))
    history: list[ExchangeError] = [ServerFault("x")] * failures
    waits = [policy.decide(ServerFault("x"), history).wait_seconds for _ in range(50)]
    ceiling = NORMAL.ceiling(failures)
    assert min(waits) < ceiling * 0.4
    assert max(waits) > ceiling * 0.6
    assert len(set(waits)) == 50


@given(RETRIES, st.sampled_from(["retry", "hold"]), st.lists(ERRORS, max_size=60))
def test_no_job_is_repeated_more_often_than_its_rules_allow(
    retries: int, on_unknown: Literal["retry", "hold"], errors: list[ExchangeError]
) -> None:
    """Over any sequence of failures: the retries, once for what may be billed, a few for no image, thirty 429s."""
    survived = endure(RetryPolicy(retries, on_unknown=on_unknown, rng=random.Random(0)), errors)

    def count(kind: type[ExchangeError]) -> int:
        return sum(isinstance(error, kind) for error in survived)

    assert len(survived) - count(RateLimited) <= retries
    assert count(Ambiguous) <= (1 if on_unknown == "retry" else 0)
    assert count(DecodeError) <= 1
    assert count(NoImage) <= 3
    assert count(RateLimited) <= 30


@given(st.integers())
def test_the_same_seed_gives_the_same_waits(seed: int) -> None:
    """Chance comes in from outside, so a run can be repeated exactly."""
    one, two = (RetryPolicy(5, on_unknown="retry", rng=random.Random(seed)) for _ in range(2))
    assert [one.decide(Unsent("x"), []) for _ in range(5)] == [two.decide(Unsent("x"), []) for _ in range(5)]
