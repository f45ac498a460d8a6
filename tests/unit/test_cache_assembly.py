"""Which cache a run has, and what a plan may know of it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
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
from nanobatch.caches.semantic import Likenesses, SemanticLookup
from nanobatch.clock import SystemClock
from nanobatch.errors import ConfigError
from nanobatch.folder import open_folder
from nanobatch.meaning.embedding import Embedding
from nanobatch.model import Job, Record, Status
from nanobatch.planning import REAL
from nanobatch.preparation import Request
from nanobatch.settings import CacheSettings, Defaults, OutputSettings, RunSettings, Secret, SemanticSettings, Settings
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


def learned(jobs: list[Job]) -> Job:
    """Let the first of some jobs be learned, and return a job that says the same."""
    first, *_ = jobs
    lookup = opened_lookup()
    [entry] = EmbeddedCache(user_folder(), ttl_seconds=WEEK).look_up([first.id], now=NOW).values()
    told: dict[str, Any] = {"job": first.id, "id": first.prompt.id, "variant": 0, "index": 1, "status": Status.OK}
    record = Record(**told, prompt="a rabbit with spectacles", params=first.params.as_dict())
    lookup.learn([(record, entry)])
    lookup.close()
    other = make_job(9)
    return replace(other, prompt=replace(other.prompt, text="a bunny with eyeglasses"))


def opened_lookup() -> SemanticLookup:
    cache = EmbeddedCache(user_folder(), ttl_seconds=WEEK)
    return SemanticLookup(user_folder(), cache, Likenesses(Embedding, REAL, WEEK), threshold=0.8)


def test_a_run_looks_up_by_meaning_where_it_is_told_to(tmp_path: Path) -> None:
    """Off by default; with a Redis, meanings are in this machine's database all the same."""
    on = SemanticSettings(enabled=True)
    check_caching(whole(semantic=on))
    assert opened(tmp_path).second is None
    assert opened(tmp_path, semantic=on, enabled=False).second is None
    assert isinstance(opened(tmp_path, semantic=on).second, SemanticLookup)
    assert isinstance(opened(tmp_path, semantic=on, url=NOWHERE).second, SemanticLookup)
    assert not user_folder().exists()


@pytest.mark.parametrize(("threshold", "is_taken"), [(0.8, False), (0.2, True)])
def test_a_plan_lists_what_says_the_same(jobs: list[Job], threshold: float, is_taken: bool) -> None:
    """With both prompts and the score, taken or not, so that a person can choose the threshold."""
    other = learned(jobs)
    found = preview(whole(semantic=SemanticSettings(True, threshold)), Request(()), now=NOW)
    known = {jobs[0].id, jobs[1].id}
    assert found.find([*jobs, other]) == (known | {other.id} if is_taken else known)
    [row] = found.nearest
    assert 0.2 < row["score"] < 0.8
    assert {key: row[key] for key in row if key != "score"} == {
        "id": "row-9", "prompt": "a bunny with eyeglasses", "taken": is_taken, "other_job": jobs[0].id,
        "other_prompt": "a rabbit with spectacles",
    }  # fmt: skip
    assert found.warnings == []


def test_what_leads_nowhere_is_not_listed(jobs: list[Job]) -> None:
    """An image that is gone helps nobody; nor does a refusal."""
    other = learned(jobs)
    [entry] = EmbeddedCache(user_folder(), ttl_seconds=WEEK).look_up([jobs[0].id], now=NOW).values()
    for place in entry.places:
        Path(place).unlink(missing_ok=True)
    found = preview(whole(semantic=SemanticSettings(True, 0.2)), Request(()), now=NOW)
    assert (found.find([other]), found.nearest) == (set(), [])


def test_damaged_meanings_leave_a_plan_its_exact_cache(jobs: list[Job]) -> None:
    """The plan says what it could not read, once."""
    other = learned(jobs)
    connection = sqlite3.connect(user_folder() / "images.sqlite")
    with connection:
        connection.execute("UPDATE meanings SET vector = x'00'")
    connection.close()
    found = preview(whole(semantic=SemanticSettings(enabled=True)), Request(()), now=NOW)
    for _ in range(2):
        assert found.find([*jobs, other]) == {jobs[0].id, jobs[1].id}
    [warning] = found.warnings
    assert "a row of the semantic cache is none" in warning
