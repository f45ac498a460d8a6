"""The batch engine: orders what has room, looks how things stand, collects what is over, until nothing is left.

Everything that it does is written down before it is done, so it may be cancelled or killed at any point: the next call,
in whichever process, goes on from there. It looks less and less often, because a batch takes minutes to a day.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from nanobatch.batches.chunks import Chunk
from nanobatch.batches.journal import Batch
from nanobatch.engines.batch_collection import Collection
from nanobatch.engines.batch_office import BatchLane, Office
from nanobatch.engines.batch_orders import Orders, Outcome, Ready
from nanobatch.errors import AccountStopped, ExchangeError, LimitReached, RateLimited, ServerFault, StoreError
from nanobatch.events import Stopping
from nanobatch.stopping import Stopped, StopReason

SYNC_EVERY_SECONDS = 1.0
GROWTH = 1.5  # of the time between two looks at a batch
MOST_TIMES = 30.0  # the first wait, at the end
MOST_UNASKED_SECONDS = 15.0  # between two questions how long there is patience
FILE_SECONDS = 40 * 3600.0  # vendors keep an uploaded file for 48 hours
FORGOTTEN_SECONDS = 72 * 3600.0  # a batch that is not known so long after its order is over, whatever became of it
MOST_SILENCES = 10  # questions in a row without an answer, after which the next run is the better place to wait


class Mode(enum.StrEnum):
    """What a call is for."""

    RUN = "run"  # order, wait, collect, and order again what another batch may do better
    SUBMIT = "submit"  # order what has room
    COLLECT = "collect"  # look once, and collect what is over
    CANCEL = "cancel"  # ask the vendors to end what is open, then as above

    @property
    def orders(self) -> bool:
        """Whether it orders anything."""
        return self in (Mode.RUN, Mode.SUBMIT)


@dataclass(slots=True)
class _Watch:
    """When a batch is looked at next."""

    due: float  # monotonic seconds
    wait: float


@dataclass(slots=True)
class BatchEngine:
    """Takes jobs through batches."""

    office: Office
    mode: Mode
    sync: Callable[[], None]  # flushes journals to the disk; called in a thread about every second
    tick: Callable[[], None]  # lets observers act on time, about every second
    deadline_seconds: float | None = None  # from the start; what is open then is cancelled
    patience: Callable[[], float] | None = None  # when others take over what is open (monotonic); asked again and again
    has_given_up: bool = False  # others have taken over
    waiting: bool = False  # chunks had no room
    is_poor: bool = False  # and that was for want of money that is set aside for other orders
    limit: LimitReached | None = None  # the budget is used up: what is ordered is still collected
    orders: Orders = field(init=False)
    collection: Collection = field(init=False)
    _watches: dict[str, _Watch] = field(default_factory=dict)
    _ready: list[tuple[BatchLane, Ready]] = field(default_factory=list)
    _next: Chunk | None = None

    def __post_init__(self) -> None:
        self.orders = Orders(self.office)
        self.collection = Collection(self.office)

    @property
    def landed(self) -> set[str]:
        """Jobs of which something came in this run, good or bad."""
        return self.office.landed

    async def run(self) -> None:
        """Do what the mode says, or until the run is stopped.

        Raises:
            ExceptionGroup: A bug; everything finished before it is recorded.
        """
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self._keep_house())
            work = group.create_task(self._work())
            warden = group.create_task(self._watch_stop(work))
            await asyncio.wait({work})
            warden.cancel()
            keeper.cancel()

    def resume_after(self) -> float | None:
        """Return when it helps to come back, in wall-clock seconds."""
        office = self.office
        waits = [watch.due for title, watch in self._watches.items() if office.journal.batches[title].closed is None]
        waits += [lane.not_before for lane in office.lanes.values() if lane.not_before > office.clock.monotonic()]
        if not waits:
            return None
        return office.clock.wall() + max(0.0, min(waits) - office.clock.monotonic())

    async def _work(self) -> None:
        stop = self.office.stop
        try:
            await self.orders.recover()
            self._tell_unasked()
            await self._go()
        except Stopped:
            pass
        except LimitReached as error:
            stop.ask(StopReason("limit", error.message, error.exit_code))
        except StoreError as error:
            stop.ask(StopReason("store", error.message, error.exit_code))
        except AccountStopped as error:
            stop.ask(StopReason("account", error.message, AccountStopped.exit_code))
        except ExchangeError as error:
            stop.ask(StopReason("down", f"the provider does not answer: {error.message}", 5))
        finally:
            for _, ready in self._ready:
                self.office.take_back(ready.batch, "never ordered")

    def _tell_unasked(self) -> None:
        office = self.office
        unasked = {batch.provider for batch in office.journal.open if batch.name and batch.provider not in office.lanes}
        for provider in sorted(unasked):
            office.warn(f"batches at {provider} are open, which this run does not use; `batch collect` fetches them")

    async def _go(self) -> None:
        chunks = self.office.cut(self.office.chosen())
        match self.mode:
            case Mode.RUN:
                await self._see_through(chunks)
            case Mode.SUBMIT:
                await self._order_what_has_room(chunks)
            case Mode.CANCEL:
                await self._cancel_all()
                await self._look()
            case Mode.COLLECT:
                await self._look()
        if self.limit is not None and not self.has_given_up:
            raise self.limit

    async def _see_through(self, chunks: Iterator[Chunk]) -> None:
        """Order, wait and collect until nothing is left, or until the deadline has passed and nothing is open."""
        office = self.office
        ends = math.inf if self.deadline_seconds is None else office.clock.monotonic() + self.deadline_seconds
        while True:
            if self.limit is None:
                await self._order_what_has_room(chunks)
            is_hopeless = self.is_poor and not self._waited_for()  # nothing that is open here will make room
            await self._look()
            if office.clock.monotonic() >= ends and self._waited_for():
                ends = math.inf
                self.limit = LimitReached("the deadline has passed")
                office.warn("the deadline has passed: what is open is cancelled")
                await self._cancel_all()
            if self.patience is not None and not self.has_given_up and office.clock.monotonic() >= self.patience():
                await self._give_up()
            if office.again and self.limit is None and not self.waiting:
                again, office.again = office.again, []
                chunks = chain(chunks, office.cut(office.weighed(again)))
            elif self._waited_for() or (self.waiting and self.limit is None and not is_hopeless):
                await self._rest(ends)
            else:
                return

    def _waited_for(self) -> list[Batch]:
        """Return the open batches that this run can ask about; others are at providers that it does not use."""
        return [batch for batch in self.office.journal.open if batch.provider in self.office.lanes]

    async def _give_up(self) -> None:
        """Leave what is open, and what was never ordered, to others; what is drawn already is still collected."""
        self.has_given_up = True
        self.limit = self.limit or LimitReached("batches are not back in time")
        if self.office.journal.open:
            self.office.warn("batches are not back in time: they are cancelled, and their rows are sent one by one")
        await self._cancel_all()

    async def _cancel_all(self) -> None:
        """Ask the vendors to end every open batch. What is drawn already is collected when they have."""
        office = self.office
        while self._ready:
            office.take_back(self._ready.pop()[1].batch, "never ordered")
        for batch in office.journal.open:
            lane = office.lanes.get(batch.provider)
            if lane is not None and batch.name is not None and not batch.phase.is_over:
                await office.hold(lane, lane.wire.cancel(batch.name))
                office.tell(lane, f"asked to cancel {batch.name}")
            if (watch := self._watches.get(batch.title)) is not None:
                watch.due = office.clock.monotonic()
                if lane is not None:
                    watch.wait = lane.settings.poll_seconds  # it is over soon; the usual pace might be minutes by now

    async def _order_what_has_room(self, chunks: Iterator[Chunk]) -> None:
        """Order until a limit says stop."""
        self.waiting = self.is_poor = False
        while self._ready:
            lane, ready = self._ready[0]
            if self.office.clock.wall() - ready.batch.planned_at > FILE_SECONDS:
                self.office.take_back(ready.batch, "never ordered")
                self.office.again += ready.chunk.jobs
                self._ready.pop(0)
                continue
            if not self.orders.has_room(lane, ready.chunk) or await self._order(lane, ready) is Outcome.LATER:
                self.waiting = True
                return
            self._ready.pop(0)
        while self.limit is None and (chunk := self._next or next(chunks, None)) is not None:
            self._next = chunk
            lane = self.office.lanes[chunk.lot.provider]
            if not self.orders.has_room(lane, chunk):
                self.waiting = True
                return
            self.office.stop.check()
            try:
                found, left = await self.orders.prepare(lane, chunk)
            except LimitReached as error:
                self.limit = error
                return
            self._next = Chunk(chunk.lot, left, chunk.weight) if left else None
            if found is None and left:
                self.waiting = self.is_poor = True
                return
            if found is not None and await self._order(lane, found) is Outcome.LATER:
                self._ready.append((lane, found))
                self.waiting = True
                return

    async def _order(self, lane: BatchLane, ready: Ready) -> Outcome:
        outcome = await self.orders.order(lane, ready)
        if outcome is Outcome.ORDERED:
            self._watch(lane, ready.batch)
        return outcome

    def _watch(self, lane: BatchLane, batch: Batch) -> None:
        wait = lane.settings.poll_seconds
        self._watches[batch.title] = _Watch(self.office.clock.monotonic() + wait, wait)

    async def _look(self) -> None:
        """Ask how the batches stand whose time has come, and collect what is over."""
        for batch in self.office.journal.open:
            lane = self.office.lanes.get(batch.provider)
            if batch.name is None or lane is None:
                continue
            watch = self._watches.get(batch.title)
            if watch is not None and watch.due > self.office.clock.monotonic():
                continue
            if watch is None:
                self._watch(lane, batch)
            self.office.stop.check()
            await self._look_at(lane, batch)

    async def _look_at(self, lane: BatchLane, batch: Batch) -> None:
        office = self.office
        watch = self._watches[batch.title]
        try:
            if not batch.phase.is_over:
                assert batch.name is not None
                state = await office.hold(lane, lane.wire.poll(batch.name))
                office.journal.saw(batch, state, at=office.clock.wall())
                if state.no_room:
                    self._wait_for_room(lane, batch, state.message)
                    return
            lane.silences = 0
            if batch.phase.is_over:
                await self.collection.collect(lane, batch)
                lane.not_before = 0.0  # there is room again
        except ExchangeError as error:
            if error.http_status in (404, 410):
                if self._is_forgotten(batch):
                    await self.collection.forget(lane, batch, error)
                    return
                error = ServerFault(f"{batch.name} is not known; is this the key of the account that ordered it?")
            if isinstance(error, AccountStopped):
                raise
            lane.silences += 1
            if lane.silences >= MOST_SILENCES or self.mode is not Mode.RUN:
                raise error from None
            office.warn(f"{lane.name} does not say how {batch.name} stands: {error.message}")
        watch.wait = min(watch.wait * GROWTH, lane.settings.poll_seconds * MOST_TIMES)
        watch.due = office.clock.monotonic() + watch.wait

    def _wait_for_room(self, lane: BatchLane, batch: Batch, why: str) -> None:
        """Take a batch back that the account's queue had no room for; its jobs are ordered later."""
        office = self.office
        jobs = office.plan.pick(job for job, _ in office.ordered(batch))
        office.take_back(batch, "no room")
        office.again += jobs.values()
        self.waiting = True
        self.orders.pause(lane, RateLimited(why or "the queue is full"))

    def _is_forgotten(self, batch: Batch) -> bool:
        """Tell whether a batch that the vendor does not know is given up. A wrong key looks the same at first."""
        age = self.office.clock.wall() - (batch.created_at or 0.0)
        return self.mode is Mode.CANCEL or self.office.is_sandbox or age > FORGOTTEN_SECONDS

    async def _rest(self, ends: float) -> None:
        """Sleep until something is due."""
        office = self.office
        now = office.clock.monotonic()
        dues = [watch.due for title, watch in self._watches.items() if office.journal.batches[title].closed is None]
        if self.waiting:
            dues += [lane.not_before for lane in office.lanes.values() if lane.not_before > now]
        until = min(dues, default=now + SYNC_EVERY_SECONDS)
        if self.patience is not None and not self.has_given_up:
            ends = min(ends, max(self.patience(), now + SYNC_EVERY_SECONDS), now + MOST_UNASKED_SECONDS)
        await office.clock.sleep(max(0.0, min(until, ends) - now))

    async def _watch_stop(self, work: asyncio.Task[None]) -> None:
        """End the work when the run is asked to stop; whatever it was at is written down."""
        await self.office.stop.asked.wait()
        reason = self.office.stop.reason
        assert reason is not None
        if not work.done():
            self.office.observe(Stopping(reason.message, 0, None))
            work.cancel()

    async def _keep_house(self) -> None:
        while True:
            await self.office.clock.sleep(SYNC_EVERY_SECONDS)
            self.tick()
            try:
                await asyncio.to_thread(self.sync)
            except StoreError as error:
                self.office.stop.ask(StopReason("store", error.message, error.exit_code))
                return
