"""Tests of one row becoming one prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import ConfigError, InputError
from nanobatch.model import Origin, Prompt
from nanobatch.sources.base import Problem, Row
from nanobatch.sources.rows import ReadOptions, RowReader


def read(values: dict[str, Any], *, index: int = 1, folder: Path = Path("/"), **options: Any) -> Prompt | Problem:
    return RowReader(ReadOptions(**options)).read(Row(values, Origin("p.csv", 2)), index, folder)


def prompt_of(values: dict[str, Any], **options: Any) -> Prompt:
    prompt = read(values, **options)
    assert isinstance(prompt, Prompt), prompt
    return prompt


def reason_of(values: dict[str, Any], **options: Any) -> str:
    problem = read(values, **options)
    assert isinstance(problem, Problem), problem
    return problem.reason


def test_a_full_row(tmp_path: Path) -> None:
    """Every known column lands in its field, every other one among the columns."""
    (tmp_path / "a.png").touch()
    values = {
        "ID": " fox-1 ", "Prompt": " a fox ", "model": "nano-banana", "provider": "google", "size": "2k",
        "Aspect Ratio": "16:9", "seed": "7", "n": "3.0", "references": "a.png", "name": "Fox", "Category": " Animals ",
    }  # fmt: skip
    assert prompt_of(values, index=12, folder=tmp_path) == Prompt(
        index=12, text="a fox", origin=Origin("p.csv", 2), id="fox-1", name="Fox", model="nano-banana",
        provider="google", size="2K", aspect_ratio="16:9", seed=7, n=3, references=(str(tmp_path / "a.png"),),
        columns={"Category": " Animals "},
    )  # fmt: skip


def test_a_bare_row() -> None:
    """A prompt alone gets an id of its place and its words; all else is left to the defaults."""
    prompt = prompt_of({"prompt": "A red fox"}, index=7)
    assert (prompt.id, prompt.name) == ("0007-a-red-fox", "0007-a-red-fox")
    assert (prompt.model, prompt.size, prompt.seed, prompt.n, prompt.references) == (None, None, None, None, ())
    assert dict(prompt.columns) == {}


def test_a_prompt_without_letters_is_named_by_its_place() -> None:
    """Emoji make no file name; the index does."""
    assert prompt_of({"prompt": "😀"}, index=12_345).id == "12345"


def test_an_id_that_comes_to_nothing_is_replaced_in_the_file_name() -> None:
    """The id stays as it was given; the file gets a usable name."""
    prompt = prompt_of({"prompt": "x", "id": ".."}, index=3)
    assert (prompt.id, prompt.name) == ("..", "0003")


@pytest.mark.parametrize("empty", ["", "  \n", None])
def test_an_empty_prompt_is_a_problem(empty: str | None) -> None:
    """Nothing to draw is the row's fault, with its line."""
    assert str(read({"prompt": empty})) == "p.csv:2: the prompt is empty"


def test_json_values_may_be_numbers() -> None:
    """JSON's own types are as good as text."""
    prompt = prompt_of({"prompt": 1984, "id": 7, "seed": 3, "n": 2.0, "size": 512, "tags": ["a", {"b": 1}]})
    assert (prompt.text, prompt.id, prompt.seed, prompt.n, prompt.size) == ("1984", "7", 3, 2, "512")
    assert prompt.columns == {"tags": ["a", {"b": 1}]}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"size": "9K"}, "size '9K' is not one of"),
        ({"aspect_ratio": "7:77"}, "aspect_ratio '7:77' is not one of 1:1, 16:9"),
        ({"seed": "x"}, "seed 'x' is not a whole number"),
        ({"n": 0}, "n 0 is not a whole number from 1 to 100"),
        ({"references": "no.png"}, "the reference 'no.png' is no file"),
        ({"id": ["a"]}, "id must be a text"),
        ({"name": {}}, "name must be a text"),
        ({"model": []}, "model must be a text"),
        ({"prompt": ["a"]}, "prompt must be a text"),
    ],
)
def test_a_bad_cell_is_a_problem(values: dict[str, Any], reason: str) -> None:
    """Every known column is checked, and the reason names column and value."""
    assert reason in reason_of({"prompt": "x", **values}, aspect_ratios=frozenset({"16:9", "1:1"}))


def test_a_row_without_a_prompt_names_the_nearest_key() -> None:
    """In JSONL every row has its own keys, so a missing one is the row's problem."""
    assert reason_of({"promt": "x"}).startswith("no column 'prompt' (did you mean 'promt'?")
    assert reason_of({"promt": "x"}).endswith("--prompt-column names another, --template makes prompts of several")
    assert reason_of({"prompt": "x"}, prompt_column="motif").startswith("--prompt-column: no column 'motif'")
    assert reason_of({"a": "x"}, template="{b}") == "--template: no column 'b' (columns: a)"
    assert reason_of({"prompt": "x"}, name="{sku}") == "--name: no column 'sku' (columns: prompt)"


def test_template_over_any_columns() -> None:
    """A template makes the prompt of any columns, the known ones and the prompt itself included."""
    values = {"Product": "lamp", "background": "oak", "size": "1k", "text": "raw"}
    prompt = prompt_of(values, template="{product} on {Background}, {size}, {prompt}")
    assert prompt.text == "lamp on oak, 1k, raw"
    assert prompt.columns == {"Product": "lamp", "background": "oak"}
    assert prompt.id == "0001-lamp-on-oak-1k-raw"


def test_template_needs_no_prompt_column() -> None:
    """Where a template makes the prompt, no column has to."""
    assert prompt_of({"a": "x"}, template="{a}").text == "x"
    assert reason_of({"a": " "}, template=" {a} ") == "the prompt is empty"


def test_name_option() -> None:
    """Names are made of the index, the id, the slug and any column; slashes of the template are folders."""
    values = {"prompt": "A fox", "Category": "Wild/Animals", "id": "f1"}
    prompt = prompt_of(values, index=3, name="{category}/{index:04d}-{slug}-{id}")
    assert prompt.name == "Wild-Animals/0003-a-fox-f1"


@pytest.mark.parametrize(
    ("template", "name"),
    [("/{id}", "x"), ("../{id}", "x"), ("{empty}/{id}", "x"), ("{empty}", "0001"), ("a/{dots}", "a")],
)
def test_names_stay_below_the_output_folder(template: str, name: str) -> None:
    """Absolute, climbing and empty parts of a name fall away."""
    assert prompt_of({"prompt": "p", "id": "x", "empty": "", "dots": ".."}, name=template).name == name


def test_own_name_wins() -> None:
    """A row's own name goes before the option, and its separators make no folders; an empty one counts as none."""
    assert prompt_of({"prompt": "p", "name": "a/b\\c"}, name="{slug}").name == "a-b-c"
    assert prompt_of({"prompt": "p", "name": " "}, name="{slug}").name == "p"


def test_headers_are_judged_before_rows() -> None:
    """A table that cannot give prompts is refused as a whole, with its name."""
    with pytest.raises(InputError, match=r"^bad\.csv: no column 'prompt' \(columns: foo, bar\)"):
        RowReader(ReadOptions()).check_header("bad.csv", ["foo", "bar"])
    with pytest.raises(InputError, match=r"--template: no column 'nope'"):
        RowReader(ReadOptions(template="{nope} x")).check_header("bad.csv", ["prompt", "a"])
    RowReader(ReadOptions()).check_header("good.csv", ["Prompt"])


def test_known_columns_include_those_of_the_options() -> None:
    """What the user's options name counts when the separator is looked for."""
    reader = RowReader(ReadOptions(template="{product} x", prompt_column="Motif"))
    assert all(map(reader.is_known, ["Prompt", "aspect ratio", "PRODUCT", "motif"]))
    assert not reader.is_known("background")


def test_bad_templates_are_usage_errors() -> None:
    """A flag that is wrong by itself is refused before a file is opened."""
    with pytest.raises(ConfigError, match="--template"):
        RowReader(ReadOptions(template="{a!r}"))
    with pytest.raises(ConfigError, match="--name"):
        RowReader(ReadOptions(name="{"))


def test_ever_changing_keys_do_not_fill_the_memory() -> None:
    """JSONL rows may all differ in their keys; only so many kinds are remembered."""
    reader = RowReader(ReadOptions())
    for number in range(2_500):
        assert isinstance(reader.read(Row({"prompt": "x", f"k{number}": 1}, Origin("p", 1)), 1, Path("/")), Prompt)
    assert len(reader._plans) <= 1_000
