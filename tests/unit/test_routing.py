"""Which provider takes which job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nanobatch.catalog import Terms, load_catalog
from nanobatch.errors import ConfigError, ServerFault
from nanobatch.model import Cost
from nanobatch.routing import PROBES, AllParked, Lane, NoneLeft, Seller, why_not
from nanobatch.settings import Limits, ProviderSettings
from tests.fakes import ManualClock
from tests.harness import Bench, make_job, settings, success

pytestmark = pytest.mark.anyio


def bench(root: Path, clock: ManualClock, *names: str, **more: object) -> Bench:
    return Bench(root, clock, {name: [success()] for name in names}, [make_job(1)], **more)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def break_(lane: Lane, clock: ManualClock) -> None:
    """Let a provider fail until its breaker opens."""
    for _ in range(5):
        with pytest.raises(ServerFault):
            async with lane.gate.admit(Cost()):
                raise ServerFault("down")
    assert lane.gate.state().faulty


def test_the_first_by_priority_takes_the_job(tmp_path: Path, clock: ManualClock) -> None:
    """While it works, nobody else is asked."""
    router = bench(tmp_path, clock, "a", "b").pipeline.router
    assert router.choose(make_job())[0].name == "a"


def test_a_closed_lane_is_passed_over(tmp_path: Path, clock: ManualClock) -> None:
    """A lane whose account stopped takes nothing more in this run."""
    one = bench(tmp_path, clock, "a", "b")
    one.lanes[0].gate.close("leaked key")
    assert one.pipeline.router.choose(make_job())[0].name == "b"
    one.lanes[1].gate.close("no credit")
    with pytest.raises(NoneLeft, match="a: leaked key; b: no credit") as caught:
        one.pipeline.router.choose(make_job())
    assert caught.value.everybody


def test_parked_lanes_say_when_the_first_comes_back(tmp_path: Path, clock: ManualClock) -> None:
    """When only spent quotas are left, the earliest reset counts."""
    one = bench(tmp_path, clock, "a", "b")
    one.lanes[0].gate.park(clock.wall() + 500, "spent")
    assert one.pipeline.router.choose(make_job())[0].name == "b"
    one.lanes[1].gate.park(clock.wall() + 100, "spent")
    with pytest.raises(AllParked, match="b: spent") as caught:
        one.pipeline.router.choose(make_job())
    assert caught.value.until == clock.wall() + 100


async def test_a_provider_that_does_not_answer_is_left_alone(tmp_path: Path, clock: ManualClock) -> None:
    """Work moves to the next lane while the breaker is open, and comes back when it is not."""
    one = bench(tmp_path, clock, "a", "b")
    await break_(one.lanes[0], clock)
    assert one.pipeline.router.choose(make_job())[0].name == "b"
    await clock.advance(61)
    assert one.pipeline.router.choose(make_job())[0].name == "a"


async def test_with_nobody_else_the_job_waits_for_the_first_to_come_back(tmp_path: Path, clock: ManualClock) -> None:
    """When all are down the one that is probed first gets the job."""
    one = bench(tmp_path, clock, "a", "b")
    await break_(one.lanes[0], clock)
    await clock.advance(10)
    await break_(one.lanes[1], clock)
    assert one.pipeline.router.choose(make_job())[0].name == "a"


async def test_a_run_gives_up_after_probes_in_vain(tmp_path: Path, clock: ManualClock) -> None:
    """When every lane was probed in vain several times, the next run is the better place to wait."""
    one = bench(tmp_path, clock, "a")
    router, lane = one.pipeline.router, one.lanes[0]
    assert router.given_up() is None
    await break_(lane, clock)
    for _ in range(PROBES):
        assert router.given_up() is None
        until = lane.gate.state().until
        assert until is not None
        await clock.advance(until - clock.wall() + 0.1)
        with pytest.raises(ServerFault):
            async with lane.gate.admit(Cost()):
                raise ServerFault("still down")
    again = router.given_up()
    assert again is not None
    assert again > clock.wall()


def test_a_model_that_is_gone_at_one_provider_is_asked_of_the_next(tmp_path: Path, clock: ManualClock) -> None:
    """The lane stays open for other models."""
    one = bench(tmp_path, clock, "a", "b")
    one.lanes[0].gone["nano-banana-pro"] = "404"
    assert one.pipeline.router.choose(make_job())[0].name == "b"
    assert one.pipeline.router.choose(make_job(model="gpt-image-2"))[0].name == "a"
    one.lanes[1].gone["nano-banana-pro"] = "404"
    with pytest.raises(NoneLeft) as caught:
        one.pipeline.router.choose(make_job())
    assert not caught.value.everybody


def test_a_pinned_row_goes_nowhere_else(tmp_path: Path, clock: ManualClock) -> None:
    """A row that names its provider waits for it or fails with it."""
    one = bench(tmp_path, clock, "a", "b")
    assert one.pipeline.router.choose(make_job(provider="b"))[0].name == "b"
    one.lanes[1].gate.close("gone")
    with pytest.raises(NoneLeft, match="b: gone"):
        one.pipeline.router.choose(make_job(provider="b"))


def sellers(*names: str) -> list[Seller]:
    return [Seller(settings(name), load_catalog()) for name in names]


def test_the_preflight_names_every_reason() -> None:
    """Why nobody can draw a row is told for each provider."""
    job = make_job(size="4K")
    reason = why_not(sellers("a", "b"), job.params)
    assert reason is not None
    assert "providers.a.prices" in reason
    assert "providers.b.prices" in reason
    assert why_not(sellers("a"), make_job().params) is None


def test_a_model_of_nobodys_is_not_told_by_everybody() -> None:
    """With the whole catalog in use a few reasons are enough, and a near name is among them."""
    job = make_job(model="gpt-image-22")
    catalog = load_catalog()
    everybody = [
        Seller(replace(settings(name), terms=Terms(name, catalog.providers[name])), catalog)
        for name in ("google", "laozhang", "kie", "openai")
    ]
    reason = why_not(everybody, job.params)
    assert reason is not None
    assert "did you mean 'gpt-image-2'?" in reason
    assert reason.endswith("; and 2 other providers cannot draw it either")
    assert reason.count("is not known to sell") == 2


def test_the_preflight_knows_the_runs_providers() -> None:
    """A row that pins a provider of another run is refused by name."""
    reason = why_not(sellers("a", "b"), make_job().params, provider="c")
    assert reason == "provider 'c' is not used in this run, which has a, b"


def test_a_job_is_said_in_the_providers_words() -> None:
    """Model ids, size and pixels are translated; nothing of ours leaks."""
    [seller] = sellers("relay")
    order = seller.order(make_job(size="2K"))
    assert (order.model, order.size, order.pixels) == ("gemini-3-pro-image", "2K", (2048, 2048))
    with pytest.raises(ConfigError):
        Seller(_mapped(), load_catalog()).offer("something-else")


def _mapped() -> ProviderSettings:
    one = settings("relay", limits=Limits())
    return replace(one, terms=replace(one.terms, models={"nano-banana-pro": "nbp-v2"}))


def names(lanes: Sequence[Lane]) -> list[str]:
    return [lane.name for lane in lanes]


def test_the_fastest_strategy_asks_everybody_who_is_able(tmp_path: Path, clock: ManualClock) -> None:
    """Closed and parked lanes are left out, and so are those that failed this job, while there are others."""
    one = bench(tmp_path, clock, "a", "b", "c", strategy="fastest")
    router = one.pipeline.router
    assert names(router.choose(make_job())) == ["a", "b", "c"]
    one.lanes[1].gate.park(clock.wall() + 100, "spent")
    assert names(router.choose(make_job())) == ["a", "c"]
    assert names(router.choose(make_job(), tired={"a"})) == ["c"]
    assert names(router.choose(make_job(), tired={"a", "c"})) == ["a", "c"]
    assert names(router.choose(make_job(provider="c"))) == ["c"]


def test_the_cheapest_is_decided_by_job(tmp_path: Path, clock: ManualClock) -> None:
    """Each size has its own prices; between equal ones the user's order decides."""
    prices = {"a": {"1K": 0.2, "2K": 0.2}, "b": {"1K": 0.1, "2K": 0.3}, "c": {"1K": 0.1, "2K": 0.2}}
    router = bench(tmp_path, clock, "a", "b", "c", strategy="cheapest", prices=prices).pipeline.router
    assert names(router.choose(make_job(size="1K"))) == ["b"]
    assert names(router.choose(make_job(size="2K"))) == ["a"]
    assert names(router.choose(make_job(size="1K"), without={"b"})) == ["c"]


def test_a_lane_that_refused_is_not_asked_again(tmp_path: Path, clock: ManualClock) -> None:
    """Others may take the job as long as they are there and can."""
    one = bench(tmp_path, clock, "a", "b")
    router = one.pipeline.router
    assert router.can_take(make_job(), without={"a"})
    assert names(router.choose(make_job(), without={"a"})) == ["b"]
    assert not router.can_take(make_job(), without={"a", "b"})
    assert not router.can_take(make_job(provider="a"), without={"a"})
    one.lanes[1].gone["nano-banana-pro"] = "404"
    assert not router.can_take(make_job(), without={"a"})
    with pytest.raises(NoneLeft):
        router.choose(make_job(), without={"a"})


async def test_a_lane_is_crowded_when_a_whole_round_waits(tmp_path: Path, clock: ManualClock) -> None:
    """As many wait as may be inside; a single lane never counts, because there is nothing else to do."""
    limits = {"a": Limits(concurrency=2), "b": Limits(concurrency=2)}
    one = bench(tmp_path, clock, "a", "b", limits=limits)
    gate, router = one.lanes[0].gate, one.pipeline.router
    async with gate.admit(Cost()), gate.admit(Cost()):
        waits = [asyncio.ensure_future(gate.enter(Cost()))]
        await clock.settle()
        assert not router.is_crowded(make_job())
        waits.append(asyncio.ensure_future(gate.enter(Cost())))
        await clock.settle()
        assert router.is_crowded(make_job())
        assert not router.is_crowded(make_job(provider="b"))
        assert not router.is_crowded(make_job(provider="nobody"))
        for wait in waits:
            wait.cancel()
        await clock.settle()


def test_a_plan_comes_first(tmp_path: Path, clock: ManualClock) -> None:
    """Whoever is to take a job by a plan is asked before the cheapest; when that one is closed, the others are."""
    one = bench(tmp_path, clock, "a", "b")
    router = replace(one.pipeline.router, strategy="cheapest", planned=lambda _: one.lanes[1])
    assert router.choose(make_job())[0].name == "b"
    one.lanes[1].gate.close("no credit")
    assert router.choose(make_job())[0].name == "a"
    assert replace(router, planned=lambda _: None).choose(make_job())[0].name == "a"
