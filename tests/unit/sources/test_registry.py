"""Tests of choosing the format."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.errors import InputError
from nanobatch.sources.base import Row
from nanobatch.sources.lines import PromptFile
from nanobatch.sources.registry import EXTENSIONS, source_for
from nanobatch.sources.rows import ReadOptions, RowReader


def first_row(path: Path, content: str, *, is_stream: bool = False, options: ReadOptions | None = None) -> object:
    path.write_text(content)
    reader = RowReader(options or ReadOptions())
    row = next(source_for(PromptFile(path.name, path, path.parent, is_stream=is_stream), reader).rows())
    assert isinstance(row, Row)
    return {key: value.strip() for key, value in row.values.items()}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", "prompt;size\nfox;1K\n"),
        ("p.tsv", "prompt\tsize\nfox\t1K\n"),
        ("p.jsonl", '{"prompt": "fox", "size": "1K"}\n'),
        ("p.ndjson", '{"prompt": "fox", "size": "1K"}\n'),
        ("P.CSV", "prompt|size\nfox|1K\n"),
    ],
)
def test_extension_decides(tmp_path: Path, name: str, content: str) -> None:
    """A file is read as its extension says, in any case."""
    assert first_row(tmp_path / name, content) == {"prompt": "fox", "size": "1K"}


def test_text_stays_text(tmp_path: Path) -> None:
    """A .txt that begins with the word prompt, or has tabs, is still one prompt per line."""
    assert first_row(tmp_path / "p.txt", "prompt\n") == {"prompt": "prompt"}
    assert first_row(tmp_path / "p.txt", "a\tfox\n") == {"prompt": "a\tfox"}


def test_unicode_text_of_a_spreadsheet_is_a_table(tmp_path: Path) -> None:
    """Excel calls its tab-separated export .txt; a header with tabs that names the prompts gives it away."""
    assert first_row(tmp_path / "p.txt", "Prompt\tsize\nfox\t1K\n") == {"Prompt": "fox", "size": "1K"}


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ('\n {"prompt": "fox"}\n', {"prompt": "fox"}),
        ("prompt;size\nfox;1K\n", {"prompt": "fox", "size": "1K"}),
        ("Caption\nfox, asleep\n", {"Caption": "fox, asleep"}),
        ("size\tprompt\n1K\tfox\n", {"size": "1K", "prompt": "fox"}),
        ("a red fox, asleep\n", {"prompt": "a red fox, asleep"}),
        ("[red] fox\n", {"prompt": "[red] fox"}),
        ('"quoted" fox\n', {"prompt": '"quoted" fox'}),
    ],
)
def test_a_stream_is_told_by_its_first_line(tmp_path: Path, content: str, row: dict[str, str]) -> None:
    """Standard input has no name: a brace is JSONL, a header with prompts is a table, all else is text."""
    assert first_row(tmp_path / "stream", content, is_stream=True) == row


def test_the_options_help_to_tell_a_stream(tmp_path: Path) -> None:
    """A header is known by --prompt-column and by the columns of --template too."""
    template = ReadOptions(template="{product} on {background}")
    assert first_row(tmp_path / "s", "product,background\na,b\n", is_stream=True, options=template) == {
        "product": "a",
        "background": "b",
    }
    column = ReadOptions(prompt_column="Motiv")
    assert first_row(tmp_path / "s", "motiv\nfox\n", is_stream=True, options=column) == {"motiv": "fox"}


@pytest.mark.parametrize("name", ["p.xlsx", "p.XLS", "p.ods", "p.numbers"])
def test_spreadsheets_are_told_how_to_become_text(tmp_path: Path, name: str) -> None:
    """The first file that many people try."""
    with pytest.raises(InputError, match="is a spreadsheet; save it as CSV UTF-8"):
        source_for(PromptFile(name, tmp_path / name, tmp_path), RowReader(ReadOptions()))


@pytest.mark.parametrize("name", ["p.docx", "p.jpg", "p"])
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    """A format that we do not read is refused with the list of those that we do."""
    with pytest.raises(InputError) as refusal:
        source_for(PromptFile(name, tmp_path / name, tmp_path), RowReader(ReadOptions()))
    assert all(extension in refusal.value.message for extension in EXTENSIONS)


def test_json_is_told_what_to_become(tmp_path: Path) -> None:
    """It is nearly right, so the sentence is about it."""
    with pytest.raises(InputError, match=r"one object a line, in a file that ends in \.jsonl"):
        source_for(PromptFile("p.json", tmp_path / "p.json", tmp_path), RowReader(ReadOptions()))
