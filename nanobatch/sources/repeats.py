"""Find what occurs more than once among millions, in eight bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise

_SHELF_BITS = 6  # sorting takes five times the space of what is sorted: do it in 64 portions


class Repeats:
    """Collects 64-bit numbers, evenly spread ones such as hashes, and tells which came more than once."""

    def __init__(self) -> None:
        self._shelves = [array("Q") for _ in range(1 << _SHELF_BITS)]

    def add(self, number: int) -> None:
        """Note one number, 0 to 2**64 - 1."""
        self._shelves[number >> (64 - _SHELF_BITS)].append(number)

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers that came more than once, rising, each as often as it came too many."""
        for shelf in self._shelves:
            yield from (former for former, latter in pairwise(sorted(shelf)) if former == latter)
