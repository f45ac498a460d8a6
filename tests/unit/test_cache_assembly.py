"""Which cache a run has, and what a plan may know of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from nanobatch.cache_assembly import check_caching, open_caching, preview, upkeep_of, user_folder
from nanobatch.caches.embedded import EmbeddedCache
from nanobatch.caches.embedded_upkeep import EmbeddedUpkeep
from nanobatch.caches.off import NoCache
from nanobatch.caches.redis_cache import RedisCache
from nanobatch.caches.redis_upkeep import RedisUpkeep
from nanobatch.clock import SystemClock
from nanobatch.errors import ConfigError
from nanobatch.folder import open_folder
from nanobatch.model import Job
from nanobatch.preparation import Request
from nanobatch.settings import CacheSettings, Defaults, OutputSettings, RunSettings, Secret, Settings
from nanobatch.stopping import Stop
from tests.harness import make_job, settings
from tests.unit.caches.test_embedded import NOW, WEEK, image, refusal

NOWHERE = Secret("redis://:hidden@127.0.0.1:1/0")


def whole(**more: Any) -> Settings:
    return Settings(Defaults(), RunSettings(), OutputSettings(), (settings("a"),), cache=CacheSettings(**more))


def opened(tmp_path: Path, **more: Any) -> Any:
    folder = open_folder(tmp_path / "out", SystemClock(), wanted=list)
    return open_caching(
        whole(**more), Request(()), folder=folder, clock=SystemClock(), observe=lambda _: None, stop=Stop()
    )


def test_a_run_has_the_cache_of_its_machine(tmp_path: Path) -> None:
    """Nothing is made before something is looked up."""
    assert isinstance(opened(tmp_path).cache, EmbeddedCache)
    assert not user_folder().exists()


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    """Then nothing is looked up and nothing remembered."""
    found = opened(tmp_path, enabled=False)
    assert isinstance(found.cache, NoCache)
    assert not found.asking.images
    assert not found.remembers


def test_a_team_has_its_own(tmp_path: Path) -> None:
    """Nobody is asked before something is looked up."""
    assert isinstance(opened(tmp_path, url=NOWHERE).cache, RedisCache)
    assert isinstance(upkeep_of(CacheSettings(url=NOWHERE)), RedisUpkeep)
    assert isinstance(upkeep_of(CacheSettings()), EmbeddedUpkeep)


def test_contradictions_are_told_before_the_run() -> None:
    """Copies of one's own and images that travel exclude each other; what is switched off contradicts nothing."""
    check_caching(whole())
    check_caching(whole(url=NOWHERE))
    check_caching(whole(enabled=False, url=NOWHERE, keep_images=True))
    with pytest.raises(ConfigError, match=r"cache\.keep_images is for the cache of one machine"):
        check_caching(whole(url=NOWHERE, keep_images=True))


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Put an image, a refusal and nothing into the user's cache, for three jobs."""
    found = [make_job(number) for number in (1, 2, 3)]

    cache = EmbeddedCache(user_folder(), ttl_seconds=WEEK)
    known = [
        msgspec.structs.replace(entry, job=job.id)
        for entry, job in zip([image(tmp_path, 1), refusal(2)], found, strict=False)
    ]
    cache.put(known, now=NOW)
    cache.close()
    return found


def test_a_plan_knows_what_a_run_would_use(jobs: list[Job]) -> None:
    """Images and refusals, as far as the options want to hear of them."""
    first, second, _ = (job.id for job in jobs)
    assert preview(whole(), Request(()), now=NOW).find(jobs) == {first, second}
    assert preview(whole(), Request((), retry_failed=True), now=NOW).find(jobs) == {first}
    assert preview(whole(refusals=False), Request(()), now=NOW).find(jobs) == {first}
    for nothing in (
        preview(whole(), Request((), fresh=True), now=NOW),
        preview(whole(enabled=False), Request(()), now=NOW),
    ):
        assert (nothing.find(jobs), nothing.unknown) == ((), None)


def test_a_plan_asks_nobody_over_a_network(jobs: list[Job]) -> None:
    """It says that it does not know, and why, without the password."""
    found = preview(whole(url=NOWHERE), Request(()), now=NOW)
    assert found.find(jobs) == ()
    assert found.unknown is not None
    assert "the Redis at 127.0.0.1:1" in found.unknown
    assert "hidden" not in found.unknown


def test_a_damaged_cache_is_unknown_to_a_plan(jobs: list[Job]) -> None:
    """The plan is made all the same."""
    (user_folder() / "images.sqlite").write_bytes(b"rubbish" * 1000)
    found = preview(whole(), Request(()), now=NOW)
    assert found.find(jobs) == ()
    assert found.unknown is not None
    assert "cannot be read" in found.unknown
