"""Token prices of models that our tables do not have, as genai-prices knows them.

genai-prices is a library of token prices that others keep up to date. What our tables say comes first: it is dated,
names its source, and ships with the program that was tested with it. A test compares both wherever both know a model.

It is imported when a model is asked for that is in no table of ours, and never else: that takes 150 ms. It reads the
tables that came with its installation; nothing is fetched, because nobody starts its `UpdatePrices`.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from nanobatch.catalog.data import TokenPrices
from nanobatch.clock import Clock, SystemClock


def token_prices(vendor: str, model: str, *, clock: Clock | None = None) -> TokenPrices | None:
    """Return what the tokens of a model cost today, or None where nobody knows.

    Args:
        vendor: As genai-prices calls it: google | openai.
        model: As the vendor calls it.
        clock: Says which day is today; prices have days from which they hold.

    Example:
        token_prices("openai", "gpt-image-2.5-flare")  # TokenPrices(input=5.0, text=30.0, image=30.0, input_image=8.0)
    """
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - 150 ms, for few

    today = dt.datetime.fromtimestamp((clock or SystemClock()).wall(), dt.UTC)
    try:
        _, known = get_snapshot().find_provider_model(model, None, vendor, None)
    except LookupError:
        return None
    return _read(known.get_prices(today))


def _read(prices: Any) -> TokenPrices | None:
    """Translate a price list; one that depends on the length of the input is none of an image model's."""
    mtok = {
        name: float(value)
        for name in ("input_mtok", "output_mtok", "output_image_mtok", "input_image_mtok")
        if isinstance(value := getattr(prices, name, None), Decimal)
    }
    if "input_mtok" not in mtok or "output_mtok" not in mtok:
        return None
    return TokenPrices(
        input=mtok["input_mtok"],
        text=mtok["output_mtok"],
        image=mtok.get("output_image_mtok", mtok["output_mtok"]),
        input_image=mtok.get("input_image_mtok"),
    )
