"""One job's way to its image: what it has met so far, what it costs, and what came back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from nanobatch.attempts import Tally
from nanobatch.budget import Reservation
from nanobatch.catalog import Offer
from nanobatch.errors import ExchangeError, LaneEffect
from nanobatch.model import Answer, Blob, Cost, ImageFacts, Job, Order
from nanobatch.routing import Lane

_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_REFERENCE = 1120  # the most that has been recorded for one image
_TIRED = 2  # failures of one job on one lane, after which another lane is the better choice


@dataclass(frozen=True, slots=True)
class Landing:
    """An answer whose image is whole, still as a part."""

    answer: Answer
    blob: Blob
    facts: ImageFacts
    warnings: tuple[str, ...] = ()  # about what was embedded


@dataclass(slots=True)
class Quest:
    """One job's way to its image, over all its attempts."""

    job: Job
    tally: Tally
    history: list[ExchangeError] = field(default_factory=list)
    refused_by: set[str] = field(default_factory=set)  # lanes whose content rules forbid it

    @property
    def tired(self) -> set[str]:
        """Lanes that failed this job so often that another is the better choice."""
        troubles = (LaneEffect.FAULT, LaneEffect.SHRINK)
        failures = Counter(error.provider for error in self.history if error.effect in troubles and error.provider)
        return {lane for lane, count in failures.items() if count >= _TIRED}

    def detours(self, served_by: str) -> tuple[str, ...]:
        """Say after which failures elsewhere a lane served the job."""
        elsewhere = dict.fromkeys((error.provider, error.code) for error in self.history if error.provider != served_by)
        return tuple(f"after {provider}: {code}" for provider, code in elsewhere if provider)


@dataclass(slots=True)
class Attempt:
    """One sending of one job, from its intent to its outcome."""

    quest: Quest
    lane: Lane
    offer: Offer
    reservation: Reservation
    order: Order
    id: str = ""
    started: float = 0.0  # wall-clock seconds

    @property
    def job(self) -> Job:
        """The job."""
        return self.quest.job

    @property
    def worst_usd(self) -> float:
        """The most that this attempt may cost."""
        return worst_price(self.offer, self.job)


def worst_price(offer: Offer, job: Job) -> float:
    """Return the most that one image of a job may cost at a provider, in USD.

    The preflight has refused offers without a price, so a missing one is a bug here.
    """
    price = offer.worst_price_usd(job.params.size, references=len(job.params.references))
    if price is None:
        raise AssertionError(f"{offer.provider} has no price for {job.params}")
    return price


def quota_cost(job: Job) -> Cost:
    """Estimate what a job takes from a provider's quota."""
    text = max(1, len(job.prompt.text) // _CHARACTERS_PER_TOKEN)
    return Cost(tokens=text + _TOKENS_PER_REFERENCE * len(job.params.references))


def price_of(offer: Offer, job: Job, answer: Answer) -> tuple[float, str]:
    """Return what an image cost, and whether reported tokens or the table say so."""
    factor = 1 / offer.flex_factor if answer.full_price else 1.0
    if answer.usage is not None:
        by_usage = offer.usage_cost_usd(answer.usage)
        if by_usage is not None:
            return by_usage * factor, "usage"
    return (offer.price_usd(job.params.size) or 0.0) * factor, "price"
