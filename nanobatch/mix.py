"""Divides images among lanes so that they cost the least and are done in time, as pure arithmetic.

Images are counted by kind; for each kind there are options, one for each lane that can draw it: what an image costs
there, how soon the first can be back, and what it takes of the pools that bound the lane. A pool is shared by whoever
takes from it: the flex tier and the usual one of an account have the same slots and the same quota. What fits into a
pool depends on the time that there is. So the cheapest mix for a deadline is a small linear program, whose answer is
rounded to whole images by branch and bound; a greedy choice would not do, because the lane that is cheapest for all
kinds must go to those who save the most there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nanobatch.linear import Row, Solution, minimise
from nanobatch.pools import DAY, Pool, Slots

CLOSE = 1e-6  # of an image
BRIM = 1e-9  # of a pool: what sums of many numbers are off by
EXACT_IMAGES = 1000  # below which the last cent is looked for
NEAR = 1e-4  # of the cost: near enough for more images
NODES = 400  # of the search, at most
SEARCHES = 24  # for the shortest time, each halving what is not known
FOREVER = 1000 * 365 * DAY


@dataclass(frozen=True, slots=True)
class Option:
    """One lane for one kind."""

    lane: str
    usd: float  # expected, for one image
    soonest: float  # seconds until the first image is back
    takes: Mapping[Pool, float] = field(default_factory=dict)  # by one image


@dataclass(frozen=True, slots=True)
class Kind:
    """So many images that are alike for all lanes."""

    images: int
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Mix:
    """How many images of each kind go to each lane."""

    shares: tuple[Mapping[str, int], ...]  # for each kind: by lane
    usd: float
    seconds: float  # until all are done

    def of(self, lane: str) -> int:
        """Count a lane's images."""
        return sum(share.get(lane, 0) for share in self.shares)


def cheapest(kinds: Sequence[Kind], seconds: float) -> Mix | None:
    """Return the cheapest mix that is done within a time; None where there is none."""
    problem = _Problem(kinds, seconds)
    return problem.mix(found) if (found := problem.solve()) is not None else None


def fastest(kinds: Sequence[Kind], *, after: float = 0.0) -> Mix:
    """Return the cheapest mix for the shortest time in which everything can be done, to within a thousandth.

    Args:
        kinds: All that is wanted.
        after: Seconds that are known to be too few.

    Raises:
        ValueError: A kind has no option.
    """
    if any(kind.images and not kind.options for kind in kinds):
        raise ValueError("nobody can draw a kind")
    low, high = after, max(after, 1.0)
    found = cheapest(kinds, high)
    while found is None and high < FOREVER:
        low, high = high, high * 2
        found = cheapest(kinds, high)
    if found is None:
        raise ValueError("a pool has room for nothing, however long one waits")
    for _ in range(SEARCHES):
        high = min(high, max(found.seconds, low))
        if high - low <= high / 1000:
            break
        middle = (low + high) / 2
        if (better := cheapest(kinds, middle)) is None:
            low = middle
        else:
            found, high = better, middle
    return found


def duration(kinds: Sequence[Kind], shares: Sequence[Mapping[str, int]]) -> float:
    """Return the seconds that shares take: as long as the pool that takes longest."""
    return bound(kinds, shares)[0]


def bound(kinds: Sequence[Kind], shares: Sequence[Mapping[str, int]]) -> tuple[float, Pool | None]:
    """Return the seconds that shares take, and the pool that takes as long; None where a single answer does."""
    used: dict[Pool, float] = {}
    longest = 0.0
    for kind, share in zip(kinds, shares, strict=True):
        for option in kind.options:
            if images := share.get(option.lane, 0):
                longest = max(longest, option.soonest)
                for pool, amount in option.takes.items():
                    used[pool] = used.get(pool, 0.0) + amount * images
    slowest = max(used, key=lambda pool: pool.needs(used[pool]), default=None)
    if slowest is None or slowest.needs(used[slowest]) < longest:
        return longest, None
    return slowest.needs(used[slowest]), slowest


def with_reserve(kinds: Sequence[Kind], part: float) -> list[Kind]:
    """Return the same kinds with a part of all slots kept free, and room for the last answers to end one by one."""
    shortest: dict[Pool, float] = {}
    for kind in kinds:
        for option in kind.options:
            for pool, amount in option.takes.items():
                shortest[pool] = min(shortest.get(pool, amount), amount)

    def less(pool: Pool) -> Pool:
        if not isinstance(pool, Slots):
            return pool
        last = max(0.0, pool.count - 1) * shortest[pool]
        return replace(pool, count=pool.count * (1 - part), taken=pool.taken + last)

    def careful(option: Option) -> Option:
        return replace(option, takes={less(pool): amount for pool, amount in option.takes.items()})

    return [replace(kind, options=tuple(map(careful, kind.options))) for kind in kinds]


class _Problem:
    """One linear program, and the search for whole numbers near its answer."""

    def __init__(self, kinds: Sequence[Kind], seconds: float) -> None:
        self.kinds = kinds
        self.choices = [
            (place, option)
            for place, kind in enumerate(kinds)
            for option in kind.options
            if kind.images and option.soonest <= seconds * (1 + CLOSE)
        ]
        pools = dict.fromkeys(pool for _, option in self.choices for pool in option.takes)
        self.room = {pool: pool.capacity(seconds) for pool in pools}
        self.images = sum(kind.images for kind in kinds)

    def solve(self) -> list[int] | None:
        """Return the images of each choice."""
        root = self._relaxed({}, {})
        if root is None:
            return None
        best = self._rounded(root.values)
        if self.images > EXACT_IMAGES:
            return best if best is not None and self._usd(best) <= root.cost * (1 + NEAR) else self._with_headroom(best)
        return self._searched(best)

    def _with_headroom(self, best: list[int] | None) -> list[int] | None:
        """Solve with so much less room that every number may be rounded up, which costs next to nothing of many."""
        found = self._relaxed({}, {}, headroom=True)
        if found is None:
            return best
        whole = [math.floor(value + CLOSE) for value in found.values]
        left = [kind.images for kind in self.kinds]
        for at, images in enumerate(whole):
            left[self.choices[at][0]] -= images
        for at in sorted(range(len(whole)), key=lambda at: whole[at] - found.values[at]):
            if found.values[at] > whole[at] and left[self.choices[at][0]] > 0:
                whole[at] += 1
                left[self.choices[at][0]] -= 1
        return min([each for each in (best, whole) if each is not None], key=self._usd)

    def _searched(self, best: list[int] | None) -> list[int] | None:
        """Look for the last cent by branch and bound: depth first, and on the nearer side first."""
        best_usd = math.inf if best is None else self._usd(best)
        open_: list[tuple[dict[int, float], dict[int, float]]] = [({}, {})]  # at least, at most: by choice
        nodes = max(10, min(NODES, 6_000 // (1 + len(self.choices))))
        while open_ and (nodes := nodes - 1) > 0:
            least, most = open_.pop()
            found = self._relaxed(least, most)
            if found is None or found.cost >= best_usd - BRIM:
                continue
            whole = self._rounded(found.values)
            if whole is not None and (usd := self._usd(whole)) < best_usd:
                best, best_usd = whole, usd
            distance, at = max(
                ((abs(value - round(value)), at) for at, value in enumerate(found.values)), default=(0.0, 0)
            )
            if distance > CLOSE:
                down = math.floor(found.values[at])
                sides = [(least, {**most, at: float(down)}), ({**least, at: down + 1.0}, most)]
                open_ += sides if found.values[at] - down > 0.5 else sides[::-1]
        return best

    def _relaxed(
        self, least: Mapping[int, float], most: Mapping[int, float], *, headroom: bool = False
    ) -> Solution | None:
        """Solve without regard to whole numbers; what is at least there leaves the bounds and comes back afterwards."""
        wanted = [float(kind.images) for kind in self.kinds]
        room = dict(self.room)
        if headroom:
            for _, option in self.choices:
                for pool, amount in option.takes.items():
                    room[pool] = max(0.0, room[pool] - amount)
        for at, images in least.items():
            place, option = self.choices[at]
            wanted[place] -= images
            for pool, amount in option.takes.items():
                room[pool] -= amount * images
        if any(images < 0 for images in wanted) or any(left < -self._close(pool) for pool, left in room.items()):
            return None
        equal: list[Row] = [({}, images) for images in wanted]
        shared: dict[Pool, dict[int, float]] = {pool: {} for pool in room}
        for at, (place, option) in enumerate(self.choices):
            equal[place] = ({**equal[place][0], at: 1.0}, equal[place][1])
            for pool, amount in option.takes.items():
                shared[pool][at] = amount
        rows: list[Row] = [_scaled(row, max(0.0, room[pool])) for pool, row in shared.items()]
        rows += [({at: 1.0}, max(0.0, images - least.get(at, 0.0))) for at, images in most.items()]
        costs = [option.usd for _, option in self.choices]
        found = minimise(costs, equal=equal, most=rows)
        if found.missing > CLOSE * max(1.0, self.images):
            return None
        values = [value + least.get(at, 0.0) for at, value in enumerate(found.values)]
        return Solution(tuple(values), found.cost + sum(costs[at] * images for at, images in least.items()), 0.0)

    def _close(self, pool: Pool) -> float:
        return BRIM * max(1.0, self.room[pool])

    def _rounded(self, values: Sequence[float]) -> list[int] | None:
        """Round down, then give what is left of each kind to the cheapest lanes that have room."""
        whole = [math.floor(value + CLOSE) for value in values]
        left = [kind.images for kind in self.kinds]
        room = dict(self.room)
        for at, images in enumerate(whole):
            self._take(at, images, left, room)
        for at in sorted(range(len(whole)), key=lambda at: self.choices[at][1].usd):
            place, option = self.choices[at]
            fits = min(
                ((room[pool] + self._close(pool)) / n for pool, n in option.takes.items() if n), default=math.inf
            )
            more = max(0, math.floor(min(fits, left[place])))
            self._take(at, more, left, room)
            whole[at] += more
        if any(left) or any(rest < -self._close(pool) for pool, rest in room.items()):
            return None
        return whole

    def _take(self, at: int, images: int, left: list[int], room: dict[Pool, float]) -> None:
        place, option = self.choices[at]
        left[place] -= images
        for pool, amount in option.takes.items():
            room[pool] -= amount * images

    def _usd(self, whole: Sequence[int]) -> float:
        return sum(option.usd * images for (_, option), images in zip(self.choices, whole, strict=True))

    def mix(self, whole: Sequence[int]) -> Mix:
        """Say whole numbers as shares."""
        shares: list[dict[str, int]] = [{} for _ in self.kinds]
        for (place, option), images in zip(self.choices, whole, strict=True):
            if images:
                shares[place][option.lane] = images
        return Mix(tuple(shares), self._usd(whole), duration(self.kinds, shares))


def _scaled(row: Mapping[int, float], bound: float) -> Row:
    """Divide a row by its largest number, so that seconds and images are of one size for the arithmetic."""
    largest = max(row.values(), default=1.0) or 1.0
    return {at: value / largest for at, value in row.items()}, bound / largest
