"""read(append*) gives the records, also with the last line torn at any byte."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.journal import Journal, read_lines

DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(lines=st.lists(VALUES, max_size=6), cut=st.integers(0, 400), more=VALUES)
def test_a_journal_cut_anywhere_keeps_every_whole_line(lines: list[Any], cut: int, more: Any) -> None:
    """Killed at any byte, the journal gives back the lines that were whole, and takes new ones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j.jsonl"
        journal = Journal(path)
        for line in lines:
            journal.append(line)
        journal.close()
        data = path.read_bytes()[: max(0, path.stat().st_size - cut)]
        path.write_bytes(data)
        whole = data.count(b"\n")
        assert [line for _, line in read_lines(path, DECODER)] == lines[:whole]
        again = Journal(path)
        again.append(more)
        again.close()
        assert [line for _, line in read_lines(path, DECODER)] == [*lines[:whole], more]
