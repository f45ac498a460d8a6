"""The cheapest mix against a search through all of them: minimal cost, no pool over its brim, nobody left out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanobatch.mix import Kind, Mix, Option, bound, cheapest, duration, fastest, with_reserve
from nanobatch.pools import DAY, MINUTE, Pool, Rounds, Slots, Windows

HOUR = 3600.0


def sync(lane: str, usd: float, seconds: float, *pools: Pool) -> Option:
    """A lane that answers at once: a slot for as long as that takes, and one request."""
    return Option(lane, usd, seconds, {pool: seconds if isinstance(pool, Slots) else 1.0 for pool in pools})


def divisions(images: int, lanes: Sequence[str]) -> Iterator[dict[str, int]]:
    """Yield every way to divide so many images among lanes."""
    for cuts in itertools.combinations_with_replacement(range(images + 1), max(0, len(lanes) - 1)):
        edges = (0, *cuts, images)
        yield {lane: edges[at + 1] - edges[at] for at, lane in enumerate(lanes)}


def used(kinds: Sequence[Kind], shares: Sequence[Mapping[str, int]]) -> dict[Pool, float]:
    total: dict[Pool, float] = {}
    for kind, share in zip(kinds, shares, strict=True):
        for option in kind.options:
            for pool, amount in option.takes.items():
                total[pool] = total.get(pool, 0.0) + amount * share.get(option.lane, 0)
    return total


def price(kinds: Sequence[Kind], shares: Sequence[Mapping[str, int]]) -> float:
    return sum(
        option.usd * share.get(option.lane, 0)
        for kind, share in zip(kinds, shares, strict=True)
        for option in kind.options
    )


def by_hand(kinds: Sequence[Kind], seconds: float) -> float | None:
    """Return the least cost of all divisions that fit, the slow and certain way."""
    able = [[option.lane for option in kind.options if option.soonest <= seconds] for kind in kinds]
    if any(kind.images and not lanes for kind, lanes in zip(kinds, able, strict=True)):
        return None
    ways: list[list[dict[str, int]]] = [
        list(divisions(kind.images, lanes)) if lanes else [{}] for kind, lanes in zip(kinds, able, strict=True)
    ]
    fitting = [
        price(kinds, shares)
        for shares in itertools.product(*ways)
        if all(amount <= pool.capacity(seconds) + 1e-9 for pool, amount in used(kinds, shares).items())
    ]
    return min(fitting, default=None)


ACCOUNTS = ("a", "b", "c")


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Kind], float]:
    pools = {account: Slots(account, draw(st.integers(1, 2))) for account in ACCOUNTS}
    minutes = {account: Windows(account, "rpm", draw(st.integers(1, 4)), MINUTE, 10.0) for account in ACCOUNTS}
    kinds = []
    for _ in range(draw(st.integers(1, 2))):
        lanes = draw(st.lists(st.sampled_from(ACCOUNTS), min_size=1, max_size=3, unique=True))
        options = tuple(
            sync(
                lane,
                draw(st.integers(1, 9)) / 10,
                draw(st.sampled_from([10.0, 15.0, 40.0])),
                pools[lane],
                minutes[lane],
            )
            for lane in lanes
        )
        kinds.append(Kind(draw(st.integers(0, 6)), options))
    return kinds, float(draw(st.sampled_from([10, 30, 45, 80, 130])))


@given(problems())
@settings(max_examples=150, deadline=None)
def test_nothing_that_fits_is_cheaper(problem: tuple[list[Kind], float]) -> None:
    """The search through all divisions finds the same cost; everybody has a lane, and no pool overflows."""
    kinds, seconds = problem
    found, least = cheapest(kinds, seconds), by_hand(kinds, seconds)
    assert (found is None) == (least is None)
    if found is None or least is None:
        return
    assert found.usd == pytest.approx(least)
    assert found.usd == pytest.approx(price(kinds, found.shares))
    assert [sum(share.values()) for share in found.shares] == [kind.images for kind in kinds]
    for pool, amount in used(kinds, found.shares).items():
        assert amount <= pool.capacity(seconds) + 1e-6
    assert found.seconds <= seconds + 1e-6


@given(problems())
@settings(max_examples=80, deadline=None)
def test_the_fastest_mix_has_no_faster_one(problem: tuple[list[Kind], float]) -> None:
    """Within its own time it is the cheapest; a hundredth less, and nothing is done in time."""
    kinds, _ = problem
    found = fastest(kinds)
    assert [sum(share.values()) for share in found.shares] == [kind.images for kind in kinds]
    least = by_hand(kinds, found.seconds + 1e-6)
    assert least is not None
    assert found.usd <= least * 1.5 + 1e-9
    if found.seconds > 0:
        assert by_hand(kinds, found.seconds * 0.99) is None


def test_who_saves_most_gets_the_cheap_lane() -> None:
    """A greedy choice fills the cheap lane with the first kind and pays 4.5 more."""
    slots = Slots("a", 1)
    small = Kind(10, (sync("a/flex", 0.05, 10, slots), sync("b/sync", 0.10, 10, Slots("b", 99))))
    large = Kind(10, (sync("a/flex", 0.10, 10, slots), sync("b/sync", 0.60, 10, Slots("b", 99))))
    found = cheapest([small, large], 100)
    assert found is not None
    assert found.shares == ({"b/sync": 10}, {"a/flex": 10})


def test_two_lanes_of_an_account_share_its_slots() -> None:
    """Slow and cheap takes what the time allows; the rest is quick and dear, on the same slots."""
    slots = Slots("google", 10)
    kind = Kind(1000, (sync("google/flex", 0.067, 300, slots), sync("google/sync", 0.134, 20, slots)))
    found = cheapest([kind], 3 * HOUR)
    assert found is not None
    flex, quick = found.of("google/flex"), found.of("google/sync")
    assert flex + quick == 1000
    assert flex * 300 + quick * 20 <= 10 * 3 * HOUR < (flex + 1) * 300 + (quick - 1) * 20
    assert found.of("nobody") == 0


def test_batches_only_where_their_hours_fit() -> None:
    """Half the price in 24 hours is no help by tonight."""
    batch = Option("google/batch", 0.067, 24 * HOUR, {Rounds("google", "tokens", 2_000_000, 24 * HOUR): 1620.0})
    kind = Kind(1000, (sync("google/sync", 0.134, 20, Slots("google", 10)), batch))
    day, evening = cheapest([kind], 26 * HOUR), cheapest([kind], 8 * HOUR)
    assert day is not None
    assert day.shares == ({"google/batch": 1000},)
    assert day.seconds == 24 * HOUR
    assert evening is not None
    assert evening.shares == ({"google/sync": 1000},)
    assert evening.seconds == pytest.approx(2000)


def test_what_is_enqueued_has_a_limit() -> None:
    """2,000,000 tokens in a round of 24 hours are 1,234 images; two rounds have room for twice as many."""
    tokens = Rounds("google", "tokens", 2_000_000, 24 * HOUR)
    kind = Kind(
        3000,
        (
            sync("google/sync", 0.134, 20, Slots("google", 10)),
            Option("google/batch", 0.067, 24 * HOUR, {tokens: 1620.0}),
        ),
    )
    one, two = cheapest([kind], 26 * HOUR), cheapest([kind], 48 * HOUR)
    assert one is not None
    assert one.of("google/batch") == 1234
    assert two is not None
    assert two.of("google/batch") == 2469
    assert two.seconds == 48 * HOUR


def test_when_nothing_is_in_time_the_fastest_is_known() -> None:
    """Two accounts together need 500 s for 1,000 images; less time has no mix."""
    kind = Kind(1000, (sync("a", 0.1, 10, Slots("a", 10)), sync("b", 0.2, 10, Slots("b", 10))))
    assert cheapest([kind], 400) is None
    found = fastest([kind], after=400)
    assert found.seconds == pytest.approx(500, rel=0.002)
    assert found.usd == pytest.approx(150, rel=0.01)


def test_a_million_images_of_many_kinds_are_no_work() -> None:
    """The program is about kinds; how many images each has does not matter."""
    pools = [Slots(str(n), 10 + n) for n in range(6)]
    kinds = [
        Kind(
            50_000 + place,
            tuple(sync(str(n), 0.01 * (1 + (n * place) % 7), 5.0 + (n + place) % 11, pools[n]) for n in range(6)),
        )
        for place in range(20)
    ]
    found = cheapest(kinds, 4 * DAY)
    assert isinstance(found, Mix)
    assert sum(map(found.of, "012345")) == sum(kind.images for kind in kinds)
    assert found.seconds <= 4 * DAY + 1e-3


def test_nobody_for_a_kind_is_a_mistake() -> None:
    """The preflight sees to it that every row has a provider; the search does not run forever when it has not."""
    with pytest.raises(ValueError, match="nobody"):
        fastest([Kind(1, ())])
    with pytest.raises(ValueError, match="room for nothing"):
        fastest([Kind(1, (sync("a", 0.1, 1.0, Slots("a", 0)),))])


def test_nothing_to_do_takes_no_time() -> None:
    """No images, no lanes, no seconds."""
    assert cheapest([], 0.0) == Mix((), 0.0, 0.0)
    assert duration([Kind(0, ())], [{}]) == 0.0


def test_what_takes_the_time_is_named() -> None:
    """The pool that is used up last; nothing where a single answer takes longer than all pools."""
    slots, minutes = Slots("a", 1), Windows("a", "rpm", 5, MINUTE)
    kind = Kind(20, (sync("a", 0.1, 10, slots, minutes),))
    assert bound([kind], [{"a": 20}]) == (200, slots)
    wide = Kind(20, (sync("a", 0.1, 10, Slots("a", 100), minutes),))
    assert bound([wide], [{"a": 20}]) == (3 * MINUTE, minutes)
    assert bound([wide], [{"a": 1}]) == (10, None)


def test_a_reserve_is_a_part_of_the_slots() -> None:
    """With a tenth kept free, and room for the last answers to end one by one, 81 of 100 fit into the same time."""
    kind = Kind(100, (sync("a", 0.1, 10, Slots("a", 10)),))
    assert cheapest([kind], 100) is not None
    assert cheapest(with_reserve([Kind(82, kind.options)], 0.1), 100) is None
    assert cheapest(with_reserve([Kind(81, kind.options)], 0.1), 100) is not None
