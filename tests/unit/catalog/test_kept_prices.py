"""Token prices that others keep: where both they and our tables know a model, they say the same."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Mapping

import pytest
from genai_prices.data_snapshot import get_snapshot

from nanobatch.catalog import load_catalog
from nanobatch.catalog.data import TokenPrices
from nanobatch.catalog.kept_prices import token_prices
from tests.fakes import ManualClock

CATALOG = load_catalog()
KINDS = ("input", "input_image", "text", "image")
VENDORS = [name for name, entry in CATALOG.providers.items() if entry.kept_prices is not None]
EXCEPTIONS: Mapping[tuple[str, str, str], str] = {
    # (provider, model, kind of token): why our table is right
}
SENTINEL = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
NO_NETWORK = """
import json, sys
def ban(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise RuntimeError(f"{event} {arguments}")
sys.addaudithook(ban)
from nanobatch.catalog.kept_prices import token_prices
found = token_prices("openai", "gpt-image-2.5-flare")
print(json.dumps([found.input, found.text, found.image, found.input_image]))
"""
IMPORTED = """
import contextlib, io, sys
from nanobatch.__main__ import main
sys.argv = ["nanobatch", *{arguments!r}]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print(sorted({{"genai_prices", "httpx2"}} & set(sys.modules)))
"""


def ours_and_theirs() -> list[tuple[str, str, TokenPrices, TokenPrices]]:
    return [
        (name, model, ours, theirs)
        for name in VENDORS
        for model, ours in CATALOG.providers[name].token_prices.items()
        if (theirs := token_prices(CATALOG.providers[name].kept_prices or "", model)) is not None
    ]


def test_our_token_prices_are_those_that_others_keep() -> None:
    """Input, reference images, text and images of every model known to both: a difference has a name and a reason."""
    both = ours_and_theirs()
    assert {name for name, *_ in both} == {"google", "vertex", "openai"}
    assert len(both) >= 9
    differences = {
        (name, model, kind)
        for name, model, ours, theirs in both
        for kind in KINDS
        if getattr(ours, kind) != getattr(theirs, kind)
    }
    assert differences == set(EXCEPTIONS)  # an exception whose reason is gone goes, too


def test_they_know_every_model_whose_tokens_we_price() -> None:
    """The comparison leaves nobody out in silence."""
    compared = {(name, model) for name, model, *_ in ours_and_theirs()}
    assert compared == {(name, model) for name in VENDORS for model in CATALOG.providers[name].token_prices}


@pytest.mark.parametrize("name", VENDORS)
def test_batches_cost_what_they_say(name: str) -> None:
    """Half of every kind of token, for each model that our table sells in batches and they have a batch price of."""
    entry = CATALOG.providers[name]
    assert entry.batch is not None
    for model in entry.batch.models:
        _, known = get_snapshot().find_provider_model(model, None, entry.kept_prices, None)
        usual, batch = known.get_prices(SENTINEL), known.get_prices(SENTINEL, {"processing": "batch"})
        for kind in ("input_mtok", "output_mtok", "output_image_mtok", "input_image_mtok"):
            if (price := getattr(usual, kind, None)) is not None:
                assert float(getattr(batch, kind)) == pytest.approx(float(price) * entry.batch.factor), (model, kind)


def test_a_price_has_a_day_from_which_it_holds() -> None:
    """What is asked of 2026 is answered of 2026, whatever is announced for later."""
    clock = ManualClock(wall_offset=SENTINEL.timestamp() - 1000)
    assert token_prices("google", "gemini-3-pro-image", clock=clock) == TokenPrices(2.0, 12.0, 120.0)


def test_what_nobody_knows_has_no_price() -> None:
    """Neither an unknown model, nor one whose price depends on the length of the input."""
    assert token_prices("openai", "gpt-image-77") is None
    assert token_prices("google", "gemini-2.5-pro") is None


def test_nothing_is_fetched() -> None:
    """The tables are those of the installation: looking a price up opens no connection."""
    done = subprocess.run([sys.executable, "-c", NO_NETWORK], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [5.0, 30.0, 30.0, 8.0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["providers"],
        ["estimate-cost", "--count", "10", "--model", "nano-banana-pro"],
    ],
    ids=" ".join,
)
def test_who_does_not_need_it_does_not_import_it(arguments: list[str]) -> None:
    """150 ms and three packages, for models that our tables do not price, and for nobody else."""
    program = IMPORTED.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
