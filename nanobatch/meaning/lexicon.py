"""The words that the guard knows: which are the same, and what each kind of word does in a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from nanobatch.meaning.forms import SMALL_NUMBERS, TENS, Form, form_of, forms_of_verb
from nanobatch.yaml_files import parse

GLUE = "_"  # between the words of an expression that is one to us


@dataclass(frozen=True, slots=True)
class Expression:
    """Some words in a row, and what they are read as."""

    words: tuple[Form, ...]  # a plural asks for a plural, a singular takes both
    result: tuple[str, ...]
    is_one: bool  # one word to us, which has the number of the last of them

    def fits(self, forms: Sequence[Form]) -> bool:
        """Tell whether these forms, as many as its words or fewer, are it."""
        if len(forms) < len(self.words) or forms[-1].lemma != self.words[-1].lemma:
            return False
        pairs = zip(self.words, forms, strict=False)
        return all(own.lemma == other.lemma and (other.is_plural or not own.is_plural) for own, other in pairs)

    @property
    def has_plural(self) -> bool:
        """Whether it is written in the plural alone: `woods` is no more than one forest."""
        return self.words[-1].is_plural


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All that is known of words, in lower case and American spelling."""

    spelling: Mapping[str, str]
    expressions: Mapping[str, Sequence[Expression]]  # by the first lemma, the longest first
    requests: Sequence[tuple[str, ...]]  # the longest first
    verbs: Mapping[str, str]  # forms in -ing: of which verb
    verbs_in_s: Mapping[str, str]
    verbs_plain: frozenset[str]
    kinds: Mapping[str, frozenset[str]]  # the lists of grammar.yaml

    def is_a(self, kind: str, word: str) -> bool:
        """Tell whether a word is of a kind."""
        return word in self.kinds[kind]

    def knows(self, word: str) -> bool:
        """Tell whether a word is English beyond doubt."""
        ways = (self.spelling, self.expressions, self.verbs, SMALL_NUMBERS, TENS, *self.kinds.values())
        lemma = form_of(word).lemma
        return any(word in way or lemma in way for way in ways)


@cache
def load_lexicon() -> Lexicon:
    """Read what ships with the program."""
    grammar = _read("grammar.yaml")
    kinds = {key: frozenset(value.split()) for key, value in grammar.items() if isinstance(value, str)}
    del kinds["source"]
    verbs = kinds["verbs"] | kinds["verbs_alone"]
    spelling: Mapping[str, str] = _read("spelling.yaml")["words"]
    return Lexicon(
        spelling=spelling,
        expressions=_by_first(_expressions(grammar, _read("synonyms.yaml")["classes"], spelling)),
        requests=sorted((tuple(text.split()) for text in grammar["requests"]), key=len, reverse=True),
        verbs={form: verb for verb in verbs for form in forms_of_verb(verb).ing},
        verbs_in_s={forms_of_verb(verb).s: verb for verb in verbs},
        verbs_plain=verbs,
        kinds=kinds,
    )


def _expressions(
    grammar: Mapping[str, Any], classes: Mapping[str, str], spelling: Mapping[str, str]
) -> Iterator[Expression]:
    """Yield all expressions: synonyms, ways to say how things relate, and what is a word of its own."""

    def words_of(text: str) -> tuple[str, ...]:
        return tuple(spelling.get(word, word) for word in text.replace("-", " ").replace("'s", " 's").split())

    def expression(text: str, result: tuple[str, ...], *, is_one: bool) -> Expression:
        return Expression(tuple(map(form_of, words_of(text))), result, is_one)

    for word, others in classes.items():
        one = (GLUE.join(words_of(word)),)
        for text in (word, *others.split(", ")):
            yield expression(text, one, is_one=True)
    for word, others in grammar["relation_classes"].items():
        for text in (word, *others.split(", ")):
            yield expression(text, words_of(word), is_one=False)
    for text in grammar["fixed"]:
        yield expression(text, (GLUE.join(words_of(text)),), is_one=True)


def _by_first(expressions: Iterable[Expression]) -> Mapping[str, Sequence[Expression]]:
    found: dict[str, list[Expression]] = {}
    for one in expressions:
        found.setdefault(one.words[0].lemma, []).append(one)
    return {first: sorted(some, key=lambda one: len(one.words), reverse=True) for first, some in found.items()}


def _read(name: str) -> Mapping[str, Any]:
    return parse(resources.files("nanobatch.meaning").joinpath(name).read_text("utf-8"), name).values
