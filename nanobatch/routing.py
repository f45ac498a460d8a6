"""Decides which provider takes which job, among those that can honour it and are able to work now.

    priority   the first in the user's order
    cheapest   the one that asks the least for this job
    fastest    all of them: the job waits at every gate and enters the first that opens

A job moves to another provider only when that one can honour its parameters: model, size, ratio, seed. Model ids and
sizes are translated by the provider's own offer, never passed on from one provider to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from math import inf

from nanobatch.catalog import Catalog, Offer, offer_for
from nanobatch.errors import ConfigError
from nanobatch.exchange import Sender
from nanobatch.limits.gate import Gate
from nanobatch.model import Job, Order, Params
from nanobatch.providers.base import Provider
from nanobatch.settings import ProviderSettings

REASONS_TOLD = 2
PROBES = 5  # after 15, 30, 60, 120 and 240 seconds in vain the next run is the better place to wait


class AllParked(Exception):
    """Every provider that could take the job rests until its quota comes back."""

    def __init__(self, until: float, reason: str) -> None:
        super().__init__(reason)
        self.until = until  # wall-clock seconds
        self.reason = reason


class NoneLeft(Exception):
    """No provider that could take the job takes anything more in this run."""

    def __init__(self, reason: str, *, everybody: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.everybody = everybody  # no lane takes anything more, whatever the job


@dataclass(slots=True)
class Seller:
    """What one provider sells in this run, and how a job is said in its words."""

    settings: ProviderSettings
    catalog: Catalog
    _offers: dict[str, Offer | str] = field(default_factory=dict)  # by model as the user wrote it; a str says why not

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.settings.name

    def offer(self, model: str) -> Offer:
        """Return what this provider sells under a model's name.

        Raises:
            ConfigError: Nothing.
        """
        found = self._found(model)
        if isinstance(found, str):
            raise ConfigError(found)
        return found

    def refuses(self, params: Params) -> str | None:
        """Say why this provider cannot honour the parameters, or None."""
        found = self._found(params.model)
        if isinstance(found, str):
            return found
        return found.refuses(
            size=params.size, aspect_ratio=params.aspect_ratio, seed=params.seed, references=params.references
        )

    def order(self, job: Job) -> Order:
        """Translate a job."""
        params, offer = job.params, self.offer(job.params.model)
        return Order(
            prompt=job.prompt.text,
            model=offer.wire_model,
            size=params.size if offer.takes_size else None,
            aspect_ratio=params.aspect_ratio,
            pixels=offer.pixels(params.size, params.aspect_ratio),
            seed=params.seed,
            upload_url=self.settings.upload_url,
            options=self.settings.options,
        )

    @property
    def offers(self) -> list[Offer]:
        """What it sells of the models that were asked for."""
        return [offer for offer in self._offers.values() if isinstance(offer, Offer)]

    @property
    def warnings(self) -> list[str]:
        """What the user should know about the models that were asked for."""
        return [offer.warning for offer in self.offers if offer.warning]

    def _found(self, model: str) -> Offer | str:
        if model not in self._offers:
            try:
                self._offers[model] = offer_for(self.settings.terms, model, self.catalog)
            except ConfigError as error:
                self._offers[model] = error.message
        return self._offers[model]


def why_not(sellers: Sequence[Seller], params: Params, *, provider: str | None = None) -> str | None:
    """Say why no provider of the run can draw this, or None when one can: the preflight's question."""
    reasons = []
    for seller in sellers:
        if provider is not None and seller.name != provider:
            continue
        reason = seller.refuses(params)
        if reason is None:
            return None
        reasons.append(reason)
    if not reasons:
        known = ", ".join(seller.name for seller in sellers)
        return f"provider {provider!r} is not used in this run, which has {known}"
    return "; ".join(_a_few(reasons))


def _a_few(reasons: list[str]) -> list[str]:
    """Leave out what every provider of the catalog would say again; one that knows a near name comes first."""
    others = len(reasons) - REASONS_TOLD
    if others < 2:
        return reasons
    told = sorted(reasons, key=lambda reason: "did you mean" not in reason)[:REASONS_TOLD]
    return [*told, f"and {others} other providers cannot draw it either"]


@dataclass(slots=True)
class Lane:
    """One provider at work: its own gate and its own way out. One that hangs holds up nobody else."""

    seller: Seller
    provider: Provider
    sender: Sender
    gate: Gate
    gone: dict[str, str] = field(default_factory=dict)  # models that the provider turned out not to have

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.seller.name


@dataclass(frozen=True, slots=True)
class Router:
    """The lanes of a run in priority order."""

    lanes: Sequence[Lane]
    strategy: str = "priority"
    planned: Callable[[Job], Lane | None] | None = None  # who is to take a job by a plan; others only when that fails

    def choose(self, job: Job, *, without: Container[str] = (), tired: Container[str] = ()) -> list[Lane]:
        """Return the lanes at whose gates the job may wait: one, or with `fastest` all that are able.

        Args:
            job: What is to be drawn.
            without: Lanes that must not take it.
            tired: Lanes that take it only when there is no other.

        Raises:
            AllParked: Only lanes are left whose daily quota is spent.
            NoneLeft: No lane is left.
        """
        able: list[Lane] = []
        waiting: list[tuple[float, Lane]] = []
        parked: list[tuple[float, str]] = []
        closed: list[str] = []
        for lane in self._candidates(job, without):
            if (reason := lane.gone.get(job.params.model)) is not None:
                closed.append(f"{lane.name}: {reason}")
                continue
            state = lane.gate.state()
            if state.kind == "closed":
                closed.append(f"{lane.name}: {state.reason}")
            elif state.kind == "parked":
                parked.append((state.until or inf, f"{lane.name}: {state.reason}"))
            elif state.faulty:
                waiting.append((state.until or inf, lane))
            else:
                able.append(lane)
        if able:
            fresh = [lane for lane in able if lane.name not in tired] or able
            return fresh if self.strategy == "fastest" else fresh[:1]
        if waiting:
            return [min(waiting, key=lambda pair: pair[0])[1]]
        if parked:
            raise AllParked(*min(parked))
        everybody = all(lane.gate.state().kind == "closed" for lane in self.lanes)
        raise NoneLeft("; ".join(closed), everybody=everybody)

    def is_crowded(self, job: Job) -> bool:
        """Tell whether at every gate where the job may wait as many wait already as may be inside at once."""
        if len(self.lanes) == 1:
            return False
        try:
            lanes = self.choose(job)
        except (AllParked, NoneLeft):
            return False
        return all(shot.waiting >= shot.maximum for shot in (lane.gate.snapshot() for lane in lanes))

    def can_take(self, job: Job, *, without: Container[str]) -> bool:
        """Tell whether a lane is left that could take the job, now or later."""
        return any(
            lane.gate.state().kind != "closed" and job.params.model not in lane.gone
            for lane in self._candidates(job, without)
        )

    def named(self, name: str) -> Lane | None:
        """Return the lane of a provider."""
        return next((lane for lane in self.lanes if lane.name == name), None)

    def given_up(self) -> float | None:
        """Return when to look again, where no lane answers and each was probed in vain several times; else None.

        The time is wall-clock seconds.
        """
        working = [shot for lane in self.lanes if (shot := lane.gate.snapshot()).state.kind != "closed"]
        if not working or any(not shot.state.faulty or shot.failed_probes < PROBES for shot in working):
            return None
        return min(shot.state.until or inf for shot in working)

    def _candidates(self, job: Job, without: Container[str]) -> list[Lane]:
        """Return the lanes that can honour the job, in the order in which they are asked."""
        found = [
            lane
            for lane in self.lanes
            if job.prompt.provider in (None, lane.name)
            and lane.name not in without
            and lane.seller.refuses(job.params) is None
        ]
        if self.strategy == "cheapest":  # the sort is stable: the user's order decides between equal prices
            found.sort(key=lambda lane: lane.seller.offer(job.params.model).price_usd(job.params.size) or 0.0)
        if self.planned is not None and (first := self.planned(job)) is not None:
            found.sort(key=lambda lane: lane is not first)
        return found
