"""Who makes small pictures, of what, and what happens when a process dies of one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nanobatch.events import JobFinished
from nanobatch.model import Record, Status
from nanobatch.reporters.gallery import thumbnails
from nanobatch.reporters.gallery.thumbnails import (
    ABOVE_BYTES,
    ABOVE_PIXELS,
    MOST_PIXELS,
    Wanted,
    WhileItRuns,
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


def finished(number: int, **more: Any) -> JobFinished:
    facts: dict[str, Any] = {
        "file": f"{number}.png",
        "sha256": f"{number:064x}",
        "width": 2000,
        "height": 2000,
        "bytes": 1,
    } | more
    return JobFinished(Record(job="j", id="i", variant=0, index=1, status=Status.OK, **facts))


def test_a_run_has_them_made_in_the_background(tmp_path: Path) -> None:
    """Of large images alone; the end waits for the one at hand, and no process is left."""
    large(tmp_path, 2)
    observer = WhileItRuns(tmp_path)
    observer(finished(7, width=10, height=10))
    assert observer._line.empty()
    observer(finished(0))
    made = tmp_path / f".nanobatch/thumbs/{0:064x}.webp"
    observer._line.put(None)  # so that the thread ends by itself, after the picture
    assert observer._thread is not None
    observer._thread.join()
    assert made.exists()
    observer.stop()
    assert observer._worker._process is None


def test_the_end_waits_for_no_process_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is over when its images are."""
    monkeypatch.setattr(thumbnails, "LAST_SECONDS", 0.05)
    observer = WhileItRuns(tmp_path)
    process = observer._worker._start()
    os.kill(process.pid, signal.SIGSTOP)
    observer(finished(0))
    observer.stop()
    assert process.returncode == -signal.SIGKILL


def test_the_end_drops_what_is_still_in_line(tmp_path: Path) -> None:
    """`nanobatch gallery` makes it later."""
    large(tmp_path, 1)
    observer = WhileItRuns(tmp_path)
    for _ in range(200):
        observer(finished(0))
    observer.stop()
    assert observer._thread is not None
    assert not observer._thread.is_alive()
    assert observer._line.qsize() > 100


def test_a_full_line_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; what finds no place is made later."""
    monkeypatch.setattr(thumbnails, "WAITING", 1)
    observer = WhileItRuns(tmp_path)
    for _ in range(50):
        observer(finished(0))
    observer.stop()
    assert observer._line.qsize() <= 1


def test_without_processes_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that can start no process has no small pictures."""

    def none(*_: Any, **__: Any) -> subprocess.Popen[bytes]:
        raise OSError("no process")

    monkeypatch.setattr(subprocess, "Popen", none)
    observer = WhileItRuns(tmp_path)
    observer(finished(0))
    observer.stop()
    assert not list(tmp_path.iterdir())
