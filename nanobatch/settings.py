"""What a run is told to do, as typed, frozen values. `config.py` fills them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nanobatch.catalog import Terms
from nanobatch.errors import ConfigError


class Secret:
    """A key that never shows itself: not in a repr, a log line, an error or a dump."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        value = value.strip()
        if not value:
            raise ConfigError("the key is empty")
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise ConfigError("the key contains blanks or characters that no key has; was it copied whole?")
        self._value = value

    def reveal(self) -> str:
        """Return the key itself, for a request header and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Any:
        raise TypeError("a key is not written anywhere")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a row gets where it says nothing itself."""

    model: str = "nano-banana-pro"
    size: str | None = "1K"
    aspect_ratio: str | None = None
    seed: int | None = None
    images_per_prompt: int = 1


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How the run goes about it."""

    strategy: str = "priority"
    retries: int = 4
    timeout_seconds: float = 300.0
    on_quota: Literal["wait", "stop"] = "stop"
    on_unknown: Literal["retry", "hold"] = "retry"
    budget_usd: float | None = None
    confirm_above_usd: float | None = 10.0
    grace_seconds: float = 30.0
    fallback_on_refusal: bool = False  # ask the next provider what one refused
    allow_private_references: bool = False  # fetch reference images from private networks


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """Where images go and how they are called."""

    dir: str | None = None
    name: str = "{id}"
    embed: tuple[str, ...] = ()  # prompt, params: written into the stored copies
    gallery: bool = True  # write gallery.html at the end of a run


@dataclass(frozen=True, slots=True)
class SemanticSettings:
    """Whether prompts that say the same in other words share an image."""

    enabled: bool = False
    threshold: float = 0.7  # of nearness; what may be taken at all, the guard decides


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How images of earlier runs are found again."""

    enabled: bool = True
    url: Secret | None = None  # of the Redis that a team shares; None: this machine's own cache
    ttl_seconds: float = 7 * 86_400.0  # 0: for ever
    refusals: bool = True  # what a provider has refused is not asked again either
    keep_images: bool = False  # own copies, for when the folders are gone
    max_gb: float = 10.0  # of own copies
    hard_links: bool = False  # the same file in both folders, instead of a copy
    prefix: str = "nanobatch"  # of the keys in Redis
    max_value_mb: float = 32.0  # of an image that travels in Redis
    semantic: SemanticSettings = SemanticSettings()


@dataclass(frozen=True, slots=True)
class UsageSettings:
    """What all runs of a user may do together."""

    budget_usd_per_day: float | None = None
    url: Secret | None = None  # of the Redis that the runs of many machines share; None: this machine's own ledger


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider allows; None is no limit."""

    rpm: int | None = None  # requests per minute
    rpd: int | None = None  # requests per day of the provider
    ipm: int | None = None  # images per minute
    tpm: int | None = None  # tokens per minute
    concurrency: int = 8  # requests at once
    window_seconds: int = 60  # in which the provider counts; 20 in any 10 s is `rpm: 120, window_seconds: 10`


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How a provider's batches are cut and watched; None is no limit."""

    factor: float | None = None  # times the price of one image; None: the provider sells no batches
    jobs: int | None = None  # open at once
    enqueued_tokens: Mapping[str, int] | None = None  # in all open batches, by model; "*" stands for every model
    output_mb: int = 500  # that the result of one batch is expected to have
    input_mb: int | None = None  # of one batch; None: what the wire format allows
    rows: int | None = None  # of one batch
    poll_seconds: float = 10.0  # before the first look; later ones come less often, up to thirty times this
    hours: float = 24.0  # from the order to the images, for plans with a deadline
    bucket: str | None = None  # gs://BUCKET/FOLDER, where the wire format stages rows and results in one
    storage_url: str | None = None  # where Cloud Storage is


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One provider, ready to be used."""

    name: str
    protocol: str
    base_url: str
    api_key: Secret | None  # None where the credentials come from elsewhere, or nobody asks for any
    auth: str  # x-goog-api-key | bearer | key | google | none
    priority: int
    limits: Limits
    terms: Terms
    day_zone: str = "UTC"
    options: Mapping[str, Any] = field(default_factory=dict)  # extra fields of the wire format
    upload_url: str | None = None  # where reference images are uploaded, if not below base_url
    flex: bool = False  # the cheaper, slower tier of service
    flex_in_mixes: bool = True  # a mix may use it beside the usual one; not where the user has named a tier
    cooldown_seconds: float | None = None  # of the circuit breaker; None: see `assembly`
    batch: BatchSettings = BatchSettings()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything."""

    defaults: Defaults
    run: RunSettings
    output: OutputSettings
    providers: tuple[ProviderSettings, ...]  # in the order in which they are tried
    warnings: tuple[str, ...] = ()
    sandbox: bool = False
    usage: UsageSettings = UsageSettings()
    cache: CacheSettings = CacheSettings()
    origins: Mapping[str, str] = field(default_factory=dict)

    def origin(self, key: str) -> str:
        """Say where a value came from: `nanobatch.yaml:12`, `NANOBATCH_RUN_RETRIES`, `--retries` or `default`."""
        return self.origins.get(key, "default")
