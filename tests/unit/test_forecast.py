"""Runs on paper, computed by hand beside the program."""

from __future__ import annotations

import pytest

from nanobatch.forecast import SPREAD, Forecast, Latency, Track, Window, seen_after
from nanobatch.settings import Limits

FIXED = Latency(20.0)
DAY = 86_400.0
NOON = 1_795_521_600.0  # 2026-11-24 12:00 UTC, 04:00 in California


def track(
    *, shared: bool = False, zone: str = "UTC", start: float | None = None, spent: int = 0, **limits: int
) -> Track:
    return Track(Limits(**{"concurrency": 1000, **limits}), shared=shared, zone=zone, start=start, spent=spent)


def alone(images: int, latency: Latency = FIXED, **more: object) -> float:
    forecast = Forecast({"a": track(**more)}, together=False)  # type: ignore[arg-type]
    for _ in range(images):
        assert forecast.place([("a", latency)]) == "a"
    return forecast.seconds


def test_nothing_takes_no_time() -> None:
    """No job, no provider, no end."""
    assert Forecast({}, together=False).seconds == 0.0
    assert Forecast({}, together=True).last is None


@pytest.mark.parametrize(("images", "seconds"), [(1, 20.0), (10, 20.0), (11, 40.0), (95, 200.0)])
def test_slots_are_filled_in_rounds(images: int, seconds: float) -> None:
    """Ten at once: the eleventh image takes a second round, however empty that is."""
    assert alone(images, concurrency=10) == seconds


def test_a_window_gives_back_what_left_it() -> None:
    """Ten a minute leave at once; the next ten leave 61 s later, or a quarter of a second more where runs share."""
    assert alone(10, rpm=10) == 20.0
    assert alone(11, rpm=10) == 81.0
    assert alone(31, rpm=10) == 3 * 61.0 + 20.0
    assert alone(31, rpm=10, shared=True) == 3 * 61.25 + 20.0
    assert alone(31, ipm=10) == 3 * 61.0 + 20.0


def test_a_shorter_window_has_a_shorter_margin() -> None:
    """120 a minute counted in ten seconds are 20 in 10.25 s."""
    assert alone(41, rpm=120, window_seconds=10) == 2 * 10.25 + 20.0


def test_a_burst_that_meets_few_slots_leaves_in_rounds() -> None:
    """60 a minute through ten slots of 5 s: each minute's requests take half of it, and so do the last ones."""
    assert alone(120, Latency(5.0), rpm=60, concurrency=10) == 61.0 + 30.0


def test_what_is_taken_comes_back_one_by_one() -> None:
    """A window is as many moments, not one."""
    window = Window(2, 61.0)
    for at in (0.0, 10.0, 61.0, 71.0):
        assert window.opens() <= at
        window.take(at)
    assert window.opens() == 122.0


def test_a_day_that_is_spent_ends_at_midnight() -> None:
    """Days are counted from the start, or end where the provider is: 20 hours after four in the morning."""
    assert alone(350, rpd=100) == 3 * DAY + 20.0
    from_noon = alone(350, rpd=100, zone="America/Los_Angeles", start=NOON)
    assert from_noon == pytest.approx(20 * 3600 + 2 * DAY + 20.0, abs=11)  # clocks may differ by 10 s


def test_a_day_that_others_have_begun_is_shorter() -> None:
    """With 70 of a hundred spent today the rest of today is 30, and tomorrow is whole."""
    for images, days in ((30, 0), (31, 1), (130, 1), (131, 2)):
        assert alone(images, rpd=100, spent=70) == days * DAY + 20.0
    assert alone(1, rpd=100, spent=100) == DAY + 20.0


def test_others_work_while_a_day_is_spent() -> None:
    """The next in order takes over when the first has spent its day, not before, and hands back at midnight."""
    forecast = Forecast({"a": track(rpd=100, concurrency=10), "b": track(rpm=1, concurrency=1)}, together=False)
    taken = [forecast.place([("a", FIXED), ("b", FIXED)]) for _ in range(2000)]
    assert taken[:100] == ["a"] * 100
    of_the_first_day = taken.index("a", 100) - 100
    assert of_the_first_day == pytest.approx((DAY - 180) / 61, abs=1)
    assert taken[100 + of_the_first_day :][:100] == ["a"] * 100


def test_whoever_names_a_provider_waits_for_it() -> None:
    """Rows that name the busy one hold up nobody who named the other."""
    forecast = Forecast({"a": track(concurrency=1), "b": track(concurrency=1)}, together=False)
    for _ in range(10):
        forecast.place([("a", FIXED)])
    assert forecast.seconds == 200.0
    forecast.place([("b", FIXED)])
    assert (forecast.seconds, forecast.last) == (200.0, "a")


def test_together_the_first_that_is_free_takes_it() -> None:
    """Two of ten and five slots share thirty jobs as two to one, and end together."""
    forecast = Forecast({"a": track(concurrency=10), "b": track(concurrency=5)}, together=True)
    taken = [forecast.place([("a", FIXED), ("b", FIXED)]) for _ in range(30)]
    assert (taken.count("a"), taken.count("b")) == (20, 10)
    assert forecast.seconds == 40.0


def test_answers_that_differ_are_typical_on_average() -> None:
    """The first is the typical one; all lie within the spread; a run of one slot takes as long as typical ones would."""
    varied = Latency(20.0, varies=True)
    assert alone(1, varied) == 20.0
    assert alone(1000, varied, concurrency=1) == pytest.approx(20_000.0, rel=0.001)
    assert 20.0 * (1 + SPREAD) * 0.95 < alone(100, varied) <= 20.0 * (1 + SPREAD)  # the slowest of a round counts


@pytest.mark.parametrize(
    ("seconds", "seen"), [(1.0, 2.0), (2.0, 2.0), (3.0, 4.0), (16.0, 16.0), (20.0, 21.0), (22.0, 26.0), (99.0, 101.0)]
)
def test_a_task_is_seen_when_it_is_polled(seconds: float, seen: float) -> None:
    """Polls are at 2, 4, 7, 11, 16, 21, 26 s and so on; the slot is held until the one that sees the image."""
    assert seen_after(seconds) == seen
    assert alone(1, Latency(seconds, polled=True)) == seen


def test_tasks_that_differ_are_polled_each() -> None:
    """Around 22 s most are seen at 21 and 26 s, some at 31."""
    ends = {alone(number, Latency(22.0, varies=True, polled=True)) for number in range(1, 30)}
    assert ends == {26.0, 31.0}
    assert alone(1000, Latency(22.0, varies=True, polled=True), concurrency=1) == pytest.approx(24.4 * 1000, rel=0.02)
