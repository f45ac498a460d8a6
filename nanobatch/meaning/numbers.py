"""Numbers as people write them: 12, twelve, a dozen, two dozen, a pair of, twenty-one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nanobatch.meaning.forms import SCALES, SMALL_NUMBERS, TENS

_GROUPS = {"pair": 2, "couple": 2, "duo": 2, "trio": 3, "quartet": 4, "quintet": 5}
# One pair of these is not two of them.
_PAIRED = frozenset({
    "shoes", "boots", "sneakers", "glasses", "eyeglasses", "spectacles", "sunglasses", "pants", "trousers",
    "jeans", "shorts", "scissors", "socks", "gloves", "skis", "headphones", "earphones", "earrings", "sandals",
    "heels", "pliers", "mittens", "slippers", "tongs", "pajamas", "binoculars", "goggles", "leggings",
    "tights", "skates", "eyes", "hands", "wings", "legs", "feet", "ears", "crutches", "chopsticks", "tweezers",
    "stockings", "overalls",
})  # fmt: skip


class Number(NamedTuple):
    """A number, and how many words it takes."""

    text: str
    length: int


def number_at(words: Sequence[str]) -> Number | None:
    """Read the number with which some words begin."""
    for read in (_dozens, _group, _spoken):
        found = read(words)
        if found is not None:
            return found
    return None


def _dozens(words: Sequence[str]) -> Number | None:
    match list(words[:3]):
        case ["half", "a", "dozen"]:
            return Number("6", 3)
        case ["a", "half", "dozen"]:
            return Number("6", 3)
        case ["half", "dozen", *_]:
            return Number("6", 2)
        case ["a", "dozen", *_]:
            return Number("12", 2)
        case ["dozen", *_]:
            return Number("12", 1)
        case [count, "dozen", *_] if (number := _small(count)) is not None:
            return Number(str(12 * number), 2)
        case _:
            return None


def _group(words: Sequence[str]) -> Number | None:
    """Read `a pair of parrots`; a pair of shoes stays a pair."""
    skipped = 1 if words[0] == "a" else 0
    rest = words[skipped:]
    if len(rest) < 3 or rest[0] not in _GROUPS or rest[1] != "of" or _PAIRED & set(rest[2:5]):
        return None
    return Number(str(_GROUPS[rest[0]]), skipped + 2)


def _spoken(words: Sequence[str]) -> Number | None:
    """Read `three`, `twenty one`, `two hundred`, `a hundred`."""
    total, at = _tens(words)
    if at == 0 and words[0] in ("a", "one") and len(words) > 1 and words[1] in SCALES:
        total, at = 1, 1
    if at == 0:
        return None
    while at < len(words) and words[at] in SCALES:
        total *= SCALES[words[at]]
        at += 1
        more, length = _tens(words[at + 1 :]) if words[at : at + 1] == ["and"] else _tens(words[at:])
        if length:
            total += more
            at += length + (words[at : at + 1] == ["and"])
    return Number(str(total), at)


def _tens(words: Sequence[str]) -> tuple[int, int]:
    if not words:
        return 0, 0
    if words[0] in TENS:
        unit = SMALL_NUMBERS.get(words[1], 0) if len(words) > 1 else 0
        return (TENS[words[0]] + unit, 2) if 0 < unit < 10 else (TENS[words[0]], 1)
    number = _small(words[0])
    return (0, 0) if number is None else (number, 1)


def _small(word: str) -> int | None:
    return int(word) if word.isdecimal() and len(word) < 7 else SMALL_NUMBERS.get(word)
