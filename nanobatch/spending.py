"""Keeps what all runs of a user spend in a day, in a small database that processes share (SQLite, in the state folder).

A row is what one run has spent, may have been billed and has set aside on one day. Reserving looks at all rows and adds
to its own in one transaction, so that runs at the same time never exceed the limit together. What a killed run had set
aside stays in its row: nobody can know whether those requests were billed, so they count until the day is over.

A day ends at this machine's midnight. A commit survives the death of the process at once, and that of the machine as
soon as the system has written it; waiting for the disk at each request would cost more than it saves.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nanobatch.clock import Clock
from nanobatch.errors import StoreError

_LOG = logging.getLogger(__name__)
_BUSY_SECONDS = 5.0  # for others' transactions, which take less than a millisecond each
_TABLE = """
CREATE TABLE IF NOT EXISTS spending (
    day TEXT NOT NULL, run TEXT NOT NULL,
    spent INTEGER NOT NULL DEFAULT 0, possible INTEGER NOT NULL DEFAULT 0, reserved INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, run)
) WITHOUT ROWID
"""  # amounts in millionths of a dollar
_ADD = """
INSERT INTO spending (day, run, spent, possible, reserved) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (day, run) DO UPDATE SET
    spent = spent + excluded.spent, possible = possible + excluded.possible, reserved = reserved + excluded.reserved
"""
_RESERVED = "SELECT total(reserved) FROM spending WHERE day = ? AND run = ?"
_TOTALS = "SELECT total(spent), total(possible), total(reserved) FROM spending WHERE day = ?"


@dataclass(frozen=True, slots=True)
class DayTotals:
    """What all runs have spent and set aside on one day, in millionths of a dollar."""

    spent: int
    possible: int
    reserved: int

    @property
    def all(self) -> int:
        """What counts against the limit."""
        return self.spent + self.possible + self.reserved


def default_path(environ: Mapping[str, str], home: Path) -> Path:
    """Return where the database of a user lives."""
    return Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "nanobatch" / "spending.sqlite"


class DaySpending:
    """One run's door to the day's money.

    Args:
        path: The database; made where there is none.
        limit_micro_usd: What all runs may spend on one day, in millionths of a dollar.
        run: The name of this run, different from all others.
        clock: Says which day it is.

    Raises:
        StoreError: The database cannot be opened.
    """

    def __init__(self, path: Path, limit_micro_usd: int, *, run: str, clock: Clock) -> None:
        self.limit = limit_micro_usd
        self.run = run
        self._path, self._clock = path, clock
        self._adopted: dict[tuple[str, str], int] = {}  # by day and run: what this one goes on with
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            with contextlib.suppress(sqlite3.OperationalError):  # another run does it now; any mode is safe
                self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def today(self) -> str:
        """Return the day of now as 2026-11-24, in this machine's time zone."""
        return dt.datetime.fromtimestamp(self._clock.wall()).astimezone().date().isoformat()

    def take(self, amount: int) -> str | None:
        """Set an amount aside; return the day on which it counts, or None where the day has no room for it.

        Raises:
            StoreError: The database cannot be used.
        """
        day = self.today()
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                fits = self.totals(day).all + amount <= self.limit
                if fits:
                    self._database.execute(_ADD, (day, self.run, 0, 0, amount))
            finally:
                self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return day if fits else None

    def adopt(self, day: str, run: str, amount: int) -> bool:
        """Go on with what another run has set aside on a day; False where it is not there, as on another machine.

        It stays in that run's row until it is settled: whoever comes after this run, and settles it, finds it there.

        Raises:
            StoreError: The database cannot be used.
        """
        adopted = self._adopted.get((day, run), 0) + amount
        try:
            [(reserved,)] = self._database.execute(_RESERVED, (day, run))
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        if reserved < adopted:
            return False
        self._adopted[day, run] = adopted
        return True

    def settle(self, day: str, amount: int, *, spent: int = 0, possible: int = 0, run: str | None = None) -> None:
        """Replace what was set aside by what became of it. A database that fails leaves it set aside: never over.

        Args:
            day: On which it was set aside.
            amount: That was set aside.
            spent: What it cost.
            possible: What it may have cost.
            run: Which has set it aside, where that was another one.
        """
        try:
            self._database.execute(_ADD, (day, run or self.run, spent, possible, -amount))
        except sqlite3.Error as error:
            _LOG.warning("day_spending_not_settled", extra={"error": str(error)})
            return
        if run is not None:
            self._adopted[day, run] -= amount

    def totals(self, day: str | None = None) -> DayTotals:
        """Add up what all runs have done on a day; today where none is named.

        Raises:
            StoreError: The database cannot be used.
        """
        try:
            [row] = self._database.execute(_TOTALS, (day or self.today(),))
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return DayTotals(*map(int, row))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(f"the day's spending cannot be kept in {self._path}: {error}")
