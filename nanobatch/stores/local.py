"""A folder as a store: parts are written aside, flushed, then renamed into place."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from collections.abc import Container
from pathlib import Path

import aiofiles
import aiofiles.os

from nanobatch.journal import as_store_error

STATE_FOLDER = ".nanobatch"
PARTS = f"{STATE_FOLDER}/parts"  # what is half-written; a run clears it when it begins


class LocalStore:
    """The output folder on this machine's disk.

    Parts live in `.nanobatch/parts`, on the same file system as the images, so that adopting one is a rename.
    An image is never overwritten: what stood in the way moves to `.nanobatch/replaced`, because it was paid for.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._prefix = f"{root}/"  # joining text is many times faster than joining paths, a million times over
        self._parts = root / PARTS
        self._replaced = root / STATE_FOLDER / "replaced"
        self._session = secrets.token_hex(4)
        self._count = itertools.count()
        self._folders: set[str] = set()  # made or changed since the last sync
        self._made: set[str] = set()
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise as_store_error(error, root) from error

    def new_part(self) -> Path:
        """Name a fresh file in the parts folder."""
        return self._parts / f"{self._session}-{next(self._count)}.part"

    def part(self, name: str) -> Path:
        """Return the path of a part by the name that `Path.name` gave."""
        return self._parts / name

    def flush(self, part: Path) -> None:
        """Make a part safe from a power failure."""
        try:
            fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise as_store_error(error, part) from error

    def adopt(self, part: Path, key: str) -> None:
        """Rename a part into place."""
        target = self._prefix + key
        folder = target.rpartition("/")[0]
        try:
            if folder not in self._made:
                Path(folder).mkdir(parents=True, exist_ok=True)
                self._made.add(folder)
            if os.path.lexists(target):
                self.set_aside(key)
            os.replace(part, target)  # noqa: PTH105 - the path object's way costs as much again
        except OSError as error:
            raise as_store_error(error, Path(target)) from error
        self._folders.add(folder)

    def set_aside(self, key: str) -> str:
        """Move what stands at `key` out of the way and return its new key."""
        self._replaced.mkdir(exist_ok=True)
        path = Path(key)
        for number in itertools.count(1):
            aside = self._replaced / f"{path.stem}~{number}{path.suffix}"
            if not aside.exists():
                break
        (self.root / key).rename(aside)
        return aside.relative_to(self.root).as_posix()

    async def put(self, key: str, data: bytes) -> None:
        """Write a small file aside, flush it and rename it into place."""
        target = self.root / key
        part = self.new_part()
        try:
            async with aiofiles.open(part, "wb") as file:
                await file.write(data)
                await file.flush()
                os.fsync(file.fileno())
            await aiofiles.os.replace(part, target)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise as_store_error(error, target) from error

    def write(self, key: str, data: bytes) -> None:
        """Write a small file aside and rename it into place, where there is no loop to keep free."""
        part = self.new_part()
        try:
            part.write_bytes(data)
            part.replace(self.root / key)
        except OSError as error:
            raise as_store_error(error, self.root / key) from error

    def size(self, key: str) -> int | None:
        """Return the size in bytes of the file at `key`, or None when there is no file."""
        return size_of(f"{self._prefix}{key}")

    def sync(self) -> None:
        """Flush the folders whose entries changed since the last call."""
        folders, self._folders = self._folders, set()
        for folder in folders:
            try:
                fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
            except OSError as error:
                raise as_store_error(error, Path(folder)) from error

    def clean_parts(self, *, keep: Container[str] = frozenset()) -> None:
        """Remove what earlier processes left half-written, except the named parts."""
        for path in self._parts.iterdir():
            if path.name not in keep:
                with contextlib.suppress(OSError):
                    path.unlink()


def size_of(path: Path | str) -> int | None:
    """Return a file's size in bytes, or None when there is no file."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - called a million times on resume
    except (OSError, ValueError):
        return None
