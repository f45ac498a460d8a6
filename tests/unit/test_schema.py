"""What each key may say."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from typing import Any

import pytest

from nanobatch import schema
from nanobatch.settings import CacheSettings, Defaults, Limits, OutputSettings, RunSettings, SemanticSettings


@pytest.mark.parametrize(
    ("check", "value", "found"),
    [
        (schema.text, " x ", "x"),
        (schema.text, 12, "12"),
        (schema.choice("a", "b"), "A", "a"),
        (schema.text, dt.date(2026, 11, 23), "2026-11-23"),
        (schema.number(0), "1.5", 1.5),
        (schema.whole(1), "20", 20),
        (schema.whole(1), 3.0, 3),
        (schema.flag, "yes", True),
        (schema.flag, False, False),
        (schema.optional(schema.whole(1)), None, None),
        (schema.optional(schema.whole(1)), "none", None),
        (schema.words("a", "b"), " B, a", ("a", "b")),
        (schema.words("a", "b"), ["b"], ("b",)),
        (schema.SECTIONS["output"]["embed"], None, ()),
        (schema.SECTIONS["output"]["embed"], "none", ()),
        (schema.SECTIONS["output"]["embed"], ["params", "prompt"], ("prompt", "params")),
        (schema.size, "2k", "2K"),
        (schema.size, 512, "512"),
        (schema.ratio, " 16:9 ", "16:9"),
        (schema.duration_seconds, "7d", 604_800.0),
        (schema.duration_seconds, 90, 90.0),
        (schema.duration_seconds, "1.5h", 5400.0),
        (schema.base_url, "http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1"),
        (schema.zone, "America/Los_Angeles", "America/Los_Angeles"),
        (schema.mapping(schema.number(0), key=schema.size), {"1k": 0.05}, {"1K": 0.05}),
        (schema.json_value, {"a": [1, 0.5, None, True, {"b": "c"}]}, {"a": [1, 0.5, None, True, {"b": "c"}]}),
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
        (schema.number(0), 10**400),
        (schema.number(0), -(10**400)),
        (schema.whole(1), 10**400),
        (schema.text, dt.datetime(2026, 11, 23, tzinfo=dt.UTC)),
        (schema.json_value, dt.date(2026, 11, 23)),
        (schema.json_value, {"a": [b"bytes"]}),
        (schema.json_value, math.nan),
        (schema.json_value, [math.inf]),
        (schema.number(1, 5), 6),
        (schema.whole(1), 1.5),
        (schema.whole(1), "x"),
        (schema.flag, "maybe"),
        (schema.words("a", "b"), "a,c"),
        (schema.words("a", "b"), {"a": 1}),
        (schema.size, "9K"),
        (schema.ratio, "16x9"),
        (schema.ratio, "0:1"),
        (schema.duration_seconds, "soon"),
        (schema.base_url, "ftp://x.example"),
        (schema.base_url, "https://"),
        (schema.base_url, "https://user:pass@x.example"),
        (schema.base_url, "https://x.example/v1?key=1"),
        (schema.base_url, "https://x.example:99999"),
        (schema.base_url, "https://x.example/a b"),
        (schema.base_url, "https://x.example/\x1b[31m"),
        (schema.base_url, "https://x.example/v1#sk-1"),
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


def test_the_semantic_cache_is_switched_on_in_a_word() -> None:
    """`semantic: true` is enough, and the threshold may be told with it."""
    assert schema.semantic(True) == {"enabled": True}
    assert schema.semantic("no") == {"enabled": False}
    assert schema.semantic({"enabled": True, "threshold": "0.9"}) == {"enabled": True, "threshold": 0.9}
    assert {field.name for field in dataclasses.fields(SemanticSettings)} == set(schema.SEMANTIC)


@pytest.mark.parametrize("value", [0, -0.1, 1.01, "near", True, None])
def test_a_threshold_is_a_share(value: Any) -> None:
    """Zero would take everything, more than one nothing."""
    with pytest.raises(ValueError, match="must be a number above 0 and at most 1"):
        schema.share(value)
    assert schema.share(1) == 1.0


@pytest.mark.parametrize("check", [schema.number(0, 5), schema.size, schema.ratio, schema.flag, schema.zone])
def test_a_long_value_is_cut(check: schema.Check) -> None:
    """An error is a sentence, also when what stands there is a page."""
    with pytest.raises(ValueError, match="must") as caught:
        check("x" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("section", "typed"), [("defaults", Defaults), ("run", RunSettings), ("output", OutputSettings)]
)
def test_settings_have_the_schemas_keys(section: str, typed: Any) -> None:
    """Each key that may be written has a typed place, and its default is a value that may be written."""
    names = {field.name for field in dataclasses.fields(typed)}
    assert names == set(schema.SECTIONS[section])
    for name in names:
        default = getattr(typed(), name)
        assert schema.SECTIONS[section][name](default) == default


def test_the_cache_has_the_schemas_keys() -> None:
    """Each key of the cache has a typed place; only what is converted is called differently there."""
    names = {field.name for field in dataclasses.fields(CacheSettings)}
    assert names == set(schema.SECTIONS["cache"]) - {"ttl"} | {"ttl_seconds"}
    assert schema.SECTIONS["cache"]["ttl"]("7d") == CacheSettings().ttl_seconds


def test_limits_have_the_schemas_keys() -> None:
    """The numbers of a provider are the same in the file and in the program."""
    assert {field.name for field in dataclasses.fields(Limits)} == set(schema.LIMITS)
