"""The end of a run in a few lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nanobatch.model import Status
from nanobatch.reporters.summary import REASONS_SHOWN, render_json, render_text
from nanobatch.stopping import StopReason
from tests.moments import HOSTILE, bad, obeyed, ok, summary

UNFINISHED = bad(2, Status.UNFINISHED, "connection refused", "unsent")


def test_a_complete_run_needs_two_lines() -> None:
    """Where the images are, how long it took, what it cost; nothing to do next."""
    text = render_text(summary(*[ok(number) for number in range(50)]))
    assert text.splitlines() == [
        "50 of 50 images in out, after 2 m 05 s",
        "$6.70 spent, $0.134 an image, 24 images per minute",
    ]


def test_the_gallery_is_named_where_there_is_one() -> None:
    """A person opens it from there; a name cannot drive the terminal."""
    text = render_text({**summary(ok(1), bad(2)), "gallery": "out\x1b[31m/gallery.html"})
    assert text.splitlines()[-2] == "gallery: out·[31m/gallery.html"
    assert "gallery" not in render_text(summary(ok(1)))


CODES: list[tuple[int, dict[str, Any], str]] = [
    (
        1,
        {"records": [ok(1), bad(2)]},
        "the rows without an image are in out/failed.jsonl; --retry-failed sends them again",
    ),
    (3, {"records": [bad(2, Status.UNFINISHED, "wrong key", "account_stopped")]}, "no provider accepts the account"),
    (
        4,
        {"records": [UNFINISHED], "stop": StopReason("limit", "budget", 4)},
        "a limit of yours ended the run: raise it",
    ),
    (5, {"records": [UNFINISHED]}, "run the same command again"),
    (
        130,
        {"records": [UNFINISHED], "stop": StopReason("interrupted", "x", 130)},
        "run the same command again to go on",
    ),
    (
        143,
        {"records": [UNFINISHED], "stop": StopReason("interrupted", "x", 143)},
        "run the same command again to go on",
    ),
]


@pytest.mark.parametrize(("code", "case", "words"), CODES, ids=[str(code) for code, *_ in CODES])
def test_every_exit_code_says_what_to_do_next(code: int, case: dict[str, Any], words: str) -> None:
    """A person who reads the last line knows the next step."""
    found = summary(*case["records"], stop=case.get("stop"))
    assert found["exit_code"] == code
    assert render_text(found).splitlines()[-1].startswith(f"next: {words}")


def test_a_time_to_run_again_is_said() -> None:
    """When the quota comes back, to the minute, in UTC."""
    found = summary(UNFINISHED, resume_after=1_790_060_400.0)
    assert render_text(found).endswith("next: run the same command again after 2026-09-22 07:00 UTC")


def test_what_is_missing_is_counted_with_its_reasons() -> None:
    """The kinds, then the most frequent reasons first."""
    records = [bad(1, message="violence"), bad(2, message="violence"), bad(3, Status.FAILED, "no image"), UNFINISHED]
    lines = render_text(summary(ok(9), *records)).splitlines()
    assert lines[2:-1] == [
        "without an image: 2 refused, 1 failed, 1 unfinished",
        "  2× violence",
        "  1× no image",
        "  1× connection refused",
    ]


def test_more_reasons_than_a_person_reads_are_left_to_the_manifest() -> None:
    """Five reasons are shown, and that there are others."""
    lines = render_text(summary(*[bad(number, message=f"reason {number}") for number in range(9)])).splitlines()
    assert sum("× reason" in line for line in lines) == REASONS_SHOWN == 5
    assert lines[-2] == "  ... and other reasons, in manifest.jsonl"


def test_providers_are_listed_when_there_are_several() -> None:
    """One provider's totals are the run's; two have a line each."""
    assert "first:" not in render_text(summary(ok(1)))
    lines = render_text(summary(ok(1), ok(2, provider="second", cost_usd=0.05))).splitlines()
    assert lines[2:] == ["  first: 1 image, $0.134", "  second: 1 image, $0.050"]
    unasked = {"images": 0, "attempts": 0, "cost_usd": 0.0, "maybe_cost_usd": 0.0, "errors": {"account_stopped": 1}}
    found = dict(summary(ok(1)))
    found["providers"] = {**found["providers"], "none": unasked}
    assert len(render_text(found).splitlines()) == 2


def test_earlier_images_and_uncertain_money_are_told_apart() -> None:
    """Images that resume found were not made now; money that may have been billed is beside what was."""
    found = dict(summary(ok(1, maybe_cost_usd=0.2)))
    found["resumed"], found["ok"], found["jobs"] = 4, 5, 5
    lines = render_text(found).splitlines()
    assert lines[0] == "5 of 5 images (4 from earlier runs) in out, after 2 m 05 s"
    assert "$0.200 possibly billed besides" in lines[1]


def test_where_images_came_from_stands_in_one_place() -> None:
    """Images of this folder's earlier runs, and those that the cache gave."""
    found = {**summary(), "ok": 3, "cached": 2, "jobs": 5, "resumed": 4}
    assert render_text(found).startswith("5 of 5 images (4 from earlier runs, 2 from the cache) in out, after ")


def test_an_order_is_followed_by_what_fetches_it() -> None:
    """A run that ends well without its images has ordered them in batches."""
    found = {**summary(), "jobs": 2, "unfinished": 2, "exit_code": 0, "output": "my shop"}
    assert render_text(found).splitlines()[-1] == "next: nanobatch batch collect 'my shop'"


def test_the_sandbox_spends_nothing() -> None:
    """Its prices are pretended, and the summary says so."""
    assert "$0.134 spent (pretended: sandbox)" in render_text(summary(ok(1), sandbox=True))


def test_a_run_with_nothing_to_do_is_short() -> None:
    """All images were there: no price per image, no rate, no advice."""
    found = {**summary(), "ok": 3, "jobs": 3, "resumed": 3}
    assert render_text(found).splitlines() == [
        "3 of 3 images (3 from earlier runs) in out, after 2 m 05 s",
        "$0.00 spent",
    ]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_text_from_data_is_made_safe(text: str) -> None:
    """Reasons, folders and names of providers cannot write to the terminal."""
    found = summary(ok(1), ok(3, provider=text), bad(2, message=text), output=text)
    shown = render_text(found)
    assert obeyed(shown) == []
    assert len(shown.splitlines()) == 7
    assert max(map(len, shown.splitlines())) < 400


def test_a_folder_with_braces_is_only_a_name() -> None:
    """A path is put into the advice, not read as a template."""
    assert "{x}/failed.jsonl" in render_text(summary(ok(1), bad(2), output="{x}"))


def test_json_is_the_summary_itself() -> None:
    """One object, readable by a person, in the words of the data."""
    found = summary(ok(1), bad(2, message="Füchse 🦊"))
    text = render_json(found)
    assert json.loads(text) == found
    assert "Füchse 🦊" in text
    assert "\n  " in text


def test_a_time_to_run_again_is_never_too_early() -> None:
    """Seconds are rounded up: a cron job that comes half a minute early comes in vain."""
    found = summary(UNFINISHED, resume_after=1_790_060_400.5)
    assert render_text(found).endswith("run the same command again after 2026-09-22 07:01 UTC")


def test_when_running_again_helps_at_once_no_time_is_said() -> None:
    """A time that has passed would only puzzle."""
    found = summary(UNFINISHED, resume_after=1_790_000_000.0)
    assert found["resume_after"]
    assert render_text(found).endswith("next: run the same command again")


def test_a_slow_run_has_a_rate() -> None:
    """Half an image a minute is not zero."""
    assert "0.5 images per minute" in render_text(summary(ok(1)))
