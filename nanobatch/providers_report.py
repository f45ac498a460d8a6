"""What is known of every provider, beside what this configuration makes of it: the content of `nanobatch providers`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nanobatch.catalog import Catalog, Model, Offer, ProviderEntry, Terms, offer_for
from nanobatch.errors import ConfigError
from nanobatch.lookup import nearest
from nanobatch.settings import Limits, ProviderSettings, Settings


def report(catalog: Catalog, settings: Settings | None, environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Describe all providers: those of the configuration in the order in which they are tried, then the catalog's.

    Args:
        catalog: What is known.
        settings: The present configuration; None where no provider has a key.
        environ: Where keys may stand.
    """
    used = settings.providers if settings is not None else ()
    names = [provider.name for provider in used]
    rest = [name for name in catalog.providers if name not in names]
    return [_used(catalog, provider, environ) for provider in used] + [
        _unused(catalog, catalog.providers[name], environ) for name in rest
    ]


def find(providers: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return one provider of a report.

    Raises:
        ConfigError: There is none of this name.
    """
    for provider in providers:
        if provider["name"] == name:
            return provider
    raise ConfigError(f"unknown provider {name!r}{nearest(name, [provider['name'] for provider in providers])}")


def _used(catalog: Catalog, provider: ProviderSettings, environ: Mapping[str, str]) -> dict[str, Any]:
    entry = catalog.providers.get(provider.name)
    variable = _variable(entry, environ)
    found_in = variable or ("configuration" if provider.api_key is not None else None)
    return _described(
        catalog,
        provider.terms,
        entry,
        protocol=provider.protocol,
        base_url=provider.base_url,
        key_found_in=found_in,
        used=True,
        priority=provider.priority,
        limits=provider.limits,
    )


def _unused(catalog: Catalog, entry: ProviderEntry, environ: Mapping[str, str]) -> dict[str, Any]:
    preset = {key: value for key, value in asdict(entry.tiers[entry.default_tier]).items() if value is not None}
    return _described(
        catalog,
        Terms(entry.name, entry, protocol=entry.protocol),
        entry,
        protocol=entry.protocol,
        base_url=entry.base_url,
        key_found_in=_variable(entry, environ),
        used=False,
        priority=None,
        limits=Limits(**preset),
    )


def _variable(entry: ProviderEntry | None, environ: Mapping[str, str]) -> str | None:
    return next((name for name in (entry.key_variables if entry else ()) if environ.get(name, "").strip()), None)


def _described(  # noqa: PLR0913 - one argument for each source of facts
    catalog: Catalog,
    terms: Terms,
    entry: ProviderEntry | None,
    *,
    protocol: str,
    base_url: str,
    key_found_in: str | None,
    used: bool,
    priority: int | None,
    limits: Limits,
) -> dict[str, Any]:
    return {
        "name": terms.provider,
        "protocol": protocol,
        "base_url": base_url,
        "key_variables": list(entry.key_variables) if entry else [],
        "key_found_in": key_found_in,
        "used": used,
        "priority": priority,
        "limits": asdict(limits),
        "tiers": list(entry.tiers) if entry else [],
        "as_of": entry.as_of.isoformat() if entry else None,
        "price_source": entry.price_source if entry else None,
        "models": _models(catalog, terms, entry),
    }


def _models(catalog: Catalog, terms: Terms, entry: ProviderEntry | None) -> list[dict[str, Any]]:
    wanted = list(entry.prices) if entry is not None and terms.prices is None else list(terms.models or ())
    return [
        _model(offer, catalog.find(name)) for name in wanted if isinstance(offer := _offer(terms, name, catalog), Offer)
    ]


def _offer(terms: Terms, name: str, catalog: Catalog) -> Offer | None:
    try:
        return offer_for(terms, name, catalog)
    except ConfigError:
        return None  # configured for a tier of service that this model does not have


def _model(offer: Offer, known: Model | None) -> dict[str, Any]:
    carries = offer.carries
    return {
        "name": min((known.id, *known.aliases), key=len) if known is not None else offer.model,
        "id": offer.model,
        "wire_id": offer.wire_model,
        "prices": {size: round(price, 6) for size, price in offer.prices.items()},
        "sizes": list(carries.sizes or ()),
        "aspect_ratios": list(carries.ratios or ()),
        "references": carries.references.most,
        "seed": carries.seed,
        "former_ids": sorted(known.former) if known is not None else [],
    }
