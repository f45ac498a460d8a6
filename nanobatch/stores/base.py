"""What a store promises, whatever is behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """A place for images and small files, addressed by keys such as `images/0001-a-red-fox.jpg`.

    Both ways of writing are atomic: a reader sees the old content, the new content or nothing, never a part.
    """

    def new_part(self) -> Path:
        """Name a fresh local file, in a place from which `adopt` is cheap."""
        ...

    def flush(self, part: Path) -> None:
        """Make a part safe from a power failure. Blocks; call it in a thread."""
        ...

    def adopt(self, part: Path, key: str) -> None:
        """Turn a part into the content of `key`, setting aside what stood there.

        Raises:
            StoreError: The part could not be moved; it is still there.
        """
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Write a small file.

        Raises:
            StoreError: Nothing was written.
        """
        ...

    def size(self, key: str) -> int | None:
        """Return the size in bytes of what stands at `key`, or None."""
        ...
