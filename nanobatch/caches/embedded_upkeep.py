"""`nanobatch cache` for the cache of one machine: what is in it, what can go, and all of it away."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from nanobatch.caches.base import decoded
from nanobatch.caches.database import Database
from nanobatch.caches.delivery import is_there
from nanobatch.caches.embedded import COPIES, kept_bytes, shrink
from nanobatch.caches.kept import KeptImages


class EmbeddedUpkeep:
    """Keeps the database of a user in order.

    Args:
        folder: The user's cache folder.
        keep_bytes: How much own copies of images may take.
    """

    def __init__(self, folder: Path, *, keep_bytes: int = 0) -> None:
        self._database = Database(folder)
        self._copies = KeptImages(folder / COPIES)
        self._keep_bytes = keep_bytes

    def stats(self, *, now: float) -> dict[str, Any]:
        """Count what is there."""
        images = refusals = size = 0
        worth = 0.0
        with self._database.using() as connection:
            for (value,) in connection.execute("SELECT value FROM entries"):
                if (entry := decoded(value)) is None:
                    continue
                images += entry.has_image
                refusals += not entry.has_image
                size += entry.bytes
                worth += entry.cost_usd if entry.has_image else 0.0
            [[expired, oldest]] = connection.execute("SELECT total(expires <= ?), min(made) FROM entries", (now,))
            [[copies]] = connection.execute("SELECT count(*) FROM entries WHERE kept > 0")
            counts = dict(connection.execute("SELECT name, value FROM counts"))
            [[meanings]] = connection.execute("SELECT count(*) FROM meanings")
            kept = kept_bytes(connection)
        return {
            "where": str(self._database.path), "images": images, "refusals": refusals, "expired": int(expired),
            "oldest": oldest, "image_bytes": size, "worth_usd": round(worth, 6), "kept_images": copies,
            "kept_bytes": kept, "meanings": meanings, "hits": int(counts.get("hits", 0)),
            "saved_usd": round(counts.get("saved_usd", 0.0), 6),
        }  # fmt: skip

    def prune(self, *, now: float, older_than_seconds: float | None = None) -> dict[str, Any]:
        """Drop what is too old or leads nowhere any more, and own copies that nothing leads to."""
        with self._database.changing() as connection:
            expired = connection.execute("DELETE FROM entries WHERE expires <= ?", (now,)).rowcount
            connection.execute("DELETE FROM meanings WHERE expires <= ?", (now,))  # also those of a Redis's entries
            if older_than_seconds is not None:
                youngest = now - older_than_seconds
                expired += connection.execute("DELETE FROM entries WHERE made <= ?", (youngest,)).rowcount
            gone = self._gone(connection)
            connection.executemany("DELETE FROM entries WHERE job = ?", gone)
            freed = self._drop_unknown(connection) + shrink(connection, self._copies, self._keep_bytes)
        return {"expired": expired, "gone": len(gone), "freed_bytes": freed}

    def clear(self) -> dict[str, Any]:
        """Drop everything, a damaged database too; images in output folders stay where they are."""
        self._database.drop_if_damaged()
        with self._database.changing() as connection:
            dropped = connection.execute("DELETE FROM entries").rowcount
            connection.execute("DELETE FROM meanings")
            connection.execute("DELETE FROM counts")
        freed = self._copies.clear()
        with self._database.using() as connection:
            connection.execute("VACUUM")
        return {"dropped": dropped, "freed_bytes": freed}

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _gone(self, connection: sqlite3.Connection) -> list[tuple[bytes]]:
        """Find the entries of images that are nowhere any more."""
        gone = []
        for job, value in connection.execute("SELECT job, value FROM entries"):
            if (entry := decoded(value)) is None:  # damaged
                gone.append((job,))
                continue
            own = self._copies.path(entry.sha256, entry.extension)
            if entry.has_image and not is_there(entry) and not own.exists():
                gone.append((job,))
        return gone

    def _drop_unknown(self, connection: sqlite3.Connection) -> int:
        """Drop own copies that no entry leads to; return the bytes that this frees."""
        found = [decoded(value) for (value,) in connection.execute("SELECT value FROM entries WHERE kept > 0")]
        known = {entry.sha256 for entry in found if entry is not None}
        strangers = [path for path in self._copies.files() if path.suffix != ".part" and path.stem not in known]
        return sum(self._copies.drop(path.stem, path.suffix) for path in strangers)
