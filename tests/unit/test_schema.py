"""What each key may say."""

from __future__ import annotations

from typing import Any

import pytest

from nanobatch import schema


@pytest.mark.parametrize(
    ("check", "value", "found"),
    [
        (schema.text, " x ", "x"),
        (schema.text, 12, "12"),
        (schema.choice("a", "b"), "A", "a"),
        (schema.number(0), "1.5", 1.5),
        (schema.whole(1), "20", 20),
        (schema.whole(1), 3.0, 3),
        (schema.flag, "yes", True),
        (schema.flag, False, False),
        (schema.optional(schema.whole(1)), None, None),
        (schema.optional(schema.whole(1)), "none", None),
        (schema.size, "2k", "2K"),
        (schema.size, 512, "512"),
        (schema.ratio, " 16:9 ", "16:9"),
        (schema.duration_seconds, "7d", 604_800.0),
        (schema.duration_seconds, 90, 90.0),
        (schema.duration_seconds, "1.5h", 5400.0),
        (schema.base_url, "http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1"),
        (schema.zone, "America/Los_Angeles", "America/Los_Angeles"),
        (schema.mapping(schema.number(0), key=schema.size), {"1k": 0.05}, {"1K": 0.05}),
    ],
)
def test_good_values(check: schema.Check, value: Any, found: Any) -> None:
    """Values are normalised to what the program uses."""
    assert check(value) == found


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (schema.text, ""),
        (schema.text, True),
        (schema.text, ["x"]),
        (schema.choice("a", "b"), "c"),
        (schema.number(0), -0.01),
        (schema.number(0), "NaN"),
        (schema.number(0), "inf"),
        (schema.number(0), True),
        (schema.number(1, 5), 6),
        (schema.whole(1), 1.5),
        (schema.whole(1), "x"),
        (schema.flag, "maybe"),
        (schema.size, "9K"),
        (schema.ratio, "16x9"),
        (schema.ratio, "0:1"),
        (schema.duration_seconds, "soon"),
        (schema.base_url, "ftp://x.example"),
        (schema.base_url, "https://"),
        (schema.base_url, "https://user:pass@x.example"),
        (schema.base_url, "https://x.example/v1?key=1"),
        (schema.base_url, "https://x.example:99999"),
        (schema.base_url, "http://[::1"),
        (schema.zone, "Mars/Olympus"),
        (schema.zone, "../../etc/passwd"),
        (schema.mapping(schema.text), ["x"]),
    ],
)
def test_bad_values(check: schema.Check, value: Any) -> None:
    """Everything else is a sentence's end, raised as ValueError."""
    with pytest.raises(ValueError, match=r"must|is not"):
        check(value)


def test_what_comes_later_is_a_known_key() -> None:
    """The list of features to come names keys that the schema has."""
    assert schema.LATER
    for dotted in schema.LATER:
        section, key = dotted.split(".")
        assert key in schema.SECTIONS[section]
