"""The day's money, shared by all runs."""

from __future__ import annotations

import asyncio
import datetime as dt
import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from nanobatch.budget import Budget, Reservation
from nanobatch.clock import SystemClock
from nanobatch.errors import LimitReached, StoreError
from nanobatch.spending import DaySpending, DayTotals, default_path
from tests.fakes import ManualClock

pytestmark = pytest.mark.anyio
DOLLAR = 1_000_000
NOON = dt.datetime(2026, 11, 24, 12).astimezone().timestamp()


def door(path: Path, run: str = "a", *, limit: int = DOLLAR, clock: ManualClock | None = None) -> DaySpending:
    return DaySpending(path / "state" / "s.sqlite", limit, run=run, clock=clock or ManualClock(wall_offset=NOON))


def test_all_runs_share_one_day(tmp_path: Path) -> None:
    """What one has set aside another cannot have; what one gives back is there for the other."""
    one, two = door(tmp_path, "a"), door(tmp_path, "b")
    day = one.take(700_000)
    assert day is not None
    assert two.take(400_000) is None
    assert two.take(300_000) == day
    one.settle(day, 700_000, spent=100_000, possible=50_000)
    assert two.totals() == DayTotals(100_000, 50_000, 300_000)
    assert two.take(550_000) == day
    assert one.take(1) is None
    one.close()
    two.close()


def test_the_next_day_begins_with_nothing(tmp_path: Path) -> None:
    """And what was set aside before midnight is settled on the day on which it was."""
    clock = ManualClock(wall_offset=NOON)
    one = door(tmp_path, clock=clock)
    day = one.take(DOLLAR)
    assert day == "2026-11-24"
    clock.wall_offset += 86_400
    assert one.take(DOLLAR) == "2026-11-25"
    one.settle(day, DOLLAR, spent=DOLLAR)
    assert one.totals("2026-11-24") == DayTotals(DOLLAR, 0, 0)
    assert one.totals() == DayTotals(0, 0, DOLLAR)
    one.close()


def test_what_a_closed_run_had_set_aside_still_counts(tmp_path: Path) -> None:
    """Nobody can know whether those requests were billed."""
    one = door(tmp_path)
    one.take(900_000)
    one.close()
    two = door(tmp_path, "b")
    assert two.take(200_000) is None
    two.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """The run does not begin, for it could not keep its promise."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "s.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match=r"s\.sqlite"):
        door(tmp_path)
    with pytest.raises(StoreError, match="cannot be kept"):
        DaySpending(Path("/proc/none/s.sqlite"), 1, run="a", clock=ManualClock())


def test_a_database_that_fails_later_stops_what_would_be_sent_and_not_what_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An image that is paid must not be lost over its bookkeeping; it stays set aside."""
    one = door(tmp_path)
    day = one.take(500_000)
    assert day is not None
    breaker = sqlite3.connect(tmp_path / "state" / "s.sqlite")
    breaker.execute("DROP TABLE spending")
    breaker.close()
    one.settle(day, 500_000, spent=500_000)
    assert "day_spending_not_settled" in caplog.text
    with pytest.raises(StoreError, match="cannot be kept"):
        one.take(1)
    with pytest.raises(StoreError, match="cannot be kept"):
        one.totals()
    one.close()


def test_it_lives_in_the_state_folder(tmp_path: Path) -> None:
    """As the XDG base directories say, else below the home."""
    assert default_path({"XDG_STATE_HOME": "/s"}, tmp_path) == Path("/s/nanobatch/spending.sqlite")
    assert default_path({}, tmp_path) == tmp_path / ".local" / "state" / "nanobatch" / "spending.sqlite"


def _spend(path: Path, run: str) -> None:
    """Take and settle until the day is spent, as a process of its own."""
    one = DaySpending(path, DOLLAR, run=run, clock=SystemClock())
    while (day := one.take(1_340)) is not None:
        one.settle(day, 1_340, spent=1_000)


def _hold(path: Path) -> None:
    """Set half of the day aside and never come back."""
    DaySpending(path, DOLLAR, run="dead", clock=SystemClock()).take(500_000)
    os.kill(os.getpid(), signal.SIGKILL)


def test_processes_at_the_same_time_never_exceed_the_day(tmp_path: Path) -> None:
    """Four that spend as fast as they can, after a fifth was killed with half of the day set aside."""
    path = tmp_path / "s.sqlite"
    context = multiprocessing.get_context("spawn")
    dead = context.Process(target=_hold, args=(path,))
    dead.start()
    dead.join()
    assert dead.exitcode == -signal.SIGKILL
    four = [context.Process(target=_spend, args=(path, name)) for name in "abcd"]
    before = time.localtime().tm_yday
    for process in four:
        process.start()
    for process in four:
        process.join()
    if time.localtime().tm_yday != before:
        pytest.skip("midnight passed meanwhile")
    assert [process.exitcode for process in four] == [0] * 4
    last = DaySpending(path, DOLLAR, run="e", clock=SystemClock())
    totals = last.totals()
    assert totals.reserved == 500_000
    assert DOLLAR - 1_340 - 500_000 < totals.spent <= DOLLAR - 500_000
    last.close()


async def test_a_budget_asks_the_day_as_well(tmp_path: Path) -> None:
    """The smaller of the two decides; the sentence says which, and what others have set aside."""
    mine, other = door(tmp_path, "a"), door(tmp_path, "b")
    budget = Budget(5.0, mine)
    budget.settle(await budget.reserve(0.4), spent_usd=0.3, possible_usd=0.1)
    other.take(200_000)
    kept = await budget.reserve(0.3)
    budget.shrink(kept, 0.25)
    assert mine.totals() == DayTotals(300_000, 100_000, 450_000)
    budget.release(kept)
    budget.release(kept)
    assert mine.totals().reserved == 200_000
    words = (
        r"\$1\.00 a day is used up: \$0\.300 spent today, \$0\.100 possibly billed, \$0\.200 set aside by other runs"
    )
    with pytest.raises(LimitReached, match=words):
        await budget.reserve(0.5)
    assert (await budget.reserve(0.0)).day is None  # what costs nothing needs no day
    mine.close()
    other.close()


async def test_what_another_run_gives_back_meanwhile_is_taken(tmp_path: Path) -> None:
    """Between the look that found no room and the look at why, a limit may cease to be reached."""
    other = door(tmp_path, "b")
    taken = other.take(900_000)
    assert taken is not None

    class Late(DaySpending):
        def take(self, amount: int) -> str | None:
            found = super().take(amount)
            if found is None:
                other.settle("2026-11-24", 900_000, spent=100_000)
            return found

    mine = Late(tmp_path / "state" / "s.sqlite", DOLLAR, run="a", clock=ManualClock(wall_offset=NOON))
    assert await Budget(None, mine).reserve(0.5) == Reservation(500_000, taken)
    mine.close()
    other.close()


async def test_a_run_waits_for_its_own_requests_before_it_gives_up(tmp_path: Path) -> None:
    """They may cost less than was set aside for them."""
    mine = door(tmp_path)
    budget = Budget(None, mine)
    first = await budget.reserve(0.8)
    waiting = asyncio.ensure_future(budget.reserve(0.5))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.settle(first, spent_usd=0.2)
    assert (await waiting).amount == 500_000
    with pytest.raises(LimitReached, match="a day"):
        await budget.reserve(0.9)
    mine.close()


async def test_what_was_ordered_in_advance_counts_once(tmp_path: Path) -> None:
    """A run that collects takes over what the one that ordered had set aside, and it is spent on the day of the order."""
    clock = ManualClock(wall_offset=NOON)
    first = door(tmp_path, "submit", clock=clock)
    ordered = Budget(None, first).reserve_now(0.6)
    assert ordered is not None
    first.close()
    second = door(tmp_path, "collect", clock=clock)
    budget = Budget(None, second)
    assert budget.run == "collect"
    taken = budget.take_over(0.6, day=ordered.day, run="submit")
    assert taken is not None
    assert second.totals() == DayTotals(0, 0, 600_000)
    clock.wall_offset += 86_400
    budget.settle(taken, spent_usd=0.5)
    assert second.totals("2026-11-24") == DayTotals(500_000, 0, 0)
    assert second.totals() == DayTotals(0, 0, 0)
    again = budget.take_over(0.6, day="2026-11-24", run="submit")  # is not there any more, as on another machine
    assert again is not None
    assert second.totals() == DayTotals(0, 0, 600_000)
    with pytest.raises(LimitReached):
        Budget(0.1, second).take_over(0.6, day="2026-11-24", run="submit")
    second.close()
