"""Standard output: data, and nothing but data."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field

import pytest

from nanobatch.events import Event, JobFinished, RunFinished
from nanobatch.model import Status
from nanobatch.reporters.stdout import DataStream
from nanobatch.reporters.summary import render_text
from tests.moments import HOSTILE, bad, every_event, ok, started, summary
from tests.unit.reporters.test_events_file import RECORD


@dataclass
class Reader:
    """A stream whose reader goes away after some writes."""

    patience: int = 1000
    text: str = ""
    flushes: int = 0
    complaints: list[str] = field(default_factory=list)

    def write(self, text: str) -> int:
        if self.patience == 0:
            raise BrokenPipeError(32, "Broken pipe")
        self.patience -= 1
        self.text += text
        return len(text)

    def flush(self) -> None:
        self.flushes += 1


def output(format: str, *happened: Event) -> str:  # noqa: A002
    stream = io.StringIO()
    data = DataStream(stream, format, on_broken=lambda: None)
    for event in happened:
        data(event)
    return stream.getvalue()


RUN = (started(), JobFinished(ok(1)), JobFinished(bad(2)), RunFinished(summary(ok(1), bad(2))))


def test_jsonl_is_a_record_per_job() -> None:
    """Each job has its record as it ends, with or without an image, with all keys; no summary follows."""
    lines = [json.loads(line) for line in output("jsonl", *RUN).splitlines()]
    assert [(line["id"], line["status"]) for line in lines] == [("row-1", "ok"), ("row-2", "refused")]
    assert list(lines[0]) == RECORD


def test_paths_is_a_path_per_image() -> None:
    """A path can be opened from where the command was started; a job without an image has none."""
    assert output("paths", *RUN) == "out/images/row-1.png\n"


def test_cached_images_have_paths_too() -> None:
    """Where the image came from does not matter to who reads paths."""
    assert (
        output("paths", started(output="/abs"), JobFinished(ok(1, status=Status.CACHED))) == "/abs/images/row-1.png\n"
    )


def test_text_and_json_come_at_the_end() -> None:
    """The summary is the only output, in words or as one object."""
    assert output("text", *RUN) == render_text(RUN[-1].summary) + "\n"
    assert json.loads(output("json", *RUN)) == summary(ok(1), bad(2))
    assert output("text", *RUN[:-1]) == output("json", *RUN[:-1]) == ""


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_record_is_one_line_whatever_is_in_it(text: str) -> None:
    """A prompt with line breaks and escapes comes back as it was, from one line."""
    prompt = text.replace("\ud83d", "")  # no file can hold half a character
    out = output("jsonl", JobFinished(ok(1, prompt=prompt, id=prompt)))
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert json.loads(out)["prompt"] == prompt


@pytest.mark.parametrize("format", ["jsonl", "paths"])
def test_each_line_is_flushed(format: str) -> None:  # noqa: A002
    """The next program of the pipeline gets an image when it lands, not at the end."""
    reader = Reader()
    data = DataStream(reader, format, on_broken=lambda: None)  # type: ignore[arg-type]
    data(JobFinished(ok(1)))
    data(JobFinished(ok(2)))
    assert reader.flushes == 2


@pytest.mark.parametrize("format", ["jsonl", "paths", "text", "json"])
def test_a_reader_that_went_away_is_told_once(format: str) -> None:  # noqa: A002
    """The run is asked to stop once, no exception leaves, and nothing more is written."""
    told: list[str] = []
    reader = Reader(patience=0)
    data = DataStream(reader, format, on_broken=lambda: told.append("gone"))  # type: ignore[arg-type]
    for event in (*RUN, *RUN):
        data(event)
    assert told == ["gone"]
    assert data.broken
    assert reader.text == ""


def test_what_was_read_before_is_whole() -> None:
    """`| head -2` gets two lines."""
    reader = Reader(patience=2)
    data = DataStream(reader, "paths", on_broken=lambda: None)  # type: ignore[arg-type]
    for number in range(5):
        data(JobFinished(ok(number)))
    assert reader.text.splitlines() == ["images/row-0.png", "images/row-1.png"]


def test_other_events_are_no_data() -> None:
    """Warnings, lanes and attempts never land on standard output."""
    for format in ("jsonl", "paths", "text", "json"):  # noqa: A001
        happened = [event for event in every_event() if not isinstance(event, JobFinished | RunFinished)]
        assert len(happened) == 6
        assert output(format, *happened) == ""


def encoded(format: str, encoding: str, *happened: Event) -> bytes:  # noqa: A002
    raw = io.BytesIO()
    data = DataStream(io.TextIOWrapper(raw, encoding=encoding), format, on_broken=lambda: None)
    for event in happened:
        data(event)
    return raw.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252"])
def test_json_is_utf8_whatever_the_locale_says(encoding: str) -> None:
    """A prompt that the terminal could not show is data all the same; no record is lost over it."""
    happened = (JobFinished(ok(1, prompt="Füchse 🦊 狐")), RunFinished(summary(ok(), bad(2, message="Füchse 🦊 狐"))))
    assert json.loads(encoded("jsonl", encoding, *happened))["prompt"] == "Füchse 🦊 狐"
    assert json.loads(encoded("json", encoding, *happened))["failures"][0]["message"] == "Füchse 🦊 狐"


def test_a_path_is_the_bytes_of_its_name() -> None:
    """A folder whose name is no text can still be opened by the next program."""
    folder = b"out-\xff".decode("utf-8", "surrogateescape")
    assert encoded("paths", "ascii", started(output=folder), JobFinished(ok(1))) == b"out-\xff/images/row-1.png\n"


def test_the_summary_for_people_is_in_their_encoding() -> None:
    """What an old terminal cannot show becomes a question mark, not a crash."""
    out = encoded("text", "latin-1", RunFinished(summary(ok(), bad(2, message="Füchse 🦊"))))
    assert "Füchse ?" in out.decode("latin-1")


def test_a_full_disk_ends_the_run_too() -> None:
    """`-O jsonl > records.jsonl` on a full disk must not go on as if the records were there."""

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    told: list[str] = []
    data = DataStream(Full(), "jsonl", on_broken=lambda: told.append("full"))
    data(JobFinished(ok(1)))
    data(JobFinished(ok(2)))
    assert (told, data.broken) == (["full"], True)
