"""The progress display of a terminal: one bar, one line per provider, the last few errors."""

from __future__ import annotations

import datetime as dt
import re

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nanobatch.clock import Clock
from nanobatch.events import Event, RunFinished, RunStarted, Warned
from nanobatch.reporters.tally import LaneTally, Tally
from nanobatch.reporters.wording import count, duration, money, rate, safe

REFRESH_PER_SECOND = 4
_SMALL = 60  # columns below which a provider's line drops its less important parts
_SHRUNK_SECONDS = 60.0  # how long it is worth a word; a lane grows again without an event
_WARNINGS_LEFT = 20
# Terminals disagree about how wide these make a sign. A line that is wider than rich believes would wrap, and every
# later frame would land one line too low.
# What a terminal without Unicode would show as an escape several signs wide has a plain form here, or is a `?`.
_PLAIN = str.maketrans({"·": "-", "×": "x", "…": "."})
_UNSTEADY = re.compile(r"[\ufe00-\ufe0f\u20e3\U0001f3fb-\U0001f3ff]")


class ProgressDisplay:
    """Draws on standard error while the run lasts; at the end the warnings and one line with the counts stay.

    Every word from data is a `Text`: it is never read as markup.
    """

    def __init__(self, clock: Clock, console: Console | None = None) -> None:
        self._clock = clock
        self._console = console or Console(stderr=True, highlight=False, markup=False)
        self._is_ascii = self._console.options.ascii_only
        self._tally = Tally(clock)
        self._warnings: dict[str, None] = {}  # in order, each once
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=REFRESH_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=True,
        )

    def __call__(self, event: Event) -> None:
        """Take note of an event; drawing has its own rhythm."""
        self._tally(event)
        match event:
            case RunStarted():
                self.start()
            case Warned(message=message):
                self._warnings[message] = None
            case RunFinished():
                self.stop()
            case _:
                pass

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def stop(self) -> None:
        """Take the display off the screen; leave what should be remembered."""
        if not self._live.is_started:
            return
        self._live.stop()
        warnings = list(self._warnings)
        for message in warnings[:_WARNINGS_LEFT]:
            self._console.print(Text(self._fit_to_print(f"warning: {safe(message, 500)}")))
        if len(warnings) > _WARNINGS_LEFT:
            self._console.print(Text(f"and {count(len(warnings) - _WARNINGS_LEFT)} more warnings, in run.json"))
        tally = self._tally
        settled = f"{count(tally.settled)}/{count(tally.jobs)}"
        took = duration(self._clock.monotonic() - tally.started)
        line = _fitted([(0, settled), *self._numbers(), (3, took)], self._console.width)
        self._console.print(Text(self._fit_to_print(line)))

    def render(self) -> RenderableType:
        """Draw the state of this moment."""
        tally = self._tally
        parts: list[RenderableType] = [self._bar(), self._counts()]
        lanes = list(tally.lanes.items())  # drawn in a thread of its own, while events go on changing the tally
        states = [self._state(lane) for _, lane in lanes]
        if len(lanes) > 1 or any(states):
            width = max(len(_steady(name, 20)) for name, _ in lanes)
            parts += [self._lane(f"{_steady(name, 20):<{width}}", lane) for name, lane in lanes]
        parts += [self._error(message, times) for message, times in tally.last_errors]
        if tally.stopping:
            at_once = " (Ctrl-C ends at once)" if tally.in_flight else ""
            words = f"stopping, {count(tally.in_flight)} on the wire{at_once}: {_steady(tally.stopping)}"
            parts.append(self._line(words, "yellow"))
        return Group(*parts)

    def _bar(self) -> RenderableType:
        tally = self._tally
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(ratio=1)
        grid.add_column(justify="right", no_wrap=True)
        share = tally.settled / tally.jobs * 100 if tally.jobs else 100.0
        grid.add_row(
            ProgressBar(total=max(1, tally.jobs), completed=tally.settled),
            Text(f"{count(tally.settled)}/{count(tally.jobs)}  {share:.0f} %"),
        )
        return grid

    def _counts(self) -> Text:
        tally = self._tally
        flying = f"{count(tally.in_flight)} in flight"
        left = "" if tally.stopping else f"{duration(tally.seconds_left())} left"
        done, failed, *others = self._numbers()
        parts = [done, failed, (3, flying), *others, (2, left)]
        return self._line(_fitted(parts, self._console.width))

    def _numbers(self) -> list[tuple[int, str]]:
        """Return what is counted during the run and at its end, each with its rank: 0 is given up last."""
        tally = self._tally
        landing = tally.per_minute()
        return [
            (0, f"{count(tally.done)} done"),
            (1, f"{count(tally.failed)} failed" if tally.failed else ""),
            (5, f"{rate(landing)}/min" if landing is not None else ""),
            (4, money(tally.cost_usd) + (" pretended" if tally.sandbox else "")),
            (6, f"{money(tally.maybe_usd)} possibly billed" if tally.maybe_usd else ""),
            (7, f"{count(tally.cached)} from the cache" if tally.cached else ""),
            (8, f"{count(tally.resumed)} already done" if tally.resumed else ""),
        ]

    def _lane(self, name: str, lane: LaneTally) -> Text:
        flying = f", {count(lane.in_flight)} in flight" if self._console.width >= _SMALL else ""
        line = self._line(f"  {name} {count(lane.done)} done{flying}")
        if state := self._fit_to_print(self._state(lane)):
            line.append(f"  {state}", {"closed": "red", "parked": "yellow", "waiting": "yellow"}.get(lane.state, ""))
        return line

    def _error(self, message: str, times: int) -> Text:
        often = f"{count(times)}× " if times > 1 else ""
        return self._line(f"  {often}{_steady(message, 300)}", "dim")

    def _line(self, words: str, style: str = "") -> Text:
        """Make a line that never wraps: every later frame would land one line too low."""
        return Text(self._fit_to_print(words), style, no_wrap=True, overflow="crop" if self._is_ascii else "ellipsis")

    def _fit_to_print(self, words: str) -> str:
        return words.translate(_PLAIN).encode("ascii", "replace").decode() if self._is_ascii else words

    def _state(self, lane: LaneTally) -> str:
        """Return what keeps a lane from working as usual, or nothing; an end that has passed needs no event."""
        until = ""
        if lane.until is not None:
            left = lane.until - self._clock.wall()
            if left <= 0:
                return ""
            until = f" {duration(left)}"
            if left > 3600:
                until = dt.datetime.fromtimestamp(lane.until).astimezone().strftime(" until %a %H:%M")
        elif lane.state == "shrunk" and self._clock.monotonic() - lane.since > _SHRUNK_SECONDS:
            return ""
        return "" if lane.state == "open" else f"{lane.state}{until}: {_steady(lane.message, 80)}"


def _fitted(parts: list[tuple[int, str]], width: int) -> str:
    """Join the parts, without the least important ones where the line would be too long."""
    kept = [part for part in parts if part[1]]
    while len(line := " · ".join(words for _, words in kept)) > width and len(kept) > 1:
        kept.remove(max(kept))
    return line


def _steady(text: str, limit: int = 200) -> str:
    return safe(_UNSTEADY.sub("", text[: 2 * limit]), limit)
