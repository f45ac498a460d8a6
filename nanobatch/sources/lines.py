"""Turn the bytes of a prompt file into lines of text, as spreadsheets and editors write them."""

from __future__ import annotations

import codecs
import difflib
import itertools
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nanobatch.errors import InputError

STANDARD_INPUT = "-"
HEADER_HINT = "write `prompt` in its first line and a prompt in each line below"
MOST_NEIGHBOURS = 5_000
_HEAD_BYTES = 65_536
_ZIP = b"PK\x03\x04"  # what every modern office file begins with


@dataclass(frozen=True, slots=True, weakref_slot=True)
class PromptFile:
    """A prompt file: what to call it, where its bytes are, and where its relative references begin."""

    name: str  # as the user typed it
    path: Path
    folder: Path
    is_stream: bool = False  # came through a pipe: no extension tells the format

    @property
    def extension(self) -> str:
        """The format that the name promises: ".csv", or "" for a stream."""
        return "" if self.is_stream else self.path.suffix.lower()


def locate(name: str, stdin: BinaryIO | None) -> PromptFile:
    """Find a prompt file; what comes through a pipe is kept in a temporary file, because it is read twice.

    Raises:
        InputError: There is no such file, or it cannot be read.
    """
    if name == STANDARD_INPUT:
        if stdin is None:
            raise InputError("standard input is closed; pipe prompts into the command, or name a file")
        return _spooled(name, stdin)
    path = Path(name)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{name} is a folder; name the prompt files in it")
        if stat.S_ISREG(mode):
            return PromptFile(name, path, path.absolute().parent)
        with path.open("rb") as pipe:
            return _spooled(name, pipe)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(name, error) from error


def _spooled(name: str, stream: BinaryIO) -> PromptFile:
    return spooled(name, lambda spool: shutil.copyfileobj(stream, spool))


def spooled(name: str, write: Callable[[BinaryIO], None]) -> PromptFile:
    """Keep prompts that are in no file in a temporary one, because they are read twice.

    Args:
        name: What to call them in messages.
        write: Writes them.
    """
    handle, path = tempfile.mkstemp(prefix="nanobatch-", suffix=".spool")
    file = PromptFile(name, Path(path), Path.cwd(), is_stream=True)
    weakref.finalize(file, os.unlink, path)  # gone with its last reader, or at exit
    with os.fdopen(handle, "wb") as spool:
        write(spool)
    return file


def _unreadable(name: str, error: OSError | ValueError) -> InputError:
    if name.lower().startswith(("https://", "http://")):
        return InputError(f"{name} is no file; fetch it first: curl -L ADDRESS | nanobatch run -")
    if isinstance(error, FileNotFoundError):
        near = difflib.get_close_matches(Path(name).name, _neighbours(Path(name).parent), 1)
        meant = f"did you mean {str(Path(name).parent / near[0])!r}?" if near else "`nanobatch init` writes an example"
        return InputError(f"cannot read {name}: there is no such file; {meant}")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"cannot read {name}: {reason}")


def _neighbours(folder: Path) -> list[str]:
    """Return the names in a folder, as many as a person may have mistyped."""
    try:
        return [entry.name for entry in itertools.islice(os.scandir(folder), MOST_NEIGHBOURS)]
    except OSError:
        return []


def read_lines(file: PromptFile) -> Iterator[str]:
    r"""Yield the lines of a text file with their ends (`\n`, `\r\n` or `\r`), whichever Unicode encoding it has.

    A byte order mark decides between UTF-8 and UTF-16 (a spreadsheet's "Unicode text"); without one it is UTF-8.

    Raises:
        InputError: The file is missing, empty or not text.
    """
    encoding = _encoding(file)
    try:
        with file.path.open(encoding=encoding, newline="") as lines:
            for number, line in enumerate(lines, start=1):
                if "\0" in line:
                    raise InputError(f"{file.name}:{number}: not text: the line holds a zero byte")
                yield line
    except UnicodeDecodeError as error:
        raise _not_text(file, encoding) from error
    except OSError as error:
        raise _unreadable(file.name, error) from error


def _how_to_fill(path: Path) -> str:
    match path.suffix.lower():
        case ".txt":
            return "write a prompt in each line"
        case ".jsonl" | ".ndjson":
            return 'write an object in each line, such as {"prompt": "a red fox"}'
        case _:
            return HEADER_HINT


def _encoding(file: PromptFile) -> str:
    try:
        with file.path.open("rb") as raw:
            head = raw.read(_HEAD_BYTES)
    except OSError as error:
        raise _unreadable(file.name, error) from error
    if not head:
        raise InputError(
            "standard input is empty; pipe prompts into it, one a line"
            if file.name == STANDARD_INPUT
            else f"{file.name} is empty; {_how_to_fill(file.path)}"
        )
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head.startswith(_ZIP):
        raise InputError(
            f"{file.name} is a workbook or an archive, not text; save the sheet as CSV UTF-8, and name that"
        )
    if b"\0" in head:
        raise InputError(f"{file.name} is not a text file; save the prompts as CSV UTF-8, JSONL or plain text")
    return "utf-8-sig"


def _not_text(file: PromptFile, encoding: str) -> InputError:
    """Say where the text ends. The decoder works in blocks and does not know the line, so look once more."""
    if encoding == "utf-16":
        return InputError(f"{file.name} begins like UTF-16 and is not; save it as CSV UTF-8")
    with file.path.open("rb") as raw:
        number = next((number for number, line in enumerate(raw, start=1) if not _is_utf8(line)), 0)
    return InputError(f"{file.name}:{number}: not UTF-8 text; save the file as UTF-8 (in Excel: CSV UTF-8)")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
