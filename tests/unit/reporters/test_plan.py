"""The plan of a run for a person."""

from __future__ import annotations

from typing import Any

import pytest

from nanobatch.reporters.plan import render_plan_text
from tests.moments import HOSTILE, obeyed


def plan(**more: Any) -> dict[str, Any]:
    provider = {
        "name": "google", "model": "nano-banana-pro", "wire_model": "gemini-3-pro-image", "images": 900,
        "limits": {"rpm": 150, "rpd": 10_000, "ipm": None, "tpm": None, "concurrency": 10},
        "price_usd": {"1K": 0.134, "4K": 0.24},
    }  # fmt: skip
    given = {
        "jobs": 1000, "already_done": 100, "cached": 0, "duplicates": 0, "to_send": 900, "skipped_rows": 0, "output": "out", "sandbox": False,
        "providers": [provider], "cost_usd": {"low": 120.6, "expected": 135.7, "high": 150.75},
        "duration_seconds": 1980.0, "bound_by": "concurrency", "warnings": [], "semantic": [],
    }  # fmt: skip
    return {**given, **more}


def test_the_plan_says_how_many_by_whom_for_how_much_and_how_long() -> None:
    """Everything a person needs before saying yes, in five lines."""
    assert render_plan_text(plan()).splitlines() == [
        "1,000 images wanted, 100 already on disk, 900 to generate",
        "into out",
        "  google: 900 images of gemini-3-pro-image at 1K $0.134, 4K $0.240; rpm 150, rpd 10,000, concurrency 10",
        "expected cost $135.70 ($120.60 to $150.75)",
        "expected time 33 m 00 s, bounded by concurrency",
    ]


def test_only_a_window_that_is_no_minute_is_named() -> None:
    """A minute is what `rpm` says already."""
    given = plan()
    (provider,) = given["providers"]
    for seconds, words in ((60, "concurrency 10"), (10, "concurrency 10, window_seconds 10")):
        provider["limits"]["window_seconds"] = seconds
        assert render_plan_text(given).splitlines()[2].endswith(f"; rpm 150, rpd 10,000, {words}")


def test_what_costs_nothing_is_named() -> None:
    """Images of earlier runs, and copies of equal rows."""
    [line, *_] = render_plan_text(plan(cached=200, duplicates=50, to_send=650)).splitlines()
    assert line == ("1,000 images wanted, 100 already on disk, 200 in the cache, 50 copies of others, 650 to generate")
    assert "cache" not in render_plan_text(plan(cached=None))


def test_lanes_and_the_deadline_are_named() -> None:
    """The usual lane needs no word; whether it is in time is the last thing that is said."""
    rows = [{**plan()["providers"][0], "lane": lane} for lane in ("sync", "flex", "batch")]
    text = render_plan_text(plan(providers=rows, plan={"deadline_seconds": 93_600.0, "in_time": True}))
    assert [line.partition(":")[0] for line in text.splitlines() if "gemini" in line] == [
        "  google", "  google (flex)", "  google (batch)",
    ]  # fmt: skip
    assert text.endswith("in time for the deadline in 1 d 2 h")
    late = render_plan_text(plan(plan={"deadline_seconds": 60.0, "in_time": False}))
    assert late.endswith("too late for the deadline in 1 m 00 s")


def test_a_certain_price_has_no_spread() -> None:
    """A flat price is one number."""
    text = render_plan_text(plan(cost_usd={"low": 5.0, "expected": 5.0, "high": 5.0}))
    assert "expected cost $5.00\n" in text


def test_bad_rows_warnings_and_the_sandbox_are_named() -> None:
    """Rows left out, warnings, and that no money is at stake."""
    lines = render_plan_text(plan(skipped_rows=3, sandbox=True, warnings=["a", "b"])).splitlines()
    assert lines[1:3] == ["3 bad rows left out", "into out, from the sandbox"]
    assert lines[-2:] == ["warning: a", "warning: b"]


def test_nothing_to_do_is_a_plan_too() -> None:
    """When everything is on disk there is no provider, no cost and no time."""
    zero = {"low": 0.0, "expected": 0.0, "high": 0.0}
    text = render_plan_text(plan(to_send=0, providers=[], cost_usd=zero, duration_seconds=0.0, bound_by="nothing"))
    assert text.endswith("0 to generate\ninto out\nexpected cost $0.00")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_text_from_data_is_made_safe(text: str) -> None:
    """Names from config and files cannot write to the terminal."""
    provider = {**plan()["providers"][0], "name": text, "wire_model": text}
    shown = render_plan_text(plan(output=text, providers=[provider], warnings=[text]))
    assert obeyed(shown) == []
    assert len(shown.splitlines()) == 6


def row(score: float, prompt: str, *, taken: bool) -> dict[str, Any]:
    return {"id": "1", "prompt": prompt, "score": score, "taken": taken, "other_job": "j", "other_prompt": "a sofa"}


def test_what_says_the_same_is_listed_with_its_score() -> None:
    """The farthest first: that is where a threshold is chosen. What is below it is listed, too."""
    rows = [row(0.95, "the sofa", taken=True), row(0.7, "a couch", taken=False)]
    assert render_plan_text(plan(semantic=rows)).splitlines()[-3:] == [
        "1 image of earlier prompts that say the same (cache.semantic):",
        "  0.70 below the threshold: a couch = a sofa",
        "  0.95 taken: the sofa = a sofa",
    ]


def test_a_long_list_is_cut() -> None:
    """Fifty lines are what a person reads."""
    rows = [row(0.9, text, taken=True) for text in HOSTILE.values()]
    lines = render_plan_text(plan(semantic=(rows * 60)[:60])).splitlines()
    assert lines[-1] == "  and 10 nearer ones; -O json lists them"
    assert not any(obeyed(line) for line in lines)
