"""The seam between the engine and the vendors' ways with batches."""

from __future__ import annotations

import pytest

from nanobatch.batches.wire import NEED_BUCKETS, PROTOCOLS, Phase, beside, wire_for
from nanobatch.errors import ConfigError
from nanobatch.settings import BatchSettings


def test_uploads_stand_beside_the_version() -> None:
    """Google's own order of the path, at any address."""
    assert beside("http://127.0.0.1:1/v1beta/", "upload") == "http://127.0.0.1:1/upload/v1beta"
    assert beside("https://relay.example/g/v1beta", "download") == "https://relay.example/g/download/v1beta"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_listed_format_has_batches(protocol: str) -> None:
    """And says what fits into one."""
    staged = BatchSettings(bucket="gs://b/f", storage_url="http://127.0.0.1:2")
    wire = wire_for(protocol, "http://127.0.0.1:1/v1beta", staged)
    assert wire.bounds.rows >= 50_000
    assert wire.bounds.input_bytes > 10**7


def test_others_have_none() -> None:
    """The sentence names those that do."""
    with pytest.raises(ConfigError, match="gemini, openai, vertex"):
        wire_for("kie", "http://127.0.0.1:1", BatchSettings())


@pytest.mark.parametrize("protocol", sorted(NEED_BUCKETS))
def test_some_need_a_bucket(protocol: str) -> None:
    """Which is checked before, with the provider's name."""
    with pytest.raises(ConfigError, match="bucket is missing"):
        wire_for(protocol, "http://127.0.0.1:1", BatchSettings(storage_url="http://127.0.0.1:2"))


def test_a_batch_is_over_or_not() -> None:
    """Two phases wait for more."""
    assert [phase for phase in Phase if not phase.is_over] == [Phase.WAITING, Phase.RUNNING]
