"""The ledger of one machine."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from nanobatch.clock import SystemClock
from nanobatch.errors import LedgerError
from nanobatch.limits.account import Ask, Meter
from nanobatch.limits.embedded_ledger import EmbeddedLedger, default_path, peek
from nanobatch.limits.holders import holder_name
from nanobatch.model import Cost
from tests.fakes import ManualClock

pytestmark = pytest.mark.anyio
METERS = [Meter("requests", 100, 61.25)]


def ask(holder: str, wanted: int, *, concurrency: int = 1000) -> Ask:
    return Ask(holder, METERS, concurrency, costs=[Cost()] * wanted, entering=wanted, wants_slots=wanted)


async def test_what_one_process_took_the_next_one_finds(tmp_path: Path) -> None:
    """It is on disk when the exchange ends, and each account is its own."""
    path = tmp_path / "state" / "usage.sqlite"
    one = EmbeddedLedger(path, ManualClock())
    assert (await one.exchange("x", ask("a", 70))).granted == 70
    await one.close()
    two = EmbeddedLedger(path, ManualClock())
    assert (await two.exchange("x", ask("b", 70))).granted == 30
    assert (await two.exchange("y", ask("b", 70))).granted == 70
    await two.close()


def _grab(path: Path, go: object, results: object) -> None:
    async def grab() -> int:
        ledger, taken = EmbeddedLedger(path, SystemClock()), 0
        for _ in range(60):
            taken += (await ledger.exchange("x", ask(holder_name("r"), 1))).granted
        await ledger.close()
        return taken

    go.wait()  # type: ignore[attr-defined]
    results.put(asyncio.run(grab()))  # type: ignore[attr-defined]


async def test_processes_at_once_never_take_more_than_there_is(tmp_path: Path) -> None:
    """Four real processes want 240 of 100."""
    context = multiprocessing.get_context("spawn")
    go, results = context.Event(), context.Queue()
    processes = [context.Process(target=_grab, args=(tmp_path / "u.sqlite", go, results)) for _ in range(4)]
    for process in processes:
        process.start()
    go.set()
    taken = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sum(taken) == 100


def _hold(path: Path, ready: object) -> None:
    async def hold() -> None:
        await EmbeddedLedger(path, SystemClock()).exchange("x", ask(holder_name("dead"), 4, concurrency=4))
        ready.set()  # type: ignore[attr-defined]

    asyncio.run(hold())
    signal.pause()


async def test_a_killed_process_frees_its_slots_at_once(tmp_path: Path) -> None:
    """On one machine everybody sees that it is gone."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "u.sqlite", ready))
    process.start()
    assert ready.wait(30)
    ledger = EmbeddedLedger(tmp_path / "u.sqlite", SystemClock())
    assert (await ledger.exchange("x", ask("other", 4, concurrency=4))).slots == 0
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (await ledger.exchange("x", ask("other", 4, concurrency=4))).slots == 4
    await ledger.close()


async def test_a_file_that_is_no_database_is_an_error_with_its_name(tmp_path: Path) -> None:
    """The run goes on alone; see Share."""
    path = tmp_path / "usage.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(LedgerError, match=r"usage\.sqlite: file is not a database"):
        await EmbeddedLedger(path, ManualClock()).exchange("x", ask("a", 1))


@pytest.mark.parametrize("damaged", ["93", "81a46461797381a1ff01"])
async def test_a_state_that_nobody_can_read_is_an_error(tmp_path: Path, damaged: str) -> None:
    """It may come from a later version; it is not overwritten."""
    path = tmp_path / "usage.sqlite"
    ledger = EmbeddedLedger(path, ManualClock())
    await ledger.exchange("x", ask("a", 1))
    database = sqlite3.connect(path)
    database.execute(f"UPDATE accounts SET state = x'{damaged}'")
    database.commit()
    with pytest.raises(LedgerError, match="cannot be kept"):
        await ledger.exchange("x", ask("a", 1))
    assert database.execute("SELECT state FROM accounts").fetchone() == (bytes.fromhex(damaged),)
    database.close()
    await ledger.close()


async def test_a_folder_without_rights_is_an_error(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "state").write_text("")
    with pytest.raises(LedgerError, match="state"):
        await EmbeddedLedger(tmp_path / "state" / "usage.sqlite", ManualClock()).exchange("x", ask("a", 1))


async def test_a_locked_database_does_not_stop_the_loop(tmp_path: Path) -> None:
    """Whoever waits for another's transaction waits in a thread."""
    path = tmp_path / "usage.sqlite"
    ledger = EmbeddedLedger(path, ManualClock())
    await ledger.exchange("x", ask("a", 1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.ensure_future(ledger.exchange("x", ask("a", 1)))
    began = time.monotonic()
    for _ in range(100):
        await asyncio.sleep(0)
    assert not task.done()
    assert time.monotonic() - began < 1.0
    other.execute("COMMIT")
    assert (await task).granted == 1
    other.close()
    await ledger.close()


def test_it_lives_in_the_state_folder(tmp_path: Path) -> None:
    """Where the system says, else where it usually is."""
    assert default_path({"XDG_STATE_HOME": "/s"}, tmp_path) == Path("/s/nanobatch/usage.sqlite")
    assert default_path({}, tmp_path) == tmp_path / ".local/state/nanobatch/usage.sqlite"


async def test_a_look_changes_nothing(tmp_path: Path) -> None:
    """A plan reads what is known of accounts, also while a run is at work; without a ledger nothing is made."""
    path = tmp_path / "u.sqlite"
    assert peek(path, ["x"]) == {}
    assert not path.exists()
    ledger = EmbeddedLedger(path, ManualClock())
    today = Ask(
        "a", METERS, 1000, days=frozenset({"2026-11-24"}), per_day=100, costs=[Cost()] * 3, entering=3, wants_slots=3
    )
    await ledger.exchange("x", today)
    assert peek(path, ["x", "y"])["x"].days == {"2026-11-24": 3}
    assert list(peek(path, ["y"])) == []
    await ledger.close()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert peek(path, ["x"])["x"].days == {"2026-11-24": 3}
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_broken_ledger_says_so(tmp_path: Path) -> None:
    """The plan names the file and goes on without it."""
    path = tmp_path / "u.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(LedgerError, match="u.sqlite cannot be read"):
        peek(path, ["x"])
