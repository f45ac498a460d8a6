"""Keeps what was made last, up to so many bytes, and lets nothing be made twice at the same time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from nanobatch.model import Reference

Key = TypeVar("Key", bound=Hashable)


class Memory(Generic[Key]):
    """References by key; the longest unused are forgotten first. Safe when called from several threads.

    >>> memory = Memory[str](max_bytes=256 * 2**20)
    >>> memory.get("fox", lambda: Reference(b"...", "image/png", "ab12"))
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept = OrderedDict[Key, Reference]()
        self._under_way = dict[Key, Future[Reference]]()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Memory({len(self._kept)} references, {self._bytes:,} of {self._max_bytes:,} bytes)"

    def get(self, key: Key, make: Callable[[], Reference]) -> Reference:
        """Return what is kept under a key, or make it; others who ask meanwhile wait for the same one.

        Whatever `make` raises, everybody who waits for it gets; the next one to ask makes it anew.
        """
        with self._lock:
            if (reference := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return reference
            future = self._under_way.get(key)
            is_mine = future is None
            if future is None:
                future = self._under_way[key] = Future()
        return self._made(key, make, future) if is_mine else future.result()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _made(self, key: Key, make: Callable[[], Reference], future: Future[Reference]) -> Reference:
        try:
            reference = make()
        except BaseException as error:
            with self._lock:
                del self._under_way[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._under_way[key]
            self._keep(key, reference)
        future.set_result(reference)
        return reference

    def _keep(self, key: Key, reference: Reference) -> None:
        if len(reference.data) > self._max_bytes:
            return
        self._kept[key] = reference
        self._bytes += len(reference.data)
        while self._bytes > self._max_bytes:
            _, forgotten = self._kept.popitem(last=False)
            self._bytes -= len(forgotten.data)
