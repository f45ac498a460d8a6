"""Tests of names for files."""

from __future__ import annotations

import pytest

from nanobatch.sources.names import COMPONENT_BYTES, SLUG_CHARACTERS, clash_key, clean_component, clean_path, slug


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Red Fox, at Night!", "a-red-fox-at-night"),
        ("Crème brûlée №5", "creme-brulee-no5"),
        ("  --  ", ""),
        ("😀🦊", ""),
        ("一只红狐狸", "一只红狐狸"),
        ("Красная ЛИСА", "красная-лиса"),
        ("हिन्दी लोमड़ी", "हिन्दी-लोमड़ी"),
        ("fox 狐", "fox"),
    ],
)
def test_slug(text: str, words: str) -> None:
    """A slug is the prompt's words in ASCII; in their own letters where ASCII has none; else nothing."""
    assert slug(text) == words


def test_slug_is_cut_at_a_word() -> None:
    """A long prompt's slug ends with a whole word."""
    assert slug("word " * 40) == "-".join(["word"] * 10)


def test_slug_of_one_endless_word_is_cut_anyway() -> None:
    """A word that is too long is cut where the slug ends."""
    assert slug("x" * 1_000_000) == "x" * SLUG_CHARACTERS


def test_slug_of_wide_letters_fits_a_name() -> None:
    """Fifty letters of three bytes are more than a name holds; the slug makes itself short enough."""
    assert clean_component(f"0001-{slug('狐' * 80)}") == f"0001-{slug('狐' * 80)}"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0001-a-red-fox", "0001-a-red-fox"),
        ("Fox 7 (final)", "Fox 7 (final)"),
        ("../../evil", "-..-evil"),
        ("/etc/cron.d/x", "-etc-cron.d-x"),
        ("..", ""),
        (".", ""),
        ("...hidden", "hidden"),
        ("a\\b", "a-b"),
        ('<a>:"b"|c?*', "-a---b--c--"),
        ("bell\x07 esc\x1b[31m", "bell esc[31m"),
        ("rtl\u202egnp.exe", "rtlgnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("\ud800lone", "lone"),
        ("line one\nline two", "line one line two"),
        ("trailing. . ", "trailing"),
        ("con", "con_"),
        ("NUL.txt", "NUL_.txt"),
        ("com1", "com1_"),
        ("COM¹.x", "COM¹_.x"),
        ("console", "console"),
        ("e\u0301", "é"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("\x00\x01", ""),
    ],
)
def test_clean_component(text: str, name: str) -> None:
    """Nothing in the data can leave the folder, hide, command a terminal or name a device."""
    assert clean_component(text) == name


def test_long_names_are_cut_and_stay_apart() -> None:
    """Two names that differ only beyond the cut get different hashes, and end within the limit."""
    one, two = clean_component("x" * 400), clean_component("x" * 401)
    assert one != two
    assert {len(one), len(two)} == {COMPONENT_BYTES}


def test_long_names_are_cut_between_characters() -> None:
    """The cut never splits a character in two."""
    name = clean_component("狐" * 100)
    assert len(name.encode()) <= COMPONENT_BYTES
    assert "\ufffd" not in name


def test_path_keeps_its_folders_and_no_others() -> None:
    """The slashes of a path make folders; what climbs, starts at the root or is empty falls away."""
    assert clean_path("/animals/../ /fox/./a:b") == "animals/fox/a-b"


@pytest.mark.parametrize(("one", "two"), [("Fox", "fox"), ("Straße", "STRASSE"), ("É", "e\u0301")])
def test_clash_key_is_that_of_a_careless_file_system(one: str, two: str) -> None:
    """Names that differ only in case or composition are one file on macOS and Windows."""
    assert clash_key(one) == clash_key(two)
