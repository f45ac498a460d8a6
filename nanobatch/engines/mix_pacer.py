"""Watches a run that follows a mix: who does what in which time, what to hand out next, how long batches may take."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, inf
from typing import Protocol

from nanobatch.batches.journal import BatchJournal
from nanobatch.clock import Clock
from nanobatch.deadline import START, Deadline
from nanobatch.engines.batch import BatchEngine
from nanobatch.engines.batch_office import BatchLane
from nanobatch.engines.mix_desk import MixDesk
from nanobatch.engines.mix_pace import LaneNow, Pace, correct, give_up_at, kinds_now, need
from nanobatch.errors import NoImage, Refused, Rejected
from nanobatch.events import AttemptFailed, AttemptStarted, Event, JobFinished, LaneChanged, Observer, Warned
from nanobatch.mix import Kind, Mix
from nanobatch.mix_lanes import HOUR, options_of
from nanobatch.mix_plan import MixPlan
from nanobatch.model import Job
from nanobatch.routing import Lane

TICK_SECONDS = 1.0
TICKS = 100  # in the shortest run
LOOKS = 500  # at the plan, in the whole time
MOST_BETWEEN_LOOKS = 60.0  # seconds
SPREAD = 0.9  # of the time, over which dearer lanes get their share
OF_THE_JOB = (Refused.code, Rejected.code, NoImage.code)  # failures that say nothing of the lane
AT_RISK = "what is left is not done in time at the rates that are seen; everything is used that there is"


class Batches(Protocol):
    """What is known of the batches of a run."""

    journal: BatchJournal
    lanes: dict[str, BatchLane]
    engine: BatchEngine | None


@dataclass(slots=True)
class MixPacer:
    """The plan of a run, corrected while it runs."""

    desk: MixDesk
    plan: MixPlan
    lanes: Mapping[str, Lane]  # that answer at once, by the mix's names
    deadline: Deadline
    clock: Clock
    observe: Observer
    batches: Batches | None = None
    earlier: Sequence[int] = ()  # images in batches of earlier runs, by kind
    pace: Pace = field(default_factory=Pace)
    is_at_risk: bool = False
    _kinds: list[Kind] = field(default_factory=list)  # with the options that answer at once
    _opened: set[str] = field(default_factory=set)  # lanes that have been given something
    _patience: float = inf  # until when batches are waited for, in monotonic seconds
    _due: float = -inf  # when the plan is made again
    _before: int = 0  # images that were in open batches at the start

    def __post_init__(self) -> None:
        self._before = self._ordered()

    def patience(self) -> float:
        """Return until when batches are waited for, in monotonic seconds."""
        return self._patience

    def warn(self, message: str) -> None:
        """Say what a person should know."""
        self.observe(Warned(message))

    def note(self, event: Event) -> None:
        """Learn from what happens to the jobs that the desk has handed out."""
        now = self.clock.monotonic()
        match event:
            case AttemptStarted(job=job, provider=provider) if (at := self.desk.at_work(job)) is not None:
                if self.lanes[at[0]].name != provider:  # the router has found the planned one tired
                    self.desk.move(job, next(name for name, lane in self.lanes.items() if lane.name == provider))
                self.pace.begin(job, now)
            case AttemptFailed(job=job, code=code) if (at := self.desk.at_work(job)) is not None:
                self.pace.fail(job, at[0], now, by_lane=code not in OF_THE_JOB)
            case JobFinished(record=record) if (at := self.desk.at_work(record.job)) is not None:
                if record.has_image:
                    self.pace.draw(record.job, at[0], now, assumed=self._assumed(*at))
                self.desk.end(record.job)
            case _:
                pass

    def lane_of(self, job: Job) -> Lane | None:
        """Return the lane that is to take a job of the desk's: the one it was handed to, unless that one only fails."""
        name = self.desk.lane_of(job)
        if name is None:
            return None
        own = self.lanes[name]
        if self.pace.of(name).is_failing(self.clock.monotonic()):
            able = [other for other in self.lanes if self._is_able(other, job)]
            able.sort(
                key=lambda other: self.lanes[other].gate is not own.gate
            )  # another tier of the same account first
            if able:
                self.desk.move(job.id, able[0])
                return self.lanes[able[0]]
        return own

    def _is_able(self, name: str, job: Job) -> bool:
        lane = self.lanes[name]
        is_meant = job.prompt.provider in (None, lane.name) and lane.seller.refuses(job.params) is None
        return is_meant and not self.pace.of(name).is_failing(self.clock.monotonic())

    async def run(self) -> None:
        """Let time pass at the desk, and look at the plan now and then."""
        tick = min(TICK_SECONDS, self.deadline.seconds / TICKS)
        while True:
            self.desk.pass_time(tick, shut=self._too_slow())
            if self.desk.is_dry or self.clock.monotonic() >= self._due:
                await self.look()
            await self.clock.sleep(tick)

    async def look(self) -> None:
        """Make the plan again from what is left and what is seen."""
        self._due = self.clock.monotonic() + min(MOST_BETWEEN_LOOKS, self.deadline.seconds / LOOKS)
        kinds, outstanding = self._now(), self._outstanding()
        if any(kind.images for kind in kinds):
            mix, in_time = await asyncio.to_thread(correct, kinds, self.deadline.left)
            self.desk.follow(kinds, mix, seconds=self.deadline.left * SPREAD if in_time else 1.0)
            self._tell(mix, in_time=in_time)
        if self.batches is not None and any(outstanding):
            kinds = [replace(kind, images=kind.images + more) for kind, more in zip(kinds, outstanding, strict=True)]
            seconds = await asyncio.to_thread(need, kinds)
            self._patience = give_up_at(self.deadline.at, seconds, self._dues(), slack=START * self.deadline.seconds)

    def _tell(self, mix: Mix, *, in_time: bool) -> None:
        """Say what has changed, once."""
        for name, lane in self.lanes.items():
            if mix.of(name) and name not in self._opened:
                self._opened.add(name)
                self.observe(LaneChanged(lane.name, "open", f"the plan gives {mix.of(name)} images to {name}"))
        if not in_time and not self.is_at_risk:
            self.is_at_risk = True  # once is enough, though it may look better again
            self.warn(AT_RISK)

    def _now(self) -> list[Kind]:
        """Return what is left at the desk, as the lanes are seen to work."""
        table = self.desk.table
        for likeness in table.kinds[len(self._kinds) :]:
            options = options_of(likeness, table.lanes)
            self._kinds.append(Kind(0, tuple(option for option in options if option.lane in self.lanes)))
        left = self.desk.left + [0] * (len(self._kinds) - len(self.desk.left))
        taken = self._taken()
        states = {name: self._state(name, lane, taken.get(lane.name, 0.0)) for name, lane in self.lanes.items()}
        return kinds_now(self._kinds, left, states)

    def _state(self, name: str, lane: Lane, taken: float) -> LaneNow:
        seen, record = lane.gate.snapshot(), self.pace.of(name)
        rests = seen.state.kind in ("closed", "parked") or record.is_failing(self.clock.monotonic())
        return LaneNow(slots=float(seen.limit), factor=record.factor, is_open=not rests, taken=taken)

    def _taken(self) -> dict[str, float]:
        """Return the seconds of slots that each account still needs for what was handed out."""
        found: dict[str, float] = {}
        now = self.clock.monotonic()
        for job, (name, place) in self.desk.all_at_work().items():
            seconds = self._assumed(name, place) * self.pace.of(name).factor
            account = self.lanes[name].name
            found[account] = found.get(account, 0.0) + self.pace.rest(job, seconds, now)
        return found

    def _too_slow(self) -> list[str]:
        """Return the lanes that could not finish what they would begin now, as far as their pace is known."""
        found = []
        for name in self.lanes:
            soonest = min((self._assumed(name, place) for place in range(len(self._kinds))), default=0.0)
            factor = self.pace.of(name).seen_factor
            if factor is None and soonest <= self.deadline.seconds / 2:
                factor = 1.0
            if factor is not None and soonest * factor > self.deadline.left:
                found.append(name)
        return found

    def _assumed(self, lane: str, place: int) -> float:
        """Return the seconds that an image was expected to take in a lane."""
        return next((option.soonest for option in self._kinds[place].options if option.lane == lane), inf)

    def _outstanding(self) -> list[int]:
        """Return the images that batches owe, by kind: all that are or were to be ordered, less what has come."""
        given = self.given_to_batches()
        for place, images in enumerate(self.earlier):
            given[place] += images
        total, owed = sum(given), self._ordered() + self._to_be_ordered()
        return [ceil(images * owed / total) if total else 0 for images in given]

    def _ordered(self) -> int:
        """Count the images that are in open batches; one that only was to be ordered is not among them."""
        open_ = self.batches.journal.open if self.batches is not None else []
        return sum(len(batch.jobs) for batch in open_ if batch.creating_at is not None)

    def _to_be_ordered(self) -> int:
        """Count the images of the plan's batches that are in none yet."""
        landed = len(self.batches.engine.landed) if self.batches is not None and self.batches.engine is not None else 0
        of_this_run = max(0, landed - self._before) + max(0, self._ordered() - max(0, self._before - landed))
        return max(0, sum(self.given_to_batches()) - of_this_run)

    def given_to_batches(self) -> list[int]:
        """Return the images that the first plan gives to batches, by kind."""
        names = [lane.name for lane in self.plan.lanes if lane.kind == "batch"]
        given = [sum(share.get(name, 0) for name in names) for share in self.plan.mix.shares]
        return given + [0] * (len(self._kinds) - len(given))

    def _dues(self) -> list[float]:
        """Return when batches are expected back, those that are not ordered yet as if they were now; monotonic."""
        assert self.batches is not None
        now = self.clock.monotonic()
        since, lanes = now - self.clock.wall(), self.batches.lanes
        found = [
            batch.created_at + since + lanes[batch.provider].settings.hours * HOUR
            for batch in self.batches.journal.open
            if batch.created_at is not None and batch.provider in lanes
        ]
        if self._to_be_ordered():
            found += [now + lane.settings.hours * HOUR for lane in lanes.values()]
        return found
