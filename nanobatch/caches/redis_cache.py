"""The cache of a team: entries in a Redis (or Valkey) that all machines reach, and images up to a size with them.

An entry is `PREFIX:image:JOB`, the bytes of an image are `PREFIX:bytes:DIGEST`; the server forgets both when their time
has come. Bytes lie apart, so that looking thousands of jobs up moves no image.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from nanobatch.caches.base import Entry, decoded, encoded
from nanobatch.errors import CacheError

_TIMEOUT_SECONDS = 1.0  # of small questions: a slow cache is none
_BYTES_TIMEOUT_SECONDS = 5.0  # of an image on its way
_AT_ONCE = 500  # ids in one question


class RedisDoor:
    """The connections to a server, and what the keys in it are called.

    Args:
        url: redis:// or rediss://, with the password where there is one.
        where: How messages call the server; tells no password.
        prefix: What all keys begin with.

    Raises:
        ValueError: The address is none.
    """

    def __init__(self, url: str, *, where: str, prefix: str) -> None:
        self.where, self.prefix = where, prefix
        self.quick = _client(url, _TIMEOUT_SECONDS)
        self.patient = _client(url, _BYTES_TIMEOUT_SECONDS)

    def entry_key(self, job: str) -> str:
        """Name the entry of a job."""
        return f"{self.prefix}:image:{job}"

    def bytes_key(self, sha256: str) -> str:
        """Name the bytes of an image."""
        return f"{self.prefix}:bytes:{sha256}"

    @property
    def counts_key(self) -> str:
        """Name the counts of what was saved."""
        return f"{self.prefix}:cache-counts"

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Say in our words what is wrong with the server.

        Raises:
            CacheError: It does not answer as it should.
        """
        try:
            yield
        except (RedisError, OSError) as error:
            raise CacheError(f"the cache in {self.where} cannot be used: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self.quick.close()
        self.patient.close()


class RedisCache:
    """Entries and images in a Redis.

    Args:
        door: To the server.
        ttl_seconds: How long an entry is good for; 0 is for ever.
        most_bytes: Of an image that travels.
        host: This machine, whose files it can tell to be gone.
    """

    def __init__(self, door: RedisDoor, *, ttl_seconds: float, most_bytes: int, host: str) -> None:
        self._door = door
        self._ttl = ttl_seconds
        self._most_bytes = most_bytes
        self._host = host

    def look_up(self, jobs: Sequence[str], *, now: float) -> dict[str, Entry]:
        """Return what is known of some jobs."""
        found: dict[str, Entry] = {}
        for start in range(0, len(jobs), _AT_ONCE):
            keys = [self._door.entry_key(job) for job in jobs[start : start + _AT_ONCE]]
            with self._door.asking():
                values: Any = self._door.quick.mget(keys)
            for value in filter(None, values):
                entry = decoded(value)
                if entry is not None and (not self._ttl or now < entry.made_at + self._ttl):
                    found[entry.job] = entry
        return found

    def put(self, entries: Sequence[Entry], *, now: float) -> None:
        """Keep entries, and before each the bytes of its image."""
        del now
        seconds = max(1, int(self._ttl)) if self._ttl else None
        for entry in entries:
            data = self._read(entry)
            with self._door.asking():
                if data is not None:
                    self._door.patient.set(self._door.bytes_key(entry.sha256), data, ex=seconds)
                self._door.quick.set(self._door.entry_key(entry.job), encoded(entry), ex=seconds)

    def used(self, entries: Sequence[Entry], *, now: float) -> None:
        """Note that entries were of use just now."""
        del now
        saved = sum(entry.cost_usd for entry in entries if entry.has_image)
        with self._door.asking(), self._door.quick.pipeline(transaction=False) as pipeline:
            for entry in entries:
                pipeline.set(self._door.entry_key(entry.job), encoded(entry), xx=True, keepttl=True)
            pipeline.hincrby(self._door.counts_key, "hits", len(entries))
            pipeline.hincrbyfloat(self._door.counts_key, "saved_usd", saved)
            pipeline.execute()

    def forget(self, entries: Sequence[Entry]) -> None:
        """Drop entries whose files were on this machine; what others have, they may still have."""
        keys = [self._door.entry_key(entry.job) for entry in entries if entry.host == self._host]
        if keys:
            with self._door.asking():
                self._door.quick.delete(*keys)

    def image(self, entry: Entry) -> bytes | None:
        """Return the image, where it was small enough to travel."""
        with self._door.asking():
            data = self._door.patient.get(self._door.bytes_key(entry.sha256))
        return data if isinstance(data, bytes) else None

    def close(self) -> None:
        """Close the connections."""
        self._door.close()

    def _read(self, entry: Entry) -> bytes | None:
        """Read an image that is to travel; one that somebody moved meanwhile does not."""
        if not entry.has_image or entry.bytes > self._most_bytes:
            return None
        try:
            return Path(entry.places[0]).read_bytes()
        except OSError:
            return None


def _client(url: str, timeout_seconds: float) -> Redis:
    return Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),  # a miss is cheaper than a second wait
    )
