"""Tests of what the cells of known columns mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nanobatch.sources.base import BadRow
from nanobatch.sources.cells import (
    IMAGES_MAX,
    SEED_MAX,
    parse_aspect_ratio,
    parse_references,
    parse_size,
    parse_whole,
    parse_word,
)

RATIOS = frozenset({"1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9", "21:9"})


@pytest.mark.parametrize(
    ("value", "size"),
    [("1K", "1K"), (" 2k ", "2K"), ("4K", "4K"), (512, "512"), ("512.0", "512"), ("", None), (" ", None), (None, None)],
)
def test_size(value: Any, size: str | None) -> None:
    """Sizes are read without regard to case; a spreadsheet's number too."""
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["9K", "1024x1024", "1", True, "K"])
def test_size_that_is_none(value: Any) -> None:
    """Any other size is refused with the list of sizes."""
    with pytest.raises(BadRow, match="is not one of 512, 1K, 2K, 4K"):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "ratio"),
    [("16:9", "16:9"), (" 16 : 9 ", "16:9"), ("16:09", "16:9"), ("16:09:00", "16:9"), ("03:04", "3:4"), ("", None)],
)
def test_aspect_ratio(value: str, ratio: str | None) -> None:
    """A ratio that a spreadsheet took for a time of day is a ratio again."""
    assert parse_aspect_ratio(value, RATIOS) == ratio


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("7:77", "is not one of 1:1, 2:3, 3:2, 3:4, 4:3, 16:9 and 2 more"),
        ("16/9", "is not a ratio like 16:9"),
        ("0:5", "is not a ratio"),
        ("wide", "is not a ratio"),
        ("16:9:30", "is not a ratio"),
    ],
)
def test_aspect_ratio_that_is_none(value: str, reason: str) -> None:
    """The message shows what was written and what could have been."""
    with pytest.raises(BadRow, match=reason):
        parse_aspect_ratio(value, RATIOS)


def test_without_a_list_every_ratio_is_allowed() -> None:
    """An empty list of ratios only asks for the form."""
    assert parse_aspect_ratio("7:77", frozenset()) == "7:77"


@pytest.mark.parametrize(
    ("value", "number"),
    [("42", 42), ("42.0", 42), ("42.", 42), (42.0, 42), (0, 0), (str(SEED_MAX), SEED_MAX), ("", None)],
)
def test_whole_number(value: Any, number: int | None) -> None:
    """A whole number may come as text, as JSON's number, or as a spreadsheet's 42.0."""
    assert parse_whole(value, what="seed", low=0, high=SEED_MAX) == number


@pytest.mark.parametrize("value", [-1, SEED_MAX + 1, "1.5", "1e3", "1,000", "٤", True, "9" * 10_000, 1e20])
def test_whole_number_that_is_none(value: Any) -> None:
    """Fractions, other notations, numbers beyond the range and truth values are refused with the range."""
    with pytest.raises(BadRow, match=r"^seed .* is not a whole number from 0 to 2147483647$"):
        parse_whole(value, what="seed", low=0, high=SEED_MAX)


@pytest.mark.parametrize("value", [0, IMAGES_MAX + 1])
def test_number_of_images_has_bounds(value: int) -> None:
    """A typing error must not order a million images."""
    with pytest.raises(BadRow, match="from 1 to 100"):
        parse_whole(value, what="n", low=1, high=IMAGES_MAX)


def test_word() -> None:
    """A name is stripped; nothing is None; a list is no name."""
    assert parse_word(" gpt-image-1 ", what="model") == "gpt-image-1"
    assert parse_word("  ", what="model") is None
    with pytest.raises(BadRow, match="model must be a text"):
        parse_word(["a"], what="model")


def test_references_become_absolute(tmp_path: Path) -> None:
    """Files are found beside the prompt file and named absolutely, so that failed.jsonl works from anywhere."""
    (tmp_path / "a.png").touch()
    (tmp_path / "b c.png").touch()
    files = str(tmp_path / "a.png"), str(tmp_path / "b c.png")
    assert parse_references("a.png; b c.png ;", tmp_path) == files
    assert parse_references(["a.png", "b c.png"], tmp_path) == files
    assert parse_references(files[0], Path("/")) == files[:1]


def test_references_may_be_urls(tmp_path: Path) -> None:
    """URLs are only checked for form; nothing is fetched while the input is read."""
    urls = "https://example.org/a.png?x=1;HTTP://127.0.0.1:8080/b"
    assert parse_references(urls, tmp_path) == tuple(urls.split(";"))
    assert parse_references("", tmp_path) == parse_references(None, tmp_path) == ()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nowhere.png", "'nowhere.png' is no file in"),
        (".", "is no file"),
        ("a\0b", "is no file"),
        ("ftp://host/a.png", "neither a file nor"),
        ("file:///etc/passwd", "neither a file nor"),
        ("http://", "not a sound URL"),
        ("http://host:99999/a", "not a sound URL"),
        ("http://[::1/a", "not a sound URL"),
        ("http://ho st/a", "not a sound URL"),
        (["a", 1, {}], "a reference must be|is no file"),
        ({"a": 1}, "references must be"),
    ],
)
def test_bad_references(tmp_path: Path, value: Any, reason: str) -> None:
    """A reference that is not there, or not reachable by any provider, is a problem of its row."""
    with pytest.raises(BadRow, match=reason):
        parse_references(value, tmp_path)


def test_a_message_shows_no_signature(tmp_path: Path) -> None:
    """Signed query strings and passwords of URLs never reach a message."""
    with pytest.raises(BadRow) as refusal:
        parse_references("https://user:secret1@host:0x/a.png?sig=secret2", tmp_path)
    assert "secret" not in str(refusal.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_reference_without_permission(tmp_path: Path) -> None:
    """A file that exists and cannot be read is found before the run, not in the middle of it."""
    (tmp_path / "a.png").touch(mode=0)
    with pytest.raises(BadRow, match="no permission"):
        parse_references("a.png", tmp_path)
