"""The cache of a run that wants none: it knows nothing and keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence

from nanobatch.caches.base import Entry


class NoCache:
    """Stands where a cache is switched off."""

    def look_up(self, jobs: Sequence[str], *, now: float) -> dict[str, Entry]:
        """Know nothing."""
        del jobs, now
        return {}

    def put(self, entries: Sequence[Entry], *, now: float) -> None:
        """Keep nothing."""

    def used(self, entries: Sequence[Entry], *, now: float) -> None:
        """Note nothing."""

    def forget(self, entries: Sequence[Entry]) -> None:
        """Have nothing to forget."""

    def image(self, entry: Entry) -> bytes | None:
        """Carry nothing."""
        del entry
        return None

    def close(self) -> None:
        """Have nothing open."""
