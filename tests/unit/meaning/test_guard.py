"""Whether two prompts ask for the same picture: the table of pairs, and each class of words that is guarded."""

from __future__ import annotations

import csv
import time
from itertools import combinations
from pathlib import Path

import pytest

from nanobatch.meaning.embedding import Embedding
from nanobatch.meaning.guard import is_same, read
from nanobatch.settings import SemanticSettings

TABLE = Path(__file__).parents[2] / "data" / "prompt_pairs.tsv"
THRESHOLD = SemanticSettings().threshold


def pairs(half: str, kind: str) -> list[tuple[str, str]]:
    """Read pairs of the table: the tuning half, which the rules were made with, or the held-out half, which they were not."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = [(row["one"], row["other"]) for row in rows if (row["half"], row["kind"]) == (half, kind)]
    assert len(found) >= 40
    return found


@pytest.mark.parametrize("half", ["tuning", "held-out"])
def test_no_near_miss_is_taken(half: str) -> None:
    """Numbers, colors, names, negations, places, roles and the rest: two pictures stay two, whatever the threshold."""
    assert [pair for pair in pairs(half, "different") if is_same(*pair)] == []


@pytest.mark.parametrize("half", ["tuning", "held-out"])
def test_most_paraphrases_are_found(half: str) -> None:
    """At least half of what people say in other words, at the default threshold; in fact three of four."""
    embedding = Embedding()
    some = pairs(half, "same")
    taken = 0
    for one, other in some:
        a, b = embedding.embed([read(one).words, read(other).words])
        taken += is_same(one, other) and float(a @ b) >= THRESHOLD
    assert taken >= 0.75 * len(some)


def test_all_prompts_of_the_table_differ_but_in_their_pairs() -> None:
    """No prompt is taken for one of another pair, either."""
    known = {frozenset(pair) for half in ("tuning", "held-out") for pair in pairs(half, "same")}
    prompts = sorted(
        {
            text
            for half in ("tuning", "held-out")
            for kind in ("same", "different")
            for pair in pairs(half, kind)
            for text in pair
        }
    )
    by_key: dict[str, list[str]] = {}
    for text in prompts:
        by_key.setdefault(read(text).key, []).append(text)
    wrong = [pair for some in by_key.values() for pair in combinations(some, 2) if frozenset(pair) not in known]
    assert wrong == []


CLASSES = {
    "numbers": ["3 balls", "4 balls", "three and a half balls", "33 balls", "balls", "a ball", "30 balls", "13 balls", "3.5 balls"],
    "colors": [f"a {color} car" for color in ("red", "crimson", "navy", "blue", "dark blue", "light blue", "teal", "gray", "silver")],
    "negations": ["a man with a hat", "a man without a hat", "a man, not a hat", "a man with no other hat", "a hatless man"],
    "names": [f"a street in {name}" for name in ("Paris", "Rome", "Turin", "paris texas", "New York", "York")],
    "quotes": [f"a sign that says {text}" for text in ('"Open"', '"OPEN"', '"Open."', '"Opens"', '"open"', "Shut", "Closed")],
    "codes": [f"part {code}" for code in ("A-1", "A-2", "B-1", "A1", "A-11", "1", "11")],
    "units": [f"a 5 {unit} nail" for unit in ("mm", "cm", "m", "inch", "ft", "kg")],
    "materials": [f"a {what} chair" for what in ("wooden", "metal", "plastic", "glass", "leather", "stone")],
    "animals": [f"a {what} in a field" for what in ("horse", "pony", "donkey", "mule", "cow", "ox", "bull", "goat", "sheep")],
    "jobs": [f"a {what} at work" for what in ("nurse", "doctor", "surgeon", "cook", "chef", "waiter", "waitress")],
    "times": [f"a bridge {when}" for when in ("at night", "by day", "at dusk", "at dawn", "at noon", "at sunset", "in winter", "in spring")],
    "kinds": [f"{kind} of a fox" for kind in ("photo", "painting", "oil painting", "watercolor", "sketch", "drawing", "close-up", "wide shot", "image")],
    "places": [f"a cat {where} a box" for where in ("in", "on", "under", "above", "behind", "beside", "near", "in front of", "outside", "over")],
    "people": [f"a {who} with a kite" for who in ("boy", "girl", "man", "woman", "child", "baby", "teenager", "old man", "young man", "person")],
    "states": [f"a {state} door" for state in ("open", "closed", "half open", "unopened", "broken", "unbroken", "locked", "unlocked")],
    "roles": ["a dog chasing a cat", "a cat chasing a dog", "a dog chased by a cat", "a dog and a cat chasing", "a chasing dog and a cat"],
    "degrees": [f"a {much} house" for much in ("big", "huge", "tiny", "small", "very big", "very small", "slightly big", "biggest", "bigger")],
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_each_guarded_class_stays_apart(name: str) -> None:
    """Every two prompts of a class are two pictures."""
    assert [pair for pair in combinations(CLASSES[name], 2) if is_same(*pair)] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ein roter Fuchs im Schnee", "Ein  roter Fuchs im Schnee."),
        ("赤いキツネ", "赤いキツネ "),
        ("un renard rouge", "Un renard rouge!"),
        ("xyzzy plugh", "XYZZY plugh"),
    ],
)
def test_other_languages_are_taken_as_they_stand(one: str, other: str) -> None:
    """Case, blanks and the end do not count; all else does."""
    assert is_same(one, other)
    assert not is_same(one, f"{one} a")


def test_other_languages_have_no_articles_of_ours() -> None:
    """An English article is another word there."""
    assert not is_same("das Bild an der Wand", "das Bild der Wand")
    assert not is_same("el perro a la casa", "el perro la casa")
    assert not is_same("a macska", "macska")


def test_a_prompt_of_few_known_words_is_english_too() -> None:
    """One is enough to know that an article is one."""
    assert is_same("two people shaking hands", "2 people shaking hands")
    assert is_same("an aerial view of Zorb", "bird's-eye view of Zorb")
    assert is_same("a mug, 4K", "a mug, 4k")


def test_signs_keep_the_order() -> None:
    """A prompt with weights, flags or negations is read as it is written."""
    assert is_same("a (red:1.3) big fox", "the (red:1.3) big fox")
    assert not is_same("a (red:1.3) big fox", "a (big:1.3) red fox")
    assert not is_same("a fox --ar 16:9", "a fox --ar 9:16")
    assert not is_same("a lamp, no soft light, 4k", "a lamp, 4k, no soft light")


@pytest.mark.parametrize(
    "text",
    ["", " ", ".", "a", "the", "no", ",,,", '""', "'", "-", "\ud7ff", "a" * 5000, "1/2", "and and and", "of", "please"],
)
def test_anything_can_be_read(text: str) -> None:
    """What people send is not always a sentence."""
    assert read(text).key == read(text).key
    assert is_same(text, text)


@pytest.mark.parametrize(
    "piece", ["a-", "a red, ", "'a ", "1a-", "f/1.", "please ", "a, and ", "big ", "dozen ", "in the style of "]
)
def test_a_long_prompt_takes_no_longer_than_many_short_ones(piece: str) -> None:
    """Reading is linear: twenty thousand words are read in a second or two, whatever they are."""
    began = time.process_time()
    read(piece * 20_000)
    assert time.process_time() - began < 5
