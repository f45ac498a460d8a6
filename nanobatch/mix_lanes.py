"""Says which lanes a mix has to choose from, what an image costs in each, and what bounds them.

A provider has up to three lanes: `sync` answers at once, `flex` answers at its leisure for half the price, `batch` is
ordered by the file and comes within hours. The first two are one account at work: they share its slots and its quota.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from nanobatch.batches.chunks import MEGABYTE, OUTPUT_BYTES, THOUGHTS, TOKENS_PER_REFERENCE
from nanobatch.batches.terms import for_batches
from nanobatch.catalog import Catalog, Offer
from nanobatch.errors import ConfigError
from nanobatch.estimation import ASSUMED_LATENCY_SECONDS
from nanobatch.mix import Option
from nanobatch.model import Job
from nanobatch.pools import DAY, MINUTE, Pool, Rounds, Slots, Windows
from nanobatch.routing import Seller
from nanobatch.selection import FLEX_PROTOCOLS
from nanobatch.settings import ProviderSettings, Settings

LaneKind = Literal["sync", "flex", "batch"]
HOUR = 3600.0
ASSUMED_TOKENS = 1700  # of an image of a model that nobody knows
WORDS = 100  # tokens of a prompt, where only the number of images is known
BIG = 10**12
RISK = 0.01  # of the distance to the worst price: between lanes that are likely to cost the same it decides


@dataclass(frozen=True, slots=True)
class MixLane:
    """One way to buy images."""

    kind: LaneKind
    seller: Seller

    @property
    def provider(self) -> str:
        """Who sells them."""
        return self.seller.name

    @property
    def name(self) -> str:
        """How the mix calls it."""
        return f"{self.provider}/{self.kind}"

    def offer(self, model: str) -> Offer:
        """Return what is sold under a model's name."""
        return self.seller.offer(model)

    def can_take(self, job: Job) -> bool:
        """Tell whether it can honour a job."""
        return job.prompt.provider in (None, self.provider) and self.seller.refuses(job.params) is None


@dataclass(frozen=True, slots=True)
class Likeness:
    """What jobs of one kind have in common, as far as prices, times and limits depend on it."""

    model: str  # as the user wrote it
    size: str | None
    references: int  # images that each starts from
    lanes: tuple[int, ...]  # that can take it, by their places


class KindTable:
    """Finds a job's kind. A million jobs of a few kinds take a look into a dictionary each."""

    def __init__(self, lanes: Sequence[MixLane]) -> None:
        self.lanes = lanes
        self.kinds: list[Likeness] = []
        self._places: dict[Likeness, int] = {}
        self._seen: dict[tuple[object, ...], int] = {}

    def of(self, job: Job) -> int:
        """Return the place of a job's kind in `kinds`."""
        params = job.params
        key = (
            params.model,
            params.size,
            params.aspect_ratio,
            params.seed is None,
            len(params.references),
            job.prompt.provider,
        )
        found = self._seen.get(key)
        if found is None:
            able = tuple(at for at, lane in enumerate(self.lanes) if lane.can_take(job))
            likeness = Likeness(params.model, params.size, len(params.references), able)
            found = self._places.setdefault(likeness, len(self.kinds))
            if found == len(self.kinds):
                self.kinds.append(likeness)
            self._seen[key] = found
        return found


def lanes_of(settings: Settings, catalog: Catalog) -> list[MixLane]:
    """Return every lane of a run's providers, in their order."""
    found = [MixLane("flex" if provider.flex else "sync", Seller(provider, catalog)) for provider in settings.providers]
    found += [
        MixLane("flex", Seller(_flexible(provider), catalog)) for provider in settings.providers if _has_flex(provider)
    ]
    return [*found, *batch_lanes(settings, catalog)]


def batch_lanes(settings: Settings, catalog: Catalog) -> list[MixLane]:
    """Return the lanes for batches; none where nobody sells any."""
    try:
        selling = for_batches(settings).providers
    except ConfigError:
        return []
    return [MixLane("batch", Seller(provider, catalog)) for provider in selling]


def _has_flex(provider: ProviderSettings) -> bool:
    """Tell whether the cheaper tier is sold beside the usual one; where the user sets prices, nobody knows its own."""
    terms = provider.terms
    known = terms.entry is not None and terms.entry.flex is not None and terms.prices is None
    return known and provider.flex_in_mixes and not provider.flex and provider.protocol in FLEX_PROTOCOLS


def _flexible(provider: ProviderSettings) -> ProviderSettings:
    terms = replace(provider.terms, flex=True)
    return replace(provider, flex=True, terms=terms, options={**provider.options, "serviceTier": "flex"})


def expected_usd(offer: Offer, likeness: Likeness, words: float) -> float:
    """Return what an image of a kind is likely to cost, its prompt being so many tokens long."""
    return offer.likely_price_usd(likeness.size, input_tokens=words, references=likeness.references) or 0.0


def worst_usd(offer: Offer, likeness: Likeness) -> float:
    """Return what is set aside for an image of a kind."""
    return offer.worst_price_usd(likeness.size, references=likeness.references) or 0.0


def latency_of(lane: MixLane, likeness: Likeness, told: float | None = None) -> float:
    """Return the seconds from a request to its image, as far as anybody knows before the first one."""
    if lane.kind == "batch":
        return lane.seller.settings.batch.hours * HOUR
    usual = told or lane.offer(likeness.model).latency_seconds(likeness.size) or ASSUMED_LATENCY_SECONDS
    entry = lane.seller.settings.terms.entry
    slow = entry.flex.latency_seconds if lane.kind == "flex" and entry is not None and entry.flex is not None else None
    return max(usual, slow or 0.0) if told is None else usual


def options_of(
    likeness: Likeness, lanes: Sequence[MixLane], *, words: float = WORDS, latency: float | None = None
) -> tuple[Option, ...]:
    """Return what each lane asks for an image of a kind.

    Args:
        likeness: The kind.
        lanes: All that there are.
        words: Tokens of a prompt.
        latency: Seconds of every answer at once, where the user knows better.
    """
    found = []
    for at in likeness.lanes:
        lane = lanes[at]
        seconds = latency_of(lane, likeness, latency)
        takes = _batch_pools(lane, likeness, words) if lane.kind == "batch" else _account_pools(lane, seconds)
        offer = lane.offer(likeness.model)
        usd = expected_usd(offer, likeness, words)
        risk = worst_usd(offer, likeness) - usd  # flex that is served as usual costs twice as much, a batch never does
        found.append(Option(lane.name, usd + RISK * risk, seconds, dict(takes)))
    return tuple(found)


def _account_pools(lane: MixLane, seconds: float) -> Iterator[tuple[Pool, float]]:
    """Yield what a request takes of an account, whichever tier it asks for."""
    limits, account = lane.seller.settings.limits, lane.provider
    yield Slots(account, limits.concurrency), seconds
    for name, limit, window in (("rpm", limits.rpm, MINUTE), ("ipm", limits.ipm, MINUTE), ("rpd", limits.rpd, DAY)):
        if limit is not None:
            yield Windows(account, name, limit, window), 1.0


def _batch_pools(lane: MixLane, likeness: Likeness, words: float) -> Iterator[tuple[Pool, float]]:
    """Yield what a row takes of what may be in open batches."""
    batch, seconds = lane.seller.settings.batch, lane.seller.settings.batch.hours * HOUR
    offer = lane.offer(likeness.model)
    image = offer.known.image_tokens.get(likeness.size or "1K", ASSUMED_TOKENS) if offer.known else ASSUMED_TOKENS
    tokens = image + THOUGHTS + words + likeness.references * TOKENS_PER_REFERENCE
    limits = batch.enqueued_tokens or {}
    most = limits.get(offer.known.id if offer.known else likeness.model, limits.get("*"))
    if most is not None:
        yield Rounds(lane.provider, f"tokens of {offer.wire_model}", most, seconds), tokens
    if batch.jobs is not None:
        output = OUTPUT_BYTES.get(likeness.size or "1K", OUTPUT_BYTES["1K"])
        rows = max(1, min(batch.output_mb * MEGABYTE // output, batch.rows or BIG))
        yield Rounds(lane.provider, "batches", batch.jobs, seconds), 1 / rows
