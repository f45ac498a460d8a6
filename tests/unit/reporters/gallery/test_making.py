"""Writing the page: whole or not at all, never over somebody else's, never at the price of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import ConfigError, StoreError
from nanobatch.folder import locked
from nanobatch.reporters.gallery.making import gallery_of, leave_gallery, write_gallery
from nanobatch.reporters.gallery.thumbnails import ABOVE_BYTES
from tests.fakes import ManualClock
from tests.gallery_folder import Desk, image

CLOCK = ManualClock()
KEYS = [
    "output", "gallery", "url", "running", "jobs", "ok", "cached", "refused", "failed", "unfinished", "tiles", "left_out",
    "bytes", "thumbnails", "seconds",
]  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "out")


def facts(desk: Desk) -> dict[str, Any]:
    text = (desk.root / "gallery.html").read_text("utf-8")
    found = re.search(r'id="facts">(.*?)</script>', text)
    assert found
    read: dict[str, Any] = json.loads(found[1])
    return read


def leave(desk: Desk) -> tuple[str | None, list[str]]:
    warnings: list[str] = []
    return leave_gallery(desk.root, CLOCK, warn=warnings.append), warnings


def test_the_page_says_how_the_run_stands(desk: Desk) -> None:
    """Jobs that nobody has come to, and the commands that go on, with the folder that they belong into."""
    desk.note(10)
    for status in ("ok", "refused", "unfinished"):
        desk.record(status)
    write_gallery(desk.root, CLOCK, running=False)
    found = facts(desk)
    assert (found["folder"], found["jobs"], found["left_out"], found["running"]) == ("out", 10, 0, False)
    assert found["statuses"] == {"ok": 1, "refused": 1, "unfinished": 1}
    assert found["go_on"] == "cd /srv/shop && nanobatch run p.csv --limit 9"
    assert found["retry"] == "cd /srv/shop && nanobatch run p.csv --limit 9 --retry-failed"
    assert found["go_on_row"] == "cd /srv/shop && nanobatch run p.csv"
    assert found["retry_row"] == "cd /srv/shop && nanobatch run p.csv --retry-failed"


def test_the_command_tells_programs_what_it_made(desk: Desk) -> None:
    """Its keys are a promise."""
    desk.note(3)
    desk.record()
    desk.record("failed")
    found = gallery_of(desk.root, CLOCK, told=lambda *_: None)
    assert list(found) == KEYS
    assert (found["gallery"], found["jobs"], found["ok"], found["failed"]) == (str(desk.root / "gallery.html"), 3, 1, 1)
    assert found["url"] == (desk.root / "gallery.html").as_uri()
    assert found["bytes"] == (desk.root / "gallery.html").stat().st_size


def test_small_pictures_are_made_and_then_shown(desk: Desk) -> None:
    """Of what is large; a second call finds them there; a broken file is counted and costs nothing else."""
    desk.record(data=image(2000, 1500), bytes=ABOVE_BYTES + 1)
    desk.record(data=b"no image at all", bytes=ABOVE_BYTES + 1)
    desk.record()
    told: list[tuple[int, int]] = []
    found = gallery_of(desk.root, CLOCK, told=lambda *counts: told.append(counts))
    assert found["thumbnails"] == {"made": 1, "failed": 1}
    assert told == [(1, 2), (2, 2)]
    assert f".nanobatch/thumbs/{1:064x}.webp" in (desk.root / "gallery.html").read_text("utf-8")
    again = gallery_of(desk.root, CLOCK, told=lambda *_: None)
    assert again["thumbnails"] == {"made": 0, "failed": 1}


def test_beside_a_run_at_work_it_says_so(desk: Desk) -> None:
    """What comes later is not on the page."""
    desk.note(5)
    with locked(desk.root, CLOCK):
        assert gallery_of(desk.root, CLOCK, told=lambda *_: None)["running"] is True
    assert facts(desk)["running"] is True


def test_a_run_that_clears_the_parts_just_then_is_no_failure(desk: Desk) -> None:
    """It takes a page that is being written for somebody's remains; the page is written again."""
    desk.record()

    class Cleaner(ManualClock):
        times = 0

        def wall(self) -> float:
            self.times += 1
            if self.times == 1:
                for part in desk.root.rglob("*.part"):
                    part.unlink()
            return super().wall()

    clock = Cleaner()
    write_gallery(desk.root, clock, running=False)
    assert clock.times == 2
    assert facts(desk)["statuses"] == {"ok": 1}


def test_a_killed_run_has_a_page_too(desk: Desk) -> None:
    """With a torn last line, without run.json."""
    desk.note(5)
    desk.record()
    with (desk.root / "manifest.jsonl").open("a") as file:
        file.write('{"job":"12')
    assert gallery_of(desk.root, CLOCK, told=lambda *_: None)["tiles"] == 1


def test_a_page_of_somebody_elses_is_left_alone(desk: Desk) -> None:
    """A folder may be a site already."""
    desk.record()
    (desk.root / "gallery.html").write_text("<h1>my own</h1>")
    with pytest.raises(ConfigError, match="is not a page of nanobatch"):
        write_gallery(desk.root, CLOCK, running=False)
    path, warnings = leave(desk)
    assert path is None
    assert "there is no gallery of this run" in warnings[0]
    assert (desk.root / "gallery.html").read_text() == "<h1>my own</h1>"


def test_at_the_end_of_a_run_a_failure_is_a_warning(desk: Desk) -> None:
    """And what stood there is whole."""
    desk.record()
    leave(desk)
    before = (desk.root / "gallery.html").read_bytes()
    with (desk.root / "manifest.jsonl").open("a") as file:
        file.write("{torn\n")
    desk.record()
    path, warnings = leave(desk)
    assert path is None
    assert "damaged" in warnings[0]
    assert (desk.root / "gallery.html").read_bytes() == before
    assert not list(desk.root.rglob("*.part"))


def test_where_nothing_can_be_written_it_is_said(desk: Desk) -> None:
    """A folder stands where the page belongs."""
    desk.record()
    (desk.root / "gallery.html").mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*gallery\.html"):
        write_gallery(desk.root, CLOCK, running=False)


def test_a_run_that_adds_nothing_writes_nothing(desk: Desk) -> None:
    """A million images that are all there do not wait for a page; one line more, and it is made anew."""
    desk.record()
    page = desk.root / "gallery.html"
    assert leave(desk) == (str(page), [])
    before = page.stat()
    assert leave(desk) == (str(page), [])
    assert page.stat().st_ino == before.st_ino
    desk.record()
    assert leave(desk) == (str(page), [])
    assert page.stat().st_ino != before.st_ino


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """With a sentence."""
    with pytest.raises(ConfigError, match="is not the output of a run"):
        write_gallery(tmp_path, CLOCK, running=False)


@pytest.mark.parametrize("name", ["{{tiles}}", "<b>", "a&b", "é"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """The title is data as well."""
    desk = Desk(tmp_path / name)
    desk.record()
    write_gallery(desk.root, CLOCK, running=False)
    assert facts(desk)["folder"] == name
