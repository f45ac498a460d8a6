"""What a run would cost and how long it would take, computed by hand beside the program."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from nanobatch.catalog import Terms, load_catalog
from nanobatch.estimation import ASSUMED_LATENCY_SECONDS, estimate
from nanobatch.manifest import fingerprint
from nanobatch.model import Job
from nanobatch.routing import Seller
from nanobatch.settings import Limits
from tests.harness import make_job, settings

KEYS = [
    "inputs",
    "output",
    "jobs",
    "already_done",
    "cached",
    "duplicates",
    "to_send",
    "skipped_rows",
    "sandbox",
    "strategy",
    "providers",
    "sizes",
    "cost_usd",
    "duration_seconds",
    "bound_by",
    "warnings",
]
MODEL = "house-model"  # no catalog knows it, so every answer is assumed to take 20 s


def seller(name: str = "first", *, limits: Limits | None = None, prices: dict[str, float] | None = None) -> Seller:
    return Seller(settings(name, limits=limits or Limits(concurrency=10), prices=prices), load_catalog())


def google() -> Seller:
    catalog = load_catalog()
    given = replace(settings("google"), terms=Terms("google", catalog.providers["google"]))
    return Seller(given, catalog)


def jobs(number: int, **more: Any) -> list[Job]:
    return [make_job(index, **{"model": MODEL, **more}) for index in range(1, number + 1)]


def plan(wanted: Sequence[Job], *sellers: Seller, done: Container[int] = (), **more: Any) -> Mapping[str, Any]:
    given = {"inputs": ["p.csv"], "output": "out", "skipped": 0, "sandbox": False, "warnings": (), **more}
    return estimate(wanted, sellers, done=done, **given)


def test_the_keys_are_a_promise() -> None:
    """Scripts read the plan by these names."""
    found = plan(jobs(1), seller(), skipped=2, warnings=["w"])
    assert list(found) == KEYS
    assert list(found["providers"][0]) == ["name", "model", "wire_model", "images", "limits", "price_usd", "cost_usd"]
    assert list(found["cost_usd"]) == ["low", "expected", "high"]
    assert (found["inputs"], found["output"], found["skipped_rows"], found["warnings"]) == (["p.csv"], "out", 2, ["w"])


def test_a_flat_price_is_certain() -> None:
    """Ten images at 13.4 cents."""
    assert plan(jobs(10), seller())["cost_usd"] == {"low": 1.34, "expected": 1.34, "high": 1.34}


def test_tokens_beside_the_image_make_a_spread() -> None:
    """Where thinking is billed too, the high end is the worst price, and what usually comes is expected: 400 tokens."""
    google_seller = google()
    offer = google_seller.offer("nano-banana-pro")
    low, high = offer.price_usd("1K"), offer.worst_price_usd("1K")
    assert low is not None
    assert high is not None
    assert high > low
    cost = plan(jobs(10, model="nano-banana-pro"), google_seller)["cost_usd"]
    assert cost["low"] == pytest.approx(10 * low)
    assert cost["high"] == pytest.approx(10 * high)
    words = sum(len(f"prompt {number}") for number in range(1, 11)) / 4
    assert cost["expected"] == pytest.approx(10 * (1120 * 120e-6 + 400 * 12e-6) + words * 2e-6, abs=1e-4)


def test_reference_images_are_paid_too() -> None:
    """Two of 560 tokens each at $2 a million, in what is expected and in what is set aside."""
    wanted = jobs(100, model="nano-banana-pro")
    with_two = [replace(job, params=replace(job.params, references=("a", "b"))) for job in wanted]
    less, more = plan(wanted, google())["cost_usd"], plan(with_two, google())["cost_usd"]
    assert more["expected"] - less["expected"] == pytest.approx(100 * 2 * 560 * 2e-6)
    assert more["high"] - less["high"] == pytest.approx(100 * 2 * 560 * 2e-6)
    assert more["low"] == less["low"]


def test_flex_is_expected_at_half_price() -> None:
    """It may be served at the usual tier, so that is set aside; expected is what was asked for."""
    catalog = load_catalog()
    flex = replace(settings("google"), terms=Terms("google", catalog.providers["google"], flex=True))
    usual = plan(jobs(10, model="nano-banana-pro"), google())["cost_usd"]
    found = plan(jobs(10, model="nano-banana-pro"), Seller(flex, catalog))["cost_usd"]
    assert found["expected"] == pytest.approx(usual["expected"] / 2, abs=1e-4)
    assert found["high"] == usual["high"]


def test_a_run_that_starts_at_a_moment_gets_its_quota_back_at_midnight() -> None:
    """From ten in the evening until midnight are two hours, and a little for clocks that differ."""
    ten_pm = 1_795_471_200.0  # 2026-11-23 22:00 UTC
    found = plan(jobs(101), seller(limits=Limits(rpd=100, concurrency=1000)), start=ten_pm)
    assert found["duration_seconds"] == pytest.approx(7200 + 20, abs=11)


def test_work_goes_to_others_when_a_day_is_spent() -> None:
    """A free tier of a hundred a day in front of a relay: the relay does the rest, at its price."""
    free = seller("free", limits=Limits(rpd=100, concurrency=10), prices={"1K": 0.01})
    found = plan(jobs(300), free, seller("relay", prices={"1K": 0.05}))
    assert [(row["name"], row["images"]) for row in found["providers"]] == [("free", 100), ("relay", 200)]
    assert found["cost_usd"]["expected"] == pytest.approx(100 * 0.01 + 200 * 0.05)
    assert found["duration_seconds"] == pytest.approx(180 + 400)
    assert found["bound_by"] == "concurrency"


def test_batches_count_on_no_day() -> None:
    """They have a quota of their own, so the first provider gets all of them."""
    free = seller("free", limits=Limits(rpd=100, concurrency=10))
    found = plan(jobs(300), free, seller("relay"), in_batches=True)
    assert [(row["name"], row["images"]) for row in found["providers"]] == [("free", 300)]


def test_a_sandbox_has_no_ledger_to_share() -> None:
    """Its windows are a quarter of a second shorter."""
    limits = Limits(rpm=10, concurrency=1000)
    assert plan(jobs(100), seller(limits=limits), sandbox=True)["duration_seconds"] == 9 * 61 + 20


def test_sizes_have_their_own_prices() -> None:
    """Three small and two large images."""
    found = plan(jobs(3) + [make_job(9 + index, size="2K", model=MODEL) for index in range(2)], seller())
    assert found["cost_usd"]["low"] == pytest.approx(3 * 0.134 + 2 * 0.2)
    assert found["sizes"] == {"1K": 3, "2K": 2}
    assert found["providers"][0]["price_usd"] == {"1K": 0.134, "2K": 0.2}


def test_a_row_without_a_size_counts_as_the_default() -> None:
    """No size is a size of its own in the plan, at the price of the smallest."""
    found = plan(jobs(2, size=None), seller())
    assert found["sizes"] == {"default": 2}
    assert found["cost_usd"]["low"] == pytest.approx(0.268)


def test_what_is_done_costs_nothing_more() -> None:
    """Jobs on disk are counted and left out of cost and time."""
    wanted = jobs(10)
    found = plan(wanted, seller(), done={fingerprint(job.id) for job in wanted[:7]})
    assert (found["jobs"], found["already_done"], found["to_send"]) == (10, 7, 3)
    assert found["cost_usd"]["high"] == pytest.approx(0.402)


def test_nothing_to_do_takes_no_time() -> None:
    """All on disk: no provider, no cost, no bound."""
    wanted = jobs(3)
    found = plan(wanted, seller(), done={fingerprint(job.id) for job in wanted})
    assert (found["providers"], found["sizes"], found["duration_seconds"], found["bound_by"]) == (
        [],
        {},
        0.0,
        "nothing",
    )
    assert found["cost_usd"] == {"low": 0.0, "expected": 0.0, "high": 0.0}


@pytest.mark.parametrize(
    ("images", "limits", "seconds", "bound"),
    [
        (1, Limits(concurrency=10), 20.0, "concurrency"),  # one answer
        (100, Limits(concurrency=10), 200.0, "concurrency"),  # ten rounds of 20 s
        (1, Limits(rpm=5, concurrency=10), 20.0, "concurrency"),  # no limit bounds a single image
        (100, Limits(rpm=10, concurrency=1000), 571.2, "rpm"),  # the last ten leave after nine windows of 61.25 s
        (101, Limits(rpm=10, concurrency=1000), 632.5, "rpm"),
        (100, Limits(ipm=10, rpm=50, concurrency=1000), 571.2, "ipm"),
        (100, Limits(rpd=100, concurrency=1000), 20.0, "concurrency"),  # fits into the day
        (101, Limits(rpd=100, concurrency=1000), 86_420.0, "rpd"),
        (350, Limits(rpd=100, rpm=10, concurrency=1000), 3 * 86_400.0 + 4 * 61.25 + 20, "rpd"),
    ],
)
def test_the_time_is_what_the_tightest_limit_allows(images: int, limits: Limits, seconds: float, bound: str) -> None:
    """Answers of 20 s: rounds, minutes or days, whichever takes longest, and its name."""
    assert ASSUMED_LATENCY_SECONDS == 20
    found = plan(jobs(images), seller(limits=limits))
    assert (found["duration_seconds"], found["bound_by"]) == (seconds, bound)


def test_a_known_model_has_its_own_latency() -> None:
    """Where the catalog knows how long an answer takes, that is used."""
    google_seller = google()
    latency = google_seller.offer("nano-banana-pro").latency_seconds("1K")
    assert latency is not None
    assert plan(jobs(1, model="nano-banana-pro"), google_seller)["duration_seconds"] == latency


def test_the_first_provider_that_can_draw_it_gets_the_job() -> None:
    """By priority; a size that the first does not sell goes to the second; the slower one decides the time."""
    cheap = seller("cheap", prices={"1K": 0.01}, limits=Limits(concurrency=1))
    found = plan([*jobs(4), make_job(9, size="2K", model=MODEL)], cheap, seller("dear"))
    assert [(one["name"], one["images"]) for one in found["providers"]] == [("cheap", 4), ("dear", 1)]
    assert found["cost_usd"]["low"] == pytest.approx(4 * 0.01 + 0.2)
    assert found["duration_seconds"] == 80.0


def test_a_row_that_names_its_provider_gets_it() -> None:
    """The `provider` column is stronger than the priority."""
    found = plan(jobs(2, provider="dear"), seller("cheap", prices={"1K": 0.01}), seller("dear"))
    assert [(one["name"], one["images"]) for one in found["providers"]] == [("dear", 2)]


def test_each_model_of_a_provider_has_a_row_with_its_own_price() -> None:
    """Two models at one provider are not mixed; together they share its limits."""
    mixed = [*jobs(3, model="nano-banana-pro"), make_job(9, model="nano-banana")]
    found = plan(mixed, google())
    rows = {one["model"]: one for one in found["providers"]}
    assert {model: row["images"] for model, row in rows.items()} == {"nano-banana-pro": 3, "nano-banana": 1}
    assert rows["nano-banana-pro"]["price_usd"] != rows["nano-banana"]["price_usd"]


def test_no_key_is_in_the_plan() -> None:
    """The plan shows limits and prices, and nothing secret."""
    assert "secret-of" not in str(plan(jobs(1), seller()))


def test_the_plan_follows_the_strategy() -> None:
    """The cheapest gets everything it can draw; the fastest share the work by what their quotas allow."""
    dear = seller("dear", prices={"1K": 0.2}, limits=Limits(rpm=100, concurrency=100))
    cheap = seller("cheap", prices={"1K": 0.1}, limits=Limits(rpm=50, concurrency=100))
    wanted = jobs(300)

    def images(strategy: str) -> dict[str, int]:
        found = plan(wanted, dear, cheap, strategy=strategy)
        assert found["strategy"] == strategy
        return {row["name"]: row["images"] for row in found["providers"]}

    assert images("priority") == {"dear": 300}
    assert images("cheapest") == {"cheap": 300}
    assert images("fastest") == {"dear": 200, "cheap": 100}


def test_what_the_cache_answers_costs_nothing() -> None:
    """It is neither sent nor paid, and neither are copies of equal rows; what is on disk is not counted twice."""
    wanted = jobs(10)
    wanted[9] = replace(wanted[9], twin=wanted[0].id)
    asked: list[int] = []

    def known(some: Sequence[Job]) -> set[str]:
        asked.append(len(some))
        return {job.id for job in some[:4]}

    found = plan(wanted, seller(prices={"1K": 0.5}), done={fingerprint(wanted[0].id)}, known=known)
    counts = [found[key] for key in ("jobs", "already_done", "cached", "duplicates", "to_send")]
    assert counts == [10, 1, 3, 1, 5]
    assert found["cost_usd"]["high"] == 2.5
    assert asked == [10]
