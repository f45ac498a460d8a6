"""What a sandbox can be told, and how it says no."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nanobatch.sandbox.plan import Plan, PlanError, faults, latency


def test_a_plan_without_words_has_no_limits_and_no_faults() -> None:
    """The default is a quick vendor without limits."""
    plan = Plan()
    assert (plan.rpm, plan.rpd, plan.ipm, plan.concurrency) == (None, None, None, None)
    assert plan.latency == (0.2, 0.6)
    assert plan.faults == {}
    assert plan.window == 60.0


@pytest.mark.parametrize("name", ["rpm", "rpd", "ipm", "concurrency", "image_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, 10**12])
def test_a_count_is_a_whole_number_of_at_least_one(name: str, value: Any) -> None:
    """No limit is None, not 0; the sentence names the setting and the value."""
    with pytest.raises(PlanError, match=f"^{name} is a whole number .* not {value!r}$"):
        Plan().changed({name: value})
    assert getattr(Plan().changed({name: 1}), name) == 1


@pytest.mark.parametrize("name", ["retry_after", "window", "drip", "link_seconds"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "1", True])
def test_seconds_are_finite_and_not_negative(name: str, value: Any) -> None:
    """A time that nobody can wait is refused."""
    with pytest.raises(PlanError, match=f"{name} is a number of seconds"):
        Plan().changed({name: value})


def test_a_window_without_length_is_refused() -> None:
    """A window of 0 s would limit nothing."""
    with pytest.raises(PlanError, match="window is longer than 0"):
        Plan(window=0)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0", (0.0, 0.0)),
        ("1.5", (1.5, 1.5)),
        ("0.2-0.6", (0.2, 0.6)),
        (2, (2.0, 2.0)),
        ([0.1, 3], (0.1, 3.0)),
        ((0, 0), (0.0, 0.0)),
        ([1], (1.0, 1.0)),
    ],
)
def test_a_latency_is_one_number_or_two(written: Any, meant: tuple[float, float]) -> None:
    """From a flag and from JSON, the same is understood."""
    assert latency(written) == meant
    assert Plan().changed({"latency": written}).latency == meant


@pytest.mark.parametrize("written", ["", "fast", "1-", "-1", "1-2-3", "nan", [], [1, 2, 3], None, {}, [None, 1], True])
def test_any_other_latency_is_refused(written: Any) -> None:
    """Nothing unreadable becomes a latency of zero."""
    with pytest.raises(PlanError, match="latency is a number of seconds"):
        latency(written)


def test_a_latency_goes_from_short_to_long() -> None:
    """A range that ends before it begins is a mistake."""
    with pytest.raises(PlanError, match="from short to long, not from 2 to 1"):
        Plan(latency=latency("2-1"))


def test_faults_are_read_from_flags() -> None:
    """KIND=PROBABILITY, as often as wanted; the last of a kind counts."""
    assert faults(["503=0.1", "reset-after=1e-3", "503=0.2"]) == {"503": 0.2, "reset-after": 0.001}
    assert faults([]) == {}


@pytest.mark.parametrize("pair", ["503", "503=", "=", "503=often", ""])
def test_an_unreadable_fault_is_refused(pair: str) -> None:
    """The sentence shows how it is written."""
    with pytest.raises(PlanError, match=r"KIND=PROBABILITY, such as 503=0\.1"):
        faults([pair])


@pytest.mark.parametrize(
    ("odds", "sentence"),
    [
        ({"504": 0.1}, "there is no fault '504'; there are 429, "),
        ({"503": 1.1}, "the probability of 503 is between 0 and 1, not 1.1"),
        ({"503": -0.1}, "between 0 and 1"),
        ({"503": math.nan}, "between 0 and 1"),
        ({"503": "0.5"}, "between 0 and 1"),
        ({"503": True}, "between 0 and 1"),
        ({"503": 0.6, "500": 0.5}, "together are at most 1, not 1.1"),
        (["503"], "faults are an object"),
    ],
)
def test_impossible_odds_are_refused(odds: Any, sentence: str) -> None:
    """Unknown kinds and odds beyond certainty are mistakes."""
    with pytest.raises(PlanError, match=sentence):
        Plan(faults=odds)


def test_odds_of_exactly_one_are_fine() -> None:
    """Rounding does not make three thirds too many."""
    Plan(faults={"503": 0.1, "500": 0.2, "429": 0.7})
    Plan(faults=dict.fromkeys(["500", "503", "429"], 1 / 3))


def test_odds_of_orders_polls_and_downloads_are_apart() -> None:
    """Each kind of request has a throw of its own, so that one cannot take from another's odds."""
    Plan(faults={"500": 1, "poll500": 0.6, "pollreset": 0.4, "download403": 1})
    for odds in (
        {"poll500": 0.6, "poll429": 0.6},
        {"download403": 0.6, "download500": 0.6},
        {"500": 0.6, "taskfail": 0.6},
    ):
        with pytest.raises(PlanError, match="together are at most 1, not 1.2"):
            Plan(faults=odds)


def test_a_change_replaces_only_what_it_names() -> None:
    """Limits that are not mentioned stay; null removes one; faults are replaced as a whole."""
    plan = Plan(rpm=5, concurrency=2, faults={"503": 0.5}, seed=7)
    changed = plan.changed({"rpm": None, "faults": {"500": 1}})
    assert (changed.rpm, changed.concurrency, changed.faults, changed.seed) == (None, 2, {"500": 1}, 7)
    assert plan.rpm == 5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rmp": 5}, "there is no setting 'rmp'; there are rpm, "),
        ({"seed": 5}, "there is no setting 'seed'"),
        ({"rpm": 0}, "rpm is a whole number"),
        ([], "a plan is a JSON object"),
        (None, "a plan is a JSON object"),
        ({"faults": None}, "faults are an object"),
        ({"window": None}, "window"),
    ],
)
def test_a_wrong_change_is_refused(changes: Any, sentence: str) -> None:
    """Nothing is changed by half."""
    with pytest.raises(PlanError, match=sentence):
        Plan().changed(changes)


def test_a_plan_as_json_changes_nothing_when_sent_back() -> None:
    """What a sandbox shows of its plan is what it accepts, apart from the seed."""
    plan = Plan(rpm=3, latency=(0.0, 1.0), faults={"hang": 0.25}, retry_after=2.0)
    shown = plan.as_json()
    del shown["seed"]
    assert Plan().changed(shown) == plan
