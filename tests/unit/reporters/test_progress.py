"""The display of a terminal, as it lands on the stream."""

from __future__ import annotations

import io
import threading

import pytest
from rich.cells import cell_len
from rich.console import Console

from nanobatch.events import Event, JobFinished, LaneChanged, RunFinished, Stopping, Warned
from nanobatch.reporters.progress import ProgressDisplay
from tests.fakes import ManualClock
from tests.moments import HOSTILE, bad, every_event, missed, obeyed, ok, sent, started, summary, visible

WIDTHS = [40, 100, 200]


class Screen:
    """A terminal of some width, and a display on it that is drawn when the test says so."""

    def __init__(self, width: int = 100) -> None:
        self.clock = ManualClock()
        self.stream = io.StringIO()
        self.console = Console(
            file=self.stream, force_terminal=True, width=width, height=30, highlight=False, markup=False
        )
        self.display = ProgressDisplay(self.clock, self.console)

    def after(self, *events: Event) -> str:
        for event in events:
            self.display._tally(event)
        return self.frame()

    def frame(self) -> str:
        start = self.stream.tell()
        self.console.print(self.display.render())
        self.stream.seek(start)
        return self.stream.read()


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.mark.parametrize("width", WIDTHS)
def test_done_failed_and_in_flight_are_shown(width: int) -> None:
    """Whatever the width, the first line counts to the end and the second says what happened."""
    screen = Screen(width)
    frame = visible(screen.after(started(10), sent(1), sent(2), sent(3), JobFinished(ok(1)), JobFinished(bad(2))))
    for words in ("2/10", "20 %", "1 done", "1 failed", "1 in flight"):
        assert words in frame
    assert all(len(line) <= width for line in frame.splitlines())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_no_line_that_wraps(encoding: str) -> None:
    """An escape in place of a sign is several signs wide; a line that wraps leaves a bar behind with every frame."""
    screen, width = Screen(60), 60
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace")
    console = Console(file=stream, force_terminal=True, width=width, highlight=False, markup=False)
    screen.display = ProgressDisplay(screen.clock, console)
    long = "the model is \u00fcberlastet \u2013 " * 9
    for event in (started(10), *[JobFinished(ok(n)) for n in range(4)], JobFinished(bad(5, message=long)), missed(6)):
        screen.display._tally(event)
    console.print(screen.display.render())
    stream.flush()
    lines = visible(raw.getvalue().decode(encoding)).splitlines()
    assert any("4 done" in line for line in lines)
    assert all(len(line) <= width and "\\" not in line for line in lines), lines


def test_rate_cost_and_time_left_are_shown(screen: Screen) -> None:
    """Thirty images in a minute: thirty a minute, what they cost, and two minutes for the other sixty."""
    screen.after(started(90))
    for number in range(30):
        screen.clock.now += 2
        screen.after(JobFinished(ok(number, maybe_cost_usd=0.1)))
    frame = visible(screen.frame())
    for words in ("30/min", "$4.02", "$3.00 possibly billed", "2 m 00 s left"):
        assert words in frame


@pytest.mark.parametrize("width", WIDTHS)
def test_the_time_left_is_a_dash_until_it_is_known(width: int) -> None:
    """No number is better than a made-up one."""
    assert "– left" in visible(Screen(width).after(started(10), JobFinished(ok(1))))


def test_what_earlier_runs_did_is_named(screen: Screen) -> None:
    """A resumed run begins where the last one ended and says so."""
    frame = visible(screen.after(started(1000, already_done=400)))
    assert "400/1,000" in frame
    assert "400 already done" in frame


def test_money_of_the_sandbox_is_pretended(screen: Screen) -> None:
    """Nobody takes the sandbox's price for a bill."""
    assert "pretended" in visible(screen.after(started(sandbox=True)))
    assert "pretended" not in visible(Screen().after(started()))


def test_one_open_provider_needs_no_line(screen: Screen) -> None:
    """The only provider's numbers are the run's."""
    assert "first" not in visible(screen.after(started()))


def test_several_providers_have_a_line_each(screen: Screen) -> None:
    """With more than one provider it is seen who does what."""
    frame = visible(
        screen.after(started(providers=("first", "second")), sent(1), sent(2, "second"), JobFinished(ok(1)))
    )
    lines = [line.split() for line in frame.splitlines()]
    assert ["first", "1", "done,", "0", "in", "flight"] in lines
    assert ["second", "0", "done,", "1", "in", "flight"] in lines


@pytest.mark.parametrize("state", ["parked", "closed", "shrunk", "waiting"])
def test_a_provider_that_is_not_open_says_why(screen: Screen, state: str) -> None:
    """One provider alone gets its line as soon as something is wrong with it."""
    until = screen.clock.wall() + 90
    frame = visible(screen.after(started(), LaneChanged("first", state, "quota spent", until=until)))
    assert f"{state} 1 m 30 s: quota spent" in frame


def test_a_long_pause_is_shown_as_a_time_of_day(screen: Screen) -> None:
    """What lasts hours is said with a weekday and a time."""
    frame = visible(
        screen.after(started(), LaneChanged("first", "parked", "quota", until=screen.clock.wall() + 9 * 3600))
    )
    assert "parked until " in frame


def test_a_wait_that_is_over_is_no_longer_shown(screen: Screen) -> None:
    """A lane that waited two seconds is open again without an event that says so."""
    screen.after(started(), LaneChanged("first", "waiting", "429", until=screen.clock.wall() + 2))
    screen.clock.now += 3
    assert "waiting" not in visible(screen.frame())


def test_the_last_errors_have_counts(screen: Screen) -> None:
    """Three kinds of error, the latest last, each with how often it came."""
    frame = visible(screen.after(started(), *[missed(message=text) for text in ("a", "b", "c", "d", "b")], Warned("w")))
    assert [line.strip() for line in frame.splitlines()[2:]] == ["first: d", "2× first: b", "w"]


def test_stopping_is_announced(screen: Screen) -> None:
    """Who pressed Ctrl-C sees that it was heard, and what is still waited for."""
    frame = visible(screen.after(started(), sent(1), sent(2), Stopping("interrupted", 2, 30.0)))
    assert "stopping, 2 on the wire (Ctrl-C ends at once): interrupted" in frame


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_text_from_data_is_never_obeyed(text: str, width: int) -> None:
    """Neither a terminal nor rich obeys what a provider or a file says; each text stays on its own line."""
    screen = Screen(width)
    frame = screen.after(
        started(providers=("first", text)),
        missed(message=text),
        Warned(text),
        LaneChanged("first", "closed", text),
        LaneChanged(text, "parked", text, until=screen.clock.wall() + 9000),
        Stopping(text, 1, None),
    )
    assert obeyed(visible(frame)) == []
    assert len(visible(frame).splitlines()) == 7
    visible(frame).encode()


def test_markup_is_shown_as_it_stands(screen: Screen) -> None:
    """A prompt that looks like rich's markup is text: its brackets are on the screen, no style follows."""
    frame = screen.after(started(), missed(message="[bold red]loud[/bold red] [/]"))
    assert "[bold red]loud[/bold red] [/]" in visible(frame)
    assert "\x1b[1;31m" not in frame


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_live_display_obeys_nothing_either(text: str) -> None:
    """From the first frame to the last, through rich's own machinery."""
    screen = Screen()
    for event in (started(providers=("first", "second")), missed(message=text), Warned(text)):
        screen.display(event)
    screen.display._live.refresh()
    screen.display(RunFinished(summary(ok())))
    output = screen.stream.getvalue()
    assert "first" in output
    assert obeyed(visible(output)) == []


def test_the_display_leaves_the_screen() -> None:
    """After the run the cursor is visible again, no thread draws any more, and stopping twice is harmless."""
    screen = Screen()
    before = set(threading.enumerate())
    for event in every_event():
        screen.display(event)
    screen.display.stop()
    output = screen.stream.getvalue()
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


def test_stopping_before_the_start_is_harmless() -> None:
    """A run that never began leaves nothing on the screen."""
    screen = Screen()
    screen.display.stop()
    assert screen.stream.getvalue() == ""


def test_drawing_bears_events_that_come_meanwhile() -> None:
    """The display draws in its own thread; a thousand events in the meantime never break a frame."""
    screen = Screen()
    failures: list[Exception] = []
    over = threading.Event()

    def draw() -> None:
        while not over.is_set():
            try:
                screen.display.render()
            except RuntimeError as error:
                failures.append(error)

    screen.display._tally(started(providers=("first", "second")))
    drawer = threading.Thread(target=draw)
    drawer.start()
    for number in range(3000):
        screen.display._tally(missed(number, f"error {number}", provider=f"lane {number % 60}"))
    over.set()
    drawer.join()
    assert failures == []


def test_an_empty_run_is_complete(screen: Screen) -> None:
    """No job at all is a hundred percent, not a division by zero."""
    assert "0/0  100 %" in visible(screen.after(started(0)))


@pytest.mark.parametrize("width", [40, 60, 100, 160, 200])
def test_no_line_is_wider_than_the_terminal_believes(width: int) -> None:
    """Signs that terminals draw wider or narrower than rich counts would wrap a line and shift every later frame."""
    frame = visible(Screen(width).after(started(providers=("a", "b")), missed(message="❤️ 👍🏽 1️⃣ 👨‍👩‍👧 " * 40)))
    assert "❤" in frame
    assert not {"\ufe0f", "\u20e3", "\u200d", "\U0001f3fd"} & set(frame)
    assert all(cell_len(line) <= width for line in frame.splitlines())


def test_a_narrow_line_gives_up_what_matters_least() -> None:
    """Done, failed and the time left stay whole at 40 columns; nothing is cut in the middle."""
    events: list[Event] = [
        started(2000, already_done=600),
        *[JobFinished(ok(number)) for number in range(300)],
        JobFinished(bad(9)),
    ]
    narrow, wide = Screen(40), Screen(100)
    for screen in (narrow, wide):
        screen.clock.now += 60
    line = visible(narrow.after(*events)).splitlines()[1]
    assert line.strip() == "300 done · 1 failed · – left"
    for words in ("$40.20", "600 already done", "0 in flight"):
        assert words in visible(wide.after(*events))


def test_names_of_providers_are_in_a_column() -> None:
    """Numbers stand below each other, so that lanes can be compared."""
    frame = visible(Screen().after(started(providers=("a", "long-name")), sent(1, "a")))
    first, second = [line for line in frame.splitlines() if "in flight" in line][1:]
    assert first.index("0 done") == second.index("0 done")


@pytest.mark.parametrize("state", ["parked", "waiting", "shrunk"])
def test_every_pause_that_is_over_is_no_longer_shown(state: str) -> None:
    """A lane whose quota came back has no event for it."""
    screen = Screen()
    screen.after(started(), LaneChanged("first", state, "why", until=screen.clock.wall() + 60))
    assert "why" in visible(screen.frame())
    screen.clock.now += 61
    assert "why" not in visible(screen.frame())


def test_a_smaller_lane_is_news_for_a_minute() -> None:
    """It grows again step by step, and nobody is told of each."""
    screen = Screen()
    screen.after(started(), LaneChanged("first", "shrunk", "at most 2 at once now, of 4"))
    assert "shrunk: at most 2" in visible(screen.frame())
    screen.clock.now += 61
    assert "shrunk" not in visible(screen.frame())


def left(screen: Screen, *events: Event) -> list[str]:
    """Return the lines that stay on the screen after the run."""
    for event in events:
        screen.display(event)
    before_end = screen.stream.tell()
    screen.display(RunFinished(summary(ok())))
    return [line for line in visible(screen.stream.getvalue()[before_end:]).splitlines() if line.strip(" \r━╺╸")]


def test_one_line_with_the_counts_stays_on_the_screen() -> None:
    """Who looks at the terminal an hour later sees how the run ended."""
    screen = Screen()
    screen.display(started(1000, already_done=400))
    screen.clock.now += 125
    last = left(screen, JobFinished(ok(1)), JobFinished(bad(2)))[-1]
    assert last == "402/1,000 · 1 done · 1 failed · $0.134 · 400 already done · 2 m 05 s"


def test_warnings_stay_on_the_screen() -> None:
    """A retired model or money that may be lost is not gone with the display; each is said once."""
    lines = left(Screen(), started(), Warned("careful"), Warned("[b]two[/b]\x1b[2J"), Warned("careful"))
    assert [line for line in lines if line.startswith("warning")] == ["warning: careful", "warning: [b]two[/b]·[2J"]


def test_many_warnings_are_counted() -> None:
    """Twenty are read, a thousand are not."""
    lines = left(Screen(), started(), *[Warned(f"number {number}") for number in range(1020)])
    assert sum(line.startswith("warning") for line in lines) == 20
    assert "and 1,000 more warnings, in run.json" in lines
