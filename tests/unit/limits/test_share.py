"""One process's part of an account: gates over a shared ledger, on time that stands still until it is moved."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from nanobatch.errors import Overloaded, QuotaSpent, RateLimited, Unsent
from nanobatch.limits import Gate, LaneParked
from nanobatch.limits.account import ALIVE_SECONDS
from nanobatch.limits.quota import Quota
from nanobatch.limits.share import Share
from nanobatch.model import Cost
from tests.fakes import ManualClock
from tests.ledgers import MemoryLedger

pytestmark = pytest.mark.anyio


@dataclass
class Rig:
    """A clock, a ledger, and processes that work on one account."""

    clock: ManualClock = field(default_factory=ManualClock)
    sent: list[tuple[float, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    parked: list[LaneParked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(self.clock)

    def gate(
        self, name: str = "a", *, rpm: int | None = None, rpd: int | None = None, tpm: int | None = None,
        concurrency: int = 64,
    ) -> Gate:  # fmt: skip
        def share(quota: Quota) -> Share:
            return Share(
                self.ledger, "account", holder=name, meters=quota.meters(), per_day=rpd, concurrency=concurrency,
                day=quota.day, clock=self.clock, warn=self.warnings.append,
            )  # fmt: skip

        return Gate(self.clock, name=name, concurrency=concurrency, rpm=rpm, rpd=rpd, tpm=tpm, zone="UTC", share=share)

    @contextlib.asynccontextmanager
    async def working(self, *gates: Gate, latency: float = 1.0, jobs: int = 10**6) -> AsyncIterator[None]:
        """Let every gate have more work than it can do."""
        tasks = [asyncio.ensure_future(self._process(gate, latency, jobs)) for gate in gates]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _process(self, gate: Gate, latency: float, jobs: int) -> None:
        left = iter(range(jobs))

        async def worker() -> None:
            for _ in left:
                try:
                    async with gate.admit(Cost()):
                        self.sent.append((self.clock.now - 1000, gate.name))
                        await self.clock.sleep(latency)
                except LaneParked as parked:
                    self.parked.append(parked)
                    return

        async with gate.at_work(), asyncio.TaskGroup() as group:
            for _ in range(2 * gate.snapshot().maximum):
                group.create_task(worker())

    def count(self, name: str | None = None) -> int:
        return sum(name in (None, by) for _, by in self.sent)

    def worst_minute(self) -> int:
        times = sorted(at for at, _ in self.sent)
        return max(sum(at <= other < at + 60 for other in times) for at in times)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_alone_it_uses_the_whole_quota(rig: Rig) -> None:
    """Sharing with nobody costs nothing but the margin."""
    async with rig.working(rig.gate(rpm=30), latency=2.0):
        await rig.clock.advance(185)
    assert rig.count() == 120
    assert rig.worst_minute() == 30


async def test_two_keep_the_limit_together_and_share_it(rig: Rig) -> None:
    """Neither sees a minute with more than the account's requests, and both get half."""
    async with rig.working(rig.gate("a", rpm=30), rig.gate("b", rpm=30), latency=2.0):
        await rig.clock.advance(300)
    assert rig.worst_minute() == 30
    assert rig.count() == 150
    assert abs(rig.count("a") - rig.count("b")) <= 6


async def test_a_newcomer_gets_its_part(rig: Rig) -> None:
    """And whoever was alone before does not have to wait until the other has caught up with all of it."""
    async with rig.working(rig.gate("a", rpm=30)):
        await rig.clock.advance(600)
        before = rig.count("a")
        async with rig.working(rig.gate("b", rpm=30)):
            await rig.clock.advance(305)
    later = rig.count("a") - before
    assert later + rig.count("b") == 150
    assert 60 <= rig.count("b") <= 90


async def test_slots_are_shared(rig: Rig) -> None:
    """Never more in flight than the account allows, and nobody holds them all for ever."""
    async with rig.working(rig.gate("a", concurrency=8), latency=5.0):
        await rig.clock.advance(12)
        async with rig.working(rig.gate("b", concurrency=8), latency=5.0):
            for _ in range(60):
                await rig.clock.advance(0.5)
                holders = rig.ledger.accounts["account"].holders.values()
                assert sum(holder.slots for holder in holders) <= 8
    busiest = max(sum(at <= other < at + 5.0 for other, _ in rig.sent) for at, _ in rig.sent)
    assert busiest <= 8
    assert rig.count("b") >= 16


async def test_a_gate_that_has_nothing_to_do_holds_nothing(rig: Rig) -> None:
    """Its unused slots and leases go back within a second or two."""
    gate = rig.gate("a", concurrency=8)
    async with gate.at_work():
        tickets = [asyncio.ensure_future(gate.enter(Cost())) for _ in range(5)]
        await rig.clock.advance(1)
        assert rig.ledger.accounts["account"].holders["a"].slots == 5
        for ticket in tickets:
            gate.give_back(await ticket)
        await rig.clock.advance(2.5)
        assert rig.ledger.accounts["account"].holders["a"].slots == 0


async def test_leaving_gives_everything_back(rig: Rig) -> None:
    """The next process begins at once."""
    async with rig.working(rig.gate("a", rpm=10, concurrency=4), jobs=5):
        await rig.clock.advance(3)
    account = rig.ledger.accounts["account"]
    assert not account.holders
    assert sum(cell.amount for cell in account.meters["requests"]) == 5


async def test_who_dies_frees_its_slots_in_a_minute(rig: Rig) -> None:
    """What it had leased is lost for a window, and no more."""
    gate = rig.gate("a", concurrency=4)
    task = asyncio.ensure_future(rig._process(gate, 10_000.0, 4))
    await rig.clock.advance(1)
    rig.ledger.deaf_to.add("a")
    async with rig.working(rig.gate("b", concurrency=4), latency=1.0):
        await rig.clock.advance(ALIVE_SECONDS - 2)
        assert rig.count("b") == 0
        await rig.clock.advance(5)
        assert rig.count("b") > 0
    task.cancel()


async def test_the_day_is_shared(rig: Rig) -> None:
    """Two runs send the day's quota together; then both are told when the next day begins."""
    async with rig.working(rig.gate("a", rpd=100), rig.gate("b", rpd=100), latency=0.5):
        await rig.clock.advance(30)
    assert rig.count() == 100
    assert len(rig.parked) >= 2
    midnight = rig.parked[0].until
    assert all(parked.until == midnight for parked in rig.parked)


async def test_a_run_that_comes_later_finds_the_day_as_it_is(rig: Rig) -> None:
    """The count survives the process."""
    async with rig.working(rig.gate("a", rpd=100), jobs=60):
        await rig.clock.advance(30)
    async with rig.working(rig.gate("b", rpd=100)):
        await rig.clock.advance(30)
    assert (rig.count("a"), rig.count("b")) == (60, 40)
    async with rig.working(rig.gate("c", rpd=100)):
        await rig.clock.advance(5)
    assert rig.count("c") == 0
    assert rig.parked


async def test_a_429_of_one_lets_all_wait(rig: Rig) -> None:
    """The provider has said it to one of them and means the account."""
    a, b = rig.gate("a", rpm=600), rig.gate("b", rpm=600)
    async with a.at_work(), b.at_work():
        with pytest.raises(RateLimited):
            async with a.admit(Cost()):
                raise RateLimited("slow down", retry_after_seconds=20.0)
        await rig.clock.advance(1)
        task = asyncio.ensure_future(b.enter(Cost()))
        await rig.clock.advance(15)
        assert not task.done()
        await rig.clock.advance(6)
        assert task.done()
        b.give_back(await task)


async def test_a_spent_day_of_one_is_spent_for_all(rig: Rig) -> None:
    """Where the provider says that the day is over, nobody tries again."""
    a, b = rig.gate("a", rpd=1000), rig.gate("b", rpd=1000)
    async with a.at_work(), b.at_work():
        with pytest.raises(QuotaSpent):
            async with a.admit(Cost()):
                raise QuotaSpent("100 requests a day")
        await rig.clock.advance(1)
        with pytest.raises(LaneParked):
            await asyncio.wait_for(asyncio.ensure_future(b.enter(Cost())), 5)


@pytest.mark.parametrize("seconds", [-5.0, 5.0])
async def test_a_day_that_is_spent_at_midnight_is_the_one_that_ends(rig: Rig, seconds: float) -> None:
    """What is said within the margin around midnight must not take the new day from everybody, nor what is told late."""
    midnight = (rig.clock.wall() // 86_400 + 1) * 86_400
    rig.clock.wall_offset = midnight + seconds - rig.clock.now
    gate = rig.gate("a", rpd=1000)
    rig.ledger.is_down = seconds < 0  # so that it is told in the new day
    async with gate.at_work():
        task = asyncio.ensure_future(gate.enter(Cost()))
        await rig.clock.advance(1)
        gate.give_back(await task)
        with pytest.raises(QuotaSpent):
            async with gate.admit(Cost()):
                raise QuotaSpent("1000 requests a day")
        await rig.clock.advance(8)
        rig.ledger.is_down = False
        await rig.clock.advance(20)
    async with rig.working(rig.gate("b", rpd=1000), jobs=3):
        await rig.clock.advance(60)
    assert rig.count("b") == 3


async def test_what_was_never_sent_is_given_back(rig: Rig) -> None:
    """A provider that cannot be reached uses up nobody's quota."""
    a, b = rig.gate("a", rpm=3), rig.gate("b", rpm=3)
    async with a.at_work(), b.at_work():
        for _ in range(3):
            with pytest.raises(Unsent):
                async with a.admit(Cost()):
                    raise Unsent("no route")
        await rig.clock.advance(2)
        for _ in range(3):
            task = asyncio.ensure_future(b.enter(Cost()))
            await rig.clock.advance(2)
            assert task.done()


async def test_tokens_are_corrected_for_all(rig: Rig) -> None:
    """What a request really used decides what the others may use."""
    a, b = rig.gate("a", tpm=10_000), rig.gate("b", tpm=10_000)
    async with a.at_work(), b.at_work():
        task = asyncio.ensure_future(a.enter(Cost(tokens=9_000)))
        await rig.clock.advance(1)
        async with a.inside(await task) as permit:
            permit.settle_tokens(2_000)
        other = asyncio.ensure_future(b.enter(Cost(tokens=7_500)))
        await rig.clock.advance(2)
        assert other.done()
        b.give_back(await other)


async def test_without_its_ledger_a_run_goes_on_alone(rig: Rig) -> None:
    """It says so once, keeps the limits for itself, and tells what it took when the ledger is back."""
    rig.ledger.is_down = True
    async with rig.working(rig.gate("a", rpm=30), latency=1.0):
        await rig.clock.advance(5)
        assert rig.count() == 30
        assert rig.warnings == ["the ledger is away; until it answers, this run keeps the limits for itself alone"]
        rig.ledger.is_down = False
        await rig.clock.advance(10)
        assert sum(cell.amount for cell in rig.ledger.accounts["account"].meters["requests"]) == 30
        await rig.clock.advance(110)
    assert rig.worst_minute() == 30
    assert rig.count() >= 60


async def test_a_ledger_that_fails_in_between_gives_nothing_twice(rig: Rig) -> None:
    """Whatever was on the way when it failed is lost rather than given back a second time."""
    async with rig.working(rig.gate("a", rpm=30), rig.gate("b", rpm=30), latency=1.0):
        for second in range(240):
            rig.ledger.is_down = second % 40 in (5, 6)
            await rig.clock.advance(1)
    assert len(rig.warnings) >= 2
    account = rig.ledger.accounts["account"]
    assert all(cell.amount >= 0 for cell in account.meters["requests"])
    assert rig.count() <= 2 * 30 * 4  # at the very worst each for itself


async def test_errors_of_the_block_stay_themselves(rig: Rig) -> None:
    """Work beside a gate fails with its own error, not with a group."""
    with pytest.raises(Overloaded, match="too much"):
        async with rig.gate("a", rpm=10).at_work():
            raise Overloaded("too much")
    assert not rig.ledger.accounts["account"].holders


async def test_under_load_few_exchanges_serve_many_requests(rig: Rig) -> None:
    """Leases ahead make the ledger cheap: less than one exchange for five requests."""
    gate = rig.gate("a", rpm=60_000, concurrency=500)
    latencies = iter(range(10**9))

    async def worker() -> None:
        while True:
            async with gate.admit(Cost()):
                rig.sent.append((rig.clock.now, "a"))
                await rig.clock.sleep(1.0 + next(latencies) % 97 / 100)

    async def process() -> None:
        async with gate.at_work(), asyncio.TaskGroup() as group:
            for _ in range(1000):
                group.create_task(worker())

    task = asyncio.ensure_future(process())
    await rig.clock.advance(20)
    assert rig.count() > 5000
    assert len(rig.ledger.asks) < rig.count() / 5
    task.cancel()
