"""The desk at which the lanes of a mix ask for their next job: it hands out what the plan allots to each.

The cheapest lane that a kind has been given takes as much of its share as it can. Dearer lanes get theirs little by
little, in step with the time, so that what the cheap one turns out to be able to do is not bought dearly before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from nanobatch.mix import Kind, Mix
from nanobatch.mix_lanes import KindTable
from nanobatch.model import Job
from nanobatch.stopping import Stop

READ_AT_ONCE = 256  # rows, before the loop gets a turn
MOST_ASIDE = 10_000  # jobs that are read and wait for their lane, of about 2 kB each


class MixDesk:
    """Jobs that are to be sent one by one, and who may take how many of them.

    Args:
        source: The jobs, in order.
        table: Knows their kinds.
        images: How many the source has, by kind.
        accounts: Whose slots a lane uses, by the lane's name.
        stop: Ends the run.
    """

    def __init__(
        self, source: Iterator[Job], table: KindTable, *, images: Sequence[int], accounts: Mapping[str, str], stop: Stop
    ) -> None:
        self._source = source
        self.table = table
        self._accounts = accounts
        self._stop = stop
        self.left = list(images)  # by kind: not handed out yet
        self.expects_more = False  # rows may still come back from batches
        self._read: list[deque[Job]] = []
        self._is_read = False
        self._shares: list[dict[str, int]] = []
        self._paced: set[tuple[int, str]] = set()
        self._credit: dict[str, float] = {}
        self._rate: dict[str, float] = {}
        self._at_work: dict[str, tuple[str, int]] = {}  # by job: its lane, and the place of its kind
        self._shut: frozenset[str] = frozenset()
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<MixDesk {sum(self.left)} left, {len(self._at_work)} at work>"

    @property
    def _is_empty(self) -> bool:
        return not any(self._read) and (self._is_read or not any(self.left))

    @property
    def is_dry(self) -> bool:
        """Whether there are jobs that the plan gives to nobody: it is to be made again."""
        shares = [sum(max(0, images) for images in share.values()) for share in self._shares]
        return any(left > (shares[place] if place < len(shares) else 0) for place, left in enumerate(self.left))

    def follow(self, kinds: Sequence[Kind], mix: Mix, *, seconds: float) -> None:
        """Hand out by a plan from now on.

        Args:
            kinds: What it was made for.
            mix: The plan.
            seconds: Over which dearer lanes get their share.
        """
        self._shares = [dict(share) for share in mix.shares]
        self._paced.clear()
        self._rate.clear()
        for place, (kind, share) in enumerate(zip(kinds, mix.shares, strict=True)):
            prices = {option.lane: option.usd for option in kind.options if share.get(option.lane)}
            for lane, usd in prices.items():
                if usd > min(prices.values()):
                    self._paced.add((place, lane))
                    self._rate[lane] = self._rate.get(lane, 0.0) + share[lane] / max(1.0, seconds)
        self._tell()

    def pass_time(self, seconds: float, *, shut: Iterable[str] = ()) -> None:
        """Let dearer lanes have what is due to them after so much time.

        Args:
            seconds: Since the last call.
            shut: Lanes that must not begin anything, because it could not be done in time.
        """
        for lane, rate in self._rate.items():
            most = max(1.0, 2 * rate * seconds) + 1
            self._credit[lane] = min(most, self._credit.get(lane, 0.0) + rate * seconds)
        self._shut = frozenset(shut)
        self._tell()

    def add(self, jobs: Iterable[Job]) -> None:
        """Take jobs that have come back from batches."""
        for job in jobs:
            self._put(job)
            self.left[self.table.of(job)] += 1
        self._tell()

    def add_source(self, source: Iterator[Job], images: Sequence[int]) -> None:
        """Take many more jobs, to be read as they are needed, with how many there are of each kind."""
        if not any(images):
            return
        self._source, self._is_read = chain(self._source, source), False
        self.left += [0] * (len(images) - len(self.left))
        for place, more in enumerate(images):
            self.left[place] += more
        self._tell()

    def close(self) -> None:
        """Expect nothing more than what is here."""
        self.expects_more = False
        self._tell()

    def lane_of(self, job: Job) -> str | None:
        """Return the lane that a job at work was handed to."""
        return self._at_work.get(job.id, (None, 0))[0]

    def at_work(self, job_id: str) -> tuple[str, int] | None:
        """Return the lane of a job that was handed out, and the place of its kind."""
        return self._at_work.get(job_id)

    def all_at_work(self) -> Mapping[str, tuple[str, int]]:
        """Return all that was handed out and has not ended: by job, its lane and the place of its kind."""
        return self._at_work

    def move(self, job_id: str, lane: str) -> None:
        """Note that another lane than planned takes a job that was handed out."""
        self._at_work[job_id] = (lane, self._at_work[job_id][1])

    def end(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._at_work.pop(job_id, None)

    async def next(self, account: str) -> Job | None:
        """Return the next job for one of an account's lanes, waiting until there is one; None when there never will be.

        Args:
            account: Whose slots are free.
        """
        while self._stop.reason is None:
            if (job := self.pick(account)) is not None:
                return job
            if self._reads_on(account):
                await asyncio.sleep(0)
                continue
            if self._is_empty and not self.expects_more:
                return None
            self._changed.clear()
            await self._changed.wait()
        return None

    def pick(self, account: str) -> Job | None:
        """Return the next job for one of an account's lanes, if there is one here: cheap lanes first."""
        best: tuple[bool, float, int, str] | None = None
        for place, share in enumerate(self._shares):
            if place >= len(self._read) or not self._read[place]:
                continue
            for lane, images in share.items():
                is_paced = (place, lane) in self._paced
                if images <= 0 or self._accounts.get(lane) != account or lane in self._shut:
                    continue
                if is_paced and self._credit.get(lane, 0.0) < 1:
                    continue
                candidate = (is_paced, -images, place, lane)
                best = candidate if best is None else min(best, candidate)
        return None if best is None else self._hand_out(best[2], best[3], paced=best[0])

    def _hand_out(self, place: int, lane: str, *, paced: bool) -> Job:
        job = self._read[place].popleft()
        self._shares[place][lane] -= 1
        self.left[place] -= 1
        if paced:
            self._credit[lane] -= 1
        self._at_work[job.id] = (lane, place)
        return job

    def _reads_on(self, account: str) -> bool:
        """Read some more, if there is more and it may be of use to an account; tell whether anything was read."""
        if self._is_read or sum(map(len, self._read)) >= MOST_ASIDE or not self._has_share(account):
            return False
        some = list(islice(self._source, READ_AT_ONCE))
        for job in some:
            self._put(job)
        self._is_read = len(some) < READ_AT_ONCE
        return bool(some)

    def _has_share(self, account: str) -> bool:
        lanes = (lane for share in self._shares for lane, images in share.items() if images > 0)
        return any(self._accounts.get(lane) == account for lane in lanes)

    def _put(self, job: Job) -> None:
        place = self.table.of(job)
        while place >= len(self._read):
            self._read.append(deque())
        while place >= len(self.left):
            self.left.append(0)
        self._read[place].append(job)

    def _tell(self) -> None:
        self._changed.set()
