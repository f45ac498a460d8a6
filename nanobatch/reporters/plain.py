"""Progress without a terminal, for logs and cron: a line at the start, every 30 s, at each change, and at the end."""

from __future__ import annotations

import datetime as dt
from typing import TextIO

from nanobatch.clock import Clock
from nanobatch.events import Event, JobFinished, LaneChanged, RunFinished, RunStarted, Stopping, Warned
from nanobatch.model import Record, Status
from nanobatch.reporters.tally import Tally
from nanobatch.reporters.wording import count, duration, images, money, rate, safe

EVERY_SECONDS = 30.0
FAILURES_SHOWN = 20


class PlainLines:
    """Writes whole lines, without colour and without returning to one."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._tally = Tally(clock)
        self._next = clock.monotonic() + EVERY_SECONDS
        self._failures = 0

    def __call__(self, event: Event) -> None:
        """Write what deserves a line."""
        self._tally(event)
        match event:
            case RunStarted():
                self._started(event)
            case Warned(message=message):
                self._line(f"warning: {message}")
            case LaneChanged():
                until = f" until {_clock_time(event.until)}" if event.until is not None else ""
                self._line(f"{event.provider} {event.state}{until}: {event.message}")
            case JobFinished(record=record) if not record.has_image:
                self._failed(record)
            case Stopping():
                self._line(f"stopping: {event.reason}; {event.in_flight} on the wire")
            case RunFinished():
                self._progress(ended=True)
            case _:
                pass

    def tick(self) -> None:
        """Write the regular line when it is due."""
        now = self._clock.monotonic()
        if now >= self._next:
            self._next = now + EVERY_SECONDS
            self._progress()

    def _started(self, event: RunStarted) -> None:
        self._next = self._clock.monotonic() + EVERY_SECONDS
        resumed = f", {count(event.already_done)} of them already done" if event.already_done else ""
        by = f" through {', '.join(event.providers)}" + (" (sandbox)" if event.sandbox else "")
        self._line(f"{images(event.jobs)} wanted{by}{resumed}, into {event.output}")

    def _failed(self, record: Record) -> None:
        self._failures += 1
        if self._failures > FAILURES_SHOWN:
            return
        status = "not finished" if record.status is Status.UNFINISHED else str(record.status)
        why = record.error.message if record.error else ""
        self._line(f"{record.id} {status}: {why}")
        if self._failures == FAILURES_SHOWN:
            self._line("further failures are counted and listed in failed.jsonl")

    def _progress(self, *, ended: bool = False) -> None:
        tally = self._tally
        going_on = tally.settled < tally.jobs and not ended and not tally.stopping
        landing = tally.per_minute()
        parts = [
            f"{count(tally.settled)}/{count(tally.jobs)}",
            f"{count(tally.done)} new",
            f"{count(tally.cached)} from the cache" if tally.cached else "",
            f"{count(tally.failed)} failed" if tally.failed else "",
            f"{count(tally.in_flight)} in flight" if tally.in_flight else "",
            f"{rate(landing)}/min" if landing is not None else "",
            f"{money(tally.cost_usd)} spent",
            f"{duration(tally.seconds_left())} left" if going_on else "",
        ]
        self._line(", ".join(part for part in parts if part))

    def _line(self, text: str) -> None:
        self._stream.write(f"{_clock_time(self._clock.wall())} {safe(text, 500)}\n")
        self._stream.flush()


def _clock_time(wall_seconds: float) -> str:
    return dt.datetime.fromtimestamp(wall_seconds, dt.UTC).strftime("%H:%M:%SZ")
