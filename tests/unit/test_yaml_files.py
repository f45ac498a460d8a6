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
        ("a: !!timestamp x\n", "f.yaml:1"),
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


def test_deep_nesting_is_refused() -> None:
    """Nesting beyond any use is an error and not a crash."""
    with pytest.raises(ConfigError):
        parse("".join(f"{' ' * n}k:\n" for n in range(80)), "f.yaml")


def test_tags_run_nothing(tmp_path: Path) -> None:
    """A tag that would run a command in an unsafe loader is plain data here."""
    marker = tmp_path / "marker"
    parse(f"a: !!python/object/apply:os.system ['touch {marker}']\n", "f.yaml")
    assert not marker.exists()
