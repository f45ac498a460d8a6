"""Why a run takes no new jobs, and what that means for those on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Stopped(Exception):
    """A job is put down because the run is stopping; the next run takes it up."""


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a run ends before its input does."""

    kind: str  # interrupted | quota | account | limit | store | broken_pipe
    message: str
    exit_code: int
    resume_after: float | None = None  # wall-clock seconds, where it is known


@dataclass(slots=True)
class Stop:
    """The one switch that ends a run. The first reason stands; asking twice ends the wait for those on the wire."""

    reason: StopReason | None = None
    hears_signals: bool = True  # Ctrl-C and SIGTERM; not where a program runs us, because they are the program's
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, reason: StopReason) -> None:
        """Take no new jobs from now on."""
        if self.reason is None:
            self.reason = reason
            self.asked.set()

    def insist(self, reason: StopReason) -> None:
        """Ask as a person at the keyboard does: the second time ends at once."""
        if self.asked.is_set():
            self.at_once.set()
        self.ask(reason)

    def check(self) -> None:
        """Raise Stopped when the run is stopping."""
        if self.reason is not None:
            raise Stopped


@contextlib.contextmanager
def heeding_signals(stop: Stop) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the run in order, where they are its own to hear."""
    if not stop.hears_signals:
        yield
        return
    loop = asyncio.get_running_loop()
    for number, code in _SIGNALS.items():
        loop.add_signal_handler(number, stop.insist, StopReason("interrupted", "interrupted", code))
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
