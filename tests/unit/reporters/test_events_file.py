"""The events file: what programs read while a run goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest

from nanobatch import events
from nanobatch.errors import StoreError
from nanobatch.events import JobFinished, Warned
from nanobatch.reporters import Observers
from nanobatch.reporters.events_file import EventsFile, event_name
from tests.fakes import ManualClock, RecordingObserver
from tests.moments import HOSTILE, every_event, ok

KEYS = {
    "run_started": ["run_id", "output", "jobs", "already_done", "providers", "concurrency", "sandbox"],
    "attempt_started": ["job", "id", "provider", "attempt"],
    "attempt_failed": [
        "job", "id", "provider", "attempt", "code", "message", "http_status", "retry_in_seconds",
    ],
    "job_finished": ["record", "from_cache", "saved_usd"],
    "lane_changed": ["provider", "state", "message", "until"],
    "warned": ["message"],
    "stopping": ["reason", "in_flight", "grace_seconds"],
    "run_finished": ["summary"],
}  # fmt: skip
RECORD = [
    "job",
    "id",
    "variant",
    "index",
    "status",
    "file",
    "sha256",
    "bytes",
    "mime",
    "width",
    "height",
    "prompt",
    "params",
    "provider",
    "provider_model",
    "attempts",
    "cost_usd",
    "cost_basis",
    "maybe_cost_usd",
    "warnings",
    "started_at",
    "finished_at",
    "latency_seconds",
    "error",
    "columns",
]


def written(path: Path, *happened: events.Event) -> list[dict[str, Any]]:
    file = EventsFile(path, ManualClock(wall_offset=0.0, now=0.25))
    for event in happened:
        file(event)
    file.close()
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_the_keys_of_every_event_are_a_promise(tmp_path: Path) -> None:
    """Programs that follow a run rely on these names; none may go or be renamed."""
    lines = written(tmp_path / "events.jsonl", *every_event())
    assert {line["event"]: [key for key in line if key not in ("event", "time")] for line in lines} == KEYS
    assert list(lines[0])[:2] == ["event", "time"]


def test_every_type_of_event_is_in_the_promise() -> None:
    """A new event belongs into the list above."""
    kinds = get_args(events.Event)
    assert len(kinds) == 8
    assert {kind.__name__ for kind in kinds} == {type(event).__name__ for event in every_event()}
    assert {event_name(event) for event in every_event()} == set(KEYS)


def test_a_record_is_whole(tmp_path: Path) -> None:
    """The record in an event has all keys of the manifest, in its order."""
    [line] = written(tmp_path / "events.jsonl", JobFinished(ok()))
    assert list(line["record"]) == RECORD
    assert line["record"]["status"] == "ok"


def test_each_line_has_the_time(tmp_path: Path) -> None:
    """Wall-clock time in UTC, to the millisecond."""
    [line] = written(tmp_path / "events.jsonl", Warned("x"))
    assert line["time"] == "1970-01-01T00:00:00.250Z"


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "surrogate"])
def test_text_is_kept_and_stays_on_its_line(tmp_path: Path, name: str) -> None:
    """JSON escapes what would break a line; a program reads the text as it was."""
    path = tmp_path / "events.jsonl"
    [line] = written(path, Warned(HOSTILE[name]))
    assert line["message"] == HOSTILE[name]
    assert path.read_bytes().count(b"\n") == 1
    assert b"\x1b" not in path.read_bytes()


def test_a_line_is_there_when_the_event_was_told(tmp_path: Path) -> None:
    """A program that follows the file sees each event at once, not when a buffer is full."""
    path = tmp_path / "events.jsonl"
    file = EventsFile(path, ManualClock())
    file(Warned("now"))
    assert b"now" in path.read_bytes()
    file.close()


def test_a_second_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """The file of a cron job grows; nothing is overwritten."""
    written(tmp_path / "events.jsonl", Warned("one"))
    assert [line["message"] for line in written(tmp_path / "events.jsonl", Warned("two"))] == ["one", "two"]


def test_a_folder_that_does_not_exist_is_said(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(StoreError, match=r"missing/events\.jsonl"):
        EventsFile(tmp_path / "missing/events.jsonl", ManualClock())


def test_the_file_may_be_a_pipe(tmp_path: Path) -> None:
    """`--events >(jq ...)` and a named pipe are read while the run goes on."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = EventsFile(path, ManualClock())
    file(Warned("now"))
    assert json.loads(os.read(reader, 10_000))["message"] == "now"
    file.close()
    os.close(reader)


def test_a_reader_that_went_away_costs_no_image(tmp_path: Path) -> None:
    """The file is switched off and the others hear of it once; nothing is raised into the run."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file, others = EventsFile(path, ManualClock()), RecordingObserver()
    os.close(reader)
    told = Observers([file, others])
    told(Warned("one"))
    told(Warned("two"))
    file.close()
    messages = [event.message for event in others.events if isinstance(event, Warned)]
    assert [message for message in messages if message in ("one", "two")] == ["one", "two"]
    assert [message for message in messages if "EventsFile failed and is switched off: BrokenPipeError" in message]
    assert len(messages) == 3


def test_the_remains_of_a_torn_line_stay_on_their_own(tmp_path: Path) -> None:
    """What a full disk cut off in an earlier run does not spoil the first line of this one."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event":"war')
    file = EventsFile(path, ManualClock())
    for text in ("one", "two"):
        file(Warned(text))
    file.close()
    torn, *whole = path.read_bytes().splitlines()
    assert torn == b'{"event":"war'
    assert [json.loads(line)["message"] for line in whole] == ["one", "two"]


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    """The end of a run may come by two ways."""
    file = EventsFile(tmp_path / "events.jsonl", ManualClock())
    file(Warned("x"))
    file.close()
    file.close()
    assert (tmp_path / "events.jsonl").read_bytes().count(b"\n") == 1
