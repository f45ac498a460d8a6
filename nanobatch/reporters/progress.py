"""The progress display of a terminal: one bar, one line per provider, the last few errors."""

from __future__ import annotations

import datetime as dt

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nanobatch.clock import Clock
from nanobatch.events import Event, RunFinished, RunStarted
from nanobatch.reporters.tally import LaneTally, Tally
from nanobatch.reporters.wording import count, duration, money, safe

REFRESH_PER_SECOND = 4
_SMALL = 60  # columns below which a line drops its less important parts


class ProgressDisplay:
    """Draws on standard error while the run lasts, and takes itself off the screen at the end.

    Every word from data is a `Text`: it is never read as markup.
    """

    def __init__(self, clock: Clock, console: Console | None = None) -> None:
        self._clock = clock
        self._console = console or Console(stderr=True, highlight=False, markup=False)
        self._tally = Tally(clock)
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
                self._live.start()
            case RunFinished():
                self.stop()
            case _:
                pass

    def stop(self) -> None:
        """Take the display off the screen."""
        self._live.stop()

    def render(self) -> RenderableType:
        """Draw the state of this moment."""
        tally = self._tally
        parts: list[RenderableType] = [self._bar(), self._counts()]
        lanes = list(tally.lanes.items())  # drawn in a thread of its own, while events go on changing the tally
        if len(lanes) > 1 or any(lane.state != "open" for _, lane in lanes):
            parts += [self._lane(name, lane) for name, lane in lanes]
        parts += [_error(message, times) for message, times in tally.last_errors]
        if tally.stopping:
            words = f"stopping, {count(tally.in_flight)} on the wire: {safe(tally.stopping)}"
            parts.append(Text(words, "yellow", no_wrap=True, overflow="ellipsis"))
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
        rate = tally.per_minute()
        parts = [
            f"{count(tally.done)} done",
            f"{count(tally.failed)} failed" if tally.failed else "",
            f"{count(tally.in_flight)} in flight",
            f"{rate:.0f}/min" if rate is not None else "",
            money(tally.cost_usd) + (" pretended" if tally.sandbox else ""),
            f"{money(tally.maybe_usd)} possibly billed" if tally.maybe_usd else "",
            f"{duration(tally.seconds_left())} left",
            f"{count(tally.resumed)} already done" if tally.resumed else "",
        ]
        if self._console.width < _SMALL:
            parts = [parts[0], parts[1], parts[2], parts[6]]
        return Text(" · ".join(part for part in parts if part), no_wrap=True, overflow="ellipsis")

    def _lane(self, name: str, lane: LaneTally) -> Text:
        until = ""
        if lane.until is not None:
            left = lane.until - self._clock.wall()
            if left > 3600:
                until = dt.datetime.fromtimestamp(lane.until).astimezone().strftime(" until %a %H:%M")
            elif left > 0:
                until = f" {duration(left)}"
            elif lane.state == "waiting":
                lane = LaneTally(lane.done, lane.in_flight)
        state = "" if lane.state == "open" else f"  {lane.state}{until}: {safe(lane.message, 80)}"
        style = {"closed": "red", "parked": "yellow", "waiting": "yellow"}.get(lane.state, "")
        line = Text(f"  {safe(name, 20):<12} {count(lane.done)} done, {lane.in_flight} in flight", no_wrap=True)
        line.append(state, style)
        line.overflow = "ellipsis"
        return line


def _error(message: str, times: int) -> Text:
    often = f"{count(times)}× " if times > 1 else ""
    return Text(f"  {often}{safe(message, 300)}", "dim", no_wrap=True, overflow="ellipsis")
