"""Keeps files and batches in a folder, so that neither their size nor the end of the sandbox matters."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from nanobatch.sandbox.batches.records import Batch, StoredFile

T = TypeVar("T")
_READ_BYTES = 2**20


class Shelf:
    """Files and batches, by their names.

    Args:
        root: The folder; what is in it already is known again.

    Raises:
        OSError: The folder cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in ("files", "batches", "uploads"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for left in (root / "uploads").iterdir():
            left.unlink()  # of an upload that this sandbox knows nothing about
        self.files = {file.name: file for file in _read(root / "files", StoredFile)}
        self.batches = {batch.name: batch for batch in sorted(_read(root / "batches", Batch), key=lambda b: b.created)}

    def path(self, name: str) -> Path:
        """Return where the bytes of a file are."""
        return self._root / "files" / f"{quote(name, safe='')}.bytes"

    def upload_path(self, name: str) -> Path:
        """Return where an upload grows."""
        return self._root / "uploads" / name

    def results_path(self, batch: Batch, number: int) -> Path:
        """Return where results (0) or errors (1) of a batch grow."""
        return self._root / "batches" / f"{quote(batch.name, safe='')}.{number}.jsonl"

    def find(self, name: str, now: float) -> StoredFile | None:
        """Return a file unless its time is over; then it is deleted."""
        file = self.files.get(name)
        if file is not None and file.expires is not None and now >= file.expires:
            self.delete_file(name)
            return None
        return file

    def keep(self, file: StoredFile, bytes_at: Path) -> None:
        """Take a file over from where it has grown."""
        bytes_at.replace(self.path(file.name))
        self._write("files", file.name, file)
        self.files[file.name] = file

    def delete_file(self, name: str) -> None:
        """Delete a file."""
        self.files.pop(name, None)
        self.path(name).unlink(missing_ok=True)
        self._entry("files", name).unlink(missing_ok=True)

    def save(self, batch: Batch) -> None:
        """Write down how a batch stands."""
        self.batches[batch.name] = batch
        self._write("batches", batch.name, batch)

    def delete_batch(self, batch: Batch) -> None:
        """Forget a batch; its files stay."""
        del self.batches[batch.name]
        self._entry("batches", batch.name).unlink(missing_ok=True)

    def _entry(self, kind: str, name: str) -> Path:
        return self._root / kind / f"{quote(name, safe='')}.json"

    def _write(self, kind: str, name: str, content: StoredFile | Batch) -> None:
        entry = self._entry(kind, name)
        part = entry.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(content))
        part.replace(entry)


def _read(folder: Path, kind: type[T]) -> Iterator[T]:
    for entry in folder.glob("*.json"):
        with contextlib.suppress(msgspec.DecodeError):  # cut by a crash of the machine: as if it had never been
            yield msgspec.json.decode(entry.read_bytes(), type=kind)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, for a thread."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            found.update(data)
    return found.hexdigest()
