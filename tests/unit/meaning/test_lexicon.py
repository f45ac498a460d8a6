"""The words that the guard knows."""

from __future__ import annotations

from nanobatch.meaning.forms import Form
from nanobatch.meaning.lexicon import load_lexicon

LEXICON = load_lexicon()


def test_no_expression_stands_for_two_things() -> None:
    """A word that were in two classes would make the two one, by the order of lines."""
    seen: dict[tuple[Form, ...], tuple[str, ...]] = {}
    assert len(LEXICON.expressions) > 150
    for some in LEXICON.expressions.values():
        for one in some:
            assert seen.setdefault(one.words, one.result) == one.result, one


def test_no_class_leads_to_another() -> None:
    """What stands for a class is not a member of another one, so no synonym of a synonym is lost."""
    results = {one.result[0] for some in LEXICON.expressions.values() for one in some if one.is_one}
    for some in LEXICON.expressions.values():
        for one in some:
            text = "_".join(form.lemma for form in one.words)
            assert text not in results or one.result[0] == text or one.has_plural, one


def test_guarded_words_are_in_no_class_with_others() -> None:
    """No color, number or negation has a synonym beside other names of itself."""
    guarded = LEXICON.kinds["colors"] | LEXICON.kinds["negations"]
    assert len(guarded) > 50
    for some in LEXICON.expressions.values():
        for one in some:
            text = one.words[0].lemma
            if len(one.words) == 1 and text in guarded:
                assert one.result == (text,), one


def test_longer_expressions_come_first() -> None:
    """A mobile phone is looked for before a phone."""
    for some in LEXICON.expressions.values():
        lengths = [len(one.words) for one in some]
        assert lengths == sorted(lengths, reverse=True)


def test_a_plural_asks_for_a_plural() -> None:
    """Woods are a forest, wood is not; a couch and couches are both found."""
    woods = next(one for one in LEXICON.expressions["wood"] if one.result == ("forest",))
    assert woods.fits([Form("wood", is_plural=True)])
    assert not woods.fits([Form("wood")])
    [couch] = LEXICON.expressions["couch"]
    assert couch.fits([Form("couch", is_plural=True)])
    assert not couch.fits([])


def test_what_is_english_is_known() -> None:
    """Function words, adjectives, verbs and synonyms; not names."""
    assert all(LEXICON.knows(word) for word in ("with", "red", "riding", "couch", "grey"))
    assert not LEXICON.knows("einstein")


def test_no_verb_hides_a_look() -> None:
    """Lighting and painting are nouns here; a verb of these letters would take them away."""
    looks = {text for kind in ("looks", "settings", "media", "times") for text in LEXICON.kinds[kind]}
    assert "lighting" in looks
    assert looks & set(LEXICON.verbs) == set()
