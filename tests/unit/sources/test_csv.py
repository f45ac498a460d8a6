"""Tests of tables as Excel, Sheets and scripts write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nanobatch.errors import InputError
from nanobatch.sources.base import Problem, Row
from nanobatch.sources.csv import CELL_CHARACTERS, Csv, find_delimiter, split_header
from nanobatch.sources.lines import PromptFile

KNOWN = {"prompt", "size", "id"}


def accept_any(file: str, header: Sequence[str]) -> None:
    pass


def is_known(name: str) -> bool:
    return name.strip().lower() in KNOWN


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Row | Problem]]:
    def read_(content: str | bytes, delimiter: str | None = None) -> list[Row | Problem]:
        path = tmp_path / "p.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(Csv(PromptFile("p.csv", path, tmp_path), accept_any, delimiter=delimiter, is_known=is_known).rows())

    return read_


Read = Callable[..., "list[Row | Problem]"]


def cells(rows: list[Row | Problem]) -> list[tuple[int, list[str]]]:
    assert all(isinstance(row, Row) for row in rows), rows
    return [(row.origin.line, list(row.values.values())) for row in rows if isinstance(row, Row)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_finds_the_separator(read: Read, delimiter: str) -> None:
    """Comma, semicolon, tab and bar are told from the header."""
    text = f"id{delimiter}prompt\r\n1{delimiter}fox\r\n"
    assert cells(read(text)) == [(2, ["1", "fox"])]


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("prompt;notes, remarks, more", ";"),
        ('"a, b, c";prompt', ";"),
        ("prompt\tsize, in K, if any, else none", "\t"),
        ("a|b,prompt", ","),
        ("x,y,z;w", ","),
    ],
)
def test_columns_we_know_outweigh_many_commas(header: str, delimiter: str) -> None:
    """The separator is the one that makes known columns; quotes hide it; else the most columns win."""
    assert find_delimiter(header, is_known=is_known) == delimiter


def test_one_column_needs_no_quotes(read: Read) -> None:
    """With one column nothing separates: prompts may hold commas, semicolons and tabs as they are."""
    rows = read('prompt\na fox, asleep; or not\n"quoted, ""too"""\n')
    assert cells(rows) == [(2, ["a fox, asleep; or not"]), (3, ['quoted, "too"'])]


def test_line_is_where_the_row_begins(read: Read) -> None:
    """Line breaks within cells and blank lines before a row are counted, as an editor does."""
    rows = read('\n"pro\nmpt",size\n"one\r\ntwo\n",1K\n\n\nfox,2K')
    assert cells(rows) == [(4, ["one\r\ntwo\n", "1K"]), (9, ["fox", "2K"])]


def test_short_rows_are_padded(read: Read) -> None:
    """Cells that are missing at the end are empty cells."""
    assert cells(read("prompt,size,id\nfox\n")) == [(2, ["fox", "", ""])]


def test_wide_rows_are_problems_and_reading_goes_on(read: Read) -> None:
    """A cell too many means that the columns have shifted: the row is named, the next ones are read."""
    bad, good = read("prompt,size\na fox, asleep,1K\nowl,2K\n")
    assert isinstance(bad, Problem)
    assert (bad.origin.line, bad.reason[:36]) == (2, "3 cells, but the header has 2 column")
    assert cells([good]) == [(3, ["owl", "2K"])]


def test_empty_cells_beyond_the_header_do_no_harm(read: Read) -> None:
    """Spreadsheets leave separators behind at the end of rows."""
    assert cells(read("prompt,size\nfox,1K,,\n")) == [(2, ["fox", "1K"])]


def test_emptied_rows_are_blank(read: Read) -> None:
    """A row of separators only is a row that somebody emptied."""
    assert cells(read(";;\nprompt;size;id\n;;\nfox;;\n;;\n")) == [(4, ["fox", "", ""])]


def test_a_quoted_nothing_is_a_row(read: Read) -> None:
    """In a table of one column, a quoted empty cell is an empty prompt, not a blank line."""
    assert cells(read('prompt\n""\n\nok\n')) == [(2, [""]), (4, ["ok"])]


def test_quotes_within_plain_text_stay(read: Read) -> None:
    """Files that were never quoted hold quotes as text, also at the beginning of a cell."""
    rows = read('prompt\tsize\nthe word "PEACE" in red\t1K\n"G I G" on a "wall"\t"2K"\n', "\t")
    assert cells(rows) == [(2, ['the word "PEACE" in red', "1K"]), (3, ['"G I G" on a "wall"', "2K"])]


def test_a_separator_behind_a_stray_quote_is_a_problem(read: Read) -> None:
    """Where a stray quote leaves two readings, the row is named rather than guessed."""
    bad, good = read('prompt,size\n"Red, big" fox,1K\nowl,2K\n')
    assert isinstance(bad, Problem)
    assert bad.origin.line == 2
    assert "twice" in bad.reason
    assert cells([good]) == [(3, ["owl", "2K"])]


def test_a_stray_quote_over_several_lines_names_both(read: Read) -> None:
    """The line where the quote opens and the line where it breaks are both in the message."""
    bad, _ = read('prompt,size\n"fox,1K\nowl" x,2K\nhen,1K\n')
    assert isinstance(bad, Problem)
    assert bad.origin.line == 2
    assert "line 3" in bad.reason


def test_an_open_quote_is_found(read: Read) -> None:
    """A quote that is never closed would swallow the rest of the file in silence: it is an error with its line."""
    with pytest.raises(InputError, match=r"p\.csv:3: a quote opens in this row and is never closed"):
        read('prompt,size\nfox,1K\n"owl,1K\nhen,1K\n')


def test_a_cell_may_have_a_megabyte(read: Read) -> None:
    """Long prompts pass; beyond a megabyte it is an error with its line."""
    assert cells(read(f"prompt,size\n{'x' * CELL_CHARACTERS},1K\n"))[0][0] == 2
    with pytest.raises(InputError, match=r"p\.csv:3: a cell is longer than 1 MB"):
        read(f"prompt,size\nfox,1K\n{'x' * (CELL_CHARACTERS + 1)},1K\n")


def test_two_columns_of_one_name_are_refused(read: Read) -> None:
    """Names are compared without regard to case and blanks around them."""
    with pytest.raises(InputError, match=r"p\.csv:1: two columns are named 'PROMPT'"):
        read("prompt, PROMPT \nfox,owl\n")


def test_columns_without_a_name_get_one(read: Read) -> None:
    """An index column without a header is kept, under its number."""
    (row,) = read(",prompt,\n0,fox,x\n")
    assert isinstance(row, Row)
    assert row.values == {"column 1": "0", "prompt": "fox", "column 3": "x"}


def test_header_is_stripped_and_shown_to_the_check(tmp_path: Path) -> None:
    """The header is judged before any row is read."""
    path = tmp_path / "p.csv"
    path.write_text(" Prompt , Größe \nfox,1\n")
    seen: list[tuple[str, Sequence[str]]] = []
    rows = Csv(PromptFile("p.csv", path, tmp_path), lambda file, header: seen.append((file, header))).rows()
    next(rows)
    assert seen == [("p.csv", ["Prompt", "Größe"])]


def test_blank_file_has_no_header(read: Read) -> None:
    """A file of blank lines is an error."""
    with pytest.raises(InputError, match="has no header; write `prompt` in its first line"):
        read("\n\n;;\n")


def test_a_broken_header_is_an_error(read: Read) -> None:
    """A header that cannot be split has no columns to go on with."""
    with pytest.raises(InputError, match=r"p\.csv:1: a quoted cell goes on"):
        read('"a, b" c,prompt\nfox,1\n')


def test_formulas_stay_text(read: Read) -> None:
    """What looks like a formula is a prompt like any other."""
    assert cells(read("prompt,size\n=1+1,1K\n")) == [(2, ["=1+1", "1K"])]


def test_split_header_never_fails() -> None:
    """A first line of megabytes is simply no header."""
    assert split_header("x" * (CELL_CHARACTERS * 2), ",") == []
    assert split_header("", ",") == []


def test_utf_16_table(read: Read) -> None:
    """Excel's "Unicode text" is UTF-16 with tabs."""
    assert cells(read("Prompt\tsize\r\nFüchse\t1K\r\n".encode("utf-16"))) == [(2, ["Füchse", "1K"])]
