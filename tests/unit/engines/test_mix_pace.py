"""The rules of correction, in numbers: what was seen, what is left, what follows."""

from __future__ import annotations

from math import inf

import pytest

from nanobatch.engines.mix_pace import (
    ALONE_SECONDS,
    FAILURES,
    LaneNow,
    LaneRecord,
    Pace,
    correct,
    give_up_at,
    kinds_now,
    need,
)
from nanobatch.mix import Kind, Option
from nanobatch.pools import Slots, Windows

HOUR = 3600.0


def two_lanes(images: int) -> Kind:
    """A cheap lane of ten slots and a dear one of ten, 20 s an image in both."""
    cheap = Option("a/sync", 0.1, 20, {Slots("a", 10): 20.0, Windows("a", "rpm", 600, 60): 1.0})
    return Kind(images, (cheap, Option("b/sync", 0.2, 20, {Slots("b", 10): 20.0})))


def seen(
    factor_a: float = 1.0, slots_a: float = 10, *, a_is_open: bool = True, b_is_open: bool = True
) -> dict[str, LaneNow]:
    return {"a/sync": LaneNow(slots_a, factor_a, a_is_open), "b/sync": LaneNow(10, 1.0, b_is_open)}


def shares(images: int, seconds: float, **more: object) -> dict[str, int]:
    mix, _ = correct(kinds_now([two_lanes(0)], [images], seen(**more)), seconds)  # type: ignore[arg-type]
    return dict(mix.shares[0])


def test_at_the_planned_rate_the_cheap_lane_is_enough() -> None:
    """1,700 images are an hour's work for it."""
    assert shares(1700, HOUR) == {"a/sync": 1700}


def test_a_lane_that_is_slower_sends_the_rest_to_the_dear_one() -> None:
    """Answers take twice as long: 846 fit, with a reserve, and the others are bought dearly."""
    assert shares(1700, HOUR, factor_a=2.0) == {"a/sync": 846, "b/sync": 854}
    assert shares(1700, HOUR, slots_a=5) == {"a/sync": 851, "b/sync": 849}  # throttled
    half_an_hour = {**seen(), "a/sync": LaneNow(10, 1.0, is_open=True, taken=10 * HOUR / 2)}  # on the wire already
    mix, _ = correct(kinds_now([two_lanes(0)], [1700], half_an_hour), HOUR)
    assert mix.shares[0]["a/sync"] == 801


def test_a_lane_that_is_faster_keeps_everything() -> None:
    """Half an hour later with more left than planned, but answers in half the time."""
    assert shares(1700, HOUR / 2, factor_a=0.5) == {"a/sync": 1700}


def test_a_lane_that_takes_nothing_gets_nothing() -> None:
    """Closed, parked or failing. Where no lane is open, they are planned with as if they were: one may come back."""
    assert shares(100, HOUR, a_is_open=False) == {"b/sync": 100}
    assert shares(100, HOUR, a_is_open=False, b_is_open=False) == {"a/sync": 100}


def test_what_cannot_be_in_time_is_as_fast_as_can_be() -> None:
    """All lanes do what they can; the run says that it is at risk."""
    mix, in_time = correct([two_lanes(4000)], 1000)
    assert not in_time
    assert mix.shares[0]["a/sync"] == pytest.approx(2000, rel=0.01)
    assert correct([two_lanes(1)], 0.0)[1] is False
    assert correct([two_lanes(1)], 60.0)[1] is True


def test_a_record_moves_from_what_was_assumed_to_what_is_seen() -> None:
    """One slow answer says little, fifty say it all; failures take time, too."""
    pace = Pace()

    def answer(seconds: float, *, drawn: bool = True) -> None:
        pace.begin("job", 0.0)
        if drawn:
            pace.draw("job", "a/sync", seconds, assumed=20.0)
        else:
            pace.fail("job", "a/sync", seconds, by_lane=True)

    assert pace.of("a/sync").factor == 1.0
    answer(40.0)
    assert pace.of("a/sync").factor == pytest.approx(1.2)
    for _ in range(50):
        answer(40.0)
    assert pace.of("a/sync").factor == pytest.approx(2.0, rel=0.05)
    before = pace.of("a/sync").factor
    answer(100.0, drawn=False)
    assert pace.of("a/sync").factor > before
    for _ in range(2000):
        answer(10.0)
    assert pace.of("a/sync").factor == pytest.approx(0.5, rel=0.05)  # what is long ago is forgotten


def test_what_was_not_begun_here_is_no_measurement() -> None:
    """A job that was drawn from elsewhere, or whose failure was told already."""
    pace = Pace()
    pace.draw("job", "a/sync", 5.0, assumed=20.0)
    pace.fail("job", "a/sync", 5.0, by_lane=True)
    assert pace.records == {}


def test_a_lane_that_only_fails_is_left_alone_for_a_while() -> None:
    """Five failures in a row; a refusal of the job's is none, and an image ends the row."""
    pace = Pace()
    for number in range(FAILURES):
        pace.begin(str(number), 0.0)
        pace.fail(str(number), "a/flex", 1.0, by_lane=True)
    record = pace.of("a/flex")
    assert record.is_failing(2.0)
    assert not record.is_failing(2.0 + ALONE_SECONDS)
    pace.begin("x", 0.0)
    pace.fail("x", "b/sync", 1.0, by_lane=False)
    assert pace.of("b/sync").failures == 0
    pace.begin("y", 0.0)
    pace.draw("y", "a/flex", 1.0, assumed=1.0)
    assert not record.is_failing(2.0)
    assert LaneRecord().is_failing(0.0) is False


def test_batches_are_given_up_when_their_rows_need_the_time() -> None:
    """26 hours, rows that take an hour at once: at 25 h, as the batch was due at 24 h."""
    assert give_up_at(26 * HOUR, HOUR, [24 * HOUR]) == 25 * HOUR


def test_a_batch_that_is_not_late_is_not_given_up() -> None:
    """Rows would take three hours; it is waited for until it is due all the same, because most come before that."""
    assert give_up_at(26 * HOUR, 3 * HOUR, [24 * HOUR]) == 24 * HOUR
    assert give_up_at(26 * HOUR, 100 * HOUR, [24 * HOUR]) == 24 * HOUR
    assert give_up_at(26 * HOUR, HOUR, [30 * HOUR]) == 25 * HOUR  # due too late: that is no reason to wait
    assert give_up_at(26 * HOUR, -HOUR, []) == 26 * HOUR
    assert give_up_at(24 * HOUR, 100 * HOUR, [24.1 * HOUR], slack=HOUR) == 24 * HOUR  # ordered after a slow start


def test_the_time_that_rows_need_is_that_of_all_lanes_together() -> None:
    """2,000 images through twenty slots, 20 s each, and a twentieth more."""
    assert need([two_lanes(2000)]) == pytest.approx(2000 * 1.05, rel=0.01)
    assert need([two_lanes(0)]) == 0
    assert need([Kind(1, ())]) == inf
