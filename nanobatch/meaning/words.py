"""Reads tokens as words: spelling, number, synonyms, forms of verbs, names, and what each word does in the prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nanobatch.meaning.context import in_context
from nanobatch.meaning.forms import Form, form_of
from nanobatch.meaning.lexicon import Expression, Lexicon
from nanobatch.meaning.numbers import number_at
from nanobatch.meaning.roles import VERBAL, Role, Word
from nanobatch.meaning.tokens import Kind, Token

_LIKE_ADJECTIVES = ("ous", "ful", "less")
_NO_ADJECTIVES = ("handful", "mouthful", "spoonful", "armful", "bowlful", "less", "unless")
_CONTRACTIONS = {"can't": "can not", "won't": "will not", "cannot": "can not"}


@dataclass(frozen=True, slots=True)
class _Raw:
    """A word before it is known for what it is."""

    text: str  # in lower case, American spelling
    form: Form
    is_name: bool = False
    is_literal: bool = False  # a number, a code, a quote, a sign: as it stands
    is_number: bool = False
    is_pause: bool = False


class Spelled(NamedTuple):
    """A prompt read as words, and as it was spelled."""

    words: list[Word]
    text: str  # for the embedding: lower case, one spelling, no articles


def words_of(tokens: Sequence[Token], lexicon: Lexicon) -> Spelled:
    """Read the tokens of an English prompt."""
    spelled = list(_spelled(tokens, lexicon))
    said = (raw.text for raw in spelled if not raw.is_pause)
    text = " ".join(word for word in said if not lexicon.is_a("articles", word))
    raws = _after_requests(list(_numbered(spelled)), lexicon)
    return Spelled(in_context(list(_known(raws, lexicon)), lexicon), text)


def _spelled(tokens: Sequence[Token], lexicon: Lexicon) -> Iterator[_Raw]:
    """Bring words to lower case and one spelling, and see which are names."""
    has_names = not _is_title(tokens)
    has_sign = any(form_of(token.folded).lemma in lexicon.kinds["signs"] for token in tokens)
    is_first = True
    for token in tokens:
        match token.kind:
            case Kind.PAUSE:
                yield _Raw(",", Form(","), is_literal=True, is_pause=True)
            case Kind.WORD:
                is_name = has_names and token.text[:1].isupper() and (not is_first or _is_bare(tokens, lexicon))
                is_loud = len(token.text) > 1 and token.text.isupper() and not lexicon.is_a("looks", token.folded)
                if has_names and has_sign and is_loud:
                    yield _Raw(token.text, Form(token.text), is_literal=True)  # perhaps to be read in the picture
                    continue
                yield from _as_words(token, lexicon, is_name=is_name)
            case Kind.NUMBER:
                yield _Raw(token.text, Form(token.text), is_literal=True, is_number=True)
            case Kind.QUOTE:
                yield _Raw(f'"{token.text[1:-1]}"', Form(f'"{token.text[1:-1]}"'), is_literal=True)
            case _:
                yield _Raw(token.folded, Form(token.folded), is_literal=True)
        is_first = token.kind is Kind.PAUSE and is_first


def _is_bare(tokens: Sequence[Token], lexicon: Lexicon) -> bool:
    """Tell whether a prompt begins with a name: `Rose in a garden`, not `Rose petals`."""
    if not lexicon.is_a("names_too", tokens[0].folded):
        return False
    after = tokens[1].folded if len(tokens) > 1 else ","
    return not after.isalpha() or lexicon.is_a("relations", after) or after in lexicon.verbs


def _as_words(token: Token, lexicon: Lexicon, *, is_name: bool) -> Iterator[_Raw]:
    folded = token.folded
    if folded.endswith("n't"):
        folded = _CONTRACTIONS.get(folded, folded[:-3] + " not")
    folded = _CONTRACTIONS.get(folded, folded)
    for part in folded.replace("'s", " 's").split():
        word = lexicon.spelling.get(part, part)
        yield _Raw(word, form_of(word), is_name=is_name)


def _is_title(tokens: Sequence[Token]) -> bool:
    """Tell whether capitals say nothing here: most words have one."""
    words = [token.text for token in tokens if token.kind is Kind.WORD and len(token.text) > 3]
    return sum(word[:1].isupper() for word in words) > 0.6 * len(words)


def _after_requests(raws: Sequence[_Raw], lexicon: Lexicon) -> Sequence[_Raw]:
    """Leave out what is said to the program: `please generate an image of`."""
    rest = raws
    while True:
        texts = [raw.text for raw in rest[:4]]
        found = next((one for one in lexicon.requests if tuple(texts[: len(one)]) == one), None)
        if (
            found is None
            or len(found) >= len(rest)
            or not (_is_complete(found) or _begins_a_noun(rest[len(found)], lexicon))
        ):
            return rest
        rest = rest[len(found) :]
        if rest[0].is_pause and len(rest) > 1:
            rest = rest[1:]


def _is_complete(request: Sequence[str]) -> bool:
    """Tell whether a request is one whatever follows; `make` may be the first word of make-up."""
    return len(request) > 1 or request == ("please",)


def _begins_a_noun(raw: _Raw, lexicon: Lexicon) -> bool:
    """Tell whether a request ends here: `make a`, not `make up`."""
    begins = raw.is_pause or raw.is_number or lexicon.is_a("articles", raw.text)
    return begins or any(raw.text == one[0] for one in lexicon.requests)


def _numbered(raws: Sequence[_Raw]) -> Iterator[_Raw]:
    """Read numbers in words, dozens, pairs and trios as numbers."""
    at = 0
    while at < len(raws):
        found = number_at([raw.text for raw in raws[at : at + 8]])
        if found is None or (raws[at].is_literal and not found.length > 1):
            yield raws[at]
            at += 1
        else:
            yield _Raw(found.text, Form(found.text), is_literal=True, is_number=True)
            at += found.length


def _known(raws: Sequence[_Raw], lexicon: Lexicon) -> Iterator[Word]:
    """Replace expressions by what stands for them, the longest first, and tell what each word is."""
    at = 0
    while at < len(raws):
        raw = raws[at]
        if raw.is_pause:
            yield Word(",", Role.PAUSE)
        elif raw.is_literal:
            yield Word(raw.text, Role.NUMBER if raw.is_number else Role.THING, is_name=not raw.is_number)
        elif (one := _expression_at(raws, at, lexicon)) is not None:
            yield from _expressed(one, raws[at + len(one.words) - 1], lexicon)
            at += len(one.words)
            continue
        else:
            yield _word(raw, lexicon)
        at += 1


def _expression_at(raws: Sequence[_Raw], at: int, lexicon: Lexicon) -> Expression | None:
    for one in lexicon.expressions.get(raws[at].form.lemma, ()):
        some = raws[at : at + len(one.words)]
        if one.fits([raw.form for raw in some]) and not any(raw.is_literal or raw.is_name for raw in some):
            return one
    return None


def _expressed(one: Expression, raw: _Raw, lexicon: Lexicon) -> Iterator[Word]:
    is_plural = one.is_one and raw.form.is_plural and not one.has_plural
    for text in one.result:
        spelled = raw.text if one.is_one and len(one.words) == 1 else text
        if text in lexicon.verbs:
            yield Word(lexicon.verbs[text] + VERBAL, Role.VERB, spelled=text)
        else:
            yield Word(text, _role(text, lexicon), is_plural=is_plural, spelled=spelled)


def _word(raw: _Raw, lexicon: Lexicon) -> Word:
    if raw.is_name and lexicon.is_a("names_too", raw.text):
        return Word(f"^{raw.text}", is_name=True, spelled=raw.text)
    role = Role.THING if raw.is_name else _role(raw.text, lexicon)
    if role is Role.VERB:
        return Word(lexicon.verbs[raw.text] + VERBAL, role, spelled=raw.text)
    if role is not Role.THING:
        return Word(raw.text, role, spelled=raw.text)
    return Word(raw.form.lemma, is_plural=raw.form.is_plural, is_name=raw.is_name, spelled=raw.text)


def _role(text: str, lexicon: Lexicon) -> Role:
    if lexicon.is_a("articles", text):
        return Role.ARTICLE
    if lexicon.is_a("relations", text) or lexicon.is_a("negations", text):
        return Role.RELATION
    if lexicon.is_a("adjectives", text) or lexicon.is_a("colors", text):
        return Role.ADJECTIVE
    if text.endswith(_LIKE_ADJECTIVES) and text not in _NO_ADJECTIVES:
        return Role.ADJECTIVE
    return Role.VERB if text in lexicon.verbs else Role.THING
