"""Parts of a prompt that are about the whole picture: what kind it is, what is behind everything, how it is lit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from nanobatch.meaning.lexicon import Lexicon
from nanobatch.meaning.roles import Role, Word

_AFTER_KIND = ("of", "show~")
_BEFORE_SETTINGS = ("on", "in", "with", "against")
_BEFORE_TIMES = ("at", "in", "during")


class Parted(NamedTuple):
    """What is left of a part, and what of it is about the whole."""

    rest: list[Word]
    looks: list[str]


def whole(part: Sequence[Word], lexicon: Lexicon) -> str | None:
    """Return the key of a part that is about the whole; None where it is not, or may be not."""
    words = bare(part)
    if len(words) > 1 and words[0].role is Role.RELATION:
        return _after_preposition(words, lexicon)
    if not words or not all(_is_look(word, lexicon) for word in words):
        return None
    is_thing = part[0].role in (Role.ARTICLE, Role.NUMBER) and not _is_setting(words, lexicon)
    return _key(words, lexicon) if _is_strong(words, lexicon) and not is_thing else None


def cut_kind(part: Sequence[Word], lexicon: Lexicon) -> Parted:
    """Take `a studio photo of` from the beginning of a part."""
    ends = [at for at, word in enumerate(part) if word.role in (Role.RELATION, Role.VERB)]
    if not ends or part[ends[0]].text not in _AFTER_KIND or ends[0] + 1 >= len(part):
        return Parted(list(part), [])
    kind = bare(part[: ends[0]])
    if not kind or kind[-1].text not in lexicon.kinds["media"] or not all(_is_look(word, lexicon) for word in kind):
        return Parted(list(part), [])
    if any(word.role is Role.NUMBER for word in kind):
        return Parted(list(part), [])
    return Parted(list(part[ends[0] + 1 :]), [_key(kind, lexicon)])


def cut_setting(part: Sequence[Word], lexicon: Lexicon) -> Parted:
    """Take `on a white background` and the like from the end of a part, where it says so of one thing only."""
    at = _last(part, (*_BEFORE_SETTINGS, *_BEFORE_TIMES))
    if at < 1 or any(lexicon.is_a("settings", word.text) for word in part[:at]):
        return Parted(list(part), [])
    is_of_kind = any(lexicon.is_a("media", word.text) for word in part[:at])  # a painting of a town at night on a wall
    key = _after_preposition(bare(part[at:]), lexicon, only_settings=is_of_kind)
    return Parted(list(part), []) if key is None else Parted(list(part[:at]), [key])


def bare(words: Sequence[Word]) -> list[Word]:
    """Leave out the articles."""
    return [word for word in words if word.role is not Role.ARTICLE]


def _last(words: Sequence[Word], texts: Sequence[str]) -> int:
    """Find the last of some relations."""
    found = [at for at, word in enumerate(words) if word.text in texts and word.role is Role.RELATION]
    return found[-1] if found else -1


def _as_style(words: list[Word]) -> list[Word]:
    """Read `in style of pixel art` as `in pixel art style`."""
    if len(words) > 3 and words[1].text == "style" and words[2].text == "of":
        return [words[0], *words[3:], words[1]]
    return words


def _after_preposition(words: Sequence[Word], lexicon: Lexicon, *, only_settings: bool = False) -> str | None:
    first, *others = _as_style(list(words))
    if not others or not all(_is_look(word, lexicon) for word in others):
        return None
    if first.text in _BEFORE_SETTINGS and _is_setting(others, lexicon):
        is_lit = _lit(others, lexicon)[-1] != others[-1].text
        return _key(others, lexicon) if first.text == "in" or not is_lit else None  # with a studio light: a thing
    is_time = first.text in _BEFORE_TIMES and lexicon.is_a("times", others[-1].text)
    return _key(others, lexicon) if is_time and not only_settings else None


def _is_setting(words: Sequence[Word], lexicon: Lexicon) -> bool:
    return _lit(words, lexicon)[-1] in lexicon.kinds["settings"]


def _is_look(word: Word, lexicon: Lexicon) -> bool:
    if word.is_name or word.role is Role.RELATION:
        return False
    if word.role is Role.ADJECTIVE:
        return True
    return any(word.text in lexicon.kinds[kind] for kind in ("looks", "settings", "media", "times"))


def _is_strong(words: Sequence[Word], lexicon: Lexicon) -> bool:
    kinds = ("strong_looks", "settings", "media", "times")
    return any(text in lexicon.kinds[kind] for text in _lit(words, lexicon) for kind in kinds)


def _lit(words: Sequence[Word], lexicon: Lexicon) -> list[str]:
    """Read `soft light` as `soft lighting`; a red light may be a thing."""
    texts = [word.text for word in words]
    if len(texts) > 1 and texts[-1] == "light" and lexicon.is_a("lit", texts[-2]):
        texts[-1] = "lighting"
    return texts


def _key(words: Sequence[Word], lexicon: Lexicon) -> str:
    """Say it without regard to plural, and to the order of adjectives."""
    runs = groupby(zip(words, _lit(words, lexicon), strict=True), lambda pair: pair[0].role is Role.ADJECTIVE)
    return " ".join(text for are_adjectives, some in runs for text in _in_order(some, are_adjectives=are_adjectives))


def _in_order(some: Iterable[tuple[Word, str]], *, are_adjectives: bool) -> list[str]:
    texts = [text for _, text in some]
    return sorted(texts) if are_adjectives else texts
