"""Brings an image from where it is known to lie to where it is wanted, and makes sure that it is the one meant.

The bytes that were written are hashed, not those of the source, so nothing that happens to the source meanwhile counts.
Where the file system can share blocks between files until one of them is changed (Btrfs, XFS), nothing is copied.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from nanobatch.caches.base import Entry
from nanobatch.journal import as_store_error
from nanobatch.stores.local import size_of

_CLONE = 0x40049409  # FICLONE of linux/fs.h
_STEP_BYTES = 1 << 20


class Unreadable(Exception):
    """The source is gone or cannot be read; it is not the target's fault."""


def fetch(entry: Entry, part: Path, *, image: Callable[[Entry], bytes | None], hard_links: bool = False) -> bool:
    """Make a part of an entry's image; tell whether it is there now, with the recorded digest.

    Args:
        entry: What is wanted.
        part: Where it goes; nothing is left there in vain.
        image: Returns the bytes themselves where the cache carries them.
        hard_links: Share the file itself with the place where it lies, as far as that is possible.

    Raises:
        StoreError: The part cannot be written.
    """
    try:
        for place in map(Path, entry.places):
            if size_of(place) == entry.bytes and _brought(place, part, hard_links=hard_links) == entry.sha256:
                return True
            part.unlink(missing_ok=True)
        data = image(entry)
        if data is None or hashlib.sha256(data).hexdigest() != entry.sha256:
            return False
        part.write_bytes(data)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise as_store_error(error, part) from error
    return True


def is_there(entry: Entry) -> bool:
    """Tell whether an entry's image seems to be in one of its places, without reading it."""
    return any(size_of(place) == entry.bytes for place in entry.places)


def bring(source: Path, target: Path) -> str:
    """Clone or copy a file whose owner may change it later; return the digest of what is at the target then.

    Raises:
        Unreadable: There is no source, or it cannot be read.
        OSError: The target cannot be written.
    """
    try:
        opened = source.open("rb")
    except OSError as error:
        raise Unreadable from error
    with opened as read, target.open("xb+") as written:
        if not _is_cloned(read, written):
            return _copied(read, written)
        return hashlib.file_digest(written, "sha256").hexdigest()


def _brought(place: Path, part: Path, *, hard_links: bool) -> str | None:
    """Return the digest of what came from a place, or nothing where nothing came.

    Raises:
        OSError: The part cannot be written.
    """
    digest = _linked(place, part) if hard_links else None
    if digest is not None:
        return digest
    try:
        return bring(place, part)
    except Unreadable:
        return None


def _linked(place: Path, part: Path) -> str | None:
    """Give the file a second name; None where that is not possible."""
    try:
        os.link(place, part)
        with part.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        part.unlink(missing_ok=True)
        return None


def _is_cloned(source: BinaryIO, target: BinaryIO) -> bool:
    try:
        fcntl.ioctl(target.fileno(), _CLONE, source.fileno())
    except OSError:  # another file system, or one that cannot
        return False
    return True


def _copied(source: BinaryIO, target: BinaryIO) -> str:
    digest = hashlib.sha256()
    while True:
        try:
            step = source.read(_STEP_BYTES)
        except OSError as error:
            raise Unreadable from error
        if not step:
            return digest.hexdigest()
        digest.update(step)
        target.write(step)
