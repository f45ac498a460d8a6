"""Reads a manifest from outside, also while a run writes it: each job's newest line, in flat memory.

A job may have several lines until a run ends and rewrites the manifest: it failed, was sent again, and succeeded. The
first pass marks each job in a bitmap of fixed size and notes the newest line of those that seem to come twice; the
second passes over the older ones. Both read the same open file and end at the same place, whatever a run that is
under way replaces or appends meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, TypeVar

import msgspec

from nanobatch.errors import ConfigError
from nanobatch.journal import lines_of
from nanobatch.manifest import MANIFEST, fingerprint
from nanobatch.stores.local import STATE_FOLDER

BITS = 27  # 16 MiB of marks; of a million jobs four in a thousand seem to come twice, and are told apart exactly


class OfJob(Protocol):
    """Any part of a line, as long as it says which job it is about."""

    @property
    def job(self) -> str:
        """The job's id."""
        ...


L = TypeVar("L", bound=OfJob)


class _Key(msgspec.Struct, frozen=True):
    job: str


class Line(msgspec.Struct, frozen=True):
    """What status and verification need of a line."""

    job: str
    status: str
    id: str = ""
    index: int = 0
    file: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    provider: str | None = None
    finished_at: str | None = None
    error: Failed | None = None


class Failed(msgspec.Struct, frozen=True):
    """Why a job has no image."""

    code: str
    message: str
    http_status: int | None = None


_keys = msgspec.json.Decoder(_Key)
_lines = msgspec.json.Decoder(Line)


def require_run(root: Path) -> None:
    """Check that a folder is the output of a run.

    Raises:
        ConfigError: It is not; the sentence says what it is instead.
    """
    if not root.exists():
        raise ConfigError(f"{root}: there is no such folder; name the output folder of a run")
    if not root.is_dir():
        raise ConfigError(f"{root} is a file; name the output folder of a run")
    try:
        found = (root / MANIFEST).exists() or (root / STATE_FOLDER).is_dir()
    except OSError as error:
        raise ConfigError(f"{root} cannot be read: {(error.strerror or '').lower()}") from error
    if not found:
        raise ConfigError(f"{root} is not the output of a run: it has no {MANIFEST}")


def is_below(file: str) -> bool:
    """Whether a record's file is inside the folder, as all that we write are."""
    path = PurePosixPath(file)
    return bool(file) and not path.is_absolute() and ".." not in path.parts


def newest_lines(root: Path) -> Iterator[tuple[int, Line]]:
    """Yield the newest line of every job and where it begins, in the order of the file.

    Raises:
        ConfigError: A line in the middle is damaged, or the file cannot be read.
    """
    return newest_of(root, _lines)


def newest_of(root: Path, decoder: msgspec.json.Decoder[L]) -> Iterator[tuple[int, L]]:
    """Yield what a decoder takes of the newest line of every job, as `newest_lines` does."""
    path = root / MANIFEST
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {(error.strerror or '').lower()}") from error
    with file:
        newest, end = _newest_of_several(file, path)
        for offset, line in lines_of(file, path, decoder):
            if offset > end:
                return
            if newest.get(fingerprint(line.job), offset) == offset:
                yield offset, line


def _newest_of_several(file: BinaryIO, path: Path) -> tuple[dict[int, int], int]:
    """Return the offset of the newest line of each job that seems to have several, and the last offset of all."""
    marks = bytearray(1 << (BITS - 3))
    newest: dict[int, int] = {}
    end = -1
    for offset, line in lines_of(file, path, _keys):
        key = fingerprint(line.job)
        place, bit = (key >> 3) & ((1 << (BITS - 3)) - 1), 1 << (key & 7)
        if marks[place] & bit:
            newest[key] = offset
        marks[place] |= bit
        end = offset
    return newest, end
