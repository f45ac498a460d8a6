"""The cache's own copies of images: named after their digests, up to a size, the least recently used go first."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from nanobatch.caches.delivery import Unreadable, bring


class KeptImages:
    """A folder of copies, which several processes fill at once: each file appears whole, by a rename.

    Args:
        root: The folder; made when the first copy comes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str, extension: str) -> Path:
        """Return where the copy of an image is, or would be."""
        return self.root / sha256[:2] / f"{sha256}{extension}"

    def keep(self, source: Path, sha256: str, extension: str) -> bool:
        """Copy an image, unless it is there; tell whether it is now.

        Raises:
            OSError: The folder cannot be written.
        """
        target = self.path(sha256, extension)
        if target.exists():
            return True
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{secrets.token_hex(6)}.part")
        try:
            if bring(source, part) != sha256:
                return False  # changed since it was recorded
            part.replace(target)
        except Unreadable:
            return False  # moved since it was recorded
        finally:
            part.unlink(missing_ok=True)
        return True

    def drop(self, sha256: str, extension: str) -> int:
        """Remove a copy; return the bytes that this frees."""
        path = self.path(sha256, extension)
        try:
            size = path.stat().st_size
            path.unlink()
        except OSError:
            return 0
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # if that was the last
        return size

    def files(self) -> Iterator[Path]:
        """Yield all that is in the folder, remains of killed processes included."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                yield Path(folder) / name

    def clear(self) -> int:
        """Remove all copies; return the bytes that this frees."""
        freed = 0
        for path in self.files():
            with contextlib.suppress(OSError):
                size = path.stat().st_size
                path.unlink()
                freed += size
        for folder, _, _ in os.walk(self.root, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return freed
