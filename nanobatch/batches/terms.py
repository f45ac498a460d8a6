"""Says which providers of a run sell batches, and turns their settings into those of a batch: cheaper, without flex."""

from __future__ import annotations

from dataclasses import replace

from nanobatch.batches.wire import NEED_BUCKETS, PROTOCOLS
from nanobatch.errors import ConfigError
from nanobatch.settings import ProviderSettings, Settings

_TIER = "serviceTier"


def for_batches(settings: Settings) -> Settings:
    """Return the settings as they are when everything goes through batches.

    Raises:
        ConfigError: None of the providers sells any, or the one that does needs a bucket.
    """
    selling = [provider for provider in settings.providers if sells_batches(provider)]
    able = tuple(_in_batches(provider) for provider in selling if not _lacks_bucket(provider))
    lacking = [provider.name for provider in selling if _lacks_bucket(provider)]
    if lacking and not able:
        raise ConfigError(_no_bucket(lacking[0]))
    if not able:
        names = ", ".join(provider.name for provider in settings.providers)
        raise ConfigError(
            f"none of the providers in use ({names}) sells batches; google, openai and vertex do. For an endpoint of "
            "your own that speaks their format, set providers.NAME.batch.factor, which is 0.5 for half the price"
        )
    left_out = tuple(f"left out of batches: {_no_bucket(name)}" for name in lacking)
    return replace(settings, providers=able, warnings=(*settings.warnings, *left_out))


def sells_batches(provider: ProviderSettings) -> bool:
    """Tell whether a provider has batches and we know what they cost."""
    return provider.batch.factor is not None and provider.protocol in PROTOCOLS


def _lacks_bucket(provider: ProviderSettings) -> bool:
    return provider.protocol in NEED_BUCKETS and provider.batch.bucket is None


def _no_bucket(name: str) -> str:
    return (
        f"{name} stages its batches in Cloud Storage; set providers.{name}.batch.bucket to a bucket of yours, with a "
        "folder in it where you like, such as gs://my-bucket/nanobatch"
    )


def _in_batches(provider: ProviderSettings) -> ProviderSettings:
    options = {key: value for key, value in provider.options.items() if key != _TIER}
    terms = replace(provider.terms, flex=False, batch_factor=provider.batch.factor)
    return replace(provider, terms=terms, options=options, flex=False)
