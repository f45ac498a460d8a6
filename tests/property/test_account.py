"""The shared ledger keeps every limit, whatever its processes ask, give back, and whenever they die."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from nanobatch.limits.account import Account, Ask, Meter, Returned, exchange
from nanobatch.model import Cost

CAPACITY, PERIOD, CONCURRENCY, PER_DAY = 12, 61.25, 7, 40
METERS = [Meter("requests", CAPACITY, PERIOD)]
DAY = frozenset({"2026-11-24"})


@dataclass
class Process:
    """Somebody who obeys the answers."""

    slots: int = 0
    in_flight: int = 0
    leases: list[float] = field(default_factory=list)  # when each unused lease was granted
    used: list[float] = field(default_factory=list)


step = st.tuples(
    st.integers(0, 2),  # who
    st.floats(0.0, 20.0),  # seconds since the last step
    st.integers(0, 20),  # wanted
    st.integers(0, 5),  # leases used
    st.integers(0, 3),  # leases given back
    st.integers(0, 7),  # requests that end
    st.sampled_from(["go on"] * 8 + ["die", "leave"]),
)


@given(st.lists(step, max_size=60))
def test_no_window_no_day_and_no_moment_sees_more_than_the_limit(
    steps: list[tuple[int, float, int, int, int, int, str]],
) -> None:
    """Requests count from their grant; who dies wastes what it had and never adds to it."""
    account, now = Account(), 1_790_000_000.0
    processes = {name: Process() for name in "abc"}
    counted: list[float] = []  # grants that were used or still may be
    today = 0
    for who, gap, wanted, used, back, ended, fate in steps:
        now += gap
        for other, process in processes.items():  # signs of life come far more often than this
            if process.slots:
                process.slots = exchange(account, Ask(other, METERS, CONCURRENCY, slots=process.slots), now).slots
        name = "abc"[who]
        me = processes[name]
        start = min(used, len(me.leases), me.slots - me.in_flight)
        me.in_flight += start
        del me.leases[:start]
        me.in_flight -= min(ended, me.in_flight)
        if fate == "die":
            processes[name] = Process()  # the ledger finds out by its silence
            continue
        returned = [Returned(at, Cost(requests=1, images=0, tokens=0), DAY) for at in me.leases[:back]]
        for item in returned:
            counted.remove(item.at)
            today -= 1
        del me.leases[:back]
        leaves = fate == "leave" and not me.in_flight
        ask = Ask(
            name,
            METERS,
            CONCURRENCY,
            days=DAY,
            per_day=PER_DAY,
            costs=[Cost()] * wanted,
            entering=wanted,
            ahead=3,
            slots=max(me.in_flight, min(me.slots, me.in_flight + len(me.leases) + wanted)),
            in_flight=me.in_flight + len(me.leases),
            wants_slots=wanted,
            returned=returned,
            leaves=leaves,
        )
        answer = exchange(account, ask, now)
        if leaves:
            processes[name] = Process()
            continue
        me.slots = answer.slots
        me.leases += [now] * answer.granted
        counted += [now] * answer.granted
        today += answer.granted
        assert today <= PER_DAY
        assert sum(at > now - 60.0 for at in counted) <= CAPACITY
        assert sum(holder.slots for holder in account.holders.values()) <= CONCURRENCY


@given(st.integers(0, 10**6))
def test_whoever_keeps_asking_gets_its_part(seed: int) -> None:
    """Nobody starves, and no quota is left lying while somebody wants it."""
    rng = random.Random(seed)
    account, now, parts = Account(), 1_790_000_000.0, dict.fromkeys("abcd", 0)
    began = now
    for _ in range(400):
        now += rng.uniform(0.01, 1.0)
        for name in (rng.choice("abcd"), *"abcd"):  # one of them twice
            ask = Ask(name, METERS, 1000, costs=[Cost()] * 30, entering=30, wants_slots=30)
            parts[name] += exchange(account, ask, now).granted
    windows = int((now - began) // (PERIOD + 1.2)) + 1
    assert sum(parts.values()) >= CAPACITY * windows
    assert max(parts.values()) - min(parts.values()) <= CAPACITY
