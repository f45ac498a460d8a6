"""Loads the catalog's YAML into typed objects, once a process."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from nanobatch.yaml_files import parse

# The order in which they are tried without a configuration.
PROVIDERS = (
    "google", "laozhang", "kie", "apiyi", "openai", "openrouter", "fal", "replicate", "together", "xai", "puter",
    "vertex", "apiyi-backup",
)  # fmt: skip
_MIMES = {kind: f"image/{kind}" for kind in ("png", "jpeg", "webp", "heic", "heif")}


@dataclass(frozen=True, slots=True)
class Model:
    """One model, under its vendor's current id."""

    id: str
    aliases: tuple[str, ...]
    former: Mapping[str, dt.date]  # earlier ids and the day the vendor shut each down
    sizes: tuple[str, ...]
    ratios: tuple[str, ...]
    pixels: Mapping[str, tuple[int, int]]  # by ratio, at 1K; empty where the vendor documents none
    takes_size: bool
    seed: bool
    references: int  # how many images a job may start from
    image_tokens: Mapping[str, int]
    text_tokens: int | None  # text and thinking that usually come with an image and are billed as output
    reference_tokens: int  # of one reference image
    latency_seconds: Mapping[str, float]  # a typical answer, for estimates only
    retired: dt.date | None
    successor: str | None


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """USD per million tokens."""

    input: float
    text: float  # text and thinking that is billed as output
    image: float
    input_image: float | None = None  # reference images; None: as the rest of the input

    def times(self, factor: float) -> TokenPrices:
        """Return so many times these prices."""
        by_image = None if self.input_image is None else self.input_image * factor
        return TokenPrices(self.input * factor, self.text * factor, self.image * factor, by_image)


@dataclass(frozen=True, slots=True)
class Tier:
    """A preset of limits; None is no limit."""

    rpm: int | None = None
    rpd: int | None = None
    ipm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    window_seconds: int | None = None  # in which the requests are counted; None is a minute


@dataclass(frozen=True, slots=True)
class ReferenceRules:
    """Which images a wire format takes along with the words."""

    most: int = 0
    bytes: int = 0  # of one image
    types: tuple[str, ...] = ()  # "image/png" ...; the first that fits is used where an image has to be converted


@dataclass(frozen=True, slots=True)
class Protocol:
    """What one wire format can carry."""

    name: str
    suffix: str  # follows a server's address where that is all the user gives
    auth: str
    references: ReferenceRules
    sizes: tuple[str, ...] | None = None  # None: whatever the model draws
    ratios: tuple[str, ...] | None = None
    seed: bool = True
    storage_url: str | None = None  # where its batches are staged


@dataclass(frozen=True, slots=True)
class Discount:
    """A cheaper way to the same images that may take longer: the flex tier, or a batch."""

    factor: float  # times the price
    models: tuple[str, ...]
    jobs: int | None = None  # batches that may be open at once
    enqueued_tokens: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # of open batches: tier -> model


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """One provider as the catalog knows it."""

    name: str
    as_of: dt.date
    protocol: str
    base_url: str
    auth: str
    key_variables: tuple[str, ...]
    day_zone: str
    sells_retired: bool
    prices: Mapping[str, Mapping[str, float]]  # model id -> size -> USD per image
    token_prices: Mapping[str, TokenPrices]
    price_source: str
    kept_prices: str | None  # what genai-prices calls the vendor, for models that are not in `token_prices`
    worst_factor: float  # times the table price: the most that one image has been seen to cost
    tiers: Mapping[str, Tier]
    default_tier: str
    wire_models: Mapping[str, str] = field(default_factory=dict)  # model id -> the provider's own name for it
    references: Mapping[str, int] = field(default_factory=dict)  # where it takes fewer than the model does
    seeds: tuple[str, ...] | None = None  # the models that take a seed here; None: all that take one
    other_protocols: Mapping[str, str] = field(default_factory=dict)  # protocol -> base_url
    upload_url: str | None = None
    flex: Discount | None = None
    batch: Discount | None = None
    listed_only: bool = False  # used only where the configuration or --provider names it


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that is known."""

    models: Mapping[str, Model]
    providers: Mapping[str, ProviderEntry]
    protocols: Mapping[str, Protocol]
    as_of: dt.date
    _by_name: Mapping[str, Model] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {name: model for model in self.models.values() for name in (model.id, *model.aliases, *model.former)}
        object.__setattr__(self, "_by_name", by_name)

    @property
    def ratios(self) -> frozenset[str]:
        """Every ratio that some model draws."""
        return frozenset(ratio for model in self.models.values() for ratio in model.ratios)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a model is known by."""
        return tuple(name for model in self.models.values() for name in (model.id, *model.aliases, *model.former))

    def find(self, name: str) -> Model | None:
        """Return the model with this id, alias or former id."""
        return self._by_name.get(name)


@functools.cache
def load_catalog() -> Catalog:
    """Load the catalog that ships with this version."""
    document = _read("models")
    ratios, pixels = document["ratios"], document["pixels"]
    models = {name: _model(name, entry, ratios, pixels) for name, entry in document["models"].items()}
    providers = {name: _provider(name, _read(name)) for name in PROVIDERS}
    protocols = {name: _protocol(name, entry) for name, entry in _read("protocols")["protocols"].items()}
    return Catalog(models, providers, protocols, document["as_of"])


def _read(name: str) -> Mapping[str, Any]:
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return parse(text, f"{name}.yaml").values


def _model(name: str, entry: Mapping[str, Any], ratios: Mapping[str, Any], pixels: Mapping[str, Any]) -> Model:
    table = pixels[entry["pixels"]] if "pixels" in entry else {}
    return Model(
        id=name,
        aliases=tuple(entry.get("aliases", ())),
        former=dict(entry.get("former", {})),
        sizes=tuple(str(size) for size in entry["sizes"]),
        ratios=tuple(ratios[entry["ratios"]]),
        pixels={ratio: (int(table[ratio][0]), int(table[ratio][1])) for ratio in ratios[entry["ratios"]] if table},
        takes_size=entry.get("takes_size", True),
        seed=entry.get("seed", True),
        references=entry.get("references", 0),
        image_tokens=entry.get("image_tokens", {}),
        text_tokens=entry.get("text_tokens"),
        reference_tokens=entry.get("reference_tokens", 0),
        latency_seconds=entry.get("latency_seconds", {}),
        retired=entry.get("retired"),
        successor=entry.get("successor"),
    )


def _provider(name: str, entry: Mapping[str, Any]) -> ProviderEntry:
    prices, limits = entry["prices"], entry["limits"]
    return ProviderEntry(
        name=name,
        as_of=entry["as_of"],
        protocol=entry["protocol"],
        base_url=entry["base_url"],
        auth=entry["auth"],
        key_variables=tuple(entry["key_variables"]),
        day_zone=entry["day_zone"],
        sells_retired=entry["sells_retired"],
        prices=prices["models"],
        token_prices={model: TokenPrices(**tokens) for model, tokens in prices.get("per_million_tokens", {}).items()},
        price_source=prices["source"],
        kept_prices=prices.get("genai_prices"),
        worst_factor=float(prices["worst_factor"]),
        tiers={tier: Tier(**preset) for tier, preset in limits["tiers"].items()},
        default_tier=limits["default_tier"],
        wire_models=entry.get("wire_models", {}),
        references=entry.get("references", {}),
        seeds=tuple(entry["seeds"]) if "seeds" in entry else None,
        other_protocols=entry.get("other_protocols", {}),
        upload_url=entry.get("upload_url"),
        flex=_discount(prices.get("flex")),
        batch=_discount(prices.get("batch")),
        listed_only=entry.get("listed_only", False),
    )


def _discount(entry: Mapping[str, Any] | None) -> Discount | None:
    if not entry:
        return None
    return Discount(entry["factor"], tuple(entry["models"]), entry.get("jobs"), entry.get("enqueued_tokens", {}))


def _protocol(name: str, entry: Mapping[str, Any]) -> Protocol:
    references = entry.get("references", {})
    return Protocol(
        name=name,
        suffix=entry["suffix"],
        auth=entry["auth"],
        references=ReferenceRules(
            most=int(references.get("most", 0)),
            bytes=int(references.get("bytes", 0)),
            types=tuple(_MIMES[kind] for kind in references.get("types", ())),
        ),
        sizes=tuple(map(str, entry["sizes"])) if "sizes" in entry else None,
        ratios=tuple(entry["ratios"]) if "ratios" in entry else None,
        seed=entry.get("seed", True),
        storage_url=entry.get("storage_url"),
    )
