"""Tests of turning bytes into lines."""

from __future__ import annotations

import gc
import io
import os
import threading
from pathlib import Path

import pytest

from nanobatch.errors import InputError
from nanobatch.sources.lines import PromptFile, locate, read_lines


def file_of(tmp_path: Path, content: bytes) -> PromptFile:
    path = tmp_path / "p.txt"
    path.write_bytes(content)
    return PromptFile("p.txt", path, tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_reads_unicode_with_and_without_mark(tmp_path: Path, encoding: str) -> None:
    """UTF-8 with and without a byte order mark, and UTF-16 with one, give the same lines."""
    file = file_of(tmp_path, "füchse 🦊\nzwei".encode(encoding))
    assert list(read_lines(file)) == ["füchse 🦊\n", "zwei"]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_reads_utf_16_of_either_byte_order(tmp_path: Path, codec: str) -> None:
    """The mark tells the byte order."""
    assert list(read_lines(file_of(tmp_path, "\ufeffa\n".encode(codec)))) == ["a\n"]


def test_keeps_the_line_ends(tmp_path: Path) -> None:
    """Windows, Unix and old Mac line ends all end a line, and stay as they are for cells that hold them."""
    assert list(read_lines(file_of(tmp_path, b"a\r\nb\nc\rd"))) == ["a\r\n", "b\n", "c\r", "d"]


def test_names_the_line_that_is_not_utf_8(tmp_path: Path) -> None:
    """A file saved in a Windows code page is refused with the line and the remedy."""
    file = file_of(tmp_path, b"ok\n" * 50_000 + "café\n".encode("cp1252"))
    with pytest.raises(InputError, match=r"p\.txt:50001: not UTF-8 text; save the file as UTF-8"):
        list(read_lines(file))


def test_refuses_half_a_utf_16_character(tmp_path: Path) -> None:
    """A mark of UTF-16 before something else is an error with a remedy."""
    with pytest.raises(InputError, match="begins like UTF-16"):
        list(read_lines(file_of(tmp_path, b"\xff\xfea\x00b")))


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "plain".encode("utf-16-le")])
def test_refuses_what_is_not_text(tmp_path: Path, content: bytes) -> None:
    """An image, or UTF-16 without a mark, is recognised by its zero bytes before anything is decoded."""
    with pytest.raises(InputError, match="is not a text file"):
        list(read_lines(file_of(tmp_path, content)))


def test_names_the_line_of_a_late_zero_byte(tmp_path: Path) -> None:
    """A zero byte far behind the beginning is found too."""
    with pytest.raises(InputError, match=r"p\.txt:70001: not text"):
        list(read_lines(file_of(tmp_path, b"a\n" * 70_000 + b"b\0\n")))


def test_refuses_an_empty_file(tmp_path: Path) -> None:
    """No byte is no prompt."""
    with pytest.raises(InputError, match=r"p\.txt is empty"):
        list(read_lines(file_of(tmp_path, b"")))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("p.txt", "write a prompt in each line"),
        ("failed.jsonl", '{"prompt": '),
        ("p.csv", "`prompt` in its first line"),
    ],
)
def test_an_empty_file_is_filled_as_its_kind_wants(tmp_path: Path, name: str, remedy: str) -> None:
    """A header in a text file would be drawn."""
    (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        list(read_lines(PromptFile(name, tmp_path / name, tmp_path)))
    assert remedy in caught.value.message


def test_a_file_that_vanished_is_an_input_error(tmp_path: Path) -> None:
    """A file removed after it was located is named with the system's reason."""
    with pytest.raises(InputError, match=r"cannot read gone\.csv: there is no such file"):
        list(read_lines(PromptFile("gone.csv", tmp_path / "gone.csv", tmp_path)))


def test_locate_finds_a_file_and_its_folder(tmp_path: Path) -> None:
    """References are looked up next to the prompt file; the extension counts without regard to case."""
    (tmp_path / "P.CSV").write_text("prompt\n")
    file = locate(str(tmp_path / "P.CSV"), None)
    assert (file.folder, file.extension) == (tmp_path, ".csv")


def test_locate_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    """Both are the user's mistake, told in one sentence."""
    with pytest.raises(InputError, match="there is no such file"):
        locate(str(tmp_path / "no.csv"), None)
    with pytest.raises(InputError, match="is a folder"):
        locate(str(tmp_path), None)


def test_a_mistyped_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    """In its own folder; where nothing is near, the way to an example."""
    (tmp_path / "prompts.csv").write_text("prompt\n")
    with pytest.raises(InputError, match=rf"did you mean '{tmp_path}/prompts\.csv'"):
        locate(str(tmp_path / "promts.csv"), None)
    with pytest.raises(InputError, match="`nanobatch init` writes an example"):
        locate(str(tmp_path / "zzz"), None)


def test_a_workbook_is_told_how_to_become_text(tmp_path: Path) -> None:
    """Whatever its name says."""
    with pytest.raises(InputError, match="save the sheet as CSV UTF-8"):
        list(read_lines(file_of(tmp_path, b"PK\x03\x04and so on")))


def test_locate_refuses_a_name_with_a_zero_byte() -> None:
    """A name that no system can hold is an input error, not a crash."""
    with pytest.raises(InputError, match="cannot read"):
        locate("a\0b.csv", None)


def test_standard_input_is_kept_for_a_second_reading() -> None:
    """The input is read twice, so what came through a pipe is on disk until nobody needs it."""
    file = locate("-", io.BytesIO(b"a\nb\n"))
    assert list(read_lines(file)) == list(read_lines(file)) == ["a\n", "b\n"]
    assert (file.extension, file.folder) == ("", Path.cwd())
    path = file.path
    del file
    gc.collect()
    assert not path.exists()


def test_standard_input_may_be_closed_or_empty() -> None:
    """A cron job without standard input gets a sentence."""
    with pytest.raises(InputError, match="standard input is closed"):
        locate("-", None)
    with pytest.raises(InputError, match="standard input is empty"):
        list(read_lines(locate("-", io.BytesIO(b""))))


def test_a_named_pipe_is_read_as_a_stream(tmp_path: Path) -> None:
    """`nanobatch run <(head -5 prompts.csv)` works: a pipe has no extension and cannot be read twice."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"prompt\nfox\n",))
    writer.start()
    file = locate(str(pipe), None)
    writer.join()
    assert file.is_stream
    assert list(read_lines(file)) == list(read_lines(file)) == ["prompt\n", "fox\n"]
