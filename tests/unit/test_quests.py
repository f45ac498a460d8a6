"""One job's way: what it has met, what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nanobatch.attempts import Tally
from nanobatch.catalog import Terms, load_catalog, offer_for
from nanobatch.errors import ExchangeError, NoImage, Overloaded, RateLimited, Refused, ServerFault, Unsent
from nanobatch.model import Answer, Picture, Usage
from nanobatch.quests import Quest, price_of, quota_cost, worst_price
from tests.harness import make_job

CATALOG = load_catalog()
PRO = offer_for(Terms("google", CATALOG.providers["google"]), "nano-banana-pro", CATALOG)
FLEX = offer_for(Terms("google", CATALOG.providers["google"], flex=True), "nano-banana-pro", CATALOG)
ANSWER = Answer(Picture("x"))
USAGE = Usage(input_tokens=22, text_tokens=275, image_tokens=1120)


def by(provider: str, error: ExchangeError) -> ExchangeError:
    error.provider = provider
    return error


def test_two_troubles_on_a_lane_make_it_tired() -> None:
    """Faults and overload count; what says nothing of the lane does not."""
    quest = Quest(make_job(), Tally())
    quest.history += [by("a", ServerFault("x")), by("b", Overloaded("x")), by("c", NoImage("x"))]
    assert quest.tired == set()
    quest.history += [by("a", Unsent("x")), by("b", RateLimited("x")), by("c", NoImage("x"))]
    assert quest.tired == {"a"}
    quest.history.append(by("b", Overloaded("x")))
    assert quest.tired == {"a", "b"}


def test_detours_are_told_once_each_and_in_order() -> None:
    """What happened at the lane that served is no detour."""
    quest = Quest(make_job(), Tally())
    quest.history += [by("a", Overloaded("x")), by("a", Overloaded("y")), by("b", Refused("z")), by("c", NoImage("n"))]
    assert quest.detours("c") == ("after a: overloaded", "after b: refused")
    assert quest.detours("a") == ("after b: refused", "after c: no_image")


def test_the_worst_price_is_what_the_budget_sets_aside() -> None:
    """A cheaper tier of service may be served at the usual one, so that is what has to be covered."""
    assert worst_price(PRO, make_job()) == pytest.approx(0.1675)
    assert FLEX.price_usd("1K") == pytest.approx(0.067)
    assert worst_price(FLEX, make_job()) == worst_price(PRO, make_job())
    with pytest.raises(AssertionError):
        worst_price(PRO, make_job(size="512"))


def test_tokens_decide_the_price_before_the_table() -> None:
    """22 x $2 + 275 x $12 + 1,120 x $120, each per million."""
    assert price_of(PRO, make_job(), ANSWER) == (0.134, "price")
    usd, basis = price_of(PRO, make_job(), replace(ANSWER, usage=USAGE))
    assert (round(usd, 6), basis) == (0.137744, "usage")


def test_flex_halves_the_price_unless_another_tier_served() -> None:
    """What was served at the usual tier is counted in full, by tokens and by the table."""
    assert price_of(FLEX, make_job(), ANSWER)[0] == pytest.approx(0.067)
    assert price_of(FLEX, make_job(), replace(ANSWER, full_price=True))[0] == pytest.approx(0.134)
    assert price_of(FLEX, make_job(), replace(ANSWER, usage=USAGE))[0] == pytest.approx(0.068872)
    assert price_of(FLEX, make_job(), replace(ANSWER, usage=USAGE, full_price=True))[0] == pytest.approx(0.137744)


def test_reference_images_take_tokens_of_the_quota() -> None:
    """Words and images, estimated before anybody counts them."""
    job = make_job()
    assert quota_cost(job).tokens == 2
    edited = replace(job, params=replace(job.params, references=("a", "b")))
    assert quota_cost(edited).tokens == 2 + 2 * 1120
