"""Says which providers of a run sell batches, and turns their settings into those of a batch: cheaper, without flex."""

from __future__ import annotations

from dataclasses import replace

from nanobatch.batches.wire import PROTOCOLS
from nanobatch.errors import ConfigError
from nanobatch.settings import ProviderSettings, Settings

_TIER = "serviceTier"


def for_batches(settings: Settings) -> Settings:
    """Return the settings as they are when everything goes through batches.

    Raises:
        ConfigError: None of the providers sells any.
    """
    able = tuple(_in_batches(provider) for provider in settings.providers if sells_batches(provider))
    if not able:
        names = ", ".join(provider.name for provider in settings.providers)
        raise ConfigError(
            f"none of the providers in use ({names}) sells batches; google and openai do. For an endpoint of your own "
            "that speaks their format, set providers.NAME.batch.factor, which is 0.5 for half the price"
        )
    return replace(settings, providers=able)


def sells_batches(provider: ProviderSettings) -> bool:
    """Tell whether a provider has batches and we know what they cost."""
    return provider.batch.factor is not None and provider.protocol in PROTOCOLS


def _in_batches(provider: ProviderSettings) -> ProviderSettings:
    options = {key: value for key, value in provider.options.items() if key != _TIER}
    terms = replace(provider.terms, flex=False, batch_factor=provider.batch.factor)
    return replace(provider, terms=terms, options=options, flex=False)
