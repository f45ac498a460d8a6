"""Which lanes there are, what an image costs in each, and what they share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nanobatch.catalog import Terms, load_catalog
from nanobatch.mix_lanes import KindTable, Likeness, MixLane, lanes_of, latency_of, options_of
from nanobatch.pools import DAY, Rounds, Slots, Windows
from nanobatch.settings import (
    BatchSettings,
    Defaults,
    Limits,
    OutputSettings,
    ProviderSettings,
    RunSettings,
    Settings,
)
from tests.harness import make_job, settings

CATALOG = load_catalog()
PRO = Likeness("nano-banana-pro", "1K", 0, (0, 1, 2))


def google(**more: Any) -> ProviderSettings:
    entry = CATALOG.providers["google"]
    limits = Limits(rpm=150, rpd=10_000, concurrency=10)
    batch = BatchSettings(factor=0.5, jobs=100, enqueued_tokens={"gemini-3-pro-image": 2_000_000})
    given = {"terms": Terms("google", entry, protocol="gemini"), "limits": limits, "batch": batch, **more}
    return replace(settings("google"), **given)


def lanes(*providers: ProviderSettings) -> list[MixLane]:
    return lanes_of(Settings(Defaults(), RunSettings(), OutputSettings(), providers), CATALOG)


def test_a_provider_has_up_to_three_lanes() -> None:
    """At once, at its leisure, by the file; one that sells nothing cheaper has the first only."""
    found = lanes(google(), settings("relay"))
    assert [lane.name for lane in found] == ["google/sync", "relay/sync", "google/flex", "google/batch"]
    flex = found[2].seller.settings
    assert (flex.flex, flex.options["serviceTier"]) == (True, "flex")


def test_who_asks_for_flex_gets_nothing_dearer() -> None:
    """`tier_of_service: flex` is the provider's own lane then; there is no usual one beside it."""
    found = lanes(google(flex=True, terms=Terms("google", CATALOG.providers["google"], protocol="gemini", flex=True)))
    assert [lane.name for lane in found] == ["google/flex", "google/batch"]


def test_who_names_the_usual_tier_gets_no_other() -> None:
    """`tier_of_service: standard`, written down, keeps a mix off the preview."""
    assert [lane.kind for lane in lanes(google(flex_in_mixes=False))] == ["sync", "batch"]


def test_prices_of_your_own_have_no_flex_lane() -> None:
    """Nobody knows what half of them would be."""
    found = lanes(google(terms=Terms("google", CATALOG.providers["google"], {"1K": 0.1}, protocol="gemini")))
    assert [lane.kind for lane in found] == ["sync", "batch"]


def test_an_image_costs_what_is_expected_of_it() -> None:
    """What is likely, and a little of what it may be more: of two at one price the batch, because flex may be served as usual."""
    likely = (1120 * 120 + 400 * 12 + 100 * 2) / 1e6  # an image, thoughts and a prompt, by their tokens
    sync, flex, batch = options_of(PRO, lanes(google()))
    assert sync.usd == pytest.approx(0.99 * likely + 0.01 * 0.134 * 1.25)
    assert flex.usd == pytest.approx(0.99 * likely / 2 + 0.01 * 0.134 * 1.25)
    assert batch.usd == pytest.approx(0.99 * likely / 2 + 0.01 * 0.067 * 1.25)
    assert (sync.soonest, flex.soonest, batch.soonest) == (22, 300, DAY)


def test_sync_and_flex_share_an_account() -> None:
    """The same slots, and the same quotas by minute and by day; batches have others."""
    sync, flex, batch = options_of(PRO, lanes(google()), words=20)
    assert set(sync.takes) == set(flex.takes)
    assert sync.takes[Slots("google", 10)] == 22
    assert flex.takes[Slots("google", 10)] == 300
    assert [pool.name for pool in sync.takes if isinstance(pool, Windows)] == ["rpm", "rpd"]
    tokens = Rounds("google", "tokens of gemini-3-pro-image", 2_000_000, DAY)
    assert batch.takes[tokens] == 1120 + 500 + 20
    assert batch.takes[Rounds("google", "batches", 100, DAY)] == pytest.approx(1 / 125)


def test_answers_take_what_the_user_says() -> None:
    """--latency is about answers at once, whichever the tier; a batch takes its hours."""
    sync, flex, batch = lanes(google())
    assert [latency_of(lane, PRO, 5.0) for lane in (sync, flex, batch)] == [5.0, 5.0, DAY]
    nobody_knows = Likeness("house-model", "1K", 0, (0,))
    relay = MixLane("sync", lanes(settings("relay"))[0].seller)
    assert latency_of(relay, nobody_knows) == 20


def test_jobs_that_are_alike_for_all_lanes_are_one_kind() -> None:
    """Model, size, references and who can take it decide; the words do not."""
    table = KindTable(lanes(google(), settings("relay", prices={"1K": 0.1})))
    jobs = [
        make_job(1, model="nano-banana-pro"),
        make_job(2, model="nano-banana-pro"),
        make_job(3, model="nano-banana-pro", size="2K"),
    ]
    pinned = make_job(4, model="nano-banana-pro")
    jobs.append(replace(pinned, prompt=replace(pinned.prompt, provider="google")))
    assert [table.of(job) for job in jobs] == [0, 0, 1, 2]
    assert [kind.lanes for kind in table.kinds] == [(0, 1, 2, 3), (0, 2, 3), (0, 2, 3)]
    assert [kind.size for kind in table.kinds] == ["1K", "2K", "1K"]
