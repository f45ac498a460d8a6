"""The small SQLite database in which all processes of a user keep what the cache knows.

Every use is one short transaction, and a process that dies in between has written nothing. WAL keeps readers and the
writer apart and needs a local disk.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec

from nanobatch.errors import CacheError

FILE = "images.sqlite"
_BUSY_SECONDS = 5.0  # for others' transactions, which take milliseconds
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    job BLOB PRIMARY KEY, made REAL NOT NULL, expires REAL, used REAL NOT NULL,
    kept INTEGER NOT NULL DEFAULT 0, value BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expiring ON entries (expires) WHERE expires IS NOT NULL;
CREATE INDEX IF NOT EXISTS kept_images ON entries (used, kept) WHERE kept > 0;
CREATE TABLE IF NOT EXISTS meanings (
    job BLOB PRIMARY KEY, likeness BLOB NOT NULL, made REAL NOT NULL, expires REAL,
    prompt TEXT NOT NULL, vector BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS alike ON meanings (likeness);
CREATE INDEX IF NOT EXISTS meanings_expiring ON meanings (expires) WHERE expires IS NOT NULL;
CREATE TRIGGER IF NOT EXISTS forgotten AFTER DELETE ON entries
BEGIN DELETE FROM meanings WHERE job = old.job; END;
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
"""


def default_folder(environ: Mapping[str, str], home: Path) -> Path:
    """Return where the cache of a user lives."""
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "nanobatch"


class Database:
    """One process's door to the database; opened when it is needed first.

    Args:
        folder: The user's cache folder; made where there is none.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._connection: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def using(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection, and say in our words what is wrong with it.

        Raises:
            CacheError: The database cannot be used.
        """
        try:
            if self._connection is None:
                self._connection = self._opened()
            yield self._connection
        except (OSError, sqlite3.Error, msgspec.DecodeError) as error:
            advice = "; `nanobatch cache clear` makes a new one" if _is_damage(error) else ""
            raise CacheError(f"the cache {self.path} cannot be used: {error}{advice}") from error

    def drop_if_damaged(self) -> None:
        """Delete a database that is none any more, for whoever wants it empty; the next use makes a new one.

        Raises:
            CacheError: It cannot be used for another reason.
        """
        try:
            with self.using() as connection:
                if connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
                    return
        except CacheError as error:
            if not _is_damage(error.__cause__):
                raise
        self.close()
        for end in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection within a transaction.

        Raises:
            CacheError: The database cannot be used; nothing is changed.
        """
        with self.using() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            with contextlib.suppress(sqlite3.OperationalError):  # another run does it now; any mode is safe
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection


def _is_damage(error: BaseException | None) -> bool:
    """Tell damage from a database that is busy, full or not to be written: these are kinds of it to SQLite."""
    return type(error) is sqlite3.DatabaseError


@contextlib.contextmanager
def peeking(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection that makes, changes and locks nothing; None where there is no database.

    Raises:
        CacheError: The database cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        yield None
        return
    # With a log beside it, readers need that one, too. Without one nobody writes now, and a plain file is read.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{how}", uri=True)
        with contextlib.closing(connection):
            yield connection
    except (sqlite3.Error, msgspec.DecodeError) as error:
        raise CacheError(f"the cache {path} cannot be read: {error}") from error
