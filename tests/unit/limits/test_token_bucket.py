"""The token bucket, by example. Its laws are in tests/property/test_token_bucket.py."""

from __future__ import annotations

from math import inf

import pytest

from nanobatch.errors import ConfigError
from nanobatch.limits.token_bucket import CELLS_PER_WINDOW, UNLIMITED, TokenBucket


def test_the_whole_capacity_is_there_at_once() -> None:
    """The first `capacity` tokens are granted without any wait."""
    bucket = TokenBucket(5)
    for _ in range(5):
        assert bucket.delay(100.0) == 0.0
        bucket.spend(100.0)
    assert bucket.left(100.0) == 0


def test_a_token_comes_back_one_window_and_a_margin_later() -> None:
    """A token returns exactly window + margin seconds after it was spent, not a moment earlier."""
    bucket = TokenBucket(1, window_seconds=60.0, margin_seconds=1.0)
    bucket.spend(100.0)
    assert bucket.delay(100.0) == 61.0
    assert bucket.delay(160.999) == pytest.approx(0.001)
    assert bucket.delay(161.0) == 0.0


def test_tokens_return_in_the_rhythm_in_which_they_were_spent() -> None:
    """Each token has its own return: nothing is refilled all at once at the end of a minute."""
    bucket = TokenBucket(3)
    for when in (0.0, 10.0, 20.0):
        bucket.spend(when)
    assert bucket.delay(30.0, 1) == 31.0
    assert bucket.delay(30.0, 2) == 41.0
    assert bucket.delay(30.0, 3) == 51.0


def test_a_weighted_request_waits_for_as_many_tokens_as_it_needs() -> None:
    """A cost of many tokens waits until the last of them is back."""
    bucket = TokenBucket(100)
    bucket.spend(0.0, 60)
    bucket.spend(5.0, 30)
    assert bucket.delay(6.0, 10) == 0.0
    assert bucket.delay(6.0, 11) == 55.0
    assert bucket.delay(6.0, 71) == 60.0


def test_asking_for_more_than_the_capacity_is_an_error_at_once() -> None:
    """What could never be granted is refused now, not waited for."""
    bucket = TokenBucket(10)
    with pytest.raises(ConfigError, match="needs 11 of a limit of 10"):
        bucket.delay(0.0, 11)
    with pytest.raises(ConfigError):
        bucket.spend(0.0, 11)
    with pytest.raises(ValueError, match="-1"):
        bucket.delay(0.0, -1)


@pytest.mark.parametrize("capacity", [0, -3])
def test_a_bucket_without_capacity_is_an_error(capacity: int) -> None:
    """A limit of zero is a mistake in the config, not a lane that waits for ever."""
    with pytest.raises(ConfigError, match="1 or more"):
        TokenBucket(capacity)


@pytest.mark.parametrize(("window", "margin"), [(0.0, 1.0), (-1.0, 1.0), (60.0, -0.1)])
def test_a_window_must_last(window: float, margin: float) -> None:
    """A window needs a length, and a margin never shortens it."""
    with pytest.raises(ConfigError, match="not possible"):
        TokenBucket(1, window_seconds=window, margin_seconds=margin)


def test_spending_too_early_is_refused() -> None:
    """`spend` never grants what `delay` would not."""
    bucket = TokenBucket(1)
    bucket.spend(0.0)
    with pytest.raises(ValueError, match="too early"):
        bucket.spend(60.9)


def test_a_refunded_token_can_be_spent_again() -> None:
    """A request that was never sent costs nothing."""
    bucket = TokenBucket(1)
    grant = bucket.spend(0.0)
    bucket.refund(grant)
    assert bucket.delay(0.0) == 0.0


def test_a_grant_is_refunded_once() -> None:
    """A second refund of the same grant gives nothing, also when others share its cell."""
    bucket = TokenBucket(2)
    mine = bucket.spend(0.0)
    bucket.spend(0.0)
    bucket.refund(mine)
    bucket.refund(mine)
    assert bucket.left(0.0) == 1


def test_a_refund_after_the_window_adds_nothing() -> None:
    """A token that came back by itself does not come back again."""
    bucket = TokenBucket(1)
    grant = bucket.spend(0.0)
    assert bucket.left(100.0) == 1
    bucket.refund(grant)
    assert bucket.left(100.0) == 1
    bucket.spend(100.0)
    assert bucket.delay(100.0) == 61.0


def test_part_of_a_grant_can_be_refunded() -> None:
    """A reservation is corrected downwards to what was used."""
    bucket = TokenBucket(100)
    grant = bucket.spend(0.0, 80)
    bucket.refund(grant, 50)
    assert bucket.left(0.0) == 70
    bucket.refund(grant, 50)
    assert bucket.left(0.0) == 100
    bucket.refund(grant, -5)
    assert bucket.left(0.0) == 100


def test_a_drain_holds_everything_back() -> None:
    """Nothing is granted before the drain ends, though tokens are left."""
    bucket = TokenBucket(5)
    bucket.drain(0.0, 30.0)
    assert bucket.delay(0.0) == 30.0
    assert bucket.drained_for(10.0) == 20.0
    assert bucket.delay(30.0) == 0.0
    assert bucket.drained_for(31.0) == 0.0


def test_a_shorter_drain_changes_nothing() -> None:
    """A drain only ever delays: the later of two wishes counts."""
    bucket = TokenBucket(5)
    bucket.drain(0.0, 30.0)
    bucket.drain(1.0, 5.0)
    assert bucket.delay(1.0) == 29.0


def test_what_costs_nothing_never_waits() -> None:
    """A cost of zero passes an empty and drained bucket."""
    bucket = TokenBucket(1)
    bucket.spend(0.0)
    bucket.drain(0.0, inf)
    assert bucket.delay(0.0, 0) == 0.0


def test_spends_of_an_earlier_run_count() -> None:
    """A run that starts right after another does not double the quota."""
    bucket = TokenBucket(3)
    bucket.remember(-50.0, 2)
    bucket.remember(-61.0, 1)
    assert bucket.left(0.0) == 1
    bucket.spend(0.0)
    assert bucket.delay(0.0) == 11.0


def test_an_earlier_run_may_have_spent_more_than_our_capacity() -> None:
    """A lowered quota, or one shared with others, gives a wait and never a negative number."""
    bucket = TokenBucket(2)
    for when in (-30.0, -20.0, -10.0):
        bucket.remember(when, 2)
    assert bucket.left(0.0) == 0
    assert bucket.delay(0.0, 1) == 51.0


def test_spends_are_remembered_in_any_order() -> None:
    """The order in which a ledger is read does not matter."""
    orders = [(-5.0, -30.0, -20.0), (-20.0, -5.0, -30.0), (-30.0, -20.0, -5.0)]
    answers = set()
    for order in orders:
        bucket = TokenBucket(3)
        for when in order:
            bucket.remember(when, 1)
        answers.add((bucket.delay(0.0, 1), bucket.delay(0.0, 2), bucket.delay(0.0, 3)))
    assert answers == {(31.0, 41.0, 56.0)}


def test_a_clock_that_steps_back_brings_no_token_early() -> None:
    """Time that runs backwards is taken for the latest time seen."""
    bucket = TokenBucket(1)
    bucket.left(100.0)
    bucket.spend(90.0)
    assert bucket.delay(160.0) == 1.0
    assert bucket.delay(161.0) == 0.0


@pytest.mark.parametrize("tokens", [1, 700])
def test_memory_is_bounded_at_sixty_thousand_a_minute(tokens: int) -> None:
    """Spends closer than a hundredth of a second share a cell, also in an unbroken stream."""
    bucket = TokenBucket(60_000 * tokens)
    for i in range(60_000):
        bucket.spend(i * 0.001, tokens)
    assert len(bucket._cells) <= CELLS_PER_WINDOW + 1
    assert bucket.delay(60.0, tokens) == pytest.approx(1.01, abs=0.011)


def test_memory_is_bounded_when_a_ledger_is_read_backwards() -> None:
    """Remembering in descending order merges as well."""
    bucket = TokenBucket(60_000)
    for i in range(20_000):
        bucket.remember(-i * 0.001, 1)
    assert len(bucket._cells) <= 2 * 2001
    assert bucket.left(0.0) == 40_000


def test_merging_is_never_too_early() -> None:
    """Tokens that share a cell come back when the last of them is due."""
    bucket = TokenBucket(2)
    bucket.spend(0.0)
    bucket.spend(0.009)
    assert len(bucket._cells) == 1
    assert bucket.delay(60.0) == pytest.approx(1.009)


def test_an_unlimited_bucket_can_still_be_drained() -> None:
    """A lane without a quota obeys a 429 too."""
    bucket = TokenBucket(UNLIMITED)
    bucket.spend(0.0, 10**12)
    assert bucket.delay(0.0) == 0.0
    bucket.drain(0.0, 7.0)
    assert bucket.delay(0.0) == 7.0


def test_the_repr_shows_the_state() -> None:
    """A debugger shows what is left and whether the bucket is drained."""
    bucket = TokenBucket(3)
    bucket.spend(10.0)
    assert repr(bucket) == "<TokenBucket 2 of 3 left at 10.000>"
    bucket.drain(10.0, 20.0)
    assert repr(bucket) == "<TokenBucket 2 of 3 left at 10.000, drained until 20.000>"
