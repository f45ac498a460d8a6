"""Who makes small pictures, of what, and what happens when a process dies of one."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from nanobatch.reporters.gallery import thumbnails
from nanobatch.reporters.gallery.thumbnails import (
    ABOVE_BYTES,
    ABOVE_PIXELS,
    MOST_PIXELS,
    Wanted,
    Worker,
    is_drawable,
    make_all,
    thumbnail_of,
)
from tests.gallery_folder import image

SHA = "a" * 64
THERE = f".nanobatch/thumbs/{SHA}.webp"


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"width": 4096, "height": 4096, "size": 1}, THERE),
        ({"width": 10, "height": 10, "size": ABOVE_BYTES + 1}, THERE),
        ({"width": ABOVE_PIXELS, "height": 1, "size": ABOVE_BYTES}, None),
        ({"width": None, "height": None, "size": None}, None),
        ({"width": MOST_PIXELS, "height": 2, "size": ABOVE_BYTES + 1}, None),
    ],
)
def test_large_images_have_one_and_small_ones_need_none(facts: dict[str, Any], found: str | None) -> None:
    """By pixels or by bytes; what nobody should draw has none either."""
    assert thumbnail_of(SHA, **facts) == found


@pytest.mark.parametrize("sha256", [None, "", "../../x", "a" * 63, "A" * 64, SHA + "\n"])
def test_only_a_digest_names_a_file(sha256: str | None) -> None:
    """A manifest that somebody edited cannot choose where is written."""
    assert thumbnail_of(sha256, width=9999, height=9999, size=1) is None


def test_what_may_be_drawn() -> None:
    """Up to a hundred million pixels, and what nobody has measured."""
    assert is_drawable(10_000, 10_000)
    assert is_drawable(None, None)
    assert not is_drawable(10_001, 10_000)


def large(root: Path, count: int) -> list[Wanted]:
    for number in range(count):
        (root / f"{number}.png").write_bytes(image(1200, 1200))
    return [Wanted(f"{number}.png", f"small/{number}.webp") for number in range(count)]


def test_all_are_made_and_counted(tmp_path: Path) -> None:
    """In several processes; the missing one is not counted."""
    told: list[int] = []
    wanted = [*large(tmp_path, 4), Wanted("nothing.png", "small/x.webp")]
    assert make_all(tmp_path, wanted, told=told.append) == 4
    assert told == [1, 2, 3, 4, 5]
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == [f"{number}.webp" for number in range(4)]


def test_a_process_that_died_is_replaced(tmp_path: Path) -> None:
    """Its picture is lost, the next is made."""
    first, second = large(tmp_path, 2)
    worker = Worker(tmp_path)
    assert worker.make(first)
    assert worker._process is not None
    worker._process.kill()
    worker._process.wait()
    assert not worker.make(second)
    assert worker.make(second)
    worker.close()
    worker.close()


def test_a_process_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for one picture for ever."""
    worker = Worker(tmp_path)
    (first,) = large(tmp_path, 1)
    assert worker.make(first)
    assert worker._process is not None
    os.kill(worker._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(thumbnails, "PATIENCE_SECONDS", 0.05)
    assert not worker.make(first)
    assert worker._process is None
