"""Says before the first request what a run would cost and how long it would take.

Who takes which job, and how long all of it takes, is the business of `forecast.py`. What it costs:

* `low` is the table: the images alone. `high` is what is set aside before each request.
* `expected` is what the tokens cost that usually come with an image (`Offer.likely_price_usd`), prompts and reference
  images included; a flat price is certain. Refusals and drafts, which some providers bill, are not expected.

How long an answer takes is told, or typical for model and size in the catalog (others differ from the typical one), or
assumed. Polls see the image of a task a little later than it is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from types import MappingProxyType
from typing import Any

from nanobatch.catalog import Offer
from nanobatch.forecast import Forecast, Latency, Track
from nanobatch.manifest import fingerprint
from nanobatch.model import Job
from nanobatch.providers import load
from nanobatch.providers.base import CHARACTERS_PER_TOKEN, TaskProvider
from nanobatch.routing import Seller
from nanobatch.settings import Limits

ASSUMED_LATENCY_SECONDS = 20.0  # where the catalog has no typical answer time for the model
LOOKED_UP_AT_ONCE = 2000  # jobs
_MINUTE = 60.0


@dataclass(slots=True)
class Part:
    """Jobs of one kind that one provider takes."""

    seller: Seller
    offer: Offer
    size: str | None
    images: int = 0
    characters: int = 0  # of all prompts
    references: int = 0  # of all jobs

    def add(self, job: Job) -> None:
        """Count a job."""
        self.images += 1
        self.characters += len(job.prompt.text)
        self.references += len(job.params.references)

    @property
    def low_usd(self) -> float:
        """What the table says."""
        return (self.offer.price_usd(self.size) or 0.0) * self.images

    @property
    def expected_usd(self) -> float:
        """What is likely."""
        each = self.offer.likely_price_usd(
            self.size,
            input_tokens=self.characters / CHARACTERS_PER_TOKEN / self.images,
            references=self.references / self.images,
        )
        return (each or 0.0) * self.images

    @property
    def high_usd(self) -> float:
        """What is set aside."""
        worst = self.offer.worst_price_usd(self.size) or 0.0
        by_references = (self.offer.worst_price_usd(self.size, references=self.references) or 0.0) - worst
        return worst * self.images + by_references


@dataclass(slots=True)
class Counts:
    """What becomes of the jobs that are wanted."""

    total: int = 0
    finished: int = 0
    cached: int = 0
    duplicates: int = 0
    parts: dict[tuple[str, str, str | None], Part] = field(default_factory=dict)  # by provider, model, size

    @property
    def to_send(self) -> int:
        """The rest."""
        return self.total - self.finished - self.cached - self.duplicates


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
    start: float | None = None,
    spent: Mapping[str, int] = MappingProxyType({}),
    in_batches: bool = False,
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
        start: When the run begins, in seconds since 1970: the day's quota comes back at the providers' midnight. None:
            a day after the start.
        spent: What other runs have sent today, by provider.
        in_batches: They are ordered in batches, which count on no day's quota: nobody takes over.

    Returns:
        What `--dry-run` shows; money in USD, durations in seconds.
    """
    tracks = {
        one.name: Track(
            replace(one.settings.limits, rpd=None) if in_batches else one.settings.limits,
            shared=not sandbox,
            zone=one.settings.day_zone,
            start=start,
            spent=spent.get(one.name, 0),
        )
        for one in sellers
    }
    forecast = Forecast(tracks, together=strategy == "fastest")
    counts = _place(looked_up(jobs, known), done, _Choice(sellers, strategy, latency_seconds), forecast)
    parts = list(counts.parts.values())
    return {
        "inputs": list(inputs),
        "output": output,
        "jobs": counts.total,
        "already_done": counts.finished,
        "cached": counts.cached,
        "duplicates": counts.duplicates,
        "to_send": counts.to_send,
        "skipped_rows": skipped,
        "sandbox": sandbox,
        "strategy": strategy,
        "providers": [_provider(found) for found in _by_offer(parts)],
        "sizes": dict(_sizes(parts)),
        "cost_usd": {
            "low": _money(sum(part.low_usd for part in parts)),
            "expected": _money(sum(part.expected_usd for part in parts)),
            "high": _money(sum(part.high_usd for part in parts)),
        },
        "duration_seconds": round(forecast.seconds, 1),
        "bound_by": "rpd" if forecast.ends_after_a_rest else _bound(parts, forecast.last, latency_seconds),
        "warnings": list(warnings),
    }


def looked_up(jobs: Iterable[Job], known: Callable[[Sequence[Job]], Container[str]]) -> Iterator[tuple[Job, bool]]:
    """Yield each job, and whether the cache answers it; asked for some thousand at once."""
    source = iter(jobs)
    while some := list(islice(source, LOOKED_UP_AT_ONCE)):
        found = known(some)
        yield from ((job, job.id in found) for job in some)


def _place(jobs: Iterable[tuple[Job, bool]], done: Container[int], choice: _Choice, forecast: Forecast) -> Counts:
    """Let the jobs that must be sent enter, in their order, and count all of them."""
    counts = Counts()
    for job, is_known in jobs:
        counts.total += 1
        if fingerprint(job.id) in done:
            counts.finished += 1
        elif job.twin is not None:
            counts.duplicates += 1
        elif is_known:
            counts.cached += 1
        else:
            name, params = forecast.place(choice.able(job)), job.params
            part = counts.parts.get((name, params.model, params.size))
            if part is None:
                seller = choice.by_name[name]
                part = Part(seller, seller.offer(params.model), params.size)
                counts.parts[name, params.model, params.size] = part
            part.add(job)
    return counts


class _Choice:
    """Who can draw which job, in the order in which the strategy asks them; one answer for all jobs of a kind."""

    def __init__(self, sellers: Sequence[Seller], strategy: str, latency_seconds: float | None) -> None:
        self.by_name = {seller.name: seller for seller in sellers}
        self._sellers, self._strategy, self._latency_seconds = sellers, strategy, latency_seconds
        self._kinds: dict[tuple[Any, ...], list[tuple[str, Latency]]] = {}

    def able(self, job: Job) -> list[tuple[str, Latency]]:
        """Return their names, and how long each takes."""
        params, provider = job.params, job.prompt.provider
        kind = (
            provider, params.model, params.size, params.aspect_ratio, params.seed is None, len(params.references),
        )  # fmt: skip
        if (known := self._kinds.get(kind)) is not None:
            return known
        found = [one for one in self._sellers if provider in (None, one.name) and not one.refuses(params)]
        if self._strategy == "cheapest":  # the sort is stable: the user's order decides between equal prices
            found.sort(key=lambda seller: seller.offer(params.model).price_usd(params.size) or 0.0)
        able = [(one.name, _latency(one, params.model, params.size, self._latency_seconds)) for one in found]
        self._kinds[kind] = able
        return able


def _latency(seller: Seller, model: str, size: str | None, told_seconds: float | None) -> Latency:
    """Return how long a provider's slot is taken by an image."""
    typical = seller.offer(model).latency_seconds(size)
    return Latency(
        told_seconds or typical or ASSUMED_LATENCY_SECONDS,
        varies=not told_seconds and bool(typical),
        polled=isinstance(load(seller.settings.protocol), TaskProvider),
    )


def _by_offer(parts: Sequence[Part]) -> list[list[Part]]:
    grouped: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        grouped.setdefault((part.seller.name, part.offer.model), []).append(part)
    return list(grouped.values())


def _sizes(parts: Sequence[Part]) -> Counter[str]:
    found: Counter[str] = Counter()
    for part in parts:
        found[part.size or "default"] += part.images
    return found


def _provider(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the row of one provider's one model."""
    first = parts[0]
    return {
        "name": first.seller.name,
        "model": first.offer.model,
        "wire_model": first.offer.wire_model,
        "images": sum(part.images for part in parts),
        "limits": asdict(first.seller.settings.limits),
        "price_usd": {part.size or "default": part.offer.price_usd(part.size) for part in parts},
        "cost_usd": _money(sum(part.expected_usd for part in parts)),
    }


def _bound(parts: Sequence[Part], last: str | None, told_seconds: float | None) -> str:
    """Name the limit that decides how long the provider takes that gives the last answer."""
    found = [part for part in parts if part.seller.name == last]
    if not found:
        return "nothing"
    limits, images = found[0].seller.settings.limits, sum(part.images for part in found)
    work = sum(_latency(part.seller, part.offer.model, part.size, told_seconds).seconds * part.images for part in found)
    return max(_bounds(limits, images, work), key=lambda bound: bound[0])[1]


def _bounds(limits: Limits, images: int, work_seconds: float) -> list[tuple[float, str]]:
    found = [(work_seconds / limits.concurrency, "concurrency")]
    for name, limit in (("rpm", limits.rpm), ("ipm", limits.ipm)):
        if limit is not None:
            found.append(((images - 1) // limit * _MINUTE, name))
    return found


def _money(usd: float) -> float:
    return round(usd, 4)
