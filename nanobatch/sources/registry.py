"""Which format a prompt file has: by its extension, or by its first line when it came through a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nanobatch.errors import InputError
from nanobatch.sources.base import Source
from nanobatch.sources.csv import Csv, find_delimiter, split_header
from nanobatch.sources.jsonl import Jsonl
from nanobatch.sources.lines import PromptFile, read_lines
from nanobatch.sources.text import Text

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
SHEETS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers", ".gsheet")
_TAB = "\t"


class Header(Protocol):
    """What a source may ask about column names; `rows.RowReader` answers."""

    def check_header(self, file: str, header: Sequence[str]) -> None:
        """Raise `InputError` for columns that cannot give prompts."""
        ...

    def gives_prompts(self, header: Sequence[str]) -> bool:
        """Whether these columns can give prompts."""
        ...

    def is_known(self, column: str) -> bool:
        """Whether nanobatch or the user's options name this column."""
        ...


def source_for(file: PromptFile, header: Header) -> Source:
    """Choose the source for a file.

    Raises:
        InputError: The extension belongs to no format that we read.
    """
    match _sniff(file, header) if file.is_stream else file.extension:
        case ".csv":
            return Csv(file, header.check_header, is_known=header.is_known)
        case ".tsv":
            return Csv(file, header.check_header, delimiter="\t")
        case ".jsonl" | ".ndjson":
            return Jsonl(file)
        case ".txt" if _is_unicode_text_export(file, header):
            return Csv(file, header.check_header, delimiter="\t")
        case ".txt":
            return Text(file, header.check_header)
        case ".json":
            raise InputError(f"{file.name}: write JSON as one object a line, in a file that ends in .jsonl")
        case extension if extension in SHEETS:
            raise InputError(f"{file.name} is a spreadsheet; save it as CSV UTF-8, and name that file")
        case _:
            raise InputError(
                f"{file.name}: prompts are read from {' '.join(EXTENSIONS)} files, or - for standard input"
            )


def _sniff(file: PromptFile, header: Header) -> str:
    """Tell the extension that the content of a stream deserves."""
    first = _first_line(file)
    if first.startswith("{"):
        return ".jsonl"
    cells = split_header(first, find_delimiter(first, is_known=header.is_known))
    return ".csv" if header.gives_prompts(cells) else ".txt"


def _is_unicode_text_export(file: PromptFile, header: Header) -> bool:
    """Whether a .txt is a table after all: Excel's "Unicode text" is tab-separated and called .txt."""
    first = _first_line(file)
    return _TAB in first and header.gives_prompts(split_header(first, _TAB))


def _first_line(file: PromptFile) -> str:
    return next((line for line in read_lines(file) if not line.isspace()), "").strip()
