"""Says before the first request what a run would cost and how long it would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from nanobatch.catalog import Offer
from nanobatch.manifest import fingerprint
from nanobatch.model import Job
from nanobatch.routing import Seller
from nanobatch.settings import Limits

ASSUMED_LATENCY_SECONDS = 20.0  # where the catalog has no typical answer time for the model
LOOKED_UP_AT_ONCE = 2000  # jobs
_MINUTE = 60.0


def estimate(  # noqa: PLR0913 - one argument for each source of facts
    jobs: Iterable[Job],
    sellers: Sequence[Seller],
    *,
    done: Container[int],
    inputs: Iterable[str],
    output: str,
    skipped: int,
    sandbox: bool,
    warnings: Sequence[str],
    strategy: str = "priority",
    latency_seconds: float | None = None,
    known: Callable[[Sequence[Job]], Container[str]] = lambda _: (),
) -> Mapping[str, Any]:
    """Plan every job with the provider that the strategy gives it to while all of them work.

    Args:
        jobs: All that are wanted.
        sellers: The providers.
        done: Fingerprints of the jobs whose images are on disk.
        inputs: The prompt files.
        output: The output folder.
        skipped: Bad rows that are left out.
        sandbox: Nothing is real.
        warnings: For the user.
        strategy: Which provider takes which job.
        latency_seconds: Of every answer, instead of typical ones.
        known: Finds the jobs, among some, that the cache answers.

    Returns:
        What `--dry-run` shows; money in USD, durations in seconds.
    """
    total = finished = cached = duplicates = 0
    wanted: Counter[tuple[str, str, str | None]] = Counter()  # provider, model, size
    busy: dict[str, float] = {}  # seconds of work that each provider has been given
    for job, is_known in _looked_up(jobs, known):
        total += 1
        if fingerprint(job.id) in done:
            finished += 1
            continue
        if job.twin is not None:
            duplicates += 1
            continue
        if is_known:
            cached += 1
            continue
        able = [one for one in sellers if job.prompt.provider in (None, one.name) and not one.refuses(job.params)]
        seller = _chosen(able, job, strategy, busy)
        wanted[seller.name, job.params.model, job.params.size] += 1
    by_name = {seller.name: seller for seller in sellers}
    parts = [(by_name[name], by_name[name].offer(model), size, n) for (name, model, size), n in wanted.items()]
    seconds, bound_by = _duration(parts, latency_seconds)
    return {
        "inputs": list(inputs),
        "output": output,
        "jobs": total,
        "already_done": finished,
        "cached": cached,
        "duplicates": duplicates,
        "to_send": total - finished - cached - duplicates,
        "skipped_rows": skipped,
        "sandbox": sandbox,
        "strategy": strategy,
        "providers": [_provider(found) for found in _by_offer(parts)],
        "sizes": {size or "default": sum(n for *_, s, n in parts if s == size) for size in {s for *_, s, _ in parts}},
        "cost_usd": {
            "low": _money(sum((offer.price_usd(size) or 0.0) * n for _, offer, size, n in parts)),
            "expected": _money(sum(_expected(offer, size) * n for _, offer, size, n in parts)),
            "high": _money(sum((offer.worst_price_usd(size) or 0.0) * n for _, offer, size, n in parts)),
        },
        "duration_seconds": round(seconds, 1),
        "bound_by": bound_by,
        "warnings": list(warnings),
    }


def _looked_up(jobs: Iterable[Job], known: Callable[[Sequence[Job]], Container[str]]) -> Iterator[tuple[Job, bool]]:
    source = iter(jobs)
    while some := list(islice(source, LOOKED_UP_AT_ONCE)):
        found = known(some)
        yield from ((job, job.id in found) for job in some)


def _chosen(able: Sequence[Seller], job: Job, strategy: str, busy: dict[str, float]) -> Seller:
    """Return who gets a job: the first, the cheapest, or whoever is done with it first."""
    model, size = job.params.model, job.params.size
    match strategy:
        case "cheapest":
            return min(able, key=lambda seller: seller.offer(model).price_usd(size) or 0.0)
        case "fastest":
            seller = min(able, key=lambda one: busy.get(one.name, 0.0) + _seconds_each(one, model, size))
            busy[seller.name] = busy.get(seller.name, 0.0) + _seconds_each(seller, model, size)
            return seller
        case _:
            return able[0]


def _seconds_each(seller: Seller, model: str, size: str | None) -> float:
    """Return the seconds of a provider that one image takes when all its slots and its quota are used."""
    limits = seller.settings.limits
    latency = seller.offer(model).latency_seconds(size) or ASSUMED_LATENCY_SECONDS
    rates = [_MINUTE / limit for limit in (limits.rpm, limits.ipm) if limit is not None]
    return max([latency / limits.concurrency, *rates])


_Part = tuple[Seller, Offer, str | None, int]


def _by_seller(parts: Sequence[_Part]) -> list[tuple[Seller, list[_Part]]]:
    grouped: dict[str, tuple[Seller, list[_Part]]] = {}
    for part in parts:
        grouped.setdefault(part[0].name, (part[0], []))[1].append(part)
    return list(grouped.values())


def _by_offer(parts: Sequence[_Part]) -> list[list[_Part]]:
    grouped: dict[tuple[str, str], list[_Part]] = {}
    for part in parts:
        grouped.setdefault((part[0].name, part[1].model), []).append(part)
    return list(grouped.values())


def _provider(parts: Sequence[_Part]) -> dict[str, Any]:
    """Return the row of one provider's one model."""
    seller, first, *_ = parts[0]
    return {
        "name": seller.name,
        "model": first.model,
        "wire_model": first.wire_model,
        "images": sum(n for *_, n in parts),
        "limits": asdict(seller.settings.limits),
        "price_usd": {size or "default": offer.price_usd(size) for _, offer, size, _ in parts},
        "cost_usd": _money(sum(_expected(offer, size) * n for _, offer, size, n in parts)),
    }


def _expected(offer: Offer, size: str | None) -> float:
    """Return the likely price: half-way between the table and the worst, where tokens beside the image are billed."""
    return ((offer.price_usd(size) or 0.0) + (offer.worst_price_usd(size) or 0.0)) / 2


def _duration(parts: Sequence[_Part], latency_seconds: float | None) -> tuple[float, str]:
    """Return the seconds of the slowest provider, and what bounds it."""
    bounds = [
        bound
        for seller, found in _by_seller(parts)
        for bound in _bounds(seller.settings.limits, found, latency_seconds)
    ]
    return max(bounds, key=lambda bound: bound[0], default=(0.0, "nothing"))


def _bounds(limits: Limits, parts: Sequence[_Part], latency_seconds: float | None) -> list[tuple[float, str]]:
    images = sum(n for *_, n in parts)
    each = [
        (latency_seconds or offer.latency_seconds(size) or ASSUMED_LATENCY_SECONDS, n) for _, offer, size, n in parts
    ]
    work, longest = sum(seconds * n for seconds, n in each), max(seconds for seconds, _ in each)
    found = [(max(longest, work / limits.concurrency), "concurrency")]
    for name, limit in (("rpm", limits.rpm), ("ipm", limits.ipm)):
        if limit is not None:
            found.append((longest + (images - 1) // limit * _MINUTE, name))
    if limits.rpd is not None and images > limits.rpd:
        found.append(((images - 1) // limits.rpd * 86_400.0, "rpd"))
    return found


def _money(usd: float) -> float:
    return round(usd, 4)
