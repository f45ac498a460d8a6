"""Puts what may stand in any order into one: looks of the whole, adjectives before a noun; all else stays in its order.

Who does what to whom is said by order, so nothing moves across a relation, a verb or a noun.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from nanobatch.meaning.context import is_color
from nanobatch.meaning.lexicon import Lexicon
from nanobatch.meaning.looks import bare, cut_kind, cut_setting, whole
from nanobatch.meaning.roles import VERBAL, Role, Word

_JOINING = ("and", "or")
_BOUNDARY = " | "
_LOOKS = " || "


def as_written(words: Sequence[Word]) -> str:
    """Return a prompt in its own order."""
    return _BOUNDARY.join(_said(part) for part in _parts(words))


def arranged(words: Sequence[Word], lexicon: Lexicon) -> str:
    """Return a prompt with all in one order that may stand in several."""
    parts = _joined(_parts(words), lexicon)
    keys = [whole(part, lexicon) for part in parts]
    subject = [at for at, key in enumerate(keys) if key is None]
    if subject and subject[-1] - subject[0] + 1 != len(subject):  # looks between things may be about one of them
        return _BOUNDARY.join(_ordered(part, lexicon) for part in parts)
    looks = [key for key in keys if key is not None]
    things = [parts[at] for at in subject]
    if len(things) != 1:
        said = _BOUNDARY.join(_ordered(part, lexicon) for part in things)
        return said + _LOOKS + _BOUNDARY.join(sorted(looks))
    rest, kind = cut_kind(things[0], lexicon)
    rest, setting = cut_setting(rest, lexicon)
    said = _coordinated(_sorted(_moved(rest, lexicon), lexicon))
    return said + _LOOKS + _BOUNDARY.join(sorted([*looks, *kind, *setting]))


def _ordered(part: Sequence[Word], lexicon: Lexicon) -> str:
    return _said(_sorted(_moved(part, lexicon), lexicon))


def _parts(words: Sequence[Word]) -> list[list[Word]]:
    groups = groupby(words, lambda word: word.role is Role.PAUSE)
    return [list(some) for is_pause, some in groups if not is_pause]


def _joined(parts: Sequence[list[Word]], lexicon: Lexicon) -> list[list[Word]]:
    """Leave out commas that say nothing: a small, red ball; cats, dogs, and birds; a cat, sitting on a mat."""
    found: list[list[Word]] = []
    for part in parts:
        if found and _says_nothing(found, part, lexicon):
            found[-1] = [*found[-1], *part]
        else:
            found.append(part)
    return found


def _says_nothing(found: Sequence[Sequence[Word]], after: Sequence[Word], lexicon: Lexicon) -> bool:
    before, first = found[-1], after[0]
    if first.text in _JOINING and len(after) > 1:
        return True
    if first.role is Role.ADJECTIVE:
        return _lacks_its_noun(before)
    is_simple = all(word.role in (Role.ARTICLE, Role.ADJECTIVE, Role.NUMBER, Role.THING) for word in before)
    if len(found) > 1 or not is_simple or whole(before, lexicon) is not None:
        return False
    return first.role is Role.VERB or (first.role is Role.RELATION and first.text not in ("but", "or", "and"))


def _lacks_its_noun(words: Sequence[Word]) -> bool:
    """Tell whether words end as `a small` does."""
    tail: list[Word] = []
    for word in reversed(words):
        if word.role is not Role.ADJECTIVE:
            return bool(tail) and word.role in (Role.ARTICLE, Role.NUMBER)
        tail.append(word)
    return False


def _moved(words: Sequence[Word], lexicon: Lexicon) -> list[Word]:
    """Put before its noun what somebody does alone: `a cat sleeping on` and `a sleeping cat on`."""
    found: list[Word] = []
    for at, word in enumerate(words):
        if word.role is Role.VERB and lexicon.is_a("verbs_alone", word.text.removesuffix(VERBAL)):
            after = words[at + 1] if at + 1 < len(words) else None
            before = found[-1] if found else None
            follows_noun = before is not None and before.role is Role.THING
            if follows_noun and (after is None or (after.role is Role.RELATION and after.text != "of")):
                found.insert(_start_of_noun(found), replace(word, role=Role.ADJECTIVE))
                continue
            if not follows_noun and after is not None and after.role in (Role.THING, Role.ADJECTIVE):
                found.append(replace(word, role=Role.ADJECTIVE))
                continue
        found.append(word)
    return found


def _start_of_noun(words: Sequence[Word]) -> int:
    at = len(words)
    while at and words[at - 1].role in (Role.THING, Role.ADJECTIVE):
        at -= 1
    return at


def _sorted(words: Sequence[Word], lexicon: Lexicon) -> list[Word]:
    """Sort adjectives that stand before the same noun."""
    found: list[Word] = []
    run: list[Word] = []
    for word in _without_and(words, lexicon):
        if word.role is Role.ADJECTIVE:
            run.append(word)
            continue
        found += sorted(run, key=lambda one: one.key) if word.role is Role.THING else run
        run = []
        found.append(word)
    return found + run


def _without_and(words: Sequence[Word], lexicon: Lexicon) -> Iterator[Word]:
    """Leave out the `and` between adjectives of one noun; between colors it says that there are two."""
    for at, word in enumerate(words):
        around = [*words[at - 1 : at], *words[at + 1 : at + 3]] if at else []
        is_between = (
            word.text == "and"
            and len(around) == 3
            and around[0].role is Role.ADJECTIVE
            and around[1].role is Role.ADJECTIVE
            and around[2].role is not Role.RELATION
            and not (is_color(around[0], lexicon) or is_color(around[1], lexicon))
        )
        if not is_between:
            yield word


def _coordinated(words: Sequence[Word]) -> str:
    """Say a part; `a cat and a dog` is `a dog and a cat`, as long as nothing else is said of them."""
    joints = [at for at, word in enumerate(words) if word.text == "and"]
    others = [word for word in words if word.role in (Role.RELATION, Role.VERB)]
    if len(joints) != 1 or len(others) != 1:
        return _said(words)
    sides = [words[: joints[0]], words[joints[0] + 1 :]]
    if not all(side and side[0].role in (Role.ARTICLE, Role.NUMBER) for side in sides):
        return _said(words)
    return " and ".join(sorted(_said(side) for side in sides))


def _said(words: Sequence[Word]) -> str:
    return " ".join(word.key for word in bare(words))
