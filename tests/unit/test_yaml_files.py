"""YAML with lines, read safely."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.errors import ConfigError
from nanobatch.yaml_files import parse


def test_values_and_their_lines() -> None:
    """Every key knows its line, also in nested mappings and lists."""
    document = parse("a: 1\nb:\n  c: [x, {d: 2}]\n  1K: 0.05\n", "f.yaml")
    assert document.values == {"a": 1, "b": {"c": ["x", {"d": 2}], "1K": 0.05}}
    assert document.where(("b", "c")) == "f.yaml:3"
    assert document.where(("b", "1K")) == "f.yaml:4"
    assert document.where(("b", "c", "1", "d")) == "f.yaml:3"


def test_an_unknown_place_is_the_nearest_known_one() -> None:
    """A missing key is reported where its section stands, else by the file's name."""
    document = parse("a:\n  b: 1\n", "f.yaml")
    assert document.where(("a", "zzz")) == "f.yaml:1"
    assert document.where(("zzz",)) == "f.yaml"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    """A file of comments sets nothing."""
    assert parse(text, "f.yaml").values == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1\n", "f.yaml:2: this is not valid YAML"),
        ("- a\n", "f.yaml:1: expected keys"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: key 'a' stands here twice, first on line 1"),
        ("? [x, y]\n: 1\n", "f.yaml:1: a key must be a word"),
        ("a: \x07\n", "f.yaml: this is not valid YAML"),
        ("a: !!timestamp x\n", "f.yaml:1: this value cannot be read"),
        ("b: 1\na: 2026-99-99\n", "f.yaml:2: this value cannot be read; put it in quotes"),
        ("a:\n\tb: 1\n", "f.yaml:2: this is not valid YAML"),
        ("a: 1\n---\nb: 1\n", "f.yaml:2: this is not valid YAML"),
        ("b:\n  c: 1\n  d: 2\n  c: 3\n", "f.yaml:4: key 'c' stands here twice, first on line 2"),
        ("just words\n", "f.yaml:1: expected keys"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, says: str) -> None:
    """What cannot be used is refused with its place."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    assert caught.value.message.startswith(says)


def test_a_bomb_of_aliases_is_refused() -> None:
    """Nine lines that would become a billion values end as an error, quickly."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="too many values"):
        parse("\n".join(lines), "f.yaml")


def test_a_huge_file_is_refused() -> None:
    """A configuration is a page, not a database."""
    with pytest.raises(ConfigError, match="too large"):
        parse("a: " + "x" * 2_000_000, "f.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{' ' * n}k:\n" for n in range(80)),
        "a: " + "[" * 100_000 + "]" * 100_000,
        "a: " + "{b: " * 100_000 + "}" * 100_000,
        "- " * 100_000,
        "a: &a\n  b: *a\n",
        "a: &a [*a]\n",
    ],
    ids=["blocks", "lists", "mappings", "compact", "recursive-mapping", "recursive-list"],
)
def test_deep_nesting_is_refused(text: str) -> None:
    """Nesting beyond any use is an error: the library alone would end in a crash of the process."""
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse(text, "f.yaml")


def test_what_people_nest_is_read() -> None:
    """Fifty levels of something are not a mistake yet, and an alias may be used twice."""
    assert parse("a: " + "[" * 49 + "]" * 49, "f.yaml").values["a"]
    assert parse("a: &x {k: 1}\nb: *x\n", "f.yaml").values == {"a": {"k": 1}, "b": {"k": 1}}


@pytest.mark.parametrize("word", ["16:9", "3:4", "1:1:30.5", "007", "0123456701234567", "1234_5678", "0x1F", "0b101"])
def test_a_word_that_yaml_takes_for_a_number_stays_a_word(word: str) -> None:
    """YAML 1.1 reads 16:9 as 969 and 0123 as 83; a ratio or a key must come out as it was written."""
    assert parse(f"a: {word}\n", "f.yaml").values == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [("0", 0), ("-5", -5), ("+7", 7), ("120", 120), ("0.05", 0.05), ("1.50", 1.5), ("true", True), ("~", None)],
)
def test_numbers_stay_numbers(word: str, value: object) -> None:
    """What everybody takes for a number is one."""
    [found] = parse(f"a: {word}\n", "f.yaml").values.values()
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("value", ["!!float sk-verysecret", "!sk-verysecret x", "*sk-verysecret", "{sk-verysecret: ["])
def test_an_error_shows_no_value(value: str) -> None:
    """The value that cannot be read may be a key."""
    with pytest.raises(ConfigError) as caught:
        parse(f"api_key: {value}\n", "f.yaml")
    assert "verysecret" not in str(caught.value)
    assert caught.value.message.startswith("f.yaml:")


def test_tags_run_nothing(tmp_path: Path) -> None:
    """A tag that would run a command in an unsafe loader is plain data here."""
    marker = tmp_path / "marker"
    parse(f"a: !!python/object/apply:os.system ['touch {marker}']\n", "f.yaml")
    assert not marker.exists()
