"""The log: events as lines of standard logging."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import StoreError
from nanobatch.events import Event, JobFinished, Warned
from nanobatch.reporters.log_file import log_event, start_logging
from nanobatch.settings import Limits
from tests.harness import settings
from tests.moments import HOSTILE, bad, every_event, obeyed, ok, started


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Take every handler away again that a test added."""
    root = logging.getLogger("nanobatch")
    before = list(root.handlers)
    yield
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()


def lines(path: Path, *happened: Event) -> list[str]:
    start_logging(path, to_stderr=False)
    for event in happened:
        log_event(event)
    return path.read_text("utf-8").splitlines()


def test_each_event_is_one_line_with_its_fields(tmp_path: Path) -> None:
    """Time in UTC, level, the event's name, then its fields; what is not known is left out."""
    found = lines(tmp_path / "run.log", *every_event())
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ [a-z_]+ \S+=", line) for line in found)
    assert [line.split(" ", 1)[1] for line in found] == [
        "INFO run_started run_id=run-1 jobs=10 already_done=0 output=out",
        "DEBUG attempt_started id=row-1 provider=first attempt=1",
        (
            "INFO attempt_failed id=row-1 provider=first attempt=1 code=overloaded http_status=503 "
            "retry_in_seconds=2.0 message=503"
        ),
        "INFO lane_changed provider=first state=parked until=1790003600.0 message=quota spent",
        "WARNING warned message=careful",
        "INFO job_finished id=row-1 status=ok file=images/row-1.png provider=first attempts=1 cost_usd=0.134",
        "WARNING stopping reason=interrupted in_flight=3",
        "INFO run_finished exit_code=0 ok=1 cost_usd=0.134",
    ]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_control_characters_are_escaped(tmp_path: Path, text: str) -> None:
    """A text from data is one field on one line; `cat run.log` is harmless, no line can be forged."""
    found = lines(tmp_path / "run.log", Warned(text), started(output=text), JobFinished(ok(1, id=text)))
    assert len(found) == 3
    assert obeyed("".join(found)) == []
    assert max(map(len, found)) < 700


def test_no_key_gets_into_a_line(tmp_path: Path) -> None:
    """Settings in a log line show stars where the key is, formatted in any way."""
    provider = settings("first", limits=Limits())
    assert provider.api_key is not None
    secret = provider.api_key.reveal()
    found = lines(tmp_path / "run.log", Warned(f"{provider} {provider!r} {provider.api_key} {provider.api_key:}"))
    assert secret not in found[0]
    assert "***" in found[0]


def test_prompts_are_not_logged(tmp_path: Path) -> None:
    """A log is shown around; what a person wrote stays in the manifest."""
    assert "secret idea" not in lines(tmp_path / "run.log", JobFinished(ok(1, prompt="secret idea")))[0]


def test_a_second_run_goes_on_in_the_same_log(tmp_path: Path) -> None:
    """The log of a cron job grows."""
    path = tmp_path / "run.log"
    path.write_text("before\n")
    assert lines(path, JobFinished(bad(1)))[0] == "before"
    assert len(path.read_text().splitlines()) == 2


def test_verbose_writes_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output stays free for data."""
    assert len(start_logging(None, to_stderr=True)) == 1
    log_event(Warned("careful"))
    captured = capsys.readouterr()
    assert captured.err.endswith("WARNING warned message=careful\n")
    assert captured.out == ""


def test_without_either_nothing_is_opened() -> None:
    """No log is wanted: no handler, no file."""
    assert start_logging(None, to_stderr=False) == []


def test_without_a_log_a_warning_is_not_printed_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard error belongs to the display; a line of logging's own would be there twice, and in spite of --quiet."""
    start_logging(None, to_stderr=False)
    logging.getLogger("nanobatch.reporters.hooks").warning("exec failed id=fox exit code 1")
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(StoreError, match=r"missing/run\.log"):
        start_logging(tmp_path / "missing/run.log", to_stderr=False)


def test_a_log_that_cannot_go_on_is_given_up_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A disk that fills up is one sentence on standard error, not a traceback for every event."""
    handler: Any
    [handler] = start_logging(tmp_path / "run.log", to_stderr=False)
    handler.setStream(Full()).close()
    for _ in range(3):
        log_event(Warned("careful"))
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "run.log cannot be written: [Errno 28] No space left on device" in captured.err
    assert "Traceback" not in captured.err


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")
