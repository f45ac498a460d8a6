"""What one provider sells under one model's name: the wire id, what it can do, what it costs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nanobatch.catalog import kept_prices
from nanobatch.catalog.data import Catalog, Model, Protocol, ProviderEntry, ReferenceRules, TokenPrices
from nanobatch.errors import ConfigError
from nanobatch.model import SIZES, Usage

_SCALE = {"512": 0.5, "1K": 1.0, "2K": 2.0, "4K": 4.0}
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What the user's configuration says about a provider, as far as offers depend on it."""

    provider: str
    entry: ProviderEntry | None  # None: a provider that the catalog does not know
    prices: Mapping[str, float] | None = None  # USD per image by size, for every model
    models: Mapping[str, str] | None = None  # our name: theirs
    protocol: str = ""  # empty: the one that the catalog names
    flex: bool = False  # the cheaper tier of service is asked for
    batch_factor: float | None = None  # images are ordered in batches, at the price times this
    elsewhere: bool = False  # at an address that the user gives: what the vendor's tokens cost says nothing of it


@dataclass(frozen=True, slots=True)
class Carries:
    """What can travel with the words of one model to one provider."""

    references: ReferenceRules = field(default_factory=ReferenceRules)
    sizes: tuple[str, ...] | None = None  # None: nobody knows, so anything is tried
    ratios: tuple[str, ...] | None = None
    seed: bool = True


@dataclass(frozen=True, slots=True)
class Offer:
    """One model at one provider."""

    provider: str
    model: str  # as the user wrote it
    wire_model: str  # as the provider calls it
    known: Model | None
    prices: Mapping[str, float]  # USD per image by size
    token_prices: TokenPrices | None = None  # None: a flat price per image is charged
    worst_factor: float = 1.0
    carries: Carries = field(default_factory=Carries)
    flex_factor: float = 1.0  # below 1 where the cheaper tier is asked for and sold; `prices` hold it already
    warning: str | None = None

    @property
    def takes_size(self) -> bool:
        """Whether the size goes on the wire; some models fail on it."""
        return self.known.takes_size if self.known else True

    def pixels(self, size: str | None, aspect_ratio: str | None) -> tuple[int, int] | None:
        """Return the documented width and height; a model's square when no ratio is asked for."""
        table = self.known.pixels if self.known else {}
        base = table.get(aspect_ratio or "1:1")
        if base is None:
            return None
        scale = _SCALE.get(size or "1K", 1.0)
        return round(base[0] * scale), round(base[1] * scale)

    def price_usd(self, size: str | None) -> float | None:
        """Return the price of one image, or None where it is unknown."""
        return self.prices.get(size or "1K")

    def worst_price_usd(self, size: str | None, *, references: int = 0) -> float | None:
        """Return the most that one image may cost, at the usual tier of service: thinking, text and references too."""
        price = self.price_usd(size)
        if price is None:
            return None
        return price * self.worst_factor / self.flex_factor + self._references_usd(references)

    def likely_price_usd(self, size: str | None, *, input_tokens: float = 0, references: float = 0) -> float | None:
        """Return what an image costs on average, or None where its price is unknown.

        By the tokens that usually come, where they decide and are known: half-way to the worst price would be wrong by
        as much as the worst is rare. Where nobody has recorded them, half-way is the best guess.

        Args:
            size: Of the image.
            input_tokens: Of the prompt.
            references: How many images come with it. Both may be averages over many jobs.
        """
        price, known = self.price_usd(size), self.known
        image = known.image_tokens.get(size or "1K") if known is not None else None
        if price is None or self.token_prices is None or known is None:
            return price
        by_references = self._references_usd(references) * self.flex_factor
        if image is None or known.text_tokens is None:
            return price * (1 + self.worst_factor) / 2 + by_references
        tokens = input_tokens * self.token_prices.input + known.text_tokens * self.token_prices.text
        return (tokens + image * self.token_prices.image) * self.flex_factor / _MILLION + by_references

    def _references_usd(self, references: float) -> float:
        """Return what reference images cost at the usual tier of service."""
        if self.token_prices is None or self.known is None:
            return 0.0
        prices = self.token_prices
        each = prices.input if prices.input_image is None else prices.input_image
        return references * self.known.reference_tokens * each / _MILLION

    def usage_cost_usd(self, usage: Usage) -> float | None:
        """Return what the reported tokens cost, or None where tokens do not decide.

        Cost = input x its price + image tokens x theirs + text and thinking x theirs, each per million; reference
        images are input with a price of their own.
        """
        if usage.cost_usd is not None:
            return usage.cost_usd
        prices = self.token_prices
        if prices is None or usage.image_tokens is None:
            return None
        references = min(usage.input_image_tokens or 0, usage.input_tokens or 0)
        by_image = prices.input if prices.input_image is None else prices.input_image
        total = (
            ((usage.input_tokens or 0) - references) * prices.input
            + references * by_image
            + usage.image_tokens * prices.image
            + (usage.text_tokens or 0) * prices.text
        )
        return total * self.flex_factor / _MILLION

    def latency_seconds(self, size: str | None) -> float | None:
        """Return how long an image typically takes, for estimates."""
        return self.known.latency_seconds.get(size or "1K") if self.known else None

    def refuses(
        self, *, size: str | None, aspect_ratio: str | None, seed: int | None, references: tuple[str, ...]
    ) -> str | None:
        """Say in one sentence why this offer cannot honour the parameters, or None when it can."""
        carries, name = self.carries, f"{self.model} at {self.provider}"
        if size is not None and carries.sizes is not None and size not in carries.sizes:
            return f"{name} has no size {size}, only {', '.join(carries.sizes)}"
        if aspect_ratio is not None and carries.ratios is not None and aspect_ratio not in carries.ratios:
            return f"{name} has no aspect ratio {aspect_ratio}, only {', '.join(carries.ratios)}"
        if seed is not None and not carries.seed:
            return f"{name} takes no seed"
        if len(references) > carries.references.most:
            most = carries.references.most
            return f"{name} takes {f'at most {most}' if most else 'no'} reference images"
        if self.price_usd(size) is None:
            return (
                f"the price of {self.model} at {size or '1K'} is not known; set it under "
                f"providers.{self.provider}.prices, in USD per image"
            )
        return None


def offer_for(terms: Terms, model: str, catalog: Catalog) -> Offer:
    """Return what a provider sells under a model's name.

    Raises:
        ConfigError: It does not sell the model; the message names what it does sell.
    """
    mapped = (terms.models or {}).get(model)
    known = catalog.find(model)
    if terms.entry is None:
        offer = _custom(terms, model, mapped=mapped, known=known, catalog=catalog)
    else:
        offer = _listed(terms, terms.entry, model, mapped=mapped, known=known, catalog=catalog)
    return offer if terms.batch_factor is None else _in_batches(offer, terms, terms.batch_factor)


def _in_batches(offer: Offer, terms: Terms, factor: float) -> Offer:
    """Return an offer at the price of a batch.

    Raises:
        ConfigError: The vendor sells this model, but not in batches.
    """
    sold = terms.entry.batch.models if terms.entry is not None and terms.entry.batch is not None else None
    if sold is not None and offer.known is not None and offer.known.id not in sold and terms.prices is None:
        raise ConfigError(f"{terms.provider} sells batches of {', '.join(sold)}, not of {offer.model}")
    tokens = offer.token_prices
    if tokens is not None:
        tokens = tokens.times(factor)
    return replace(offer, prices={size: price * factor for size, price in offer.prices.items()}, token_prices=tokens)


def _custom(terms: Terms, model: str, *, mapped: str | None, known: Model | None, catalog: Catalog) -> Offer:
    if terms.models and mapped is None:
        raise ConfigError(f"{terms.provider} has no model {model!r}{_among(model, terms.models)}")
    former = known is not None and model in known.former
    canonical = known.id if known is not None and not former else model
    vendor = catalog.providers.get(terms.protocol)  # whose words these are: an endpoint that speaks kie knows its names
    if vendor is not None and known is not None:
        canonical = vendor.wire_models.get(known.id, canonical)
    carries = _carries(known, catalog.protocols.get(terms.protocol), vendor)
    return Offer(terms.provider, model, mapped or canonical, known, terms.prices or {}, carries=carries)


def _listed(
    terms: Terms, entry: ProviderEntry, model: str, *, mapped: str | None, known: Model | None, catalog: Catalog
) -> Offer:
    warning = None
    wire = mapped or (known.id if known is not None else model)
    if known is not None and mapped is None:
        if entry.sells_retired:
            wire = model if model in known.former else known.id
        else:
            known, warning = _current(terms.provider, model, known, catalog)
            wire = known.id
        wire = entry.wire_models.get(known.id, wire)
    prices = terms.prices or (entry.prices.get(known.id) if known is not None else None)
    if prices is None:
        hint = _among(model, _sold(entry, catalog))
        raise ConfigError(
            f"{terms.provider} is not known to sell {model!r}{hint}{' If' if hint.endswith('?') else '; if'} it does, "
            f"set its price under providers.{terms.provider}.prices"
        )
    by_table = terms.prices is None and known is not None
    factor = _flex_factor(terms, entry, known)
    return Offer(
        provider=terms.provider,
        model=model,
        wire_model=wire,
        known=known,
        prices={size: price * factor for size, price in prices.items()} if by_table else prices,
        token_prices=_token_prices(terms, entry, known, wire=wire),
        worst_factor=entry.worst_factor if by_table else 1.0,
        carries=_carries(known, catalog.protocols.get(terms.protocol or entry.protocol), entry),
        flex_factor=factor,
        warning=warning,
    )


def _token_prices(terms: Terms, entry: ProviderEntry, known: Model | None, *, wire: str) -> TokenPrices | None:
    """Return what a model's tokens cost: as our table says, else as genai-prices does.

    A price that the user sets instead of ours is flat, as for a contract. Where we know no price of the model, the
    user can only guess what the vendor bills by tokens: the guess is set aside, the answer's tokens say what it was.
    """
    ours = entry.token_prices.get(known.id) if known is not None else None
    if terms.prices is None:
        return ours
    if terms.elsewhere or (known is not None and known.id in entry.prices):
        return None
    if ours is None and entry.kept_prices is not None:
        return kept_prices.token_prices(entry.kept_prices, wire)
    return ours


def _flex_factor(terms: Terms, entry: ProviderEntry, known: Model | None) -> float:
    """Return what the cheaper tier of service multiplies prices by.

    Raises:
        ConfigError: It is asked for and not sold.
    """
    if not terms.flex:
        return 1.0
    if entry.flex is None or known is None or known.id not in entry.flex.models:
        sold = ", ".join(entry.flex.models) if entry.flex else "no model"
        name = known.id if known else "this model"
        raise ConfigError(f"{terms.provider} has tier_of_service flex for {sold}, not for {name}")
    return entry.flex.factor


def _carries(known: Model | None, protocol: Protocol | None, entry: ProviderEntry | None) -> Carries:
    """Combine what the model draws, what the wire format has words for, and what the provider takes."""
    if protocol is None:  # another package's format: its provider says no to what it cannot carry
        return Carries(
            sizes=known.sizes if known else None,
            ratios=known.ratios if known else None,
            seed=known.seed if known else True,
        )
    most = protocol.references.most
    if known is not None:
        most = min(most, known.references)
        if entry is not None:
            most = min(most, entry.references.get(known.id, most))
    seeds = entry.seeds if entry is not None else None
    return Carries(
        references=replace(protocol.references, most=most),
        sizes=_both(known.sizes if known else None, protocol.sizes),
        ratios=_both(known.ratios if known else None, protocol.ratios),
        seed=protocol.seed and (known is None or (known.seed and (seeds is None or known.id in seeds))),
    )


def _both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return what is in both lists; None is a list of everything."""
    if one is None or other is None:
        return one if other is None else other
    return tuple(each for each in one if each in other)


def _current(provider: str, name: str, known: Model, catalog: Catalog) -> tuple[Model, str | None]:
    """Follow a retired id to what the vendor sells today."""
    day = known.former.get(name)
    warning = f"{provider} shut {name} down on {day}; {known.id} is used instead" if day else None
    while known.retired is not None and known.successor is not None:
        warning = f"{provider} shut {known.id} down on {known.retired}; {known.successor} is used instead"
        known = catalog.models[known.successor]
    return known, warning


def _sold(entry: ProviderEntry, catalog: Catalog) -> list[str]:
    return [name for model in entry.prices for name in (model, *catalog.models[model].aliases)]


def _among(wanted: str, names: Mapping[str, str] | list[str]) -> str:
    """Suggest the nearest names, else list a few."""
    near = difflib.get_close_matches(wanted, list(names), n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; it has {', '.join(list(names)[:8])}" if names else ""


ALL_SIZES = SIZES
