"""The append-only files: what is in them after any kind of death."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nanobatch.errors import ConfigError, StoreError
from nanobatch.journal import Journal, as_store_error, read_lines

DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def contents(path: Path) -> list[Any]:
    return [line for _, line in read_lines(path, DECODER)]


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    """Every appended line is there for another reader before the journal is closed."""
    journal = Journal(tmp_path / "j.jsonl")
    for number in range(5):
        journal.append({"number": number})
    assert contents(tmp_path / "j.jsonl") == [{"number": number} for number in range(5)]
    journal.close()


def test_a_missing_file_reads_as_empty(tmp_path: Path) -> None:
    """No journal is an empty journal."""
    assert contents(tmp_path / "none.jsonl") == []


def test_offsets_lead_back_to_the_line(tmp_path: Path) -> None:
    """The offset that comes with a line is where the line begins, also behind text of several bytes a letter."""
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    for word in ("plain", "größe", "絵", "last"):
        journal.append([word])
    journal.close()
    data = path.read_bytes()
    for offset, line in read_lines(path, DECODER):
        assert DECODER.decode(data[offset:].split(b"\n")[0]) == line


@pytest.mark.parametrize("torn", [b'{"a', b'{"a":1}', b"\xff\xfe", b"{"])
def test_a_torn_last_line_is_dropped_and_appending_goes_on(tmp_path: Path, torn: bytes) -> None:
    """A line without its newline was never reported: it is skipped, cut off, and does not join the next one."""
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"first":1}\n' + torn)
    assert contents(path) == [{"first": 1}]
    journal = Journal(path)
    journal.append({"second": 2})
    journal.close()
    assert contents(path) == [{"first": 1}, {"second": 2}]


def test_a_file_of_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    """Also a first line can be torn, however long it is."""
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"prompt":"' + b"x" * 200_000)
    Journal(path).close()
    assert path.read_bytes() == b""


def test_a_damaged_middle_is_an_error_that_names_file_and_line(tmp_path: Path) -> None:
    """Silently skipping a line in the middle would forget a paid image, so it is not done."""
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":\n{"a":3}\n')
    with pytest.raises(ConfigError, match=r"j\.jsonl:2: this line is damaged"):
        contents(path)


def test_the_remains_of_a_failed_write_are_no_damage(tmp_path: Path) -> None:
    """After a short write the next line starts on its own, and the remains are followed by nothing that joins them."""
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":2')
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"\n\n" + b'{"a":3}\n')
    os.close(fd)
    assert contents(path) == [{"a": 1}, {"a": 3}]


def test_a_full_disk_is_a_store_error_in_plain_words() -> None:
    """What cannot be written is said in one sentence, with the file's name."""
    if not Path("/dev/full").exists():
        pytest.fail("this test needs /dev/full")
    with pytest.raises(StoreError, match="/dev/full: the disk is full"):
        Journal(Path("/dev/full")).append({"a": 1})


def test_a_journal_in_an_impossible_place_is_a_store_error(tmp_path: Path) -> None:
    """A folder that cannot exist is reported when the journal is opened."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        Journal(tmp_path / "file" / "j.jsonl")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (28, "the disk is full"),
        (122, "the disk is full"),
        (13, "no permission"),
        (30, "no permission"),
        (5, "input/output error"),
    ],
)
def test_reasons_are_told_apart(number: int, words: str) -> None:
    """A person learns whether to free space, to change rights or to replace the disk."""
    error = as_store_error(OSError(number, os.strerror(number)), Path("out/x"))
    assert words in error.message
    assert "out/x" in error.message


def test_sync_without_new_lines_does_nothing(tmp_path: Path) -> None:
    """Syncing is cheap when nothing was written."""
    journal = Journal(tmp_path / "j.jsonl")
    journal.sync()
    journal.append([1])
    journal.sync()
    journal.sync()
    journal.close()
    assert contents(tmp_path / "j.jsonl") == [[1]]


def test_half_a_character_harms_nobody(tmp_path: Path) -> None:
    """A lone surrogate out of broken JSON is written as a question mark, and the line reads back."""
    journal = Journal(tmp_path / "j.jsonl")
    journal.append({"message": "sad \ud83d face", "n": 1})
    journal.append({"n": 2})
    journal.close()
    assert contents(tmp_path / "j.jsonl") == [{"message": "sad ? face", "n": 1}, {"n": 2}]
