"""An image is brought whole, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from nanobatch.caches.base import Entry
from nanobatch.caches.delivery import Unreadable, bring, fetch, is_there
from nanobatch.errors import StoreError

DATA = b"image" * 100_000


def entry(*places: Path, data: bytes = DATA) -> Entry:
    return Entry("j", 0.0, places=tuple(map(str, places)), sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def nothing(_: Entry) -> bytes | None:
    return None


def test_the_first_good_place_is_used(tmp_path: Path) -> None:
    """A place that is gone or changed is passed over."""
    gone, changed, good, part = (tmp_path / name for name in ("gone", "changed", "good", "part"))
    changed.write_bytes(b"x" * len(DATA))
    good.write_bytes(DATA)
    assert fetch(entry(gone, changed, good), part, image=nothing)
    assert part.read_bytes() == DATA


@pytest.mark.parametrize("hard_links", [False, True])
def test_what_is_changed_is_not_brought(tmp_path: Path, hard_links: bool) -> None:
    """One byte of difference is a miss, and leaves nothing behind."""
    source, part = tmp_path / "source", tmp_path / "part"
    source.write_bytes(DATA[:-1] + b"?")
    assert not fetch(entry(source), part, image=nothing, hard_links=hard_links)
    assert not part.exists()


def test_two_folders_share_no_file(tmp_path: Path) -> None:
    """Who edits one image in place does not edit the other."""
    source, part = tmp_path / "source", tmp_path / "part"
    source.write_bytes(DATA)
    assert fetch(entry(source), part, image=nothing)
    with part.open("r+b") as opened:
        opened.write(b"edited")
    assert source.read_bytes() == DATA


def test_hard_links_share_it_where_they_are_asked_for(tmp_path: Path) -> None:
    """The same file then has two names and takes its space once."""
    source, part = tmp_path / "source", tmp_path / "part"
    source.write_bytes(DATA)
    assert fetch(entry(source), part, image=nothing, hard_links=True)
    assert part.samefile(source)


def test_a_link_that_is_not_possible_is_a_copy(tmp_path: Path) -> None:
    """Another file system is no reason to buy an image again."""
    source = Path("/dev/shm") / f"{tmp_path.parent.name}-{tmp_path.name}"
    if not source.parent.is_dir() or source.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    source.write_bytes(DATA)
    try:
        assert fetch(entry(source), tmp_path / "part", image=nothing, hard_links=True)
        assert not (tmp_path / "part").samefile(source)
    finally:
        source.unlink()


def test_bytes_that_are_carried_stand_in_for_places(tmp_path: Path) -> None:
    """What came over the network is verified like everything else."""
    part = tmp_path / "part"
    assert fetch(entry(), part, image=lambda _: DATA)
    assert part.read_bytes() == DATA
    part.unlink()
    assert not fetch(entry(), part, image=lambda _: DATA + b"!")
    assert not part.exists()


def test_a_target_that_cannot_be_written_is_the_stores_error(tmp_path: Path) -> None:
    """A full disk ends the run; it does not make misses of all hits."""
    source = tmp_path / "source"
    source.write_bytes(DATA)
    with pytest.raises(StoreError):
        fetch(entry(source), tmp_path / "nowhere" / "part", image=nothing)
    with pytest.raises(StoreError):
        fetch(entry(), tmp_path / "nowhere" / "part", image=lambda _: DATA)


def test_a_glance_looks_at_lengths(tmp_path: Path) -> None:
    """For a plan that is good enough, and it reads no file."""
    source = tmp_path / "source"
    source.write_bytes(b"x" * len(DATA))
    assert is_there(entry(source))
    assert not is_there(entry(tmp_path / "gone"))
    assert not is_there(entry(source, data=b"other"))


def test_a_source_that_is_none_is_told_from_a_bad_target(tmp_path: Path) -> None:
    """The one is a miss, the other a full disk."""
    with pytest.raises(Unreadable):
        bring(tmp_path / "gone", tmp_path / "part")
    with pytest.raises(Unreadable):
        bring(tmp_path, tmp_path / "part")
    source = tmp_path / "source"
    source.write_bytes(DATA)
    assert bring(source, tmp_path / "part") == hashlib.sha256(DATA).hexdigest()
    with pytest.raises(FileExistsError):
        bring(source, tmp_path / "part")
