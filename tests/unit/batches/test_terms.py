"""Who sells batches, and at which price."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nanobatch.batches.terms import for_batches
from nanobatch.catalog import load_catalog
from nanobatch.config import load_settings
from nanobatch.errors import ConfigError
from nanobatch.model import Usage
from nanobatch.routing import Seller
from nanobatch.settings import BatchSettings, Settings


def loaded(tmp_path: Path, providers: dict[str, Any], **environ: str) -> Settings:
    (tmp_path / "nanobatch.yaml").write_text(json.dumps({"providers": providers}))
    return load_settings(config_path=None, flags={}, environ=environ, cwd=tmp_path, user_folder=tmp_path / "none")


def test_google_and_openai_sell_at_half_the_price(tmp_path: Path) -> None:
    """Table price, worst price and the price of tokens are halved; a relay that has no batches is left out."""
    settings = loaded(tmp_path, {name: {"api_key": "k"} for name in ("laozhang", "google", "openai")})
    batching = for_batches(settings)
    assert [provider.name for provider in batching.providers] == ["google", "openai"]
    [usual, half] = [Seller(one.providers[-2], load_catalog()).offer("nano-banana-pro") for one in (settings, batching)]
    assert half.price_usd("4K") == pytest.approx(0.12)
    worst, usual_worst = half.worst_price_usd("1K"), usual.worst_price_usd("1K")
    assert worst is not None
    assert usual_worst is not None
    assert worst == pytest.approx(usual_worst / 2)
    usage = Usage(input_tokens=10, image_tokens=1120, text_tokens=100)
    cost, usual_cost = half.usage_cost_usd(usage), usual.usage_cost_usd(usage)
    assert cost is not None
    assert usual_cost is not None
    assert cost == pytest.approx(usual_cost / 2)


def test_vertex_needs_a_bucket(tmp_path: Path) -> None:
    """Alone it is an error that names the key; beside others it is left out, and said to be."""
    vertex: dict[str, Any] = {"project": "p"}
    with pytest.raises(ConfigError, match=r"vertex stages its batches.*providers\.vertex\.batch\.bucket"):
        for_batches(loaded(tmp_path, {"vertex": vertex}))
    beside = for_batches(loaded(tmp_path, {"vertex": vertex, "google": {"api_key": "k"}}))
    assert [provider.name for provider in beside.providers] == ["google"]
    assert any("left out of batches: vertex" in warning for warning in beside.warnings)
    [provider] = for_batches(loaded(tmp_path, {"vertex": vertex | {"batch": {"bucket": "gs://box/f/"}}})).providers
    assert (provider.batch.bucket, provider.batch.storage_url) == ("gs://box/f", "https://storage.googleapis.com")
    assert Seller(provider, load_catalog()).offer("nano-banana-pro").price_usd("4K") == pytest.approx(0.12)


def test_the_sandbox_has_a_bucket_of_its_own(tmp_path: Path) -> None:
    """And no setting leads a rehearsal to the real storage."""
    document = {"providers": {"vertex": {"batch": {"storage_url": "https://storage.example"}}}}
    (tmp_path / "nanobatch.yaml").write_text(json.dumps(document))
    settings = load_settings(
        config_path=None, flags={}, environ={}, cwd=tmp_path, user_folder=tmp_path / "none", sandbox_url="http://s:1"
    )
    [provider] = for_batches(settings).providers
    assert (provider.batch.bucket, provider.batch.storage_url) == ("gs://sandbox/nanobatch", "http://s:1")


def test_flex_and_batch_do_not_add_up(tmp_path: Path) -> None:
    """The row asks for no tier of service, and half of half is not the price."""
    settings = loaded(tmp_path, {"google": {"api_key": "k", "tier_of_service": "flex"}})
    [provider] = for_batches(settings).providers
    assert provider.options == {}
    assert not provider.flex
    assert Seller(provider, load_catalog()).offer("nano-banana-pro").price_usd("1K") == pytest.approx(0.067)


def test_nobody_sells_batches(tmp_path: Path) -> None:
    """The message names who does, and the key to set."""
    with pytest.raises(ConfigError, match=r"laozhang.*google, openai and vertex.*batch\.factor"):
        for_batches(loaded(tmp_path, {"laozhang": {"api_key": "k"}}))


def test_an_endpoint_of_ones_own_says_what_it_costs(tmp_path: Path) -> None:
    """With batch.factor a compatible server sells batches at its own price."""
    own = {"protocol": "gemini", "base_url": "http://127.0.0.1:1/v1beta", "api_key": "k", "prices": {"1K": 0.1}}
    [provider] = for_batches(loaded(tmp_path, {"own": own | {"batch": {"factor": 0.5}}})).providers
    assert Seller(provider, load_catalog()).offer("any").price_usd("1K") == pytest.approx(0.05)
    with pytest.raises(ConfigError):
        for_batches(loaded(tmp_path, {"own": own}))


def test_a_model_that_is_not_sold_in_batches_is_refused(tmp_path: Path) -> None:
    """The preflight says so before anything is sent."""
    settings = for_batches(loaded(tmp_path, {"openai": {"api_key": "k"}}))
    seller = Seller(settings.providers[0], load_catalog())
    with pytest.raises(ConfigError):
        seller.offer("nano-banana-pro")


def test_limits_of_the_tier_apply_at_the_vendors_own_address(tmp_path: Path) -> None:
    """The account's tier says how much may be enqueued; elsewhere only the user knows."""
    [here] = loaded(tmp_path, {"google": {"api_key": "k"}}).providers
    assert here.batch.jobs == 100
    assert here.batch.enqueued_tokens is not None
    assert here.batch.enqueued_tokens["gemini-3-pro-image"] == 2_000_000
    [third] = loaded(tmp_path, {"google": {"api_key": "k", "tier": 3}}).providers
    assert third.batch.enqueued_tokens is not None
    assert third.batch.enqueued_tokens["gemini-3-pro-image"] == 1_000_000_000
    [else_] = loaded(tmp_path, {"google": {"api_key": "k", "base_url": "http://127.0.0.1:1/v1beta"}}).providers
    assert else_.batch == BatchSettings(factor=0.5)
    mine = {"enqueued_tokens": 5, "jobs": 2, "rows": 7, "output_mb": 1, "input_mb": 3, "poll_seconds": 0.5}
    [own] = loaded(tmp_path, {"google": {"api_key": "k", "batch": mine}}).providers
    assert own.batch == BatchSettings(0.5, 2, {"*": 5}, 1, 3, 7, 0.5)


@pytest.mark.parametrize(
    ("batch", "complaint"),
    [
        ({"row": 1}, "known are factor"),
        ({"rows": 0}, "has a rows that"),
        (3, "must be keys"),
        ({"factor": 2}, "factor"),
        ({"bucket": "my-bucket"}, "gs://my-bucket/nanobatch"),
        ({"bucket": "gs://b"}, "has a bucket that"),
        ({"bucket": "gs://bucket//folder"}, "has a bucket that"),
        ({"bucket": "gs://bucket/../other"}, "has a bucket that"),
        ({"bucket": "gs://bucket/a#1"}, "has a bucket that"),
    ],
)
def test_a_mistake_in_the_section_is_named(tmp_path: Path, batch: Any, complaint: str) -> None:
    """Unknown keys and impossible values are errors with their place."""
    with pytest.raises(ConfigError, match=complaint) as caught:
        loaded(tmp_path, {"google": {"api_key": "k", "batch": batch}})
    assert caught.value.message.startswith("nanobatch.yaml:")
