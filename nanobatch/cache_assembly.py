"""Chooses the cache that the settings ask for: for a run, for a plan that must change nothing, for its upkeep."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from nanobatch.caches.base import Cache, Upkeep
from nanobatch.caches.database import default_folder
from nanobatch.caches.embedded import EmbeddedCache, peek
from nanobatch.caches.embedded_upkeep import EmbeddedUpkeep
from nanobatch.caches.off import NoCache
from nanobatch.caching import Asking, Caching, asking_of
from nanobatch.clock import Clock
from nanobatch.errors import CacheError, ConfigError
from nanobatch.events import Observer
from nanobatch.folder import Folder
from nanobatch.model import Job
from nanobatch.optional_redis import import_redis, where
from nanobatch.settings import CacheSettings, Settings
from nanobatch.stopping import Stop

MEGABYTE, GIGABYTE = 10**6, 10**9


def check_caching(settings: Settings) -> None:
    """Find out before anything is sent whether the cache can be opened at all.

    Raises:
        ConfigError: The package for it is not installed, or its settings contradict each other.
    """
    own = settings.cache
    if not own.enabled or own.url is None:
        return
    import_redis("caches.redis_cache", key="cache.url")
    if own.keep_images:
        place = settings.origin("cache.keep_images")
        raise ConfigError(f"{place}: cache.keep_images is for the cache of one machine; with cache.url images travel")


class Wishes(Protocol):
    """What the command line says about asking again."""

    @property
    def fresh(self) -> bool:
        """Everything is sent again."""
        ...

    @property
    def retry_failed(self) -> bool:
        """What was refused is sent again."""
        ...


def open_caching(
    settings: Settings, wishes: Wishes, *, folder: Folder, clock: Clock, observe: Observer, stop: Stop
) -> Caching:
    """Set up the cache of a run. Nothing is opened or asked yet."""
    own = settings.cache
    return Caching(
        cache=_cache_of(own) if own.enabled else NoCache(),
        asking=asking_of(settings, fresh=wishes.fresh or not own.enabled, retry_failed=wishes.retry_failed),
        folder=folder,
        clock=clock,
        observe=observe,
        stop=stop,
        hard_links=own.hard_links,
        remembers=own.enabled,
        with_refusals=own.refusals,
    )


@dataclass(frozen=True, slots=True)
class Preview:
    """What a plan knows of the cache."""

    find: Callable[[Sequence[Job]], Container[str]]  # ids of the jobs that a run would not send
    unknown: str | None = None  # why nobody can tell


NOT_ASKED = Preview(lambda _: ())


def preview(settings: Settings, wishes: Wishes, *, now: float) -> Preview:
    """Look into the cache for a plan: no file is changed, and nobody is asked over a network. `now` is wall-clock."""
    if not settings.cache.enabled or wishes.fresh:
        return NOT_ASKED
    if settings.cache.url is not None:
        return Preview(lambda _: (), f"a plan does not ask {where(settings.cache.url)}; what it knows costs nothing")
    find = partial(_covered, settings.cache, asking_of(settings, retry_failed=wishes.retry_failed), now)
    try:
        find(())
    except CacheError as error:
        return Preview(lambda _: (), error.message)
    return Preview(find)


def _covered(settings: CacheSettings, asking: Asking, now: float, jobs: Sequence[Job]) -> set[str]:
    known = peek(user_folder(), [job.id for job in jobs], now=now, ttl_seconds=settings.ttl_seconds)
    return {job.id for job in jobs if job.id in known and asking.accepts(job, known[job.id])}


def upkeep_of(settings: CacheSettings) -> Upkeep:
    """Return what counts, prunes and clears the cache.

    Raises:
        ConfigError: The package for it is not installed.
    """
    if settings.url is None:
        return EmbeddedUpkeep(user_folder(), keep_bytes=int(settings.max_gb * GIGABYTE))
    upkeep: Upkeep = import_redis("caches.redis_upkeep", key="cache.url").RedisUpkeep(_door(settings))
    return upkeep


def user_folder() -> Path:
    """Return where the cache of this user lives."""
    return default_folder(os.environ, Path.home())


def _cache_of(settings: CacheSettings) -> Cache:
    if settings.url is None:
        keep = int(settings.max_gb * GIGABYTE) if settings.keep_images else 0
        return EmbeddedCache(user_folder(), ttl_seconds=settings.ttl_seconds, keep_bytes=keep)
    cache: Cache = import_redis("caches.redis_cache", key="cache.url").RedisCache(
        _door(settings),
        ttl_seconds=settings.ttl_seconds,
        most_bytes=int(settings.max_value_mb * MEGABYTE),
        host=socket.gethostname(),
    )
    return cache


def _door(settings: CacheSettings) -> Any:
    assert settings.url is not None
    door = import_redis("caches.redis_cache", key="cache.url").RedisDoor
    return door(settings.url.reveal(), where=where(settings.url), prefix=settings.prefix)
