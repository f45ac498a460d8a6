"""How much fits into a time, and how much time an amount takes."""

from __future__ import annotations

import math

from nanobatch.pools import DAY, Rounds, Slots, Windows


def test_slots_are_used_all_the_time() -> None:
    """Ten slots in a minute are 600 seconds of work; where there are none, work is never done."""
    slots = Slots("google", 10)
    assert (slots.capacity(60), slots.capacity(-1), slots.needs(600)) == (600, 0, 60)
    assert (Slots("google", 0).needs(0), Slots("google", 0).needs(1)) == (0, math.inf)


def test_days_and_minutes_are_windows() -> None:
    """The first is there at once; 250 images at 100 a day take until the third day begins."""
    days = Windows("google", "rpd", 100, DAY)
    assert (days.capacity(0), days.capacity(DAY - 1), days.capacity(DAY)) == (100, 100, 200)
    assert (days.needs(0), days.needs(100), days.needs(101), days.needs(250)) == (0, 0, DAY, 2 * DAY)
    minutes = Windows("google", "rpm", 5, 60, lag=20)
    assert (minutes.capacity(20), minutes.capacity(79), minutes.capacity(80)) == (5, 5, 10)
    assert (minutes.needs(5), minutes.needs(6)) == (20, 80)


def test_batches_come_in_rounds() -> None:
    """What has no room in the first round of 24 hours waits for the second; half a round brings nothing."""
    rounds = Rounds("google", "batches", 100, DAY)
    assert (rounds.capacity(DAY - 1), rounds.capacity(DAY), rounds.capacity(2.5 * DAY)) == (0, 100, 200)
    assert (rounds.needs(0), rounds.needs(100), rounds.needs(100.5)) == (0, DAY, 2 * DAY)
    assert Rounds("google", "batches", 0, DAY).needs(1) == math.inf
