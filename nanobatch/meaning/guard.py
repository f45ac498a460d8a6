"""Decides whether two prompts ask for the same picture, whatever an embedding says.

Every word of a prompt is accounted for: two prompts are the same when their readings are equal. A reading is the prompt
in one spelling, with synonyms replaced by one of them, articles left out, and in one order what may stand in any.
Numbers, colors, names, negations and every word that the lexicon does not know stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import name

from nanobatch.meaning.arrangement import arranged, as_written
from nanobatch.meaning.lexicon import Lexicon, load_lexicon
from nanobatch.meaning.tokens import Kind, Token, plain, tokens_of
from nanobatch.meaning.words import words_of

_REMEMBERED = 8192  # prompts: those that are looked up now are learned soon, and variants come in a row


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt as the guard reads it."""

    key: str  # equal for prompts that ask for the same picture
    words: str  # for the embedding: what was written, in one spelling


@lru_cache(maxsize=_REMEMBERED)
def read(text: str) -> Reading:
    """Read a prompt. One in a language other than English is taken as it stands, but for case, blanks and the end."""
    lexicon = load_lexicon()
    tokens = tokens_of(plain(text), lexicon.kinds["units"])
    if not _is_english(tokens, lexicon):
        as_it_stands = " ".join(token.text if token.kind is Kind.QUOTE else token.folded for token in tokens)
        return Reading(f"= {as_it_stands}", as_it_stands)
    tokens = _with_lettering(tokens, lexicon)
    words, spelled = words_of(tokens, lexicon)
    is_strict = any(token.kind is Kind.SIGN for token in tokens)
    is_strict = is_strict or any(lexicon.is_a("negations", word.text) for word in words)
    return Reading(as_written(words) if is_strict else arranged(words, lexicon), spelled)


def is_same(one: str, other: str) -> bool:
    """Tell whether two prompts ask for the same picture."""
    return read(one).key == read(other).key


def _is_english(tokens: Sequence[Token], lexicon: Lexicon) -> bool:
    """Tell whether a prompt is in the language whose words we know."""
    words = [token for token in tokens if token.kind is Kind.WORD]
    first, *others = [token.text for token in words] or [""]
    if any(lexicon.is_a("foreign", text) for text in (first.casefold(), *others)):
        return False
    if not all(_is_latin(letter) for token in words for letter in token.text if letter.isalpha()):
        return False
    return any(token.folded != "a" and lexicon.knows(token.folded) for token in words)  # others have an `a`, too


def _is_latin(letter: str) -> bool:
    return letter.isascii() or name(letter, "").startswith("LATIN")


def _with_lettering(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    """Take what is to be read in the picture letter by letter, where it is not in quotes."""
    if any(token.kind is Kind.QUOTE for token in tokens):
        return tokens
    for at, token in enumerate(tokens):
        near = tokens[max(0, at - 2) : at]
        is_read = token.folded == "reading" and any(lexicon.is_a("signs", one.folded) for one in near)
        if token.kind is Kind.WORD and (is_read or lexicon.is_a("lettering", token.folded)):
            rest = tokens[at + 1 :]
            return tokens[: at + 1] + [
                one if one.kind is Kind.PAUSE else Token(Kind.QUOTE, f'"{one.text}"') for one in rest
            ]
    return tokens
