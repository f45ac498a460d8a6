"""Properties of sources: what a program writes reads back, and no name escapes."""

from __future__ import annotations

import csv
import json
import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from nanobatch.errors import ConfigError, InputError
from nanobatch.model import Prompt
from nanobatch.sources import PromptFiles, Row
from nanobatch.sources.csv import DELIMITERS, Csv
from nanobatch.sources.jsonl import Jsonl
from nanobatch.sources.lines import PromptFile
from nanobatch.sources.names import COMPONENT_BYTES, clean_component, clean_path, slug
from nanobatch.sources.template import Template

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
CELL = TEXT | st.sampled_from(['"', '""', 'a "b" c', "a,b;c\td|e", "line\nbreak", "\r\n", "=1+1", " x "])
QUOTING = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
ENCODING = st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])
LINE_END = st.sampled_from(["\n", "\r\n"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    width = draw(st.integers(1, 4))
    header = ["prompt", "note", "Größe, in cm", "line\nbreak"][:width]
    row = st.lists(CELL, min_size=width, max_size=width).filter(any)
    return header, draw(st.lists(row, min_size=1, max_size=6))


@given(tables(), st.sampled_from(DELIMITERS), QUOTING, ENCODING, LINE_END)
@example((["prompt"], [['"'], ["a\n"]]), ",", csv.QUOTE_MINIMAL, "utf-8", "\n")
@example((["prompt"], [["\x1f"], ["a\uffffb"]]), ",", csv.QUOTE_MINIMAL, "utf-8", "\n")
def test_what_the_csv_module_writes_reads_back(
    table: tuple[list[str], list[list[str]]], delimiter: str, quoting: Any, encoding: str, line_end: str
) -> None:
    """Whatever separator, quoting, encoding and line end: the same cells, and every row on its own line."""
    header, rows = table
    if quoting == csv.QUOTE_MINIMAL and line_end == "\n":  # some versions of Python leave a lone \r unquoted then
        rows = [[cell.replace("\r", " ") for cell in cells] for cells in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "p.csv")
        starts = []
        with path.open("w", newline="", encoding=encoding) as file:
            writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=line_end)
            writer.writerow(header)
            for cells in rows:
                file.flush()
                starts.append(
                    len(path.read_bytes().decode(encoding).replace("\r\n", "\n").replace("\r", "\n").split("\n"))
                )
                writer.writerow(cells)
        read = list(Csv(PromptFile("p.csv", path, path.parent), lambda *_: None, is_known="prompt".__eq__).rows())
    assert [list(row.values.values()) for row in read if isinstance(row, Row)] == rows
    assert [row.origin.line for row in read] == starts


@given(st.binary(max_size=300), st.sampled_from([".csv", ".tsv", ".jsonl", ".txt"]))
@example(b'prompt\n"', ".csv")
@example(b"\xff\xfe\x00", ".csv")
@example(b"\xef\xbb\xbf", ".csv")
def test_any_bytes_are_read_or_refused(content: bytes, extension: str) -> None:
    """No file, however broken, ends in anything but prompts or an input error."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"p{extension}")
        path.write_bytes(content)
        files = PromptFiles([str(path)])
        try:
            expected = files.check().prompts
        except InputError:
            expected = None
        if expected is not None:
            assert expected == sum(1 for _ in files.prompts()) > 0


@given(st.lists(st.dictionaries(TEXT, JSON, max_size=4), min_size=1, max_size=5), st.booleans())
def test_jsonl_reads_back(rows: Sequence[Mapping[str, Any]], ascii_only: bool) -> None:
    """Every object that the json module writes comes back as it was."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "p.jsonl")
        path.write_text("".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows), encoding="utf-8")
        read = list(Jsonl(PromptFile("p.jsonl", path, path.parent)).rows())
    assert [row.values for row in read if isinstance(row, Row)] == list(rows)


HOSTILE = st.text(st.characters() | st.sampled_from('./\\:<>|?*"\x00\x1b\u202e\u0301 ~-'), max_size=200)


@given(HOSTILE)
@example("con.\ud800")
@example("x" * 119 + "é")
@example(". .\u0301")
@example("con ")
@example("狐" * 41)
def test_a_clean_component_is_harmless(text: str) -> None:
    """Whatever comes in: no separator, no climbing, no hiding, no control, never too long, always the same."""
    name = clean_component(text)
    assert not set(name) & set('/\\<>:"|?*')
    assert not name.startswith((".", " "))
    assert not name.endswith((".", " "))
    assert len(name.encode()) <= COMPONENT_BYTES
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    assert not any(
        unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "PDI"} for c in name
    )
    assert unicodedata.normalize("NFC", name) == name
    assert name.partition(".")[0].rstrip().lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
    assert clean_component(name) == name


@given(HOSTILE)
@example("/../../etc/passwd")
def test_a_clean_path_never_escapes(text: str) -> None:
    """A path made of anything stays below the folder that it is put in, and cleaning it again changes nothing."""
    path = clean_path(text)
    assert not path.startswith("/")
    assert all(part not in ("", ".", "..") for part in path.split("/") if path)
    assert Path("/root/images", path).resolve().is_relative_to("/root/images")
    assert clean_path(path) == path


@given(st.text(max_size=300))
def test_a_slug_is_a_clean_name(text: str) -> None:
    """A slug of any prompt needs no cleaning behind an index, and is made of letters, digits and hyphens."""
    words = slug(text)
    assert clean_component(f"0001-{words}") == unicodedata.normalize("NFC", f"0001-{words}")
    assert words == words.strip("-")
    assert all(character == "-" or unicodedata.category(character)[0] in "LMN" for character in words)


@given(st.text(alphabet="ab{}!:.[]0 _", max_size=12), TEXT)
def test_templates_reach_nothing_but_columns(source: str, value: str) -> None:
    """Whatever the template: it is refused, or shows the named columns and nothing that hangs on them."""
    assume("{" in source)
    try:
        template = Template(source, option="--template")
    except ConfigError:
        return
    asked: list[str] = []

    def look_up(name: str) -> str:
        asked.append(name)
        return value

    try:
        template.render(look_up)
    except ValueError:
        return
    assert set(asked) == set(template.fields)


@given(st.lists(CELL.filter(str.strip), min_size=1, max_size=8))
def test_ids_and_names_of_a_run_are_unique(prompts: list[str]) -> None:
    """Rows without ids never clash, whatever their words."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "p.jsonl")
        path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
        files = PromptFiles([str(path)])
        assert files.check().prompts == len(prompts)
        read: list[Prompt] = list(files.prompts())
    assert len({prompt.id for prompt in read}) == len({prompt.name.casefold() for prompt in read}) == len(prompts)
    assert [prompt.text for prompt in read] == [prompt.strip() for prompt in prompts]
