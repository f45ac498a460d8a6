"""Progress without a terminal: whole lines, few of them."""

from __future__ import annotations

import io

import pytest

from nanobatch.events import Event, JobFinished, LaneChanged, RunFinished, Stopping, Warned
from nanobatch.model import Status
from nanobatch.reporters.plain import EVERY_SECONDS, FAILURES_SHOWN, PlainLines
from tests.fakes import ManualClock
from tests.moments import HOSTILE, bad, every_event, missed, obeyed, ok, sent, started, summary


class Log:
    """A stream, a clock, and the lines that came."""

    def __init__(self) -> None:
        self.clock = ManualClock(wall_offset=0.0, now=3600.0)
        self.stream = io.StringIO()
        self.plain = PlainLines(self.stream, self.clock)

    def after(self, *events: Event) -> list[str]:
        for event in events:
            self.plain(event)
        return self.lines

    @property
    def lines(self) -> list[str]:
        return [line.removeprefix("01:00:00Z ") for line in self.stream.getvalue().split("\n")[:-1]]

    def ticks(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.now += 1
            self.plain.tick()


@pytest.fixture
def log() -> Log:
    return Log()


def test_the_first_line_says_what_is_wanted(log: Log) -> None:
    """How many, how many already, through whom, into where."""
    assert log.after(started(1000, already_done=400, providers=("a", "b"), sandbox=True)) == [
        "1,000 images wanted through a, b (sandbox), 400 of them already done, into out"
    ]
    assert Log().after(started(1)) == ["1 image wanted through first, into out"]


def test_each_line_has_the_time() -> None:
    """UTC, so that logs of several machines can be put side by side."""
    log = Log()
    log.after(started())
    assert log.stream.getvalue().startswith("01:00:00Z ")


def test_a_line_every_thirty_seconds_and_no_more(log: Log) -> None:
    """Ticks come every second; lines come every thirty."""
    log.after(started())
    log.ticks(29)
    assert len(log.lines) == 1
    log.ticks(1)
    assert len(log.lines) == 2
    log.ticks(300)
    assert len(log.lines) == 12
    assert EVERY_SECONDS == 30


def test_a_tick_after_a_long_pause_writes_one_line(log: Log) -> None:
    """A machine that slept for an hour does not catch up on lines."""
    log.after(started())
    log.clock.now += 3600
    log.plain.tick()
    log.plain.tick()
    assert len(log.lines) == 2


def test_the_regular_line_has_the_numbers(log: Log) -> None:
    """Settled of all, new, failed, in flight, rate, money, time left."""
    log.after(started(100))
    for number in range(28):
        log.clock.now += 1
        log.after(JobFinished(ok(number)))
    log.after(JobFinished(bad(90)), sent(91), sent(92))
    log.clock.now += 2
    log.plain.tick()
    assert log.lines[-1] == "01:00:30Z 29/100, 28 new, 1 failed, 2 in flight, 56/min, $3.75 spent, 1 m 16 s left"


def test_the_time_left_is_a_dash_until_it_is_known(log: Log) -> None:
    """A line before the second image promises nothing."""
    log.after(started())
    log.ticks(30)
    assert log.lines[-1] == "01:00:30Z 0/10, 0 new, $0.00 spent, – left"


def test_each_change_of_a_provider_has_a_line(log: Log) -> None:
    """Parked, open again: each with its reason, and with its end where that is known."""
    log.after(LaneChanged("first", "parked", "quota spent", until=7200.0), LaneChanged("first", "open", "reset"))
    assert log.lines == ["first parked until 02:00:00Z: quota spent", "first open: reset"]


def test_warnings_and_the_stop_have_a_line(log: Log) -> None:
    """What a person should know stands in the log."""
    assert log.after(Warned("careful"), Stopping("interrupted", 3, 30.0)) == [
        "warning: careful",
        "stopping: interrupted; 3 on the wire",
    ]


def test_single_attempts_have_no_line(log: Log) -> None:
    """A repeat that may still succeed is nobody's business here."""
    assert log.after(sent(), missed(), JobFinished(ok())) == []


def test_failures_are_listed_up_to_twenty(log: Log) -> None:
    """Twenty names with reasons, then one line that says where the others are."""
    log.after(*[JobFinished(bad(number, message=f"reason {number}")) for number in range(100)])
    assert len(log.lines) == FAILURES_SHOWN + 1 == 21
    assert log.lines[0] == "row-0 refused: reason 0"
    assert log.lines[19] == "row-19 refused: reason 19"
    assert log.lines[20] == "further failures are counted and listed in failed.jsonl"


def test_an_unfinished_job_is_not_called_failed(log: Log) -> None:
    """What the next run takes up has its own word, with and without a known reason."""
    log.after(JobFinished(bad(1, Status.UNFINISHED, "quota")), JobFinished(ok(2, status=Status.FAILED, file=None)))
    assert log.lines == ["row-1 not finished: quota", "row-2 failed: "]


def test_the_last_line_is_the_balance(log: Log) -> None:
    """The end of the run has a line, however short the run was, without a time left."""
    log.after(started(1), JobFinished(ok()), RunFinished(summary(ok())))
    assert log.lines[-1] == "1/1, 1 new, $0.134 spent"
    cut = Log()
    cut.after(started(9), JobFinished(ok()), RunFinished(summary(ok())))
    assert cut.lines[-1] == "1/9, 1 new, $0.134 spent"


def test_a_run_that_stops_promises_no_time(log: Log) -> None:
    """Jobs that are not sent any more have no time left."""
    log.after(started(9), sent(), Stopping("interrupted", 1, 30.0))
    log.ticks(30)
    assert log.lines[-1] == "01:00:30Z 0/9, 0 new, 1 in flight, $0.00 spent"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_text_from_data_cannot_break_a_line(log: Log, text: str) -> None:
    """One event, one line: no colour, no carriage return, no control character, no endless line."""
    record = bad(1, message=text)
    log.after(
        started(providers=(text,), output=text), Warned(text), LaneChanged(text, "closed", text),
        JobFinished(ok(1, id=text, status=Status.FAILED, file=None, error=record.error)), Stopping(text, 0, None),
    )  # fmt: skip
    output = log.stream.getvalue()
    assert output.count("\n") == 5
    assert "\r" not in output
    assert obeyed(output) == []
    assert all(len(line) <= 520 for line in output.splitlines())
    output.encode()


def test_every_event_is_understood(log: Log) -> None:
    """A whole run, event by event, in lines without colour."""
    for event in every_event():
        log.plain(event)
    assert len(log.lines) == 5
    assert "\x1b" not in log.stream.getvalue()
