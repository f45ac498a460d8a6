"""The journal of batches: what is written is read back, at whichever line a kill came."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.batches.journal import Batch, BatchJournal, count_images, ordered_jobs, read_batches
from nanobatch.batches.wire import BatchState, Phase
from nanobatch.errors import ConfigError


def batch(title: str = "nanobatch-1") -> Batch:
    return Batch(title, "google", "m", "", ("j1", "j2"), 3000, 10.0)


def state(phase: Phase = Phase.RUNNING, **more: object) -> BatchState:
    return BatchState("batches/b", "nanobatch-1", phase, **more)  # type: ignore[arg-type]


def life(path: Path) -> None:
    """Write the whole life of one batch: seven lines."""
    journal, one = BatchJournal(path), batch()
    journal.plan(one)
    journal.uploaded(one, "files/in", at=11)
    journal.creating(one, at=12)
    journal.saw(one, state(Phase.WAITING, rows=2), at=13)
    journal.saw(one, state(Phase.SUCCEEDED, rows=2, done=2, failed=0, files=("files/out",)), at=14)
    journal.close_batch(one, "collected", at=15)
    journal.finish(at=16)
    journal.close()


STANDINGS = ["planned", "planned", "unknown", "waiting", "succeeded", "collected", "collected"]


@pytest.mark.parametrize("lines", range(1, 8))
def test_every_line_counts_at_once(tmp_path: Path, lines: int) -> None:
    """After a kill behind any line the batch stands where that line put it; a torn line after it says nothing."""
    path = tmp_path / "batches.jsonl"
    life(path)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:lines]) + b'{"kind":"clo')
    batches, is_finished = read_batches(path)
    assert [one.standing for one in batches.values()] == [STANDINGS[lines - 1]]
    assert is_finished is (lines == 7)
    assert bool(BatchJournal(path).open) is (lines < 6)


def test_what_the_lines_say_is_known(tmp_path: Path) -> None:
    """Names, counts and files survive."""
    life(tmp_path / "b")
    [one] = read_batches(tmp_path / "b")[0].values()
    assert (one.file, one.name, one.files, one.rows, one.done) == ("files/in", "batches/b", ("files/out",), 2, 2)
    assert (one.planned_at, one.creating_at, one.created_at, one.looked_at) == (10, 12, 13, 14)
    assert one.jobs == ("j1", "j2")
    assert one.task == "batch:nanobatch-1"
    assert count_images([one, one]) == 4


def test_a_refusal_makes_the_order_certain_again(tmp_path: Path) -> None:
    """After a no the batch does not exist; it is planned, not unknown."""
    journal, one = BatchJournal(tmp_path / "b"), batch()
    journal.plan(one)
    journal.creating(one, at=1)
    assert one.standing == "unknown"
    journal.not_taken(one, at=2)
    assert one.standing == "planned"
    journal.close()


def test_looking_without_news_writes_nothing(tmp_path: Path) -> None:
    """A day of looking every five minutes does not fill the disk."""
    journal, one = BatchJournal(tmp_path / "b"), batch()
    journal.plan(one)
    journal.saw(one, state(), at=1)
    size = (tmp_path / "b").stat().st_size
    for moment in range(2, 50):
        journal.saw(one, state(), at=moment)
    assert (tmp_path / "b").stat().st_size == size
    assert one.looked_at == 49
    journal.close()


def test_nothing_ordered_leaves_no_file(tmp_path: Path) -> None:
    """Looking at a folder without batches changes nothing in it."""
    journal = BatchJournal(tmp_path / "b")
    assert journal.is_finished
    assert "0 of 0" in repr(journal)
    journal.finish(at=1)
    journal.sync()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_middle_is_an_error(tmp_path: Path) -> None:
    """It is named, not guessed around."""
    life(tmp_path / "b")
    lines = (tmp_path / "b").read_bytes().splitlines(keepends=True)
    (tmp_path / "b").write_bytes(lines[0] + b"nonsense\n" + lines[1])
    with pytest.raises(ConfigError, match="b:2"):
        read_batches(tmp_path / "b")


def test_a_phase_of_tomorrow_counts_as_running(tmp_path: Path) -> None:
    """A journal that a newer version wrote can be read."""
    (tmp_path / "b").write_text(
        '{"kind":"planned","at":1,"batch":"t","jobs":["a"]}\n{"kind":"created","at":2,"batch":"t","name":"n","phase":"x"}\n'
        '{"kind":"seen","at":3,"batch":"another"}\n'
    )
    [one] = read_batches(tmp_path / "b")[0].values()
    assert one.standing == "running"


def test_what_is_ordered_is_known_until_it_is_collected(tmp_path: Path) -> None:
    """Plans leave it out; where nothing was ever ordered there is no file."""
    path = tmp_path / "batches.jsonl"
    assert ordered_jobs(path) == set()
    life(path)
    assert ordered_jobs(path) == set()
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:4]))
    assert ordered_jobs(path) == {"j1", "j2"}
