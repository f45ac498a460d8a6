"""`nanobatch cache` for the cache of a team. What is too old the server forgets by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nanobatch.caches.base import Entry, decoded
from nanobatch.caches.redis_cache import RedisDoor

_AT_ONCE = 500


class RedisUpkeep:
    """Keeps what is in a Redis under our prefix in order.

    Args:
        door: To the server.
    """

    def __init__(self, door: RedisDoor) -> None:
        self._door = door

    def stats(self, *, now: float) -> dict[str, Any]:
        """Count what is there."""
        del now
        images = refusals = size = 0
        worth, oldest = 0.0, None
        with self._door.asking():
            for _, entry in self._entries():
                images += entry.has_image
                refusals += not entry.has_image
                size += entry.bytes
                worth += entry.cost_usd if entry.has_image else 0.0
                oldest = entry.made_at if oldest is None else min(oldest, entry.made_at)
            counts: Any = self._door.quick.hgetall(self._door.counts_key)
            lengths = list(self._lengths())
        return {
            "where": self._door.where, "images": images, "refusals": refusals, "expired": 0, "oldest": oldest,
            "image_bytes": size, "worth_usd": round(worth, 6), "kept_images": len(lengths), "kept_bytes": sum(lengths),
            "meanings": None,
            "hits": int(counts.get(b"hits", 0)), "saved_usd": round(float(counts.get(b"saved_usd", 0.0)), 6),
        }  # fmt: skip

    def prune(self, *, now: float, older_than_seconds: float | None = None) -> dict[str, Any]:
        """Drop what is older than somebody wishes."""
        expired = freed = 0
        if older_than_seconds is not None:
            with self._door.asking():
                for key, entry in self._entries():
                    if entry.made_at <= now - older_than_seconds:
                        name = self._door.bytes_key(entry.sha256)
                        length: Any = self._door.quick.strlen(name)
                        freed += int(length)
                        expired += 1
                        self._door.quick.unlink(key, name)
        return {"expired": expired, "gone": 0, "freed_bytes": freed}

    def clear(self) -> dict[str, Any]:
        """Drop everything that is ours."""
        dropped = 0
        with self._door.asking():
            freed = sum(self._lengths())
            for keys in self._keys("image"):
                dropped += len(keys)
                self._door.quick.unlink(*keys)
            for keys in self._keys("bytes"):
                self._door.quick.unlink(*keys)
            self._door.quick.delete(self._door.counts_key)
        return {"dropped": dropped, "freed_bytes": freed}

    def close(self) -> None:
        """Close the connections."""
        self._door.close()

    def _entries(self) -> Iterator[tuple[bytes, Entry]]:
        for keys in self._keys("image"):
            values: Any = self._door.quick.mget(keys)
            for key, value in zip(keys, values, strict=True):
                entry = decoded(value) if value is not None else None
                if entry is not None:
                    yield key, entry

    def _lengths(self) -> Iterator[int]:
        """Yield the lengths of the images that are there."""
        for keys in self._keys("bytes"):
            with self._door.quick.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.strlen(key)
                yield from pipeline.execute()

    def _keys(self, kind: str) -> Iterator[list[bytes]]:
        """Yield the keys of a kind, some at a time, while the server goes on serving others."""
        pattern = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in self._door.prefix)
        some: list[bytes] = []
        for key in self._door.quick.scan_iter(f"{pattern}:{kind}:*", count=_AT_ONCE):
            some.append(key)
            if len(some) >= _AT_ONCE:
                yield some
                some = []
        if some:
            yield some
