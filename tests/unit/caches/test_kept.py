"""The cache's own copies."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from nanobatch.caches.kept import KeptImages

DATA = b"image"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.png"
    path.write_bytes(DATA)
    return path


def test_a_copy_is_named_after_its_bytes(tmp_path: Path, source: Path) -> None:
    """Equal images take their space once, whoever drew them."""
    kept = KeptImages(tmp_path / "kept")
    assert kept.keep(source, SHA, ".png")
    assert kept.keep(source, SHA, ".png")
    assert list(kept.files()) == [kept.path(SHA, ".png")]
    assert kept.path(SHA, ".png").read_bytes() == DATA
    source.write_bytes(b"later")
    assert kept.path(SHA, ".png").read_bytes() == DATA


def test_what_has_changed_meanwhile_is_not_kept(tmp_path: Path, source: Path) -> None:
    """The copy would not be what its name says."""
    kept = KeptImages(tmp_path / "kept")
    source.write_bytes(b"other")
    assert not kept.keep(source, SHA, ".png")
    source.unlink()
    assert not kept.keep(source, SHA, ".png")
    assert list(kept.files()) == []


def test_dropping_tells_what_it_frees(tmp_path: Path, source: Path) -> None:
    """Dropping twice frees nothing twice."""
    kept = KeptImages(tmp_path / "kept")
    kept.keep(source, SHA, ".png")
    assert (kept.drop(SHA, ".png"), kept.drop(SHA, ".png")) == (len(DATA), 0)
    assert not kept.path(SHA, ".png").parent.exists()


def test_clearing_leaves_nothing(tmp_path: Path, source: Path) -> None:
    """Remains of killed processes go, too."""
    kept = KeptImages(tmp_path / "kept")
    kept.keep(source, SHA, ".png")
    (tmp_path / "kept" / SHA[:2] / "abc.part").write_bytes(b"half")
    assert kept.clear() == len(DATA) + 4
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path, source: Path) -> None:
    """Whoever asked for copies hears that there are none."""
    (tmp_path / "kept").write_bytes(b"a file")
    with pytest.raises(OSError, match="kept"):
        KeptImages(tmp_path / "kept").keep(source, SHA, ".png")
