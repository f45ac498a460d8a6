"""Compares what the lanes of a mix really do with the plan, and makes the plan again: rules as pure arithmetic.

What a lane takes for an image is measured in seconds of a slot, failures included: so an answer that takes longer, a
provider that throttles and one that breaks off all look the same, and as they should.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from nanobatch.mix import Kind, Mix, Option, cheapest, duration, fastest, with_reserve
from nanobatch.mix_plan import RESERVE
from nanobatch.pools import Pool, Slots

TRUST = 4  # images after which what was seen counts as much as what was assumed
FIRST_SECONDS = 20.0  # of an answer, until there is one
MEMORY = 200  # images; what is older counts half, and half again
FAILURES = 5  # in a row, after which a lane is left alone
ALONE_SECONDS = 300.0


@dataclass(slots=True)
class LaneRecord:
    """What one lane has done in this run."""

    images: float = 0.0
    busy_seconds: float = 0.0  # of slots, failures included
    assumed_seconds: float = 0.0  # that the same images were expected to take
    failures: int = 0  # in a row
    failed_at: float = -inf  # monotonic seconds

    @property
    def factor(self) -> float:
        """How many times longer an image takes than was assumed; it moves away from 1 as images come."""
        trust = TRUST * (self.assumed_seconds / self.images if self.images else FIRST_SECONDS)
        return (self.busy_seconds + trust) / (self.assumed_seconds + trust)

    @property
    def seen_factor(self) -> float | None:
        """The same without what was assumed; None before enough images have come."""
        return self.busy_seconds / self.assumed_seconds if self.images >= TRUST and self.assumed_seconds else None

    def is_failing(self, now: float) -> bool:
        """Tell whether nothing else has come of late."""
        return self.failures >= FAILURES and now - self.failed_at < ALONE_SECONDS


@dataclass(slots=True)
class Pace:
    """Records of all lanes, by name, and what is on the wire."""

    records: dict[str, LaneRecord] = field(default_factory=dict)
    _begun: dict[str, float] = field(default_factory=dict)  # by job

    def of(self, lane: str) -> LaneRecord:
        """Return a lane's record."""
        return self.records.setdefault(lane, LaneRecord())

    def begin(self, job: str, now: float) -> None:
        """Note that a request leaves."""
        self._begun[job] = now

    def draw(self, job: str, lane: str, now: float, *, assumed: float) -> None:
        """Note that it has brought an image, for which so many seconds were assumed."""
        record = self._end(job, lane, now)
        if record is None:
            return
        record.images += 1
        record.assumed_seconds += assumed
        record.failures = 0
        if record.images > MEMORY:
            record.images /= 2
            record.busy_seconds /= 2
            record.assumed_seconds /= 2

    def fail(self, job: str, lane: str, now: float, *, by_lane: bool) -> None:
        """Note that it has brought none.

        Args:
            job: Whose request.
            lane: Where.
            now: Monotonic seconds.
            by_lane: The lane is to blame, not the job.
        """
        record = self._end(job, lane, now)
        if record is not None and by_lane:
            record.failures += 1
            record.failed_at = now

    def rest(self, job: str, seconds: float, now: float) -> float:
        """Return how much is left of the seconds that a job is expected to take."""
        return max(0.0, seconds - (now - self._begun.get(job, now)))

    def _end(self, job: str, lane: str, now: float) -> LaneRecord | None:
        begun = self._begun.pop(job, None)
        if begun is None:
            return None
        record = self.of(lane)
        record.busy_seconds += now - begun
        return record


@dataclass(frozen=True, slots=True)
class LaneNow:
    """How a lane stands."""

    slots: float  # of its account, as far as it lets us use them
    factor: float  # times what was assumed for an answer
    is_open: bool
    taken: float = 0.0  # seconds of slots, for what is on the wire or waits for it


def kinds_now(kinds: Sequence[Kind], images: Sequence[int], lanes: Mapping[str, LaneNow]) -> list[Kind]:
    """Return what is left, with what lanes are seen to do in place of what was assumed. Lanes without a state are out.

    Args:
        kinds: As they were planned.
        images: Left, by kind.
        lanes: By name.
    """

    def seen(option: Option, lane: LaneNow) -> Option:
        takes: dict[Pool, float] = {}
        for pool, amount in option.takes.items():
            if isinstance(pool, Slots):
                takes[replace(pool, count=lane.slots, taken=lane.taken)] = amount * lane.factor
            else:
                takes[pool] = amount
        return replace(option, takes=takes, soonest=option.soonest * lane.factor)

    found = []
    for kind, left in zip(kinds, images, strict=True):
        known = [(option, lanes[option.lane]) for option in kind.options if option.lane in lanes]
        able = [pair for pair in known if pair[1].is_open] or known  # where none is open, one may open again
        found.append(Kind(left, tuple(seen(option, lane) for option, lane in able)))
    return found


def correct(kinds: Sequence[Kind], seconds: float) -> tuple[Mix, bool]:
    """Return the mix for what is left, and whether it is done within the time that is left."""
    if seconds > 0:
        for some in (with_reserve(kinds, RESERVE), kinds):
            if (found := cheapest(some, seconds)) is not None:
                return replace(found, seconds=duration(kinds, found.shares)), True
    return fastest(kinds, after=max(0.0, seconds)), False


def give_up_at(deadline: float, need: float, dues: Iterable[float], *, slack: float = 0.0) -> float:
    """Return when batches are given up: as long before the deadline as their rows take one by one, but not undue.

    Args:
        deadline: Of the run.
        need: Seconds that the other lanes take for the rows, and for what they have to do besides.
        dues: When each batch is expected back. Those that are expected after the deadline count for nothing.
        slack: Seconds after it that are no reason: they went by before the order.
    """
    return min(deadline, max([deadline - need, *(due for due in dues if due <= deadline + slack)]))


def need(kinds: Sequence[Kind]) -> float:
    """Return the seconds that lanes need for everything, when they work as fast as they can; a reserve included."""
    if not any(kind.images for kind in kinds):
        return 0.0
    try:
        return fastest(kinds).seconds * (1 + RESERVE)
    except ValueError:
        return inf
