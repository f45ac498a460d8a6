"""The daily quota: whose day it is, how long it is, and what happens around midnight."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from nanobatch.errors import ConfigError
from nanobatch.limits.daily_quota import PACIFIC, DailyQuota

HOUR = 3600.0


def at(text: str, zone: str = PACIFIC) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def test_spending_counts_down() -> None:
    """Each request takes one from today's quota, and no more than there is."""
    quota = DailyQuota(3)
    noon = at("2026-11-23T12:00")
    quota.spend(noon)
    quota.spend(noon + 60, 2)
    assert quota.left(noon + 61) == 0
    with pytest.raises(ValueError, match="1 asked"):
        quota.spend(noon + 62)


def test_the_day_ends_at_the_providers_midnight_not_ours() -> None:
    """The quota comes back at midnight Pacific, which is 08:00 UTC in winter."""
    quota = DailyQuota(1)
    quota.spend(at("2026-11-23T23:00"))
    midnight = dt.datetime(2026, 11, 24, 8, tzinfo=dt.UTC).timestamp()
    assert quota.left(midnight - 1) == 0
    assert quota.left(midnight + 11) == 1


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-08", 23), ("2026-11-01", 25), ("2026-11-23", 24), ("2028-02-29", 24), ("2026-12-31", 24)],
)
def test_days_last_as_long_as_the_calendar_says(day: str, hours: int) -> None:
    """Days of 23 and 25 hours end at their own midnight."""
    quota = DailyQuota(1, margin_seconds=0.0)
    start = at(f"{day}T00:00")
    assert quota.resets_at(start) == start + hours * HOUR
    assert quota.resets_at(start + hours * HOUR - 1) == start + hours * HOUR


@pytest.mark.parametrize(
    ("zone", "before", "hours"),
    [
        ("Africa/Cairo", "2026-04-23T12:00", 12),  # at midnight the clocks jump to 01:00: there is no 00:00
        ("America/Havana", "2026-10-31T12:00", 12),  # the day after has 00:30 twice
        ("Asia/Kathmandu", "2026-05-01T12:00", 12),  # 5 h 45 min from UTC
        ("Pacific/Apia", "2011-12-29T12:00", 12),  # the whole next day was left out
    ],
)
def test_odd_midnights(zone: str, before: str, hours: int) -> None:
    """The next day begins also where midnight is missing, doubled or skipped with its day."""
    quota = DailyQuota(1, zone, margin_seconds=0.0)
    wall = at(before, zone)
    assert quota.resets_at(wall) == wall + hours * HOUR
    quota.spend(wall)
    assert quota.left(wall + hours * HOUR - 1) == 0
    assert quota.left(wall + hours * HOUR) == 1


def test_around_midnight_a_request_counts_on_both_days() -> None:
    """Nobody knows on which day the vendor counts a request of the last seconds: neither day may see too many."""
    quota = DailyQuota(10, margin_seconds=10.0)
    midnight = at("2026-11-24T00:00")
    quota.spend(midnight - 5, 4)
    assert quota.left(midnight - 60) == 6
    assert quota.left(midnight + 60) == 6


def test_a_spent_day_is_over_only_after_the_margin() -> None:
    """A clock that is a little ahead does not ask before the vendor's own midnight."""
    quota = DailyQuota(1, margin_seconds=10.0)
    midnight = at("2026-11-24T00:00")
    quota.spend(midnight - HOUR)
    assert quota.resets_at(midnight - HOUR) == midnight + 10
    assert quota.resets_at(midnight + 5) == midnight + 10
    assert quota.left(midnight + 5) == 0
    assert quota.left(midnight + 10) == 1


def test_the_vendor_is_believed() -> None:
    """When the vendor says that the day is spent, nothing is left of it, and the next day is whole."""
    quota = DailyQuota(250)
    noon = at("2026-11-23T12:00")
    quota.spend(noon)
    quota.mark_spent(noon)
    assert quota.left(noon) == 0
    assert quota.left(quota.resets_at(noon)) == 250


def test_a_word_of_the_vendor_just_after_midnight_is_about_the_old_day() -> None:
    """A day that has hardly begun is not given up for an answer about yesterday."""
    quota = DailyQuota(250, margin_seconds=10.0)
    midnight = at("2026-11-24T00:00")
    quota.mark_spent(midnight + 3)
    assert quota.left(midnight + 3) == 0
    assert quota.left(midnight + 10) == 250


def test_what_is_refunded_can_be_spent_again() -> None:
    """A request that was never sent does not cost a piece of the day."""
    quota = DailyQuota(2)
    noon = at("2026-11-23T12:00")
    quota.spend(noon, 2)
    quota.refund(noon, 1)
    assert quota.left(noon) == 1
    quota.refund(noon, 5)
    assert quota.left(noon) == 2


def test_a_refund_goes_to_the_day_of_the_spending() -> None:
    """A late refund of yesterday's request gives nothing to today."""
    quota = DailyQuota(2)
    yesterday, today = at("2026-11-23T23:00"), at("2026-11-24T01:00")
    quota.spend(yesterday)
    quota.spend(today)
    quota.refund(yesterday)
    assert quota.left(today) == 1
    quota.refund(at("2026-11-20T12:00"))
    assert quota.left(today) == 1


def test_an_earlier_run_of_the_same_day_counts() -> None:
    """Starting again does not renew the day, and yesterday's spends do not shorten it."""
    quota = DailyQuota(5)
    quota.remember(at("2026-11-22T12:00"), 5)
    quota.remember(at("2026-11-23T09:00"), 3)
    assert quota.left(at("2026-11-23T12:00")) == 2
    quota.remember(at("2026-11-23T09:30"), 30)
    assert quota.left(at("2026-11-23T12:00")) == 0


def test_memory_does_not_grow_with_the_days() -> None:
    """A run of a year keeps a handful of days."""
    quota = DailyQuota(5)
    start = at("2026-01-01T12:00")
    for day in range(365):
        quota.spend(start + day * 24 * HOUR)
    assert len(quota._spent) <= 3
    assert quota.left(start + 364 * 24 * HOUR) == 4


@pytest.mark.parametrize("zone", ["Mars/Olympus", "America", "../etc/passwd", ""])
def test_an_unknown_zone_is_an_error_of_the_config(zone: str) -> None:
    """A zone that does not exist is named before anything is sent."""
    with pytest.raises(ConfigError, match="no time zone"):
        DailyQuota(1, zone)


def test_a_day_without_quota_is_an_error() -> None:
    """A daily limit of zero is a mistake, not a lane that is parked for ever."""
    with pytest.raises(ConfigError, match="1 or more"):
        DailyQuota(0)


def test_the_repr_shows_the_days() -> None:
    """A debugger shows the limit, the zone and what was spent."""
    quota = DailyQuota(5, "UTC")
    assert repr(quota) == "<DailyQuota 5 a day in UTC; spent nothing>"
    quota.spend(0.0 + 12 * HOUR, 2)
    assert repr(quota) == "<DailyQuota 5 a day in UTC; spent 1970-01-01: 2>"
