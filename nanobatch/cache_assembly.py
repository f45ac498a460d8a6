"""Chooses the cache that the settings ask for: for a run, for a plan that must change nothing, for its upkeep."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from nanobatch.caches.base import Cache, Entry, SecondLookup, Upkeep
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
from nanobatch.optional_meaning import import_semantic
from nanobatch.optional_redis import import_redis, where
from nanobatch.planning import REAL, SANDBOX
from nanobatch.settings import CacheSettings, Settings
from nanobatch.stopping import Stop

MEGABYTE, GIGABYTE = 10**6, 10**9


def check_caching(settings: Settings) -> None:
    """Find out before anything is sent whether the cache can be opened at all.

    Raises:
        ConfigError: The package for it is not installed, or its settings contradict each other.
    """
    own = settings.cache
    if not own.enabled:
        return
    if own.semantic.enabled:
        import_semantic()
    if own.url is None:
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
    cache = _cache_of(own) if own.enabled else NoCache()
    return Caching(
        cache=cache,
        asking=asking_of(settings, fresh=wishes.fresh or not own.enabled, retry_failed=wishes.retry_failed),
        folder=folder,
        clock=clock,
        observe=observe,
        stop=stop,
        hard_links=own.hard_links,
        second=_second_of(settings, cache) if own.enabled and own.semantic.enabled else None,
        remembers=own.enabled,
        with_refusals=own.refusals,
    )


@dataclass(frozen=True, slots=True)
class Preview:
    """What a plan knows of the cache."""

    find: Callable[[Sequence[Job]], Container[str]]  # ids of the jobs that a run would not send
    unknown: str | None = None  # why nobody can tell
    nearest: list[Mapping[str, Any]] = field(default_factory=list)  # what `find` met that says the same in other words
    warnings: list[str] = field(default_factory=list)


NOT_ASKED = Preview(lambda _: ())
MOST_NEAREST = 10_000  # are listed


def preview(settings: Settings, wishes: Wishes, *, now: float) -> Preview:
    """Look into the cache for a plan: no file is changed, and nobody is asked over a network. `now` is wall-clock."""
    if not settings.cache.enabled or wishes.fresh:
        return NOT_ASKED
    if settings.cache.url is not None:
        return Preview(lambda _: (), f"a plan does not ask {where(settings.cache.url)}; what it knows costs nothing")
    asking = asking_of(settings, retry_failed=wishes.retry_failed)
    find = partial(_covered, settings.cache, asking, now)
    try:
        find(())
    except CacheError as error:
        return Preview(lambda _: (), error.message)
    if not settings.cache.semantic.enabled:
        return Preview(find)
    glance = _Glance(settings, asking, now, import_semantic())
    return Preview(glance.find, nearest=glance.nearest, warnings=glance.warnings)


def _covered(settings: CacheSettings, asking: Asking, now: float, jobs: Sequence[Job]) -> set[str]:
    known = peek(user_folder(), [job.id for job in jobs], now=now, ttl_seconds=settings.ttl_seconds)
    return {job.id for job in jobs if job.id in known and asking.accepts(job, known[job.id])}


@dataclass(slots=True)
class _Glance:
    """Looks for exact hits, and for those in other words."""

    settings: Settings
    asking: Asking
    now: float
    semantic: Any  # the module
    nearest: list[Mapping[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _likenesses: Any = None

    def find(self, jobs: Sequence[Job]) -> set[str]:
        """Return the jobs that a run would not send."""
        covered = _covered(self.settings.cache, self.asking, self.now, jobs)
        rest = [job for job in jobs if job.id not in covered]
        if self.warnings or not rest:
            return covered
        if self._likenesses is None:
            self._likenesses = _likenesses_of(self.settings, self.semantic)
        try:
            found = self.semantic.peek_alike(user_folder(), self._likenesses, rest, now=self.now)
        except CacheError as error:
            self.warnings.append(error.message)
            return covered
        others = [one.other for some in found.values() for one in some]
        ttl = self.settings.cache.ttl_seconds
        known = peek(user_folder(), others, now=self.now, ttl_seconds=ttl) if others else {}
        return covered | {job for job, some in found.items() if self._is_taken(some, known)}

    def _is_taken(self, some: Sequence[Any], known: Mapping[str, Entry]) -> bool:
        """List the nearest that a run could use; tell whether it would."""
        usable = (one for one in some if one.other in known and known[one.other].has_image)
        one = next((one for one in usable if self.asking.accepts(one.job, known[one.other])), None)
        if one is None:
            return False
        taken: bool = one.score >= self.settings.cache.semantic.threshold
        if len(self.nearest) < MOST_NEAREST:
            row = {"id": one.job.prompt.id, "prompt": one.job.prompt.text, "score": one.score, "taken": taken}
            self.nearest.append({**row, "other_job": one.other, "other_prompt": one.prompt})
        return taken


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


def _second_of(settings: Settings, cache: Cache) -> SecondLookup:
    """Set up the lookup by meaning. It is in this machine's database also where the exact cache is a Redis."""
    semantic = import_semantic()
    likenesses = _likenesses_of(settings, semantic)
    threshold = settings.cache.semantic.threshold
    found: SecondLookup = semantic.SemanticLookup(user_folder(), cache, likenesses, threshold=threshold)
    return found


def _likenesses_of(settings: Settings, semantic: Any) -> Any:
    realm = SANDBOX if settings.sandbox else REAL
    return semantic.Likenesses(semantic.Embedding, realm, settings.cache.ttl_seconds)


def _door(settings: CacheSettings) -> Any:
    assert settings.url is not None
    door = import_redis("caches.redis_cache", key="cache.url").RedisDoor
    return door(settings.url.reveal(), where=where(settings.url), prefix=settings.prefix)
