"""How an estimate is shown; the command itself is tried in test_estimate_cost.py."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from nanobatch.cli.costing import render

ROW: dict[str, Any] = {
    "provider": "google", "model": "m", "size": "1K", "images": 10, "price_usd": 0.134, "cost_usd": 1.34,
    "batch_cost_usd": None, "duration_seconds": 90.0, "bound_by": "rpm", "monthly_usd": None, "yearly_usd": None,
    "yearly_saving_usd": None, "note": "",
}  # fmt: skip
PLAN: dict[str, Any] = {
    "strategy": "priority", "allocations": [{"provider": "google", "lane": "sync", "images": 10, "cost_usd": 1.5}],
    "cost_usd": {"low": 1.34, "expected": 1.5, "high": 1.68}, "duration_seconds": 90.0, "bound_by": "rpm",
    "already_done": 3, "cached": 0, "cached_unknown": None,
}  # fmt: skip


def shown(capsys: pytest.CaptureFixture[str], *rows: dict[str, Any], plan: dict[str, Any] = PLAN) -> str:
    found = {"images": 10, "prices": "newest", "providers": rows, "plan": plan}
    Console(width=160, markup=False).print(render(found))
    return capsys.readouterr().out


def test_what_is_unknown_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    """And what is not offered at all has no line."""
    out = shown(capsys, ROW, {**ROW, "provider": "nobody", "price_usd": None})
    assert "1.34" in out
    assert "–" in out
    assert "nobody" not in out
    assert "a year" not in out


@pytest.mark.parametrize(
    ("seconds", "words"), [(90.0, "90 s"), (180.0, "3.0 min"), (9000.0, "2.5 h"), (864_000.0, "10.0 d")]
)
def test_times_have_the_unit_that_fits(capsys: pytest.CaptureFixture[str], seconds: float, words: str) -> None:
    """Nobody thinks in thousands of seconds."""
    assert words in shown(capsys, {**ROW, "duration_seconds": seconds})


def test_the_plan_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the images go, what they cost, how long it takes, what is there already."""
    words = " ".join(shown(capsys, {**ROW, "yearly_usd": 16.08, "monthly_usd": 1.34}).split())
    assert "The plan (priority): 10 at google; 1.50 expected, 1.34 to 1.68; 90 s; 3 are there already" in words
    assert "a year" in words
    mixed = [*PLAN["allocations"], {"provider": "google", "lane": "flex", "images": 2, "cost_usd": 0.2}]
    words = " ".join(shown(capsys, ROW, plan={**PLAN, "allocations": mixed}).split())
    assert "10 at google, 2 at google (flex);" in words
    cached = " ".join(shown(capsys, ROW, plan={**PLAN, "cached": 5}).split())
    assert "3 are there already; 5 are in the cache" in cached
    assert "unasked" in shown(capsys, ROW, plan={**PLAN, "cached": None, "cached_unknown": "unasked"})
    nothing = {**PLAN, "allocations": [], "already_done": 0}
    assert "nothing to do" in shown(capsys, ROW, plan=nothing)
