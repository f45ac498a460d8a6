"""All quotas of a lane as one: every dimension pays, or none."""

from __future__ import annotations

import pytest

from nanobatch.errors import ConfigError
from nanobatch.limits.quota import Quota
from nanobatch.model import FREE, Cost

NOON = 1_790_000_000.0


def test_the_scarcest_dimension_decides() -> None:
    """A request waits for the last of requests, images and tokens."""
    quota = Quota(rpm=100, ipm=10, tpm=1000)
    quota.spend(0.0, NOON, cost=Cost(images=10, tokens=100))
    assert quota.delay(5.0, Cost(images=0, tokens=900)) == 0.0
    assert quota.delay(5.0, Cost(images=1, tokens=0)) == 56.0
    assert quota.delay(5.0, Cost(images=0, tokens=901)) == 56.0


def test_without_limits_nothing_waits() -> None:
    """A dimension that nobody limits is not asked."""
    quota = Quota()
    for _ in range(1000):
        quota.spend(0.0, NOON, cost=Cost(tokens=10**9))
    assert quota.delay(0.0, Cost(tokens=10**9)) == 0.0
    assert quota.day_allows(NOON, Cost())


@pytest.mark.parametrize("cost", [Cost(requests=3), Cost(images=6), Cost(tokens=101)])
def test_a_cost_beyond_a_limit_is_an_error(cost: Cost) -> None:
    """A single request that no minute could pay is refused at once, in every dimension."""
    with pytest.raises(ConfigError):
        Quota(rpm=2, ipm=5, tpm=100).check(cost)


def test_a_refund_gives_everything_back() -> None:
    """A request that was never sent leaves no trace in any dimension, nor in the day."""
    quota = Quota(rpm=1, ipm=1, tpm=10, rpd=1)
    receipt = quota.spend(0.0, NOON, cost=Cost(tokens=10))
    assert not quota.day_allows(NOON, Cost())
    quota.refund(receipt)
    quota.refund(receipt)
    assert quota.delay(0.0, Cost(tokens=10)) == 0.0
    assert quota.day_allows(NOON, Cost())
    quota.spend(0.0, NOON, cost=Cost(tokens=10))
    assert not quota.day_allows(NOON, Cost())


def test_a_receipt_is_refunded_once() -> None:
    """Giving back the same request twice does not give back somebody else's."""
    quota = Quota(rpm=2, rpd=2)
    mine = quota.spend(0.0, NOON, cost=Cost())
    quota.spend(0.0, NOON, cost=Cost())
    for _ in range(2):
        quota.refund(mine)
        assert quota.day_allows(NOON, Cost())
        assert not quota.day_allows(NOON, Cost(requests=2))
        assert quota.delay(0.0, Cost(requests=2)) > 0


def test_a_drain_stops_requests_but_not_what_is_free() -> None:
    """After a 429 no request goes out; a poll of what is under way does."""
    quota = Quota()
    quota.drain(0.0, 20.0)
    assert quota.delay(0.0, Cost()) == 20.0
    assert quota.drained_for(5.0) == 15.0
    assert quota.delay(0.0, FREE) == 0.0


@pytest.mark.parametrize(("actual", "left"), [(30, 70), (50, 50), (80, 20), (0, 100)])
def test_tokens_are_corrected_to_what_the_provider_counted(actual: int, left: int) -> None:
    """A reservation of tokens becomes the provider's figure, smaller or larger, however often it is told."""
    quota = Quota(tpm=100)
    receipt = quota.spend(0.0, NOON, cost=Cost(tokens=50))
    for _ in range(2):
        quota.settle_tokens(1.0, receipt, actual=actual)
        assert quota.delay(1.0, Cost(tokens=left)) == 0.0
        if left < 100:
            assert quota.delay(1.0, Cost(tokens=left + 1)) > 0


def test_corrected_tokens_can_still_be_refunded() -> None:
    """A correction upwards belongs to the receipt."""
    quota = Quota(tpm=100)
    receipt = quota.spend(0.0, NOON, cost=Cost(tokens=50))
    quota.settle_tokens(1.0, receipt, actual=90)
    quota.refund(receipt)
    assert quota.delay(1.0, Cost(tokens=100)) == 0.0


def test_tokens_without_a_limit_are_not_counted() -> None:
    """Where nobody limits tokens, the provider's figure changes nothing."""
    quota = Quota(rpm=2)
    quota.settle_tokens(1.0, quota.spend(0.0, NOON, cost=Cost(tokens=50)), actual=90)
    assert quota.delay(1.0, Cost(tokens=10**6)) == 0.0


def test_earlier_runs_count_in_the_minute_and_in_the_day() -> None:
    """What the ledger says was spent half a minute ago is still spent."""
    quota = Quota(rpm=2, rpd=10)
    quota.remember(1000.0, NOON, spends=[(NOON - 30, Cost()), (NOON - 3000, Cost(requests=7)), (NOON - 40, Cost())])
    assert quota.delay(1000.0, Cost()) == 21.0
    assert quota.day_allows(NOON, Cost())
    assert not quota.day_allows(NOON, Cost(requests=2))


def test_a_ledger_from_a_clock_ahead_of_ours_counts_as_now() -> None:
    """A spend of the future cannot hold the lane for longer than a window."""
    quota = Quota(rpm=1)
    quota.remember(1000.0, NOON, spends=[(NOON + 7200, Cost()), (NOON, FREE)])
    assert quota.delay(1000.0, Cost()) == 61.0


def test_the_vendor_is_believed_about_the_day() -> None:
    """A lane without a daily number stops too when the vendor says that the day is spent."""
    quota = Quota()
    quota.mark_day_spent(NOON)
    assert not quota.day_allows(NOON, Cost())
    assert quota.day_allows(NOON, FREE)
    assert quota.day_allows(quota.resets_at(NOON), Cost())


def test_the_repr_shows_all_dimensions() -> None:
    """A debugger shows every bucket and the day."""
    text = repr(Quota(rpm=3, ipm=4, tpm=5, rpd=6))
    assert all(f"{n} of {n} left" in text for n in (3, 4, 5))
    assert "6 a day" in text


def test_a_vendor_may_count_in_shorter_windows() -> None:
    """Twenty in any ten seconds is 120 a minute, and the twenty-first waits for the first to leave the window."""
    quota = Quota(rpm=120, window_seconds=10.0)
    for _ in range(20):
        assert quota.delay(0.0, Cost()) == 0.0
        quota.spend(0.0, NOON, cost=Cost())
    assert quota.delay(0.0, Cost()) == 10.25  # a margin for the jitter on the way
    assert Quota(rpm=1, window_seconds=10.0).delay(0.0, Cost()) == 0.0  # less than one in a window is still one
