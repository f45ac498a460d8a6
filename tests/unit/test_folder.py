"""One run at a time in a folder, and what the next one finds there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanobatch.attempts import Landed, Line
from nanobatch.errors import ConfigError, StoreError
from nanobatch.folder import ATTEMPTS, Folder, input_digest, locked, open_folder, recover, who_holds
from nanobatch.manifest import fingerprint
from nanobatch.model import Cost, Job
from nanobatch.records import record_of
from tests.fakes import ManualClock
from tests.harness import make_job

HOLD = """
import sys, pathlib
sys.path.insert(0, {root!r})
from nanobatch.clock import SystemClock
from nanobatch.folder import locked
with locked(pathlib.Path({folder!r}), SystemClock()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def opened(root: Path, clock: ManualClock, *jobs: Job, fresh: bool = False) -> Folder:
    return open_folder(root, clock, wanted=lambda: [fingerprint(job.id) for job in jobs], fresh=fresh)


def test_another_process_is_kept_out_and_told_who_holds_it(
    tmp_path: Path, clock: ManualClock, project_root: Path
) -> None:
    """The second run says who holds the folder; a killed holder holds it no more."""
    script = HOLD.format(root=str(project_root), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(ConfigError, match=rf"in use by another run \(process {process.pid} on "),
            locked(tmp_path, clock),
        ):
            pass
        process.kill()
    with locked(tmp_path, clock):
        assert str(os.getpid()) in (tmp_path / ".nanobatch/lock").read_text()


def test_a_lock_without_a_readable_holder_still_holds(tmp_path: Path, clock: ManualClock) -> None:
    """The lock is the system's; the name in it is only a courtesy."""
    with locked(tmp_path, clock):
        (tmp_path / ".nanobatch/lock").write_text("not json")
        with pytest.raises(ConfigError, match="in use by another run; wait"), locked(tmp_path, clock):
            pass


def test_a_folder_that_cannot_be_written(tmp_path: Path, clock: ManualClock) -> None:
    """A file where the folder should be is a clear sentence."""
    (tmp_path / "out").write_text("")
    with pytest.raises(StoreError, match="cannot write"), locked(tmp_path / "out", clock):
        pass


def killed_after_the_last_byte(root: Path, clock: ManualClock, job: Job, *, renamed: bool) -> None:
    """Leave the folder as a process does that dies between the outcome and the manifest."""
    folder = opened(root, clock, job)
    part = folder.store.new_part()
    part.write_bytes(b"png")
    landed = Landed(
        part=part.name, file=f"{job.key}.png", sha256="00", bytes=3, mime="image/png", width=1, height=1, cost_usd=0.134
    )
    attempt = folder.ledger.intend(job.id, "google", at=clock.wall(), worst_usd=0.134, cost=Cost())
    folder.ledger.conclude(
        Line(kind="outcome", attempt=attempt, job=job.id, provider="google", at=clock.wall(), code="ok", landed=landed)
    )
    if renamed:
        folder.store.adopt(part, landed.file)


@pytest.mark.parametrize("renamed", [False, True])
def test_an_image_that_was_paid_and_not_recorded_is_found(tmp_path: Path, clock: ManualClock, *, renamed: bool) -> None:
    """Killed just before or just after the rename: the next run records the image and sends nothing."""
    job = make_job()
    killed_after_the_last_byte(tmp_path, clock, job, renamed=renamed)
    folder = opened(tmp_path, clock, job)
    assert folder.wants(job)
    count = recover(folder, [job], lambda one, by, landed: record_of(one, by, landed, finished_at="now"))
    assert count == 1
    assert not folder.wants(job)
    assert (tmp_path / f"{job.key}.png").read_bytes() == b"png"
    assert not opened(tmp_path, clock, job).wants(job)


def test_an_image_that_was_removed_since_is_not_invented(tmp_path: Path, clock: ManualClock) -> None:
    """Neither part nor file: there is nothing to recover, and the job is sent."""
    job = make_job()
    killed_after_the_last_byte(tmp_path, clock, job, renamed=True)
    (tmp_path / f"{job.key}.png").unlink()
    folder = opened(tmp_path, clock, job)
    assert recover(folder, [job], lambda one, by, landed: record_of(one, by, landed, finished_at="now")) == 0
    assert folder.wants(job)


def test_half_written_parts_are_cleaned(tmp_path: Path, clock: ManualClock) -> None:
    """What a kill cut in the middle of a download is of no use to anybody."""
    part = opened(tmp_path, clock).store.new_part()
    part.write_bytes(b"half")
    opened(tmp_path, clock)
    assert not part.exists()


def test_requests_on_the_wire_at_a_kill_are_counted_once(tmp_path: Path, clock: ManualClock) -> None:
    """Possibly billed: told by the next run, and not by the one after."""
    job = make_job()
    opened(tmp_path, clock, job).ledger.intend(job.id, "google", at=clock.wall(), worst_usd=0.134, cost=Cost())
    second = opened(tmp_path, clock, job)
    assert (second.possibly_billed_usd, len(second.past.interrupted)) == (0.134, 1)
    assert second.past.tallies[job.id].maybe_usd == 0.134
    third = opened(tmp_path, clock, job)
    assert third.possibly_billed_usd == 0
    assert third.past.tallies[job.id].maybe_usd == 0.134


def test_fresh_forgets_what_was_landed(tmp_path: Path, clock: ManualClock) -> None:
    """`--fresh` recovers nothing; the ledger itself is kept."""
    job = make_job()
    killed_after_the_last_byte(tmp_path, clock, job, renamed=False)
    folder = opened(tmp_path, clock, job, fresh=True)
    assert recover(folder, [job], lambda one, by, landed: record_of(one, by, landed, finished_at="now")) == 0
    assert (tmp_path / ATTEMPTS).stat().st_size > 0


def test_fresh_for_a_part_keeps_what_was_landed_of_the_rest(tmp_path: Path, clock: ManualClock) -> None:
    """With `--fresh --only fox` an image that the killed run had bought for the owl is recovered as ever."""
    job, chosen = make_job(1), make_job(2)
    killed_after_the_last_byte(tmp_path, clock, job, renamed=False)
    wanted = [fingerprint(one.id) for one in (job, chosen)]
    folder = open_folder(tmp_path, clock, wanted=lambda: wanted, fresh=True, chosen=lambda: wanted[1:])
    assert recover(folder, [job], lambda one, by, landed: record_of(one, by, landed, finished_at="now")) == 1
    assert (folder.wants(job), folder.wants(chosen)) == (False, True)


def test_syncing_reaches_every_file(tmp_path: Path, clock: ManualClock) -> None:
    """One call makes ledger, manifest and folders safe."""
    folder = opened(tmp_path, clock)
    folder.sync()
    assert (tmp_path / ATTEMPTS).exists()


def test_the_input_is_named_by_all_that_decides(tmp_path: Path) -> None:
    """The same file and settings have one name; a changed byte or setting another; a stream has none."""
    file = tmp_path / "p.csv"
    file.write_text("prompt\na\n")
    first = input_digest([str(file)], ("1K",))
    assert first == input_digest([str(file)], ("1K",))
    assert first != input_digest([str(file)], ("2K",))
    file.write_text("prompt\nb\n")
    assert first != input_digest([str(file)], ("1K",))
    assert input_digest(["-"], ("1K",)) is None


def test_who_holds_a_folder_can_be_asked_without_a_trace(tmp_path: Path) -> None:
    """Nobody, then this process, then nobody again; a folder without a lock is left without one."""
    clock = ManualClock()
    assert who_holds(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path, clock):
        holder = who_holds(tmp_path)
        assert holder is not None
        assert holder["pid"] == os.getpid()
    assert who_holds(tmp_path) is None


def test_a_holder_that_wrote_nothing_yet_still_holds(tmp_path: Path) -> None:
    """Between the lock and its first byte."""
    with locked(tmp_path, ManualClock()):
        (tmp_path / ".nanobatch/lock").write_text("")
        assert who_holds(tmp_path) == {"pid": None, "host": None, "since": None}
        with pytest.raises(ConfigError, match="in use by another run; wait"), locked(tmp_path, ManualClock()):
            pass
