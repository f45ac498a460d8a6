"""No cache."""

from __future__ import annotations

from nanobatch.caches.base import Cache, Entry
from nanobatch.caches.off import NoCache


def test_it_knows_nothing_and_keeps_nothing() -> None:
    """What was put is not found; nothing fails."""
    cache: Cache = NoCache()
    entry = Entry("j", 0.0)
    cache.put([entry], now=0.0)
    cache.used([entry], now=0.0)
    assert cache.look_up(["j"], now=0.0) == {}
    assert cache.image(entry) is None
    cache.forget([entry])
    cache.close()
