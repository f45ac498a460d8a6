"""What all processes together take from an account."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from nanobatch.limits.account import ALIVE_SECONDS, Account, Answer, Ask, Holder, Meter, Returned, exchange
from nanobatch.model import Cost

NOON = 1_790_000_000.0
ONE = Cost()
RPM = Meter("requests", 10, 61.25)
TODAY = frozenset({"2026-11-24"})


def ask(who: str = "a", wanted: int = 0, **more: object) -> Ask:
    """Ask for so many requests, none of them inside yet."""
    plain = Ask(holder=who, meters=[RPM], concurrency=100, costs=[ONE] * wanted, entering=wanted, wants_slots=wanted)
    return replace(plain, **more)  # type: ignore[arg-type]


def give(account: Account, who: str = "a", wanted: int = 0, at: float = 0.0, **more: object) -> Answer:
    """Do one exchange, so many seconds after noon."""
    return exchange(account, ask(who, wanted, **more), NOON + at)


def test_one_alone_gets_the_whole_window_at_once() -> None:
    """And then nothing before the window and its margin are over."""
    account = Account()
    first = give(account, wanted=15)
    assert (first.granted, first.slots) == (10, 10)
    late = give(account, wanted=5, at=61.0, slots=10)
    assert late.granted == 0
    assert late.quota_in == pytest.approx(0.25, abs=1e-3)
    assert give(account, wanted=5, at=61.25).granted == 5


def test_what_one_took_the_other_cannot_have() -> None:
    """The window belongs to the account, not to whoever asks."""
    account = Account()
    assert give(account, "a", 7).granted == 7
    assert give(account, "b", 7, at=1.0).granted == 3


def test_what_is_given_back_is_there_at_once() -> None:
    """Unused leases return to the moment at which they were taken, so the window stays exact."""
    account = Account()
    given = give(account, wanted=10)
    back = Returned(given.at, Cost(requests=4, images=0, tokens=0), frozenset())
    assert give(account, "b", 9, at=5.0).granted == 0
    assert give(account, at=5.0, returned=[back]).granted == 0
    assert give(account, "b", 9, at=5.0).granted == 4
    assert give(account, "b", 9, at=61.3).granted == 6


def test_nobody_gets_back_more_than_was_taken() -> None:
    """A lease that is returned twice, or of another moment, makes no new quota."""
    account = Account()
    given = give(account, wanted=10)
    back = Returned(given.at, Cost(requests=10, images=0, tokens=0), frozenset())
    other = Returned(given.at - 30, Cost(requests=10, images=0, tokens=0), frozenset())
    give(account, at=1.0, returned=[back, back, other])
    assert give(account, "b", 30, at=2.0).granted == 10


def test_what_was_used_without_a_lease_counts_from_when_it_is_told() -> None:
    """A run that went on alone owes the window and the day what it took."""
    account = Account()
    owed = Returned(0.0, Cost(requests=-6, images=0, tokens=0), TODAY)
    give(account, returned=[owed], days=TODAY, per_day=100)
    assert give(account, "b", 10, at=1.0).granted == 4
    assert account.days["2026-11-24"] == 6


def test_who_had_least_comes_first() -> None:
    """A newcomer is served before the one that has emptied the window."""
    account = Account()
    assert give(account, "a", 20).granted == 10
    give(account, "a", 20, at=30.0)
    assert give(account, "b", 20, at=60.0).granted == 0
    assert give(account, "a", 20, at=61.3).granted == 0  # b waits and has had nothing
    assert give(account, "b", 20, at=61.4).granted == 10


def test_a_neighbour_that_asks_no_more_holds_nobody_up() -> None:
    """Whoever has not asked for some seconds does not wait any more."""
    account = Account()
    give(account, "a", 20)
    give(account, "b", 20, at=55.0)
    assert give(account, "a", 20, at=61.3).granted == 10


def test_a_long_past_counts_for_one_window_at_most() -> None:
    """Who worked alone for an hour is not kept waiting for an hour."""
    account = Account(holders={"a": Holder(seen=NOON, level=6000.0, wants=20)})
    give(account, "b", 20)
    assert account.holders["b"].level == 6000  # one window behind, and served with one
    parts = {"a": 0, "b": 10}
    for second in range(1, 190):
        for who in parts:
            parts[who] += give(account, who, 20, at=second).granted
    assert parts["a"] >= 15  # of 40: the one window ahead is made up for, the hour is not
    assert sum(parts.values()) == 40


def test_slots_of_all_are_never_more_than_the_limit() -> None:
    """The second gets what the first has left, and its fair part when the first gives up some."""
    account = Account()
    plenty = Meter("requests", 1000, 61.25)
    one = give(account, "a", 8, meters=[plenty], concurrency=8)
    assert (one.granted, one.slots) == (8, 8)
    two = give(account, "b", 8, at=0.1, meters=[plenty], concurrency=8)
    assert (two.granted, two.slots) == (0, 0)
    assert two.slots_in == 0.25
    told = give(account, "a", 4, at=0.2, meters=[plenty], concurrency=8, slots=8, in_flight=8)
    assert told.fair_slots == 4
    give(account, "a", 0, at=0.3, meters=[plenty], concurrency=8, slots=5, in_flight=5)
    assert give(account, "b", 8, at=0.4, meters=[plenty], concurrency=8).slots == 3


def test_a_silent_process_frees_its_slots() -> None:
    """Within a minute."""
    assert ALIVE_SECONDS < 60
    account = Account()
    give(account, "dead", 4, concurrency=4)
    assert give(account, "b", 4, at=ALIVE_SECONDS - 1, concurrency=4).slots == 0
    assert give(account, "b", 4, at=ALIVE_SECONDS, concurrency=4).slots == 4


def test_a_process_known_to_be_dead_frees_its_slots_at_once() -> None:
    """But never the asker itself, whatever the neighbourhood says of it."""
    account = Account()
    give(account, "dead", 4, concurrency=4)
    answer = exchange(account, ask("b", 4, concurrency=4), NOON + 1, is_gone=lambda _: True)
    assert answer.slots == 4
    assert set(account.holders) == {"b"}


def test_who_leaves_leaves_nothing() -> None:
    """Its slots are free, and it is nobody's rival."""
    account = Account()
    give(account, "a", 4, concurrency=4)
    give(account, "a", at=1.0, leaves=True)
    assert not account.holders
    assert give(account, "b", 4, at=1.0, concurrency=4).slots == 4


def test_the_day_is_counted_for_all() -> None:
    """And ends with the last request of its quota, whoever sends it."""
    account = Account()
    assert give(account, "a", 3, days=TODAY, per_day=5, meters=[]).granted == 3
    answer = give(account, "b", 4, days=TODAY, per_day=5, meters=[])
    assert answer.granted == 2
    assert answer.days == {"2026-11-24": 5}
    assert give(account, "b", 4, at=1.0, days=frozenset({"2026-11-25"}), per_day=5, meters=[]).granted == 4


def test_around_midnight_a_request_counts_on_both_days() -> None:
    """The provider's clock may be a little ahead or behind."""
    account = Account()
    both = frozenset({"2026-11-24", "2026-11-25"})
    give(account, "a", 3, meters=[], days=both, per_day=5)
    assert give(account, "b", 9, meters=[], days=TODAY, per_day=5).granted == 2
    assert account.days == {"2026-11-24": 5, "2026-11-25": 3}


def test_only_three_days_are_kept() -> None:
    """The state stays small."""
    account = Account(days={f"2026-11-{day}": 1 for day in range(10, 20)})
    give(account)
    assert sorted(account.days) == ["2026-11-17", "2026-11-18", "2026-11-19"]


def test_a_day_that_the_provider_calls_spent_is_spent_for_all() -> None:
    """Whatever was counted here."""
    account = Account()
    give(account, "a", meters=[], days=TODAY, per_day=50, spent_days=TODAY)
    assert give(account, "b", 5, meters=[], days=TODAY, per_day=50).granted == 0


def test_a_429_calms_everybody() -> None:
    """Nobody asks the provider before the moment that it named to one of them."""
    account = Account()
    give(account, "a", blocked_for=7.0)
    waits = give(account, "b", 3, at=2.0)
    assert waits.granted == 0
    assert waits.quota_in == pytest.approx(5.0)
    assert give(account, "b", 3, at=7.0).granted == 3


def test_tokens_and_images_count_by_amount() -> None:
    """The meter that is empty first decides."""
    account = Account()
    meters = [Meter("requests", 100, 61.25), Meter("tokens", 5000, 61.25)]
    cost = Cost(requests=1, images=1, tokens=2000)
    answer = exchange(account, Ask("a", meters, concurrency=10, costs=[cost] * 4, entering=4, wants_slots=4), NOON)
    assert answer.granted == 2
    more = Returned(NOON, Cost(requests=0, images=0, tokens=-900), frozenset())
    small = Cost(requests=1, images=1, tokens=200)
    later = Ask(
        "a", meters, concurrency=10, costs=[small], entering=1, wants_slots=1, slots=2, in_flight=2, returned=[more]
    )
    assert exchange(account, later, NOON + 1).granted == 0


def test_leases_ahead_are_only_made_of_plenty() -> None:
    """The last of a window must not lie with somebody idle."""
    account = Account()
    rich = Meter("requests", 1000, 61.25)
    assert give(account, "a", 60, meters=[rich], concurrency=4, ahead=20).granted == 24
    poor = Meter("requests", 20, 61.25)
    assert give(Account(), "a", 8, meters=[poor], concurrency=4, ahead=20).granted == 5


def test_a_pause_lasts_as_long_as_it_was_meant_to() -> None:
    """Also where the clock is set back by a day meanwhile; and whoever is at work keeps its slots."""
    account = Account()
    give(account, "a", 3, at=86_400.0, concurrency=4)
    give(account, "a", at=86_400.0, slots=3, in_flight=3, concurrency=4, blocked_for=7.0)
    waits = give(account, "b", 4, at=0.0, concurrency=4)
    assert waits.granted == 0
    assert waits.quota_in == pytest.approx(7.0)
    assert give(account, "b", 4, at=7.0, concurrency=4).granted == 1
    assert give(account, "b", 4, at=60.0, concurrency=4).granted == 4  # a has been silent for too long


def test_days_of_a_clock_that_was_ahead_hide_nothing() -> None:
    """Today counts, however many later days somebody has seen already."""
    account = Account(days={f"2027-01-0{day}": 1 for day in range(1, 5)})
    give(account, "a", 3, meters=[], days=TODAY, per_day=5)
    assert give(account, "b", 9, meters=[], days=TODAY, per_day=5).granted == 2


def test_a_clock_that_was_ahead_blocks_nobody_for_ever() -> None:
    """What was counted in the future counts from now."""
    account = Account()
    give(account, "a", 10, at=5000.0)
    assert give(account, "b", 1, at=0.0).granted == 0
    assert give(account, "b", 1, at=61.5).granted == 1


def test_the_state_survives_its_store() -> None:
    """Everything that decides is in what is written."""
    account = Account()
    give(account, "a", 7, days=TODAY, per_day=50, blocked_for=3.0)
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(account), type=Account)
    assert copy == account
    assert len(msgspec.msgpack.encode(account)) < 200


def test_the_state_stays_small_under_load() -> None:
    """Ten thousand requests a minute are some hundred numbers."""
    account = Account()
    fast = Meter("requests", 10_000, 61.25)
    for step in range(10_000):
        give(account, "a", 1, at=step / 160, meters=[fast], slots=1)
    assert len(account.meters["requests"]) <= 620
    assert len(msgspec.msgpack.encode(account)) < 16_000
