"""Files and batches on disk."""

from __future__ import annotations

from pathlib import Path

from nanobatch.sandbox.batches.records import StoredFile
from nanobatch.sandbox.batches.shelf import Shelf, digest
from tests.unit.sandbox.batches.test_records import batch


def kept(shelf: Shelf, name: str, *, expires: float | None = None) -> StoredFile:
    path = shelf.upload_path("u")
    path.write_bytes(b"rows")
    file = StoredFile(
        name=name, vendor="gemini", title="t", mime="m", size=4, sha256=digest(path), created=1.0, expires=expires
    )
    shelf.keep(file, path)
    return file


def test_everything_is_there_for_the_next_sandbox(tmp_path: Path) -> None:
    """Files, their bytes and batches; what was only half uploaded is gone, and so is a note that was cut."""
    shelf = Shelf(tmp_path)
    file = kept(shelf, "files/a")
    shelf.save(batch("batches/1"))
    shelf.upload_path("half").write_bytes(b"x")
    (tmp_path / "batches" / "torn.json").write_text('{"na')
    again = Shelf(tmp_path)
    assert again.files == {"files/a": file}
    assert again.path("files/a").read_bytes() == b"rows"
    assert list(again.batches) == ["batches/1"]
    assert not shelf.upload_path("half").exists()


def test_a_file_is_deleted_when_its_time_is_over(tmp_path: Path) -> None:
    """From that second on nobody finds it, and its bytes are gone."""
    shelf = Shelf(tmp_path)
    kept(shelf, "files/a", expires=100.0)
    assert shelf.find("files/a", 99.9) is not None
    assert shelf.find("files/a", 100.0) is None
    assert not shelf.path("files/a").exists()
    assert Shelf(tmp_path).files == {}


def test_a_forgotten_batch_stays_forgotten(tmp_path: Path) -> None:
    """Deleting one leaves nothing for the next sandbox."""
    shelf = Shelf(tmp_path)
    one = batch("batches/1")
    shelf.save(one)
    shelf.delete_batch(one)
    assert Shelf(tmp_path).batches == {}
