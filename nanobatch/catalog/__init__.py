"""What is known of models and providers: names, sizes, prices, limits, retirement. Dated data with sources, in YAML."""

from nanobatch.catalog.data import Catalog, Model, ProviderEntry, load_catalog
from nanobatch.catalog.offers import Offer, Terms, offer_for

__all__ = ["Catalog", "Model", "Offer", "ProviderEntry", "Terms", "load_catalog", "offer_for"]
