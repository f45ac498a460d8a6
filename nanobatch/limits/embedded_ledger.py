"""The ledger of one machine: accounts in a small SQLite database that all processes of a user share.

Each exchange is one transaction: read the account, do the arithmetic, write it back. A process that dies in between has
written nothing. WAL keeps readers and the writer apart and needs a local disk, so over a network use Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import msgspec

from nanobatch.clock import Clock
from nanobatch.errors import LedgerError
from nanobatch.limits.account import Account, Answer, Ask, exchange
from nanobatch.limits.holders import is_gone

_BUSY_SECONDS = 5.0  # for others' transactions, which take less than a millisecond each
_TABLE = "CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID"
_READ = "SELECT state FROM accounts WHERE name = ?"
_WRITE = "INSERT INTO accounts (name, state) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state"


def default_path(environ: Mapping[str, str], home: Path) -> Path:
    """Return where the ledger of a user lives."""
    return Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "nanobatch" / "usage.sqlite"


def peek(path: Path, names: Iterable[str]) -> dict[str, Account]:
    """Return what is known of some accounts, for a plan: nothing is made, changed or locked.

    Raises:
        LedgerError: The database cannot be read.
    """
    if not path.exists():
        return {}
    # With a log beside it, readers need that one, too. Without one nobody writes now, and a plain file is read.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?{how}", uri=True)) as database:
            rows = {name: database.execute(_READ, (name,)).fetchone() for name in names}
        return {name: msgspec.msgpack.decode(row[0], type=Account) for name, row in rows.items() if row is not None}
    except (sqlite3.Error, msgspec.DecodeError) as error:
        raise LedgerError(f"the usage of all runs in {path} cannot be read: {error}") from error


class EmbeddedLedger:
    """Accounts in a SQLite database.

    Args:
        path: The database; made where there is none.
        clock: All processes of a machine see the same wall clock.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._database: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="usage")  # a busy database must not stop the loop

    async def exchange(self, account: str, ask: Ask) -> Answer:
        """Do one exchange with an account, alone.

        Raises:
            LedgerError: The database cannot be used.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._exchange, account, ask)
        except (OSError, sqlite3.Error, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LedgerError(f"the usage of all runs cannot be kept in {self._path}: {error}") from error

    async def close(self) -> None:
        """Close the database."""
        self._thread.shutdown(wait=True)
        if self._database is not None:
            self._database.close()

    def _exchange(self, account: str, ask: Ask) -> Answer:
        database = self._open()
        database.execute("BEGIN IMMEDIATE")
        try:
            row = database.execute(_READ, (account,)).fetchone()
            state = msgspec.msgpack.decode(row[0], type=Account) if row is not None else Account()
            answer = exchange(state, ask, self._clock.wall(), is_gone=is_gone)
            database.execute(_WRITE, (account, msgspec.msgpack.encode(state)))
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise
        return answer

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            with contextlib.suppress(sqlite3.OperationalError):  # another run does it now; any mode is safe
                database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(_TABLE)
            self._database = database
        return self._database
