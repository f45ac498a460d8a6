"""Forms of English words: singular and plural, verbs in -ing and -s, numbers in words."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
    "mice": "mouse", "geese": "goose", "oxen": "ox", "lice": "louse", "dice": "die", "firemen": "fireman",
    "policemen": "policeman", "businessmen": "businessman", "fishermen": "fisherman", "snowmen": "snowman",
    "buses": "bus", "viruses": "virus", "octopuses": "octopus", "cactuses": "cactus", "cacti": "cactus",
    "walruses": "walrus", "crocuses": "crocus", "circuses": "circus", "canvases": "canvas", "lenses": "lens",
    "leaves": "leaf", "knives": "knife", "wolves": "wolf", "shelves": "shelf", "halves": "half", "loaves": "loaf",
    "calves": "calf", "elves": "elf", "scarves": "scarf", "wives": "wife", "lives": "life", "hooves": "hoof",
    "thieves": "thief", "dwarves": "dwarf", "selves": "self", "bookshelves": "bookshelf",
    "shoes": "shoe", "horseshoes": "horseshoe", "toes": "toe", "canoes": "canoe", "hoes": "hoe",
    "movies": "movie", "cookies": "cookie", "zombies": "zombie", "brownies": "brownie", "selfies": "selfie",
    "hoodies": "hoodie", "smoothies": "smoothie", "genies": "genie", "pixies": "pixie", "pies": "pie", "ties": "tie",
    "teddies": "teddy", "axes": "ax",
}  # fmt: skip
_SINGULAR_IN_S = frozenset(
    ["lens", "canvas", "gas", "atlas", "christmas", "pancreas", "always", "perhaps", "this", "his", "as", "yes", "plus"]
)
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL_NUMBERS = {word: number for number, word in enumerate(_UNITS.split())}
TENS = {word: 10 * number for number, word in enumerate(_TENS.split(), start=2)}
SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
DOUBLED = "bdgklmnprt"  # at the end of a short verb, before -ing


class Form(NamedTuple):
    """A word without its number, and which number it had."""

    lemma: str
    is_plural: bool = False


class VerbForms(NamedTuple):
    """How a verb may stand in a prompt."""

    ing: tuple[str, ...]
    s: str


@lru_cache(maxsize=20_000)
def form_of(word: str) -> Form:
    """Take the plural off a word in lower case."""
    if word in _IRREGULAR:
        return Form(_IRREGULAR[word], is_plural=True)
    if len(word) < 4 or not word.endswith("s") or word in _SINGULAR_IN_S or word.endswith(("ss", "us", "is")):
        return Form(word)
    if word.endswith("ies"):
        return Form(word[:-3] + "y", is_plural=True)
    if word.endswith(("sses", "xes", "ches", "shes", "oes")):
        return Form(word[:-2], is_plural=True)
    return Form(word[:-1], is_plural=True)


def forms_of_verb(verb: str) -> VerbForms:
    """Put a verb into the forms in which prompts have it."""
    if verb.endswith("ie"):
        ing: tuple[str, ...] = (verb[:-2] + "ying",)
    elif verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        ing = (verb[:-1] + "ing",)
    elif len(verb) > 2 and verb[-1] in DOUBLED and verb[-2] in "aeiou" and verb[-3] not in "aeiou":
        ing = (verb + verb[-1] + "ing", verb + "ing")
    else:
        ing = (verb + "ing",)
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return VerbForms(ing, verb[:-1] + "ies")
    return VerbForms(ing, verb + ("es" if verb.endswith(("s", "x", "ch", "sh", "o")) else "s"))
