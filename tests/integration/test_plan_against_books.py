"""What a plan foretells against what a run then takes: its time on the clock, its money in the vendors' books.

Each configuration is planned by what is behind `--dry-run`, and then really run, on virtual time, against the sandbox's
rules. The books are kept by the vendors: images at a flat price, or the tokens of each answer at prices written here.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nanobatch.catalog import Terms, load_catalog
from nanobatch.preparation import Prepared, dry_run
from nanobatch.sandbox.plan import Plan
from nanobatch.settings import Defaults, Limits
from tests.harness import png
from tests.simulated_tasks import TaskVendor
from tests.simulation import NOON, Found, Vendor, simulate

CATALOG = load_catalog()
TOLERANCE = 0.05
PRO, PRO_2K = (16.5, 27.5), (22.5, 37.5)  # seconds of answers: what is typical in the catalog, give or take a quarter
LITE, BANANA_2_1 = (2.25, 3.75), (15.0, 25.0)
USD_PER_MILLION = {  # input, text, images
    "gemini-3-pro-image": (2.0, 12.0, 120.0),
    "gemini-nano-banana-2.1": (1.5, 7.5, 30.0),
    "gemini-3.1-flash-lite-image": (0.25, 1.5, 30.0),
}


def by_tokens(body: Mapping[str, Any]) -> float:
    """Price an answer as Google does; the flex tier halves it."""
    usage = body["usageMetadata"]
    read, text, image = USD_PER_MILLION[body["modelVersion"]]
    images = sum(detail["tokenCount"] for detail in usage["candidatesTokensDetails"])
    beside = usage["candidatesTokenCount"] - images + usage.get("thoughtsTokenCount", 0)
    usd: float = (usage["promptTokenCount"] * read + beside * text + images * image) / 1e6
    return usd / 2 if usage["serviceTier"] == "flex" else usd


def google(latency: tuple[float, float], *, flex: bool = False, **limits: int) -> Vendor:
    """Make a vendor that is paid by the token, at the catalog's prices."""
    return Vendor(
        "google", Limits(**limits), terms=Terms("google", CATALOG.providers["google"], flex=flex), tariff=by_tokens,
        plan=Plan(latency=latency, rpm=limits.get("rpm")),
        more={"flex": flex, "options": {"serviceTier": "flex"} if flex else {}},
    )  # fmt: skip


def relay(
    name: str, *, priority: int = 1, price: float = 0.09, latency: tuple[float, float] = PRO, **limits: int
) -> Vendor:
    """Make a vendor with a flat price: twice as much for 2K."""
    allowed = {key: limits.get(key) for key in ("rpm", "ipm", "rpd")}
    return Vendor(name, Limits(**limits), priority, price, plan=Plan(latency=latency, **allowed))  # type: ignore[arg-type]


def rows(path: Path, found: Iterable[Mapping[str, object]]) -> str:
    """Write a prompt file; return its name."""
    written = list(found)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(written[0]))
        table.writeheader()
        table.writerows(written)
    return path.name


def tier_1(root: Path) -> Found:
    return run(root, google(PRO, rpm=150, concurrency=10), prompts=200)


def flex_tier(root: Path) -> Found:
    return run(root, google(PRO_2K, flex=True, rpm=150, concurrency=20), prompts=200, defaults=Defaults(size="2K"))


def thinking(root: Path) -> Found:
    wanted = Defaults(model="nano-banana-2.1", size="2K")
    return run(root, google(BANANA_2_1, rpm=60, concurrency=30), prompts=300, defaults=wanted)


def references(root: Path) -> Found:
    (root / "a.png").write_bytes(png(64, 64))
    (root / "b.png").write_bytes(png(65, 65))
    prompts = [{"prompt": f"a hat, number {number}", "references": "a.png;b.png"} for number in range(150)]
    wanted = Defaults(model="nano-banana-2-lite", size="1K")
    return run(root, google(LITE, concurrency=5), file=rows(root / "p.csv", prompts), defaults=wanted)


def full_minutes_of_variants(root: Path) -> Found:
    return run(root, relay("a", rpm=60, concurrency=64), prompts=300, defaults=Defaults(images_per_prompt=2))


def a_burst_that_meets_few_slots(root: Path) -> Found:
    wanted = Defaults(model="nano-banana", size="1K")  # 7 s
    return run(root, relay("a", latency=(5.25, 8.75), rpm=60, concurrency=10), prompts=300, defaults=wanted)


def images_a_minute(root: Path) -> Found:
    return run(root, relay("a", ipm=20, concurrency=20), prompts=205)


def fastest(root: Path) -> Found:
    vendors = (
        relay("a", rpm=30, concurrency=64),
        relay("b", priority=2, concurrency=10),
        relay("c", priority=3, concurrency=3),
    )
    return run(root, *vendors, prompts=500, strategy="fastest")


def cheapest(root: Path) -> Found:
    """One is cheaper for small images, the other for large ones."""
    dear, cheap = relay("a", price=0.10, concurrency=8), relay("b", priority=2, price=0.05, concurrency=4)
    dear.terms = Terms("a", None, {"1K": 0.10, "2K": 0.10})
    cheap.terms = Terms("b", None, {"1K": 0.05, "2K": 0.15})
    dear.tariff, cheap.tariff = lambda _: 0.10, lambda _: 0.05  # what they are asked for here
    prompts = [{"prompt": f"a hat, number {number}", "size": ("1K", "2K")[number % 3 == 0]} for number in range(200)]
    return run(root, dear, cheap, file=rows(root / "p.csv", prompts), strategy="cheapest")


def rows_that_name_their_provider(root: Path) -> Found:
    vendors = relay("a", concurrency=10), relay("b", priority=2, price=0.05, rpm=20, concurrency=10)
    prompts = [{"prompt": f"a hat, number {number}", "provider": ("", "a", "b")[number % 3]} for number in range(240)]
    return run(root, *vendors, file=rows(root / "p.csv", prompts))


def a_day_that_is_spent(root: Path) -> Found:
    """The second provider takes over, at its own price."""
    return run(
        root, relay("a", price=0.04, rpd=100, concurrency=16), relay("b", priority=2, concurrency=10), prompts=250
    )


def days_that_are_waited_for(root: Path) -> Found:
    vendor = relay("a", rpd=100, concurrency=16)
    vendor.day_zone = "UTC"
    return run(root, vendor, prompts=250, on_quota="wait")


def a_day_that_began_with_another_run(root: Path) -> Found:
    """Of a hundred a day 70 are spent, by a run in another folder; the relay does the rest."""
    vendors = relay("a", price=0.04, rpd=100, concurrency=16), relay("b", priority=2, concurrency=10)
    simulate(root, *vendors, seed=5, prompts=70, name="earlier")
    return run(root, *vendors, prompts=250, start=NOON + 3600)


def resumed(root: Path) -> Found:
    """The rest of a run that was killed after a minute and a half, a minute later."""
    vendor = relay("a", concurrency=20)
    simulate(root, vendor, seed=5, prompts=300, kill_at=90.0)
    return run(root, vendor, prompts=300, start=NOON + 150)


def partly_cached(root: Path) -> Found:
    """Half of the prompts were drawn by another run of the day."""
    vendor = relay("a", concurrency=10)
    simulate(root, vendor, seed=5, prompts=100, name="earlier", caching=True)
    return run(root, vendor, prompts=200, start=NOON + 3600, caching=True)


def tasks(root: Path) -> Found:
    """Kie's 20 orders in ten seconds, polled less and less often."""
    terms = Terms("kie", CATALOG.providers["kie"], protocol="kie")
    plan = Plan(latency=PRO, rpm=20, window=10.0)
    limits = Limits(rpm=120, window_seconds=10, concurrency=100)
    return run(root, TaskVendor("kie", limits, price=0.09, plan=plan, terms=terms), prompts=400)


def told_latency(root: Path) -> Found:
    """Answers that take 3 s as the user says, at 100 a minute."""
    vendor = relay("a", latency=(3.0, 3.0), rpm=100, concurrency=8)
    return run(root, vendor, foretell=partial(dry_run, now=NOON, latency_seconds=3.0), prompts=450)


@dataclass
class _Before:
    """What the books held when the plan was made."""

    usd: float = 0.0


def run(root: Path, *vendors: Vendor, start: float = NOON, **more: Any) -> Found:
    """Plan, run, and note in the plan what the vendors billed for it."""
    before = _Before()
    foretell = more.pop("foretell", partial(dry_run, now=start))

    def plan(prepared: Prepared) -> Mapping[str, Any]:
        before.usd = sum(vendor.spent_usd for vendor in vendors)
        return dict(foretell(prepared))

    found = simulate(root, *vendors, seed=7, start=start, foretell=plan, **more)
    found.plan = {**found.plan, "billed_usd": sum(vendor.spent_usd for vendor in vendors) - before.usd}
    return found


@pytest.mark.parametrize(
    "configuration",
    [
        tier_1, flex_tier, thinking, references, full_minutes_of_variants, a_burst_that_meets_few_slots, images_a_minute,
        fastest, cheapest, rows_that_name_their_provider, a_day_that_is_spent, days_that_are_waited_for,
        a_day_that_began_with_another_run, resumed,
        partly_cached, tasks, told_latency,
    ],
    ids=lambda function: function.__name__,
)  # fmt: skip
def test_the_plan_is_within_five_percent_of_the_books(configuration: Callable[[Path], Found], tmp_path: Path) -> None:
    """Expected cost against the vendors' books, and duration against the clock; nothing is refused on the way."""
    found = configuration(tmp_path)
    plan = found.plan
    assert found.code == 0
    assert found.summary["ok"] + found.summary["cached"] == plan["jobs"]
    assert not any(vendor.violations for vendor in found.vendors)
    assert plan["to_send"] > 50
    assert plan["cost_usd"]["expected"] == pytest.approx(plan["billed_usd"], rel=TOLERANCE)
    assert plan["cost_usd"]["low"] <= plan["billed_usd"] * 1.001  # each price of the table is rounded
    assert plan["billed_usd"] <= plan["cost_usd"]["high"]
    assert plan["duration_seconds"] == pytest.approx(found.seconds, rel=TOLERANCE)
