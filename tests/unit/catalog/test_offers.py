"""What a provider sells under a model's name."""

from __future__ import annotations

from typing import Any

import pytest

from nanobatch.catalog import Offer, Terms, load_catalog, offer_for
from nanobatch.errors import ConfigError
from nanobatch.model import Usage

CATALOG = load_catalog()


def terms(provider: str, **more: Any) -> Terms:
    return Terms(provider, CATALOG.providers.get(provider), **more)


def offer(provider: str, model: str, **more: Any) -> Offer:
    return offer_for(terms(provider, **more), model, CATALOG)


@pytest.mark.parametrize(
    ("model", "wire", "warned"),
    [
        ("nano-banana-pro", "gemini-3-pro-image", False),
        ("gemini-3-pro-image", "gemini-3-pro-image", False),
        ("gemini-3-pro-image-preview", "gemini-3-pro-image", True),
        ("nano-banana-2", "gemini-nano-banana-2.1", True),
        ("nano-banana", "gemini-nano-banana-2.1", True),
    ],
)
def test_where_the_vendor_retired_an_id_its_successor_is_used(model: str, wire: str, warned: bool) -> None:
    """Google resolves what it has shut down, and says so."""
    found = offer("google", model)
    assert (found.wire_model, found.warning is not None) == (wire, warned)


@pytest.mark.parametrize("relay", ["laozhang", "apiyi"])
@pytest.mark.parametrize("model", ["gemini-3-pro-image-preview", "gemini-2.5-flash-image", "gemini-3.1-flash-image"])
def test_where_a_relay_still_sells_it_an_id_stays(relay: str, model: str) -> None:
    """A relay gets the id that was asked for, without a warning."""
    found = offer(relay, model)
    assert (found.wire_model, found.warning) == (model, None)


def test_the_warning_says_what_is_used_since_when() -> None:
    """A person reads the day and the successor, and searches no further."""
    warning = "google shut gemini-2.5-flash-image down on 2026-10-02; gemini-nano-banana-2.1 is used instead"
    assert offer("google", "gemini-2.5-flash-image").warning == warning
    warning = "google shut gemini-3-pro-image-preview down on 2026-06-25; gemini-3-pro-image is used instead"
    assert offer("google", "gemini-3-pro-image-preview").warning == warning


def test_a_mapped_id_is_the_users_word() -> None:
    """Who maps a retired name to an id of their own gets that id, unresolved and without a warning."""
    found = offer("google", "nano-banana", models={"nano-banana": "x-1"}, prices={"1K": 0.1})
    assert (found.wire_model, found.warning) == ("x-1", None)


def test_a_successor_draws_at_its_own_price() -> None:
    """What a retired id costs is what its successor costs, in the table and by tokens."""
    former, today = offer("google", "nano-banana-2"), offer("google", "nano-banana-2.1")
    assert (former.prices, former.token_prices, former.known) == (today.prices, today.token_prices, today.known)


def test_a_model_that_is_not_sold_names_what_is() -> None:
    """The error suggests the nearest name, or lists a few."""
    with pytest.raises(ConfigError, match="did you mean 'nano-banana-pro'"):
        offer("google", "nano-banana-por")
    with pytest.raises(
        ConfigError, match=r"openai is not known to sell 'nano-banana-pro'.*gpt-image-2.*openai\.prices"
    ):
        offer("openai", "nano-banana-pro")


def test_an_unknown_model_is_fine_with_a_price() -> None:
    """A model of tomorrow works as soon as the user says what it costs."""
    found = offer("google", "gemini-9-image", prices={"1K": 0.5})
    assert (found.wire_model, found.price_usd("1K"), found.warning) == ("gemini-9-image", 0.5, None)


def test_the_users_own_names_win() -> None:
    """`models:` maps our name to theirs, at known providers too."""
    assert offer("google", "nano-banana-pro", models={"nano-banana-pro": "tuned-1"}).wire_model == "tuned-1"
    assert offer("relay", "nano-banana-pro", models={"nano-banana-pro": "nbp"}, prices={"1K": 1}).wire_model == "nbp"
    with pytest.raises(ConfigError, match="relay has no model 'x'"):
        offer("relay", "x", models={"nano-banana-pro": "nbp"})


def test_a_custom_provider_takes_any_name() -> None:
    """Our names become the vendor's id; others go as they are."""
    assert offer("relay", "nano-banana-pro").wire_model == "gemini-3-pro-image"
    assert offer("relay", "gemini-3-pro-image-preview").wire_model == "gemini-3-pro-image-preview"
    assert offer("relay", "flux-9").wire_model == "flux-9"


def refusal(found: Offer, **asked: Any) -> str | None:
    return found.refuses(**{"size": "1K", "aspect_ratio": None, "seed": None, "references": (), **asked})


def test_what_a_model_cannot_do_is_refused_before_sending() -> None:
    """Size, ratio, seed and references are checked against the model, in one sentence."""
    pro, gpt = offer("google", "nano-banana-pro"), offer("openai", "gpt-image-2")
    assert refusal(pro) is None
    assert refusal(pro, size="4K", aspect_ratio="21:9", seed=1) is None
    assert "no size 512" in (refusal(pro, size="512") or "")
    assert "no aspect ratio 1:8" in (refusal(pro, aspect_ratio="1:8") or "")
    assert "takes no seed" in (refusal(gpt, seed=1) or "")
    assert refusal(pro, references=("x",) * 14) is None
    assert "takes at most 14 reference images" in (refusal(pro, references=("x",) * 15) or "")


@pytest.mark.parametrize(
    ("provider", "model", "wire"),
    [
        ("google", "nano-banana-pro", "gemini-3-pro-image"),
        ("kie", "nano-banana-pro", "nano-banana-pro"),
        ("kie", "nano-banana", "google/nano-banana"),
        ("puter", "gemini-3-pro-image", "gemini-3-pro-image-preview"),
        ("replicate", "flux-1.1-pro", "black-forest-labs/flux-1.1-pro"),
        ("openrouter", "nano-banana-2.1", "google/gemini-nano-banana-2.1"),
        ("fal", "nano-banana-2.1", "google/nano-banana-2.1"),
        ("xai", "grok-imagine-image", "grok-imagine-image"),
    ],
)
def test_each_provider_has_its_own_name_for_a_model(provider: str, model: str, wire: str) -> None:
    """One name in the prompt file, the vendor's on the wire."""
    assert offer(provider, model).wire_model == wire


@pytest.mark.parametrize(
    ("provider", "model", "most"),
    [("google", "nano-banana-pro", 14), ("kie", "nano-banana-pro", 8), ("google", "nano-banana-2.1", 14),
     ("replicate", "flux-1.1-pro", 0), ("xai", "grok-imagine-image", 0), ("openai", "gpt-image-2", 16)],
)  # fmt: skip
def test_references_are_what_model_format_and_provider_allow(provider: str, model: str, most: int) -> None:
    """The least of the three counts."""
    assert offer(provider, model).carries.references.most == most


def test_a_format_without_words_for_it_refuses() -> None:
    """A chat has no field for size, ratio or seed; a provider may take no seed for a model that has one."""
    chat = offer("laozhang", "nano-banana-pro", protocol="openai-chat")
    assert refusal(chat) is None
    for asked in ({"size": "2K"}, {"aspect_ratio": "16:9"}, {"seed": 1}):
        assert refusal(chat, **asked)
    assert "takes no seed" in (refusal(offer("kie", "nano-banana-pro"), seed=1) or "")
    assert refusal(offer("replicate", "flux-dev"), seed=1) is None


def test_an_endpoint_of_ones_own_speaks_the_vendors_words() -> None:
    """Whoever speaks kie's format knows kie's names, wherever it is; the user's own mapping comes first."""
    assert offer("mine", "nano-banana-pro", protocol="kie", prices={"1K": 1}).wire_model == "nano-banana-pro"
    mapped = offer("mine", "nano-banana-pro", protocol="kie", prices={"1K": 1}, models={"nano-banana-pro": "x"})
    assert mapped.wire_model == "x"
    assert offer("mine", "nano-banana-pro", protocol="another", prices={"1K": 1}).carries.references.most == 0


def test_the_flex_tier_halves_the_price_and_covers_the_whole() -> None:
    """What may be served at the usual tier all the same has to be in the budget."""
    usual, flex = offer("google", "nano-banana-pro"), offer("google", "nano-banana-pro", flex=True)
    assert usual.price_usd("4K") == 0.24
    assert flex.price_usd("4K") == 0.12
    assert flex.worst_price_usd("4K") == usual.worst_price_usd("4K")
    with pytest.raises(ConfigError, match="flex for gemini-3-pro-image, not for gemini-nano-banana-2.1"):
        offer("google", "nano-banana-2.1", flex=True)
    with pytest.raises(ConfigError, match="flex for no model"):
        offer("kie", "nano-banana-pro", flex=True)


def test_an_unknown_price_is_not_free() -> None:
    """Without a price the offer is refused, and the sentence says where to set it."""
    assert "providers.relay.prices" in (refusal(offer("relay", "nano-banana-pro")) or "")
    assert "providers.openai.prices" in (refusal(offer("openai", "gpt-image-2"), size="2K") or "")
    assert "price of nano-banana-pro at 4K" in (
        refusal(offer("relay", "nano-banana-pro", prices={"1K": 1}), size="4K") or ""
    )


def test_prices_by_size_and_the_worst_of_them() -> None:
    """The table's price, the user's instead of it, and what thinking may add."""
    pro = offer("google", "nano-banana-pro")
    assert (pro.price_usd("1K"), pro.price_usd("4K"), pro.price_usd(None)) == (0.134, 0.24, 0.134)
    assert pro.worst_price_usd("1K") == pytest.approx(0.1675)
    own = offer("google", "nano-banana-pro", prices={"1K": 0.05})
    assert (own.price_usd("1K"), own.worst_price_usd("1K"), own.price_usd("2K")) == (0.05, 0.05, None)


def test_tokens_decide_where_they_are_billed() -> None:
    """Pro at 1K: 1,120 image tokens at $120 a million are $0.1344, and text and prompt come on top."""
    pro = offer("google", "nano-banana-pro")
    usage = Usage(input_tokens=22, text_tokens=275, image_tokens=1120)
    assert pro.usage_cost_usd(usage) == pytest.approx(0.1344 + 275 * 12e-6 + 22 * 2e-6)
    assert pro.usage_cost_usd(Usage(input_tokens=22)) is None
    assert offer("google", "nano-banana-pro", prices={"1K": 0.05}).usage_cost_usd(usage) is None
    assert offer("laozhang", "nano-banana-pro").usage_cost_usd(usage) is None
    assert offer("laozhang", "nano-banana-pro").usage_cost_usd(Usage(cost_usd=0.08)) == 0.08


def test_what_an_image_is_likely_to_cost() -> None:
    """By the tokens that usually come; half-way to the worst where nobody recorded them; a flat price is certain."""
    pro = offer("google", "nano-banana-pro")
    usual = 1120 * 120e-6 + 400 * 12e-6
    assert pro.likely_price_usd("1K") == pytest.approx(usual)
    assert pro.likely_price_usd(None, input_tokens=50, references=2) == pytest.approx(usual + (50 + 2 * 560) * 2e-6)
    flex = offer("google", "nano-banana-pro", flex=True)
    assert flex.likely_price_usd("1K", input_tokens=50, references=2) == pytest.approx(
        (usual + (50 + 2 * 560) * 2e-6) / 2
    )
    assert offer("google", "nano-banana-pro", batch_factor=0.5).likely_price_usd("1K") == pytest.approx(usual / 2)
    assert offer("openai", "gpt-image-2").likely_price_usd("1K", references=1) == pytest.approx(
        0.19 * 1.05 + 3050 * 8e-6
    )
    assert offer("laozhang", "nano-banana-pro").likely_price_usd("4K", references=3) == 0.09
    assert offer("relay", "flux-9").likely_price_usd("1K") is None


@pytest.mark.parametrize(("provider", "model"), [("google", "nano-banana-2.1"), ("openai", "gpt-image-2")])
def test_references_are_in_the_worst_price(provider: str, model: str) -> None:
    """As many as a row may have cost more than a price list's margin, and a budget must hold."""
    found = offer(provider, model)
    most = found.carries.references.most
    assert most > 10
    assert found.token_prices is not None
    by_references = (found.worst_price_usd("1K", references=most) or 0) - (found.worst_price_usd("1K") or 0)
    assert found.known is not None
    each = found.token_prices.input_image or found.token_prices.input
    assert by_references == pytest.approx(most * found.known.reference_tokens * each / 1e6)
    assert by_references > 0.02


def test_reference_images_have_a_price_of_their_own() -> None:
    """gpt-image-2 takes words at $5 a million tokens and images at $8; who says nothing of images takes both alike."""
    usage = Usage(input_tokens=1050, image_tokens=4160, text_tokens=0, input_image_tokens=1000)
    gpt = offer("openai", "gpt-image-2")
    assert gpt.usage_cost_usd(usage) == pytest.approx(50 * 5e-6 + 1000 * 8e-6 + 4160 * 30e-6)
    assert offer("google", "nano-banana-pro").usage_cost_usd(usage) == pytest.approx(1050 * 2e-6 + 4160 * 120e-6)
    halved = offer("openai", "gpt-image-2", batch_factor=0.5)
    assert halved.usage_cost_usd(usage) == pytest.approx((50 * 5e-6 + 1000 * 8e-6 + 4160 * 30e-6) / 2)


def test_a_guess_for_what_is_billed_by_tokens_is_corrected_by_the_tokens() -> None:
    """A model that we do not price is planned at the user's guess, and costs what its tokens cost at the vendor's."""
    usage = Usage(input_tokens=50, image_tokens=4160, text_tokens=0)
    flare = offer("openai", "gpt-image-2.5-flare", prices={"1K": 0.19})
    assert flare.price_usd("1K") == 0.19
    assert flare.usage_cost_usd(usage) == pytest.approx(50 * 5e-6 + 4160 * 30e-6)
    mini = offer("openai", "gpt-image-1-mini", prices={"1K": 0.05})
    assert mini.usage_cost_usd(usage) == pytest.approx(50 * 2e-6 + 4160 * 8e-6)
    assert offer("openai", "gpt-image-77", prices={"1K": 0.19}).usage_cost_usd(usage) is None


def test_what_tokens_cost_at_the_vendor_says_nothing_of_another_address() -> None:
    """A relay under a vendor's name is paid as the user says, and so is a contract for a model that we price."""
    usage = Usage(input_tokens=50, image_tokens=4160, text_tokens=0)
    for model in ("gpt-image-2.5-flare", "gpt-image-1-mini", "gpt-image-2"):
        assert offer("openai", model, prices={"1K": 0.19}, elsewhere=True).usage_cost_usd(usage) is None
    assert offer("openai", "gpt-image-2", prices={"1K": 0.19}).usage_cost_usd(usage) is None
    assert offer("laozhang", "gpt-image-2.5-flare", prices={"1K": 0.02}).usage_cost_usd(usage) is None


def test_pixels_follow_from_size_and_ratio() -> None:
    """Documented pixels times one half, one, two or four; unknown models promise nothing."""
    pro = offer("google", "nano-banana-pro")
    assert (pro.pixels("2K", "16:9"), pro.pixels("1K", None), pro.pixels("4K", "1:1")) == (
        (2752, 1536),
        (1024, 1024),
        (4096, 4096),
    )
    assert offer("relay", "flux-9").pixels("1K", "1:1") is None
    assert (pro.takes_size, offer("apiyi", "nano-banana").takes_size) == (True, False)
    assert (pro.latency_seconds("1K"), offer("relay", "flux-9").latency_seconds("1K")) == (22, None)
