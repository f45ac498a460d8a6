"""Reads an image file that a row names, or says why it cannot be read."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from nanobatch.errors import InputError

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one state of a file from another."""

    path: str  # without links
    modified_ns: int
    size: int  # bytes


def stamp(path: Path) -> Stamp:
    """Look at a file without reading it.

    Raises:
        InputError: There is no file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(_why(error)) from error
    except ValueError:  # a NUL character
        raise InputError("not a valid file name") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError("a folder, not a file")
    if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
        raise InputError("not a regular file")
    return Stamp(os.path.realpath(path), found.st_mtime_ns, found.st_size)


def read(path: Path, max_bytes: int) -> bytes:
    """Return all bytes of a file.

    Raises:
        InputError: It is gone, closed to us or larger than allowed.
    """
    size = stamp(path).size
    if size > max_bytes:
        raise InputError(f"{size:,} bytes are more than {max_bytes:,}")
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise InputError(_why(error)) from error
    if len(data) > max_bytes:  # it grew meanwhile
        raise InputError(f"more than {max_bytes:,} bytes")
    return data


def printable(name: str) -> str:
    """Return a file's name on one line, however it is written."""
    name = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _why(error: OSError) -> str:
    return "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
