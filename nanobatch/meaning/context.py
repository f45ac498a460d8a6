"""What a word is because of its neighbours: verbs that look like nouns, shades before colors, number after a number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import dropwhile

from nanobatch.meaning.lexicon import GLUE, Lexicon
from nanobatch.meaning.roles import VERBAL, Role, Word

WEARING = "wear" + VERBAL
_BEING = ("is", "are")
_RELATIVE = ("that", "which", "who")
_DEGREES = frozenset({"very", "so", "too", "more", "most", "least", "quite", "half", "almost", "super", "ultra"})


def in_context(words: Sequence[Word], lexicon: Lexicon) -> list[Word]:
    """Read words again, each with those around it."""
    found = list(_verbs(list(_without_being(words)), lexicon))
    found = list(_clothed(list(_merged(found, lexicon)), lexicon))
    return list(_counted(found, lexicon))


def _without_being(words: Sequence[Word]) -> Iterator[Word]:
    """Leave out `that is` and, before a form in -ing, `is`: a woman is holding, a woman holding."""
    at = 0
    while at < len(words):
        word, after = words[at], words[at + 1 : at + 3]
        if word.text in _RELATIVE and after and after[0].text in _BEING and len(after) > 1:
            at += 2
        elif word.text in _BEING and after and after[0].spelled.endswith("ing"):
            at += 1
        else:
            yield word
            at += 1


def _verbs(words: Sequence[Word], lexicon: Lexicon) -> Iterator[Word]:
    """See verbs where a noun cannot stand: a boy rides, two dogs run."""
    before: Word | None = None
    for word in words:
        found = word
        if before is not None and before.role is Role.THING and word.role is Role.THING and not word.is_name:
            verbs = lexicon.verbs_plain if before.is_plural else lexicon.verbs_in_s
            if word.spelled in verbs:
                verb = word.spelled if before.is_plural else lexicon.verbs_in_s[word.spelled]
                found = Word(verb + VERBAL, Role.VERB, spelled=word.spelled)
        yield found
        before = found


def _merged(words: Sequence[Word], lexicon: Lexicon) -> Iterator[Word]:
    """Make one word of a shade with its color, of a degree with its adjective."""
    held: Word | None = None
    for word in words:
        if held is not None and _belongs(held, word, lexicon):
            held = replace(word, text=held.text + GLUE + word.text)
            continue
        if held is not None:
            yield held
        held = word
    if held is not None:
        yield held


def _belongs(word: Word, after: Word, lexicon: Lexicon) -> bool:
    if after.role is not Role.ADJECTIVE or word.is_name or word.is_plural:
        return False
    if is_color(after, lexicon) and (lexicon.is_a("shades", word.text) or is_color(word, lexicon)):
        return True
    return word.text in _DEGREES or (word.role is Role.THING and word.text.endswith("ly"))


def is_color(word: Word, lexicon: Lexicon) -> bool:
    """Tell whether a word is a color, or a shade of one."""
    return lexicon.is_a("colors", word.text.rpartition(GLUE)[2])


def _clothed(words: Sequence[Word], lexicon: Lexicon) -> Iterator[Word]:
    """Read a woman in a red dress as one who wears it."""
    before: Word | None = None
    for at, word in enumerate(words):
        is_worn = (
            word.text == "in"
            and before is not None
            and not before.is_name
            and lexicon.is_a("people", before.text)
            and _is_garment(words[at + 1 :], lexicon)
        )
        yield Word(WEARING, Role.VERB) if is_worn else word
        before = word


def _is_garment(words: Sequence[Word], lexicon: Lexicon) -> bool:
    """Tell whether words begin with a piece of clothing and nothing that has one."""
    rest = list(dropwhile(lambda word: word.role in (Role.ARTICLE, Role.ADJECTIVE), words))
    is_last = len(rest) < 2 or rest[1].role is not Role.THING
    return bool(rest) and is_last and not rest[0].is_name and lexicon.is_a("clothes", rest[0].text)


def _counted(words: Iterable[Word], lexicon: Lexicon) -> Iterator[Word]:
    """Leave the plural to the number: 3 balls. And say which sheep is one: a sheep."""
    noun: list[Word] = []
    has_thing = False
    for word in words:
        noun.append(word)
        if word.role in (Role.RELATION, Role.PAUSE) or (word.role is Role.VERB and has_thing):
            yield from _counted_noun(noun, lexicon)
            noun, has_thing = [], False
        has_thing = has_thing or word.role is Role.THING
    yield from _counted_noun(noun, lexicon)


def _counted_noun(words: list[Word], lexicon: Lexicon) -> Iterator[Word]:
    if not words:
        return
    things = [word for word in words if word.role is Role.THING]
    first = words[0]
    is_counted = first.role is Role.NUMBER and first.text.isdecimal() and first.text != "1" and len(things) == 1
    has_article = first.role is Role.ARTICLE and first.text != "the"
    for word in words:
        if word.role is Role.NUMBER and has_article and len(things) == 1:
            yield replace(word, text=f"a {word.text}")  # an eight-ball is not eight of them
            continue
        if word.role is not Role.THING or word.is_name:
            yield word
        elif is_counted:
            yield replace(word, is_plural=False)
        elif has_article and lexicon.is_a("same_in_plural", word.text):
            yield replace(word, text=f"1 {word.text}")
        else:
            yield word
