"""Cuts a prompt into words, numbers, codes, quoted text and signs, before anything is known of what they mean."""

from __future__ import annotations

import enum
import re
import unicodedata
from dataclasses import dataclass

_TYPOGRAPHY = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "–": "-", "—": "—", "\u00a0": " "}
)
_PATTERN = re.compile(
    r"""
    (?P<quote>"[^"]+"|(?<![^\W_])'[^'\n]+'(?![^\W_]))
  | (?P<code>f/\d+(?:\.\d+)?|(?<![^\W_])(?=\S{0,40}\d)(?!\d+(?:-[a-z]{2,30}){1,5}\b)[^\W_]+(?:[-_/][^\W_]+)+)
  | (?P<number>\d+(?:[.,:/]\d+)*%?)(?P<unit>[^\W\d_]*)
  | (?P<compound>(?<![\w-])[^\W\d_]{1,30}-[^\W\d_]{1,30}ing\b)
  | (?P<word>&(?!\w)|[^\W_](?:[^\W_]|'(?=[^\W_]))*)
  | (?P<hyphen>(?<=[^\W_])-(?=[^\W_]))
  | (?P<pause>[,.;!?]+|—|\s-\s|\n)
  | (?P<space>\s+)
  | (?P<sign>.)
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Kind(enum.Enum):
    """What a token is."""

    WORD = "word"
    NUMBER = "number"
    CODE = "code"  # AB-12-X: literal, in any case
    QUOTE = "quote"  # literal, letter by letter
    SIGN = "sign"  # any other character
    PAUSE = "pause"  # a comma or what does as well


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a prompt."""

    kind: Kind
    text: str  # as it is written

    @property
    def folded(self) -> str:
        """The text without regard to case."""
        return "and" if self.text == "&" else self.text.casefold()


def plain(text: str) -> str:
    """Write a prompt in one way where there are several for the same characters."""
    return unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY).strip()


def tokens_of(text: str, units: frozenset[str]) -> list[Token]:
    """Cut a plain prompt into tokens; a pause at the end or after a pause is none.

    Args:
        text: As `plain` writes it.
        units: Letters that may stick to a number: `50mm` is a number and a unit, `4k` is a word.
    """
    found: list[Token] = []
    for match in _PATTERN.finditer(text):
        kind = match.lastgroup or ""
        if kind in ("space", "hyphen"):
            continue
        if kind == "compound":  # a man-eating plant is no man eating a plant
            found.append(Token(Kind.WORD, match[kind]))
        elif kind == "unit":
            found += _with_unit(match["number"], match["unit"], units)
        elif kind != "pause":
            found.append(Token(Kind(kind), match[kind]))
        elif found and found[-1].kind is not Kind.PAUSE:
            found.append(Token(Kind.PAUSE, ","))
    while found and found[-1].kind is Kind.PAUSE:
        found.pop()
    return found


def _with_unit(number: str, unit: str, units: frozenset[str]) -> list[Token]:
    if not unit:
        return [Token(Kind.NUMBER, number)]
    if unit.casefold() in units:
        return [Token(Kind.NUMBER, number), Token(Kind.WORD, unit)]
    return [Token(Kind.WORD, number + unit)]
