"""Images found in other words: what is learned, what is found, and what is wrong with the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from nanobatch.caches.base import Entry
from nanobatch.caches.database import FILE
from nanobatch.caches.embedded import EmbeddedCache
from nanobatch.caches.embedded_upkeep import EmbeddedUpkeep
from nanobatch.caches.semantic import Alike, Likenesses, SemanticLookup, peek_alike
from nanobatch.errors import CacheError
from nanobatch.meaning.embedding import DIMENSIONS, Embedding, Vectors
from nanobatch.model import Job, Params, Record, Status
from tests.harness import make_job
from tests.unit.caches.test_embedded import NOW, WEEK, image, refusal

MODEL = Embedding()


class Fixed:
    """An embedding by hand: the first letter of a text says where it points."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[ord(text[0]) % DIMENSIONS] = 1
        return rows


def job(number: int, text: str, **more: Any) -> Job:
    found = make_job(number)
    return replace(found, prompt=replace(found.prompt, text=text), **more)


class Store:
    """A cache with its second lookup, in a folder."""

    def __init__(
        self, folder: Path, *, threshold: float = 0.8, ttl: float = WEEK, realm: str = "", load: Any = None
    ) -> None:
        self.folder = folder
        self.exact = EmbeddedCache(folder / "cache", ttl_seconds=ttl)
        self.likenesses = Likenesses(load or (lambda: MODEL), realm, ttl)
        self.lookup = SemanticLookup(folder / "cache", self.exact, self.likenesses, threshold=threshold)

    def draw(self, *jobs: Job, made_at: float = NOW) -> None:
        """Put the images of jobs into both."""
        entries = [
            msgspec.structs.replace(image(self.folder, one.prompt.index, made_at=made_at), job=one.id) for one in jobs
        ]
        self.exact.put(entries, now=NOW)
        self.lookup.learn(list(zip(map(record, jobs), entries, strict=True)))

    def find(self, *jobs: Job, now: float = NOW) -> dict[str, str]:
        """Return the warnings of what was found, by the prompt's id."""
        found = self.lookup.look_up(jobs, now=now)
        return {one.prompt.id: found[one.id].warning for one in jobs if one.id in found}

    def execute(self, statement: str, *values: Any) -> list[Any]:
        connection = sqlite3.connect(self.folder / "cache" / FILE)
        with connection:
            rows = connection.execute(statement, values).fetchall()
        connection.close()
        return rows

    def close(self) -> None:
        self.lookup.close()
        self.exact.close()


def record(one: Job) -> Record:
    return Record(
        job=one.id, id=one.prompt.id, variant=one.variant, index=1, status=Status.OK, prompt=one.prompt.text,
        params=one.params.as_dict(),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path)
    yield found
    found.close()


def test_other_words_find_the_image_and_other_pictures_do_not(store: Store) -> None:
    """The record hears how near it was, and whose image it is."""
    first = job(1, "a cat sleeping on a sofa")
    store.draw(first, job(2, "3 red balls"))
    assert store.find(job(3, "A sleeping cat on the couch"), job(4, "4 red balls"), job(5, "a cat on a sofa")) == {
        "row-3": f"semantic:0.87 of {first.id}"
    }


def test_the_threshold_decides_among_what_the_guard_lets_through(tmp_path: Path) -> None:
    """The same words in another order are 1.00; synonyms are less."""
    strict = Store(tmp_path, threshold=1.0)
    strict.draw(job(1, "a cat on a sofa"), job(2, "a big red ball"))
    assert list(strict.find(job(3, "a cat on a couch"), job(4, "a red big ball"))) == ["row-4"]
    strict.close()


@pytest.mark.parametrize(
    "params",
    [
        Params("other", "1K", None, None), Params("nano-banana-pro", "2K", None, None),
        Params("nano-banana-pro", "1K", "16:9", None), Params("nano-banana-pro", "1K", None, 7),
        Params("nano-banana-pro", "1K", None, None, ("digest",)),
    ],
)  # fmt: skip
def test_other_parameters_are_another_image(store: Store, params: Params) -> None:
    """Model, size, ratio, seed and references must be equal."""
    store.draw(job(1, "a red fox"))
    assert store.find(job(2, "the red fox"))
    assert not store.find(job(2, "the red fox", params=params))


def test_variants_find_their_own_kind(store: Store) -> None:
    """The second image of a prompt is not the first one of another."""
    store.draw(job(1, "a red fox"), job(2, "a red fox", variant=1))
    assert store.find(job(3, "the red fox", variant=1)) == {"row-3": f"semantic:1.00 of {make_job(2).id}"}
    assert not store.find(job(4, "the red fox", variant=2))


def test_a_rehearsal_is_a_realm_of_its_own(store: Store) -> None:
    """What a sandbox drew is for sandboxes."""
    store.draw(job(1, "a red fox"))
    other = Store(store.folder, realm="sandbox")
    assert not other.find(job(2, "the red fox"))
    other.draw(job(3, "a red fox"))
    assert other.find(job(2, "the red fox")) == {"row-2": f"semantic:1.00 of {make_job(3).id}"}
    other.close()


def test_the_nearest_is_taken(tmp_path: Path) -> None:
    """Among several that say the same, the one whose words are the nearest."""
    one = Store(tmp_path, threshold=0.5, load=Fixed)
    one.draw(job(1, "sofa"), job(2, "couch"))
    assert one.find(job(3, "Couch!")) == {"row-3": f"semantic:1.00 of {make_job(2).id}"}
    one.close()


def test_a_job_is_not_found_by_itself(store: Store) -> None:
    """What the exact cache may not use for a job, its own meaning does not bring back."""
    store.draw(job(1, "a red fox"))
    assert not store.find(job(1, "a red fox"))


def test_what_is_too_old_or_forgotten_is_not_found(store: Store) -> None:
    """The time to live is the exact cache's, and an entry takes its meaning along."""
    store.draw(job(1, "a red fox"), job(2, "a blue fox"))
    assert store.find(job(3, "the red fox"), now=NOW + WEEK - 1)
    assert not store.find(job(3, "the red fox"), now=NOW + WEEK)
    store.exact.forget(list(store.exact.look_up([make_job(1).id], now=NOW).values()))
    assert not store.find(job(3, "the red fox"))
    assert store.execute("SELECT count(*) FROM meanings") == [(1,)]


def test_learning_drops_what_is_too_old(store: Store) -> None:
    """Also where the exact cache is elsewhere, and its entries take nothing along."""
    store.draw(job(1, "a red fox"))
    store.draw(job(2, "a blue fox"), made_at=NOW + WEEK)
    assert store.execute("SELECT prompt FROM meanings") == [("a blue fox",)]


def test_upkeep_counts_and_drops(store: Store) -> None:
    """Stats tell how many; pruning and clearing take them along with their entries."""
    store.draw(job(1, "a red fox"), job(2, "a blue fox"))
    upkeep = EmbeddedUpkeep(store.folder / "cache")
    assert upkeep.stats(now=NOW)["meanings"] == 2
    (store.folder / "1.png").unlink()
    upkeep.prune(now=NOW)
    assert upkeep.stats(now=NOW)["meanings"] == 1
    upkeep.clear()
    assert upkeep.stats(now=NOW)["meanings"] == 0
    upkeep.close()


def test_refusals_are_not_learned(store: Store) -> None:
    """Another wording may be drawn."""
    one = job(1, "a red fox")
    entry = msgspec.structs.replace(refusal(1), job=one.id)
    store.exact.put([entry], now=NOW)
    store.lookup.learn([(record(one), entry)])
    assert not store.find(job(2, "the red fox"))


def test_a_meaning_without_its_entry_leads_nowhere(store: Store) -> None:
    """The exact cache is asked for every candidate: it may be another one, and have forgotten it."""
    one = job(1, "a red fox")
    store.lookup.learn([(record(one), Entry(one.id, NOW))])
    assert not store.find(job(2, "the red fox"))


def test_what_another_version_read_otherwise_is_read_again(store: Store) -> None:
    """A stored likeness is an index; the guard of today has the last word."""
    store.draw(job(1, "a red fox"))
    store.execute("UPDATE meanings SET prompt = 'a blue fox'")
    assert not store.find(job(2, "the red fox"))


def test_thousands_are_asked_at_once(store: Store) -> None:
    """More than one question of the database may hold."""
    store.draw(*(job(number, f"fox number {number}") for number in range(1, 1000)))
    asked = [job(number + 5000, f"the fox, number {number}") for number in range(1, 2000)]
    assert store.find() == {}
    assert len(store.find(*(job(number + 5000, f"Fox number {number}.") for number in range(1, 2000)))) == 999
    assert store.find(*asked) == {}


@pytest.mark.parametrize(
    "damage", ["UPDATE meanings SET vector = x'00'", "UPDATE meanings SET prompt = x'ff'", "DROP TABLE meanings"]
)
def test_a_damaged_store_is_said_in_words(store: Store, damage: str) -> None:
    """Whoever asks goes on without it."""
    store.draw(job(1, "a red fox"))
    store.execute(damage)
    with pytest.raises(CacheError, match="cannot be used"):
        store.find(job(2, "the red fox"))


def test_a_model_that_cannot_be_read_is_said_in_words(tmp_path: Path) -> None:
    """The cache goes on without it."""

    def load() -> Any:
        raise FileNotFoundError("no weights")

    one = Store(tmp_path, load=load)
    with pytest.raises(CacheError, match=r"the model of cache\.semantic cannot be read: no weights"):
        one.draw(job(1, "a red fox"))
    one.close()


def test_a_glance_changes_nothing(store: Store) -> None:
    """A plan reads what says the same at any score, so that a person can choose a threshold; no file is made for it."""
    one, asked = job(1, "a rabbit with spectacles"), job(2, "a bunny with eyeglasses")
    assert peek_alike(store.folder / "nowhere", store.likenesses, [asked], now=NOW) == {}
    assert not (store.folder / "nowhere").exists()
    store.draw(one)
    [alike] = peek_alike(store.folder / "cache", store.likenesses, [asked], now=NOW)[asked.id]
    assert (alike.job, alike.other, alike.prompt) == (asked, one.id, one.prompt.text)
    assert 0.2 < alike.score < 0.8
    assert alike.warning == f"semantic:{alike.score:.2f} of {one.id}"


def test_a_database_of_an_older_version_has_no_meanings(store: Store) -> None:
    """A glance at it finds none."""
    store.draw(job(1, "a red fox"))
    store.execute("DROP TRIGGER forgotten")
    store.execute("DROP TABLE meanings")
    assert peek_alike(store.folder / "cache", store.likenesses, [job(2, "the red fox")], now=NOW) == {}


def test_a_score_is_told_with_two_digits() -> None:
    """As the manifest has it."""
    assert Alike(job(1, "x"), "other", "y", 0.9666).warning == "semantic:0.97 of other"
