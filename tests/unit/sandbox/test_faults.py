"""The table of faults, and the dice."""

from __future__ import annotations

import pytest

from nanobatch.sandbox.faults import (
    CREATION,
    ENDS,
    FAULTS,
    GEMINI,
    KIE,
    LINK,
    OPENAI,
    POLL,
    PUTER,
    ROW,
    THROWS,
    Dice,
    Stage,
    Throw,
    table,
)


def test_what_is_billed_follows_from_the_stage() -> None:
    """Whatever makes an image bills it, and nothing else does."""
    billed = {kind for kind, fault in FAULTS.items() if fault.billed}
    assert billed == {
        "badb64", "cutimage", "urlsafe", "dataprefix", "wrongmime", "thought", "multi", "snake", "signature",
        "truncate", "reset-after", "slowdrip", "rowmissing", "rowtwice", "rowstray", "rowtorn",
    }  # fmt: skip
    assert all(fault.draws >= fault.bills >= 1 for fault in FAULTS.values())
    assert {kind for kind, fault in FAULTS.items() if fault.bills > 1} == {"multi"}


def test_every_fault_says_what_it_does() -> None:
    """The table for people names each kind once, with its dialects when they are not all."""
    lines = [line.split() for line in table().splitlines() if line.startswith("  ")]
    assert sorted(line[0] for line in lines) == sorted(FAULTS)
    assert all(len(line) > 4 for line in lines)
    assert all(stage.value in table() for stage in Stage)
    assert "(gemini, vertex only)" in table()
    assert "(formats with tasks only)" in table()
    assert "(not in formats with tasks)" in table()


def test_the_same_seed_throws_the_same() -> None:
    """A run repeats with its seed, and differs without it."""
    prompts = [f"prompt {number}" for number in range(20)]
    first, second, other = Dice(1), Dice(1), Dice(2)
    throws = [first.throw(prompt) for prompt in prompts]
    assert throws == [second.throw(prompt) for prompt in prompts]
    assert throws != [other.throw(prompt) for prompt in prompts]


def test_the_order_of_requests_does_not_matter() -> None:
    """A prompt's fate depends on how often it was asked, never on what was asked between."""
    forward, backward = Dice(5), Dice(5)
    prompts = ["a", "b", "a", "c", "a"]
    one = [(prompt, forward.throw(prompt)) for prompt in prompts]
    two = [(prompt, backward.throw(prompt)) for prompt in ["c", "a", "a", "b", "a"]]
    assert sorted(map(repr, one)) == sorted(map(repr, two))


def test_a_prompt_that_is_asked_again_meets_another_fate() -> None:
    """A fault is not glued to its prompt: a repetition can succeed."""
    dice = Dice(3)
    assert len({dice.throw("a") for _ in range(50)}) == 50


def test_throws_are_even() -> None:
    """Over many prompts, faults come as often as they should: 20 % within 2 %, all numbers in [0, 1)."""
    dice = Dice(11)
    throws = [dice.throw(str(number)) for number in range(5000)]
    hits = sum(throw.pick({"503": 0.1, "500": 0.1}, GEMINI) is not None for throw in throws)
    assert hits / 5000 == pytest.approx(0.2, abs=0.02)
    assert all(0 <= throw.fault < 1 and 0 <= throw.latency < 1 for throw in throws)
    assert sum(throw.latency for throw in throws) / 5000 == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("number", "kind"), [(0.0, "503"), (0.0999, "503"), (0.1, "500"), (0.2999, "500"), (0.3001, None), (0.9999, None)]
)
def test_odds_lie_side_by_side(number: float, kind: str | None) -> None:
    """Each fault has its own part of the dice, the rest is success."""
    assert Throw(number, 0.0).pick({"503": 0.1, "500": 0.2}, GEMINI) == kind


def test_each_kind_of_request_has_odds_of_its_own() -> None:
    """A poll meets faults of polls alone, a download those of downloads, an order all others."""
    odds = {"poll500": 0.5, "503": 0.5, "download403": 0.5}
    low, high = Throw(0.4, 0.0), Throw(0.6, 0.0)
    assert (low.pick(odds, KIE), low.pick(odds, KIE, POLL), low.pick(odds, None, LINK)) == (
        "503",
        "poll500",
        "download403",
    )
    assert [high.pick(odds, KIE, stages) for stages in (CREATION, POLL, LINK)] == [None, None, None]
    assert low.pick(odds, PUTER, POLL) is None


def test_every_fault_belongs_to_one_kind_of_request() -> None:
    """None is left out, none is thrown for twice; a row of a batch meets what a request does, and a few more."""
    assert {Stage.ROW} == ROW - CREATION
    for stage in Stage:
        assert sum(stage in stages for stages in THROWS if stages is not ROW) == (stage is not Stage.ROW)
    assert {FAULTS[kind].billed for kind in ENDS} == {False}


def test_certain_and_impossible_faults() -> None:
    """Odds of 1 always hit, odds of 0 never."""
    assert Throw(0.9999999, 0.0).pick({"hang": 1}, OPENAI) == "hang"
    assert Throw(0.0, 0.0).pick({"hang": 0, "500": 0.5}, OPENAI) == "500"
    assert Throw(0.0, 0.0).pick({}, OPENAI) is None


def test_a_fault_of_another_dialect_is_success() -> None:
    """What Gemini alone does wrong leaves OpenAI's requests as they are, and does not become another fault."""
    foreign = [kind for kind, fault in FAULTS.items() if GEMINI in fault.dialects and OPENAI not in fault.dialects]
    assert foreign
    for kind in foreign:
        assert Throw(0.0, 0.0).pick({kind: 0.5, "500": 0.5}, OPENAI) is None
        assert Throw(0.0, 0.0).pick({kind: 0.5, "500": 0.5}, GEMINI) == kind


def test_latency_lies_within_its_ends() -> None:
    """The shortest and the longest are reached, nothing beyond."""
    assert Throw(0.0, 0.0).within(0.2, 0.6) == 0.2
    assert Throw(0.0, 0.5).within(0.2, 0.6) == pytest.approx(0.4)
    assert Throw(0.0, 0.999).within(1.0, 1.0) == 1.0
