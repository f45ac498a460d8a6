"""Tests of templates over columns."""

from __future__ import annotations

from typing import Any

import pytest

from nanobatch.errors import ConfigError
from nanobatch.sources.base import BadRow
from nanobatch.sources.template import Template, as_text


def render(source: str, **values: Any) -> str:
    return Template(source, option="--template").render(values.__getitem__)


@pytest.mark.parametrize(
    ("source", "values", "text"),
    [
        ("Photo of {product} on {background}", {"product": " a lamp ", "background": "oak"}, "Photo of a lamp on oak"),
        ("{{literal}} {a}", {"a": "x"}, "{literal} x"),
        ("{index:04d}", {"index": 7}, "0007"),
        ("{price:.2f}", {"price": "3.5"}, "3.50"),
        ("{count:03d}", {"count": " 7 "}, "007"),
        ("{word:>5}|", {"word": "ab"}, "   ab|"),
        ("{a}{a}", {"a": True}, "truetrue"),
        ("{a}", {"a": None}, ""),
        ("{a}", {"a": 1.5}, "1.5"),
        ("no field", {}, "no field"),
    ],
)
def test_fills_in_columns(source: str, values: dict[str, Any], text: str) -> None:
    """Columns stand where their names stood, formatted as Python would."""
    assert render(source, **values) == text


def test_a_field_is_the_whole_name_of_a_column() -> None:
    """Dots and brackets reach no attribute and no element; they can only be part of a column's name."""
    template = Template("{a.b} {a[0]}", option="--template")
    assert template.fields == ("a.b", "a[0]")
    assert template.render({"a.b": "one", "a[0]": "two"}.__getitem__) == "one two"


def test_values_are_not_templates() -> None:
    """Braces in the data are text."""
    assert render("{a}", a="{b} {0.__class__}") == "{b} {0.__class__}"


@pytest.mark.parametrize(
    "source", ["{a!r}", "{a:{b}}", "{}", "{ }", "{a", "a}", "{a:1000000000d}", "{a:.99999f}", "\udcff {a}"]
)
def test_what_is_no_template_is_a_usage_error(source: str) -> None:
    """Conversions, nested or huge formats, loose braces and broken text are refused before any row is read."""
    with pytest.raises(ConfigError, match=r"^--name"):
        Template(source, option="--name")


def test_a_value_that_does_not_fit_is_a_bad_row() -> None:
    """A word where the format wants a number spoils that row, and the reason quotes both."""
    with pytest.raises(BadRow, match=r"the column 'price' is 'cheap', which cannot be written as \{price:\.2f\}"):
        render("{price:.2f}", price="cheap")
    with pytest.raises(BadRow, match="'a'"):
        render("{a:d}", a="inf")


@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_lists_and_objects_are_no_text(value: Any) -> None:
    """A nested value has no obvious words."""
    with pytest.raises(BadRow, match="prompt must be a text or a number"):
        as_text(value, what="prompt")
