"""Numbers for people, and data that a terminal must not obey."""

from __future__ import annotations

import re
import unicodedata

import pytest

from nanobatch.reporters.wording import count, duration, images, money, rate, safe
from tests.moments import HOSTILE, obeyed


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    """Escapes, bells, bidi controls, line breaks, half characters: all become visible signs on one short line."""
    shown = safe(text)
    assert obeyed(shown) == []
    assert len(shown.splitlines()) == 1
    assert len(shown) <= 200
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a fox", "a fox"), ("a\nb\tc\rd", "a⏎b→c⏎d"), ("Füchse 🦊 狐", "Füchse 🦊 狐"), ("\x1b[0m", "·[0m"), ("", "")],
)
def test_what_can_be_shown_is_shown(text: str, shown: str) -> None:
    """Words in any script stay as they are; a break and a tab have signs of their own."""
    assert safe(text) == shown


def test_a_text_that_just_fits_is_whole() -> None:
    """The limit counts what is shown: one character more, and the last one is an ellipsis."""
    assert safe("x" * 10, 10) == "x" * 10
    assert safe("x" * 11, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (0, "$0.00"),
        (0.134, "$0.134"),
        (0.0675, "$0.068"),
        (1, "$1.00"),
        (12.4, "$12.40"),
        (1340, "$1,340.00"),
        (0.0004, "<$0.001"),
        (0.0005, "$0.001"),
    ],
)
def test_money_has_the_digits_that_matter(usd: float, shown: str) -> None:
    """An image costs fractions of a dollar, a run costs dollars; what costs something never reads as free."""
    assert money(usd).replace("$0.000", "zero") == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 m 00 s"),
        (125, "2 m 05 s"),
        (3599.7, "1 h 00 m"),
        (7384, "2 h 03 m"),
        (86_399.9, "1 d 0 h"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_never_show_sixty_of_anything(seconds: float | None, shown: str) -> None:
    """Rounding happens before the unit is chosen; what nobody knows is a dash."""
    assert duration(seconds) == shown


def test_counts_are_grouped_and_one_is_singular() -> None:
    """12,345 images, 1 image, 0 images."""
    assert [count(12345), images(1), images(0), images(12345)] == ["12,345", "1 image", "0 images", "12,345 images"]


def test_no_invisible_sign_is_left() -> None:
    """Of all of Unicode: no control, no format sign, no line or paragraph break, no half character.

    Format signs that have a shape of their own (the Arabic and Kaithi number signs, musical and shorthand signs,
    hieroglyph joiners) are letters to a terminal.
    """
    shaped = re.compile(
        "[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f"
        "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]"
    )
    every = [chr(code) for code in range(0x110000)]
    bad = [char for char in every if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs")]
    assert len(bad) > 2000
    assert [hex(ord(char)) for char in bad if not shaped.match(char) and safe(char) == char] == []


@pytest.mark.parametrize(
    ("per_minute", "shown"), [(0.04, "0.0"), (0.4, "0.4"), (9.94, "9.9"), (9.95, "10"), (30.2, "30"), (4020, "4020")]
)
def test_a_slow_rate_is_not_a_standstill(per_minute: float, shown: str) -> None:
    """Below ten a minute one decimal says more than none."""
    assert rate(per_minute) == shown
