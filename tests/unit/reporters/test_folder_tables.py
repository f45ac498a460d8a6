"""What `status`, `verify` and `gallery` draw."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from nanobatch.reporters.folder_tables import PROBLEMS_SHOWN, render_gallery, render_status, render_verification

STATUS: dict[str, Any] = {
    "output": "out", "running": True, "holder": {"pid": 7, "host": "here", "since": "now"}, "state": "running",
    "started_at": "2026-11-24T10:00:00.000Z", "finished_at": None, "exit_code": None, "stop_reason": None, "sandbox": False,
    "jobs": 5000, "ok": 1200, "cached": 1, "refused": 0, "failed": 0, "unfinished": 3799, "images_per_minute": 402.0,
    "seconds_left": 566.0, "cost_usd": 161.2, "maybe_cost_usd": 0.4, "open_requests": 40, "open_tasks": 0,
    "open_worst_usd": 6.7, "providers": {}, "failures": [], "other_failures": 0,
}  # fmt: skip
CHECKED: dict[str, Any] = {
    "output": "out", "running": False, "images": 12, "bytes": 1_500_000, "seconds": 3.0, "counts": {},
    "problems": [], "unrecorded": 0, "repair": None,
}  # fmt: skip


def drawn(found: RenderableType, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, markup=False, highlight=False, color_system=None).print(found)
    return stream.getvalue()


def test_a_run_under_way_in_a_few_lines() -> None:
    """Who, how much, how fast, how long."""
    text = drawn(render_status(STATUS))
    for words in (
        "process 7 on here", "1,201 of 5,000", "1,200 ok, 1 cached, 3,799 unfinished", "$161.20 spent",
        "$0.400 possibly billed", "402 images per minute, 9 m 26 s left", "40 on the wire, up to $6.70",
    ):  # fmt: skip
        assert words in text
    assert "0 refused" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "killed", "running": False}, "did not come to its end"),
        ({"state": "killed", "running": False, "open_tasks": 3}, "possibly billed, up to $6.70; 3 of them ordered"),
        ({"state": "ended", "running": False, "exit_code": 4, "finished_at": "x", "stop_reason": "budget"}, "exit code 4: budget"),
        ({"sandbox": True}, "(pretended: sandbox)"),
        ({"holder": dict.fromkeys(("pid", "host", "since"))}, "running since"),
    ],
)  # fmt: skip
def test_each_state_has_its_words(changes: dict[str, Any], words: str) -> None:
    """A person must not have to guess."""
    assert words in " ".join(drawn(render_status(STATUS | changes)).split())


@pytest.mark.parametrize("width", [40, 60, 80])
def test_it_fits_narrow_terminals(width: int) -> None:
    """Long names and reasons are folded, not cut and not spilled."""
    failure = {
        "status": "failed", "message": "x" * 150, "count": 1200, "code": "rejected", "http_status": None,
        "example": {"id": "a-very-long-identifier-" * 3},
    }  # fmt: skip
    google = {
        "images": 1,
        "attempts": 2,
        "cost_usd": 1.0,
        "maybe_cost_usd": 0.0,
        "errors": {"overloaded": 12, "unsent": 3},
    }
    found = STATUS | {"failures": [failure], "providers": {"google": google}, "other_failures": 4}
    text = drawn(render_status(found), width)
    assert max(map(len, text.splitlines())) <= width
    assert "".join(text.split()).count("x") >= 150


def test_data_cannot_command_the_terminal() -> None:
    """An id or a message with escape sequences is shown, not obeyed."""
    failure = {"status": "failed", "message": "\x1b[2Jgone", "count": 1, "example": {"id": "\x07bell[red]"}}
    text = drawn(render_status(STATUS | {"failures": [failure]}))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]" in text


def test_all_is_well_in_one_line() -> None:
    """Nothing else to read."""
    text = drawn(render_verification(CHECKED))
    assert text.split("\n")[0].startswith("12 images of out read again (1.5 MB, 3 s): every byte is as it was recorded")


def test_problems_are_named_up_to_a_number() -> None:
    """A folder that lost everything does not fill the screen."""
    problems = [{"kind": "missing", "file": f"images/{number}.png", "why": "it is not there"} for number in range(50)]
    text = drawn(render_verification(CHECKED | {"problems": problems, "counts": {"missing": 50, "changed": 0}}))
    assert "50 missing" in text
    assert "changed" not in text
    assert f"images/{PROBLEMS_SHOWN - 1}.png" in text
    assert f"images/{PROBLEMS_SHOWN}.png" not in text
    assert "and 30 more" in text


def test_a_repair_says_what_it_did() -> None:
    """Moved, put back, to be sent."""
    repair = {"set_aside": 2, "put_back": 1, "to_send": 3, "folder": "out/.nanobatch/set-aside"}
    text = drawn(render_verification(CHECKED | {"repair": repair, "unrecorded": 4}))
    for words in (
        "moved to out/.nanobatch/set-aside: 2 images",
        "put back: 1 image",
        "by the next run: 3 images",
        "which the next run does: 4 images",
    ):
        assert words in text


GALLERY: dict[str, Any] = {
    "gallery": "out/gallery.html", "running": False, "jobs": 12, "ok": 12, "cached": 0, "refused": 0, "failed": 0,
    "unfinished": 0, "left_out": 0, "thumbnails": {"made": 0, "failed": 0}, "seconds": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "out/gallery.html: 12 ok"),
        ({"ok": 0}, "out/gallery.html: no images yet"),
        ({"refused": 2}, "12 ok, 2 refused"),
        ({"running": True}, "a run is at work"),
        ({"jobs": 30_000, "left_out": 10_000}, "10,000 of 30,000 found no room"),
        ({"thumbnails": {"made": 1200, "failed": 0}, "seconds": 61.0}, "small pictures made: 1,200, in 1 m 01 s"),
        ({"thumbnails": {"made": 0, "failed": 1}}, "no small picture could be made of 1 image"),
    ],
)
def test_a_page_is_told_in_a_line_or_two(changes: dict[str, Any], words: str) -> None:
    """Where it is, what is on it, and what is not."""
    text = render_gallery(GALLERY | changes)
    assert words in text
    assert len(text.splitlines()) <= 2
