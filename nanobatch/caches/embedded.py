"""The cache of one machine: entries in a database that all processes of a user share, and own copies beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from nanobatch.caches.base import Entry, decoded, encoded, with_place
from nanobatch.caches.database import Database, peeking
from nanobatch.caches.delivery import is_there
from nanobatch.caches.kept import KeptImages
from nanobatch.errors import CacheError

COPIES = "images"  # below the user's cache folder
_AT_ONCE = 500  # ids in one question
_ROOM = 0.9  # of the limit for own copies, once it was reached: not every image is worth a round of pruning
_PUT = """
INSERT INTO entries (job, made, expires, used, kept, value) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (job) DO UPDATE SET made = excluded.made, expires = excluded.expires, used = excluded.used,
    kept = excluded.kept, value = excluded.value
"""
_COUNT = (
    "INSERT INTO counts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
)


class EmbeddedCache:
    """Entries in a SQLite database, and the cache's own copies of images.

    Args:
        folder: The user's cache folder; made where there is none.
        ttl_seconds: How long an entry is good for; 0 is for ever.
        keep_bytes: How much own copies of images may take; 0 keeps none.
    """

    def __init__(self, folder: Path, *, ttl_seconds: float, keep_bytes: int = 0) -> None:
        self._database = Database(folder)
        self._copies = KeptImages(folder / COPIES)
        self._ttl = ttl_seconds
        self._keep_bytes = keep_bytes
        self._kept: int | None = None  # bytes of own copies, as far as this process knows

    def look_up(self, jobs: Sequence[str], *, now: float) -> dict[str, Entry]:
        """Return what is known of some jobs. The cache's own copy comes before what users may have changed."""
        with self._database.using() as connection:
            return {
                entry.job: with_place(entry, str(self._copies.path(entry.sha256, entry.extension)))
                if entry.has_image
                else entry
                for entry in _found(connection, jobs, now=now, ttl=self._ttl)
            }

    def put(self, entries: Sequence[Entry], *, now: float) -> None:
        """Keep entries, and copies of their images where that is wanted."""
        rows = []
        for entry in entries:
            expires = entry.made_at + self._ttl if self._ttl else None
            kept = entry.bytes if self._keep_bytes and entry.has_image and self._is_kept(entry) else 0
            rows.append((bytes.fromhex(entry.job), entry.made_at, expires, now, kept, encoded(entry)))
        with self._database.changing() as connection:
            connection.executemany(_PUT, rows)
        if self._keep_bytes:
            self._make_room(sum(row[4] for row in rows))

    def used(self, entries: Sequence[Entry], *, now: float) -> None:
        """Note that entries were of use just now; those that another process has replaced since stay as they are."""
        rows = [(now, encoded(entry), bytes.fromhex(entry.job), entry.made_at) for entry in entries]
        saved = sum(entry.cost_usd for entry in entries if entry.has_image)
        with self._database.changing() as connection:
            connection.executemany("UPDATE entries SET used = ?, value = ? WHERE job = ? AND made = ?", rows)
            connection.executemany(_COUNT, [("hits", len(entries)), ("saved_usd", saved)])

    def forget(self, entries: Sequence[Entry]) -> None:
        """Drop entries, and own copies that are not what they should be."""
        for entry in entries:
            self._copies.drop(entry.sha256, entry.extension)
        rows = [(bytes.fromhex(entry.job), entry.made_at) for entry in entries]
        with self._database.changing() as connection:
            connection.executemany("DELETE FROM entries WHERE job = ? AND made = ?", rows)

    def image(self, entry: Entry) -> bytes | None:
        """Carry no bytes: own copies are places like others."""
        del entry
        return None

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _is_kept(self, entry: Entry) -> bool:
        try:
            return self._copies.keep(Path(entry.places[0]), entry.sha256, entry.extension)
        except OSError as error:
            raise CacheError(f"the cache {self._copies.root} cannot be written: {error}") from error

    def _make_room(self, added: int) -> None:
        """Prune own copies when the limit is reached. Other processes add to them too, so it is a limit for a while."""
        if self._kept is None:
            with self._database.using() as connection:
                self._kept = kept_bytes(connection)
        else:
            self._kept += added
        if self._kept > self._keep_bytes:
            with self._database.changing() as connection:
                shrink(connection, self._copies, int(self._keep_bytes * _ROOM))
                self._kept = kept_bytes(connection)


def kept_bytes(connection: sqlite3.Connection) -> int:
    """Add up the cache's own copies."""
    [[total]] = connection.execute("SELECT total(kept) FROM entries WHERE kept > 0")
    return int(total)


def shrink(connection: sqlite3.Connection, copies: KeptImages, limit: int) -> int:
    """Drop the least recently used own copies until the rest fits; return the bytes that this frees."""
    total, freed, dropped = kept_bytes(connection), 0, []
    for job, kept, value in connection.execute("SELECT job, kept, value FROM entries WHERE kept > 0 ORDER BY used"):
        if total <= limit:
            break
        if (entry := decoded(value)) is not None:
            freed += copies.drop(entry.sha256, entry.extension)
        total -= kept
        dropped.append((job,))
    connection.executemany("UPDATE entries SET kept = 0 WHERE job = ?", dropped)
    return freed


def peek(folder: Path, jobs: Sequence[str], *, now: float, ttl_seconds: float) -> dict[str, Entry]:
    """Return the entries that a run would use, as far as a glance at the files tells. Nothing is changed.

    Raises:
        CacheError: The database cannot be read.
    """
    with peeking(folder) as connection:
        if connection is None:
            return {}
        connection.execute("SELECT 1 FROM entries LIMIT 1")  # says so where it is none of ours, whatever is asked
        found = list(_found(connection, jobs, now=now, ttl=ttl_seconds))
    copies = KeptImages(folder / COPIES)
    return {
        entry.job: entry
        for entry in found
        if not entry.has_image or is_there(entry) or copies.path(entry.sha256, entry.extension).exists()
    }


def _found(connection: sqlite3.Connection, jobs: Sequence[str], *, now: float, ttl: float) -> Iterator[Entry]:
    """Yield what is known of some jobs and not too old: for whoever wrote it, and for whoever asks."""
    youngest = now - ttl if ttl else float("-inf")
    for start in range(0, len(jobs), _AT_ONCE):
        some = jobs[start : start + _AT_ONCE]
        rows = connection.execute(
            f"SELECT value FROM entries WHERE job IN ({','.join('?' * len(some))})"  # noqa: S608 - question marks alone
            " AND made > ? AND ifnull(expires > ?, 1)",
            (*map(bytes.fromhex, some), youngest, now),
        )
        for (value,) in rows:
            if (entry := decoded(value)) is not None:
                yield entry
