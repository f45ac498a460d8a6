"""The copy with the words in it, or the reason why there is none."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from nanobatch.inscriptions import PIECE_BYTES, Inscription, inscribe
from tests.pictures import as_blob, drawn, pixels, png_chunk

WORDS = Inscription("a red fox")


@pytest.fixture
def new_part(tmp_path: Path) -> Callable[[], Path]:
    numbers = itertools.count()
    return lambda: tmp_path / f"{next(numbers)}.part"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_copy_knows_its_size_and_digest(tmp_path: Path, new_part: Callable[[], Path], kind: str) -> None:
    """They are what the manifest will say; the original is untouched."""
    data = drawn(kind)
    blob = as_blob(tmp_path / "x", data)
    copy, warnings = inscribe(blob, f"image/{kind.lower()}", WORDS, new_part)
    assert copy is not None
    assert warnings == ()
    found = copy.path.read_bytes()
    assert copy == as_blob(copy.path, found)
    assert blob.path.read_bytes() == data
    assert pixels(found) == pixels(data)


@pytest.mark.parametrize("mime", ["image/gif", "image/avif"])
def test_other_kinds_stay_as_they_are(tmp_path: Path, new_part: Callable[[], Path], mime: str) -> None:
    """With a warning that says for which kinds it is done."""
    copy, warnings = inscribe(as_blob(tmp_path / "x", drawn("GIF")), mime, WORDS, new_part)
    assert copy is None
    (warning,) = warnings
    assert warning.startswith("nothing could be embedded, the image is as it came: ")
    assert warning.endswith(f": that is done for PNG, JPEG and WEBP, not for {mime[6:].upper()}")


def test_a_full_disk_costs_nobody_an_image(tmp_path: Path) -> None:
    """The copy cannot be written: a warning, no half-written file, and the original is still there."""
    blob = as_blob(tmp_path / "x", drawn("PNG"))
    copy, warnings = inscribe(blob, "image/png", WORDS, lambda: tmp_path / "no/such/folder.part")
    assert copy is None
    assert "cannot write" in warnings[0]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_large_image_is_not_read_as_a_whole(tmp_path: Path, new_part: Callable[[], Path]) -> None:
    """64 MB pass through a megabyte of memory."""
    small = drawn("PNG")
    data = small[:-12] + png_chunk(b"prVt", bytes(64 * PIECE_BYTES)) + small[-12:]
    blob = as_blob(tmp_path / "x", data)
    tracemalloc.start()
    copy, _ = inscribe(blob, "image/png", WORDS, new_part)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert copy is not None
    assert copy.size > len(data)
    assert peak < 4 * PIECE_BYTES
