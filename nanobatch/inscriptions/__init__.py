"""Writes prompt and parameters into the stored copy of an image (`--embed`), where programs for pictures look for them.

Nothing else changes: pixels are not decoded, every byte of the provider's stays in its order, its signed history
(C2PA) too. That signature vouches for the file as it was made, so a program that checks it will say that the file has
changed since. One file for each image format: it plans the copy, and `inscribe` makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from nanobatch.errors import StoreError
from nanobatch.inscriptions import jpeg, png, webp
from nanobatch.inscriptions.base import Copy, Inscription, Original, Planner, Unfit, opened
from nanobatch.model import Blob
from nanobatch.parts import PartFile

__all__ = ["Inscription", "inscribe"]

PARTS = ("prompt", "params")  # what can be asked for
PIECE_BYTES = 1024 * 1024
MOST_MORE = 1024 * 1024 * 1024  # bytes that words may add; the image itself was measured when it came
_PLANNERS: Mapping[str, Planner] = {"image/png": png.plan, "image/jpeg": jpeg.plan, "image/webp": webp.plan}


def inscribe(
    blob: Blob, mime: str, words: Inscription, new_part: Callable[[], Path]
) -> tuple[Blob | None, tuple[str, ...]]:
    """Copy an image with the words in it. Blocks; reads a megabyte at a time.

    Args:
        blob: The image as it came; it stays as it is.
        mime: What its bytes say that it is.
        words: What to write.
        new_part: Names the file for the copy.

    Returns:
        The copy, or None where there can be none, and what the user should know about it.
    """
    try:
        with opened(blob.path) as file:
            copy = _planner(mime)(file, words)
            return _written(file, copy, new_part()), copy.warnings
    except (Unfit, StoreError) as error:
        reason = error.message if isinstance(error, StoreError) else error
        return None, (f"nothing could be embedded, the image is as it came: {reason}",)


def _planner(mime: str) -> Planner:
    if mime not in _PLANNERS:
        raise Unfit(f"that is done for PNG, JPEG and WEBP, not for {mime.removeprefix('image/').upper()}")
    return _PLANNERS[mime]


def _written(file: Original, copy: Copy, path: Path) -> Blob:
    part = PartFile(path, max_bytes=file.size + MOST_MORE)
    try:
        for piece in copy.pieces:
            if isinstance(piece, bytes):
                part.write(piece)
                continue
            for data in file.stretch(piece, PIECE_BYTES):
                part.write(data)
        return part.close()
    except BaseException:
        part.discard()
        raise
