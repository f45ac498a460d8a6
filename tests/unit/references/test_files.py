"""Files that rows name: read whole, or refused with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nanobatch.errors import InputError
from nanobatch.references.files import printable, read, stamp


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    """As many bytes as allowed are still allowed."""
    (tmp_path / "a").write_bytes(b"12345")
    assert read(tmp_path / "a", 5) == b"12345"
    with pytest.raises(InputError, match="5 bytes are more than 4"):
        read(tmp_path / "a", 4)


def test_a_link_and_its_file_have_one_stamp(tmp_path: Path) -> None:
    """A file is the same under all its names, and another after every change."""
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").symlink_to("a")
    before = stamp(tmp_path / "a")
    assert stamp(tmp_path / "b") == stamp(tmp_path / "." / "a") == before
    os.utime(tmp_path / "a", ns=(1, 1))
    assert stamp(tmp_path / "a") != before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.png", "no such file"),
        (".", "a folder"),
        ("", "a folder"),
        ("pipe", "not a regular file"),
        ("a\0b", "not a valid file name"),
        ("x" * 300, "File name too long"),
        ("a/below", "Not a directory"),
    ],
)
def test_what_is_no_file_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    """The reason tells the user what to look for; a pipe is not waited for."""
    (tmp_path / "a").write_bytes(b"1")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=reason):
        read(tmp_path / name, 10)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Missing rights are a reason of their own."""
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "a").chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        read(tmp_path / "a", 10)


def test_a_file_without_a_size_of_its_own_is_capped_while_reading() -> None:
    """What claims 0 bytes and goes on, as files of the kernel do, is stopped at the limit."""
    endless = Path("/proc/self/maps")
    if not endless.exists():
        pytest.skip("only Linux has such files")
    assert stamp(endless).size == 0
    with pytest.raises(InputError, match="more than 10 bytes"):
        read(endless, 10)


def test_names_are_shown_on_one_line() -> None:
    """Control characters are replaced, and of a long name the end is kept, which tells most."""
    assert printable("a\nb\x1b[31m") == "a�b�[31m"
    assert len(printable("x" * 500 + ".png")) == 200
    assert printable("x" * 500 + ".png").endswith(".png")
