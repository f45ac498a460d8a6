"""The laws of the token bucket and of the daily quota, under any traffic."""

from __future__ import annotations

import datetime as dt
import itertools
from math import inf
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from nanobatch.limits.daily_quota import DailyQuota
from nanobatch.limits.token_bucket import CELLS_PER_WINDOW, TokenBucket

GAPS = st.one_of(
    st.just(0.0),
    st.floats(0.0, 0.02),  # closer than a cell
    st.floats(0.0, 5.0),
    st.floats(0.0, 200.0),  # longer than the window
)
REQUESTS = st.lists(st.tuples(GAPS, st.integers(1, 10)), max_size=60)
CAPACITIES = st.integers(10, 40)


def most_in_a_window(grants: list[tuple[float, int]], window: float) -> int:
    """Count the tokens of the fullest rolling window, open at its end."""
    return max(
        (sum(tokens for when, tokens in grants if start <= when < start + window) for start, _ in grants), default=0
    )


def serve(bucket: TokenBucket, requests: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Serve requests one after the other, each as early as the bucket allows."""
    now, grants = 0.0, []
    for gap, tokens in requests:
        now += gap
        while (delay := bucket.delay(now, tokens)) > 0:
            now += delay
        bucket.spend(now, tokens)
        grants.append((now, tokens))
    return grants


@given(CAPACITIES, REQUESTS, st.floats(0.0, 5.0))
def test_no_rolling_window_holds_more_than_the_capacity(
    capacity: int, requests: list[tuple[float, int]], margin: float
) -> None:
    """Over any interval of one window the grants are at most the capacity, for any traffic and margin."""
    grants = serve(TokenBucket(capacity, margin_seconds=margin), requests)
    assert most_in_a_window(grants, 60.0) <= capacity


@given(CAPACITIES, REQUESTS)
def test_nobody_waits_without_need(capacity: int, requests: list[tuple[float, int]]) -> None:
    """A wait ends at the latest one cell after the tokens that were missing are one period old."""
    grants = serve(TokenBucket(capacity, margin_seconds=1.0), requests)
    arrival = 0.0
    for i, ((gap, tokens), (granted, _)) in enumerate(zip(requests, grants, strict=True)):
        arrival = max(arrival + gap, grants[i - 1][0] + gap if i else 0.0)
        just_before = granted - 60.0 / CELLS_PER_WINDOW - 1e-6
        if just_before > arrival:
            held = sum(n for when, n in grants[:i] if just_before - 61.0 < when <= just_before)
            assert held + tokens > capacity


@given(CAPACITIES, REQUESTS, st.floats(-10.0, 500.0), st.integers(0, 10))
def test_waits_are_never_negative_and_are_exact(
    capacity: int, requests: list[tuple[float, int]], now: float, tokens: int
) -> None:
    """`delay` is never below zero, and after it the tokens are there."""
    bucket = TokenBucket(capacity)
    grants = serve(bucket, requests)
    now += grants[-1][0] if grants else 0.0
    delay = bucket.delay(now, tokens)
    assert delay >= 0.0
    assert bucket.delay(now + delay + 1e-6, tokens) == 0.0


@given(CAPACITIES, REQUESTS, st.lists(st.tuples(st.floats(0.0, 300.0), st.floats(0.0, 300.0)), max_size=5))
def test_a_drain_only_delays(
    capacity: int, requests: list[tuple[float, int]], drains: list[tuple[float, float]]
) -> None:
    """With any drains, each answer is the same or later; before the drain's end nothing is granted."""
    plain, drained = TokenBucket(capacity), TokenBucket(capacity)
    for bucket in (plain, drained):
        serve(bucket, requests)
    now = plain._now if requests else 0.0
    for after, until in sorted(drains):
        before = drained.delay(now + after)
        drained.drain(now + after, now + until)
        assert drained.delay(now + after) >= before
        assert drained.delay(now + after) >= plain.delay(now + after)
        assert drained.delay(now + after) >= until - after - 1e-9


@given(CAPACITIES, REQUESTS, st.data())
def test_refunds_never_give_more_than_was_spent(
    capacity: int, requests: list[tuple[float, int]], data: st.DataObject
) -> None:
    """With any grants refunded, once or twice, what was kept stays within the capacity of every window."""
    bucket, now, kept = TokenBucket(capacity), 0.0, []
    for gap, tokens in requests:
        now += gap
        while (delay := bucket.delay(now, tokens)) > 0:
            now += delay
        grant = bucket.spend(now, tokens)
        for _ in range(data.draw(st.integers(0, 2))):
            bucket.refund(grant, data.draw(st.none() | st.integers(0, 12)))
        kept.append((now, grant.tokens))
        assert 0 <= bucket.left(now) <= capacity
    assert most_in_a_window(kept, 60.0) <= capacity


@given(CAPACITIES, st.lists(st.tuples(st.floats(-100.0, 0.0), st.integers(1, 10)), max_size=30))
def test_a_ledger_may_be_read_in_any_order(capacity: int, spends: list[tuple[float, int]]) -> None:
    """Spends of earlier runs count within their window, whatever their order; the cells stay in order."""
    bucket = TokenBucket(capacity, margin_seconds=0.0)
    for when, tokens in spends:
        bucket.remember(when, tokens)
    assert all(a.first <= a.last < b.first <= b.last for a, b in itertools.pairwise(bucket._cells))
    recent = sum(tokens for when, tokens in spends if when > -60.0)
    assert bucket.left(0.0) <= max(0, capacity - recent)
    assert bucket.delay(60.02, capacity) == 0.0


@given(CAPACITIES, st.lists(st.tuples(st.floats(-100.0, 100.0), st.integers(1, 10)), max_size=60))
def test_a_clock_that_jumps_breaks_nothing(capacity: int, jumps: list[tuple[float, int]]) -> None:
    """A step back is taken for a standstill: measured by the latest time seen, no window holds too much."""
    bucket, now, latest, grants = TokenBucket(capacity), 0.0, -inf, []
    for jump, tokens in jumps:
        now += jump
        latest = max(latest, now)
        if bucket.delay(now, tokens) == 0.0:
            bucket.spend(now, tokens)
            grants.append((latest, tokens))
    assert most_in_a_window(grants, 60.0) <= capacity


@settings(max_examples=200)
@given(
    st.sampled_from(["America/Los_Angeles", "Europe/Berlin", "Asia/Kathmandu", "Africa/Cairo", "America/Havana"]),
    st.floats(1_767_225_600.0, 2_082_758_400.0),  # 2026 to 2035
)
def test_a_reset_is_the_first_moment_of_another_day(zone: str, wall: float) -> None:
    """The reset lies ahead, on another local date, and the moment before it is still the same day."""
    reset = DailyQuota(1, zone, margin_seconds=0.0).resets_at(wall)
    day, before, after = (dt.datetime.fromtimestamp(t, ZoneInfo(zone)).date() for t in (wall, reset - 0.001, reset))
    assert wall < reset <= wall + 25 * 3600
    assert before == day < after


@given(st.lists(st.tuples(st.floats(0.0, 40_000.0), st.floats(-10.0, 10.0)), min_size=1, max_size=60))
def test_no_day_of_the_vendor_sees_more_than_the_limit(spends: list[tuple[float, float]]) -> None:
    """Whatever its clock within the margin, the vendor counts at most the limit on each of its days."""
    quota = DailyQuota(3, margin_seconds=10.0)
    wall, seen = 1_790_000_000.0, dict[dt.date, int]()
    for gap, skew in spends:
        wall += gap
        if quota.left(wall):
            quota.spend(wall)
            day = dt.datetime.fromtimestamp(wall + skew, ZoneInfo("America/Los_Angeles")).date()
            seen[day] = seen.get(day, 0) + 1
    assert seen
    assert max(seen.values()) <= 3
