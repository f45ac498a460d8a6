"""Parts: what is written is what was decoded, and nothing is left of what failed. test_blobs.py has the spellings."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from nanobatch.errors import DecodeError, StoreError
from nanobatch.parts import Base64Decoder, PartFile, discard

DATA = bytes(range(256)) * 5


def test_a_part_knows_its_size_and_digest(tmp_path: Path) -> None:
    """What was appended, in whatever pieces, is in the file, in its size and in its digest."""
    part = PartFile(tmp_path / "a.part")
    part.write(DATA[:3], DATA[3:700])
    part.write(memoryview(DATA)[700:])
    part.take(bytearray(b"xxendxx"), 2, 5)
    blob = part.close()
    assert blob.path.read_bytes() == DATA + b"end"
    assert (blob.size, blob.sha256) == (len(DATA) + 3, hashlib.sha256(DATA + b"end").hexdigest())


def test_a_part_has_a_limit(tmp_path: Path) -> None:
    """A part never grows beyond its limit."""
    part = PartFile(tmp_path / "a.part", max_bytes=10)
    part.write(b"x" * 10)
    with pytest.raises(DecodeError, match="image of more than"):
        part.write(b"x")
    part.discard()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_store_error(tmp_path: Path) -> None:
    """A disk that is full is a StoreError that names the file and says so."""
    part = PartFile(tmp_path / "a.part")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, part._fd)
    os.close(full)
    with pytest.raises(StoreError, match=r"a\.part.*No space left"):
        part.write(b"x" * 5000)
    part.discard()
    assert not list(tmp_path.iterdir())


def test_discarding_is_safe_at_any_time(tmp_path: Path) -> None:
    """A part that was closed, discarded before or never made is simply not there afterwards."""
    part = PartFile(tmp_path / "a.part")
    part.close()
    part.discard()
    part.discard()
    discard(tmp_path / "never.part")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 1000])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 1000])
def test_base64_in_pieces(tmp_path: Path, length: int, step: int) -> None:
    """Base64 of any length decodes to the same bytes, wherever its pieces end."""
    part = PartFile(tmp_path / "a.part")
    decoder = Base64Decoder(part)
    text = base64.b64encode(DATA[:length])
    for at in range(0, len(text), step):
        decoder.feed(memoryview(text)[at : at + step])
    decoder.finish()
    assert decoder.flaw is None
    assert part.close().path.read_bytes() == DATA[:length]
