"""nanobatch in a program: the guarantees of the command, as values and exceptions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nanobatch
from nanobatch.clock import SystemClock
from nanobatch.errors import ConfigError, InputError, NoProvider, StoreError
from nanobatch.events import AttemptStarted, Event, JobFinished, RunFinished, RunStarted
from nanobatch.folder import locked
from nanobatch.library import Options
from nanobatch.preparation import Request, dry_run
from nanobatch.starting import check
from tests.sandbox_process import SandboxProcess, sandbox

pytestmark = pytest.mark.anyio
HELD_SECONDS = 60.0  # that an answer takes while a test has something to say about it


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxProcess]:
    monkeypatch.chdir(tmp_path)
    with sandbox() as running:
        provider = {"protocol": "gemini", "base_url": running.gemini, "api_key": "k", "prices": {"1K": 0.1, "2K": 0.2}}
        Path("nanobatch.yaml").write_text(
            json.dumps(
                {"run": {"grace_seconds": 30}, "providers": {"local": provider | {"limits": {"concurrency": 2}}}}
            )
        )
        yield running


def test_a_run_and_its_result(vendor: SandboxProcess) -> None:
    """Every prompt has its image; the records are the manifest's; run.json is the summary."""
    result = nanobatch.run(["a fox", {"prompt": "a hen", "size": "2K", "sku": 7}], out="images")
    records = list(result.records())
    assert (result.exit_code, result.out) == (0, Path("images"))
    assert [(record.prompt, record.status, record.columns) for record in records] == [
        ("a fox", "ok", {}), ("a hen", "ok", {"sku": 7}),
    ]  # fmt: skip
    assert [record.params["size"] for record in records] == ["1K", "2K"]
    assert list(result.images()) == [Path("images") / str(record.file) for record in records]
    assert all(path.stat().st_size for path in result.images())
    assert result.summary == json.loads(Path("images/run.json").read_text())
    assert result.cost_usd == result.summary["cost_usd"] > 0
    assert vendor.books()["images"] == 2


def test_the_same_call_again_sends_what_is_missing(vendor: SandboxProcess) -> None:
    """Resume is the default here too, also from rows that a generator gives once."""
    rows = ["a fox", "a hen", "an owl"]
    nanobatch.run(iter(rows[:2]), out="images")
    result = nanobatch.run(iter(rows), out="images")
    assert (result.exit_code, result.summary["resumed"], len(list(result.images()))) == (0, 2, 3)
    assert vendor.books()["images"] == 3


def test_rows_are_read_in_the_thread_of_the_caller(vendor: SandboxProcess) -> None:
    """A cursor of SQLite, and many another, may be used by its own thread alone."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        rows = database.execute("SELECT 'a fox' UNION SELECT 'a hen'")
        assert nanobatch.run((words for (words,) in rows), out="out").exit_code == 0
    assert vendor.books()["images"] == 2


def test_rows_and_files_are_the_same_jobs(vendor: SandboxProcess) -> None:
    """A program may go on with what the command began."""
    Path("p.csv").write_text("id,prompt,size\na,a fox,2K\nb,a hen,\n")
    nanobatch.run(Path("p.csv"), out="images")
    rows: list[dict[str, str | None]] = [
        {"id": "a", "prompt": "a fox", "size": "2K"},
        {"id": "b", "prompt": "a hen", "size": None},
    ]
    assert nanobatch.run(rows, out="images").summary["resumed"] == 2
    assert vendor.books()["images"] == 2


def test_the_output_folder_without_a_word(vendor: SandboxProcess) -> None:
    """Named after the prompt file, as the command does; `prompts-images` for rows."""
    Path("p.csv").write_text("prompt\na fox\n")
    assert nanobatch.run("p.csv").out == Path("p-images")
    assert nanobatch.run(["a fox"]).out == Path("prompts-images")


def test_references_are_found_from_the_working_folder(vendor: SandboxProcess) -> None:
    """A path may be a `Path`; one that leads nowhere is told before anything is sent."""
    result = nanobatch.run(["a fox"], out="one")
    picture = next(result.images())
    again = nanobatch.run([{"prompt": "the same at night", "references": [picture]}], out="two")
    assert again.exit_code == 0
    with pytest.raises(InputError) as caught:
        nanobatch.run([{"prompt": "a fox", "references": ["gone.png"]}], out="three")
    assert "prompts:1: the reference 'gone.png' is no file" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a fox", {"prompt": "a hen", "size": "3K"}], "prompts:2: size '3K' is not one of"),
        ([{"words": "a fox"}], "prompts:1: no column 'prompt' .*columns: words"),
        (["a fox", ""], "prompts:2: the prompt is empty"),
        (
            [{"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}],
            "prompts:2: the id 'a' is already that of prompts:1",
        ),
    ],
)
def test_bad_rows_are_named_and_nothing_is_sent(vendor: SandboxProcess, rows: list[Any], words: str) -> None:
    """The same checks as of a file, with the number of the row."""
    with pytest.raises(InputError) as caught:
        nanobatch.run(rows)
    assert re.search(words, "\n".join(caught.value.problems))
    assert vendor.books()["images"] == 0
    assert not Path("prompts-images").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "there are no prompts"),
        (["a fox", 7], "prompts:2: not a row: a prompt is a string or a mapping, not int"),
        ([{"prompt": "a fox", "when": object()}], "prompts:1: not a row: object cannot be written as JSON"),
        (["half \ud800"], "prompts:1: not a row"),
        ({"prompt": "a fox"}, r"one mapping; write a list of it"),
        ("nowhere.csv", "cannot read nowhere.csv: there is no such file"),
    ],
)
def test_what_is_no_row_is_said(rows: Any, words: str) -> None:
    """In a sentence, as an InputError."""
    with pytest.raises(InputError, match=words):
        nanobatch.run(rows, sandbox=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "3K"}, r"--size: .*must be one of 512, 1K, 2K, 4K"),
        ({"config": Path("gone.yaml")}, "gone.yaml: there is no such file"),
        ({"provider": "gogle"}, "did you mean 'google'"),
        ({"embed": ["prmpt"]}, "--embed: .*must be prompt or params"),
        ({"out": "nanobatch.yaml"}, "nanobatch.yaml is a file"),
        ({"name": "{sku}"}, "--name: no column 'sku'"),
    ],
)
def test_wrong_options_are_sentences(vendor: SandboxProcess, options: Any, words: str) -> None:
    """They name the option as the command would."""
    with pytest.raises((ConfigError, InputError)) as caught:
        nanobatch.run(["a fox"], **options)
    problems = getattr(caught.value, "problems", ())
    assert re.search(words, "\n".join([str(caught.value), *problems]))


def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    """As of any function."""
    with pytest.raises(TypeError, match="there is no option 'bugdet'"):
        nanobatch.run(["a fox"], bugdet=5)  # type: ignore[call-arg]


def test_every_option_is_one_of_the_command(project_root: Path) -> None:
    """The names are the same, so one page explains both."""
    text = (project_root / "docs/cli.md").read_text().split("## nanobatch run")[1].split("\n## ")[0]
    assert len(Options.__annotations__) > 20
    assert [name for name in Options.__annotations__ if f"`--{name.replace('_', '-')}" not in text] == []


def test_without_a_key_there_is_no_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's exit code 3 is an exception here; an estimate needs none."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoProvider, match="GEMINI_API_KEY"):
        nanobatch.run(["a fox"])
    assert nanobatch.estimate(["a fox", "a hen"], images_per_prompt=2)["to_send"] == 4
    assert list(tmp_path.iterdir()) == []


async def test_an_estimate_is_the_dry_run(vendor: SandboxProcess) -> None:
    """The same keys and figures, from rows or a file, and nothing is sent or written."""
    Path("p.csv").write_text("prompt\na fox\na hen\n")
    request = Request(inputs=("p.csv",))
    ready = check(request, {}, None, sandbox=False)
    plan = dry_run(ready.prepared)
    ready.prepared.references.close()
    found = await nanobatch.aestimate("p.csv")
    assert found == plan == nanobatch.estimate("p.csv")
    assert found["cost_usd"]["low"] == pytest.approx(0.2)
    assert nanobatch.estimate(["a fox", "a hen"])["cost_usd"] == plan["cost_usd"]
    assert vendor.books()["images"] == 0
    assert sorted(path.name for path in Path().iterdir()) == ["nanobatch.yaml", "p.csv"]


def test_the_budget_holds(vendor: SandboxProcess) -> None:
    """A limit of the user's is no exception: the result tells, and the records."""
    result = nanobatch.run(["a fox", "a hen", "an owl"], out="images", budget=0.25)
    assert result.exit_code == 4
    assert sum(record.has_image for record in result.records()) == 2
    assert vendor.books()["images"] == 2


async def test_events_in_a_loop_that_is_running(vendor: SandboxProcess) -> None:
    """In order, from the start to the summary; other tasks of the loop go on meanwhile."""
    events: list[Event] = []
    result = await nanobatch.arun(["a fox", "a hen"], out="images", on_event=events.append)
    assert isinstance(events[0], RunStarted)
    assert events[-1] == RunFinished(result.summary)
    assert sum(isinstance(event, JobFinished) for event in events) == 2


async def test_run_says_what_to_do_in_a_running_loop() -> None:
    """A notebook has one."""
    with pytest.raises(RuntimeError, match=r"use `await nanobatch.arun\(...\)`"):
        nanobatch.run(["a fox"], sandbox=True)


async def test_a_folder_is_for_one_run_at_a_time(vendor: SandboxProcess) -> None:
    """In one process too."""
    Path("images").mkdir()
    with locked(Path("images"), SystemClock()), pytest.raises(ConfigError, match="in use by another run"):
        await nanobatch.arun(["a fox"], out="images")


async def test_a_folder_that_cannot_be_made(vendor: SandboxProcess) -> None:
    """A StoreError, with nothing sent."""
    with pytest.raises(StoreError, match="cannot write"):
        await nanobatch.arun(["a fox"], out="/proc/images")
    assert vendor.books()["images"] == 0


def _when_sent(count: int, then: Any) -> Any:
    """Make an observer that acts when so many requests have left."""
    sent = 0

    def observe(event: Event) -> None:
        nonlocal sent
        if isinstance(event, AttemptStarted):
            sent += 1
            if sent == count:
                then()

    return observe


async def test_cancelling_ends_in_order(vendor: SandboxProcess) -> None:
    """What is on the wire finishes and is recorded; nothing new is sent; then CancelledError."""
    vendor.plan(latency=0.2)
    task: asyncio.Task[Any]
    loop = asyncio.get_running_loop()
    observe = _when_sent(2, lambda: loop.call_soon(task.cancel))
    task = asyncio.create_task(nanobatch.arun([f"fox {n}" for n in range(9)], out="images", on_event=observe))
    with pytest.raises(asyncio.CancelledError):
        await task
    summary = json.loads(Path("images/run.json").read_text())
    assert (summary["ok"], summary["unfinished"], summary["exit_code"]) == (2, 7, 130)
    assert summary["maybe_cost_usd"] == 0
    assert vendor.books()["images"] == 2
    vendor.plan(latency=0)
    assert (await nanobatch.arun([f"fox {n}" for n in range(9)], out="images")).summary["resumed"] == 2


async def test_cancelling_twice_ends_at_once(vendor: SandboxProcess) -> None:
    """What was on the wire is recorded as possibly billed."""
    vendor.plan(latency=HELD_SECONDS)
    task: asyncio.Task[Any]
    loop = asyncio.get_running_loop()

    def twice() -> None:
        loop.call_soon(task.cancel)
        loop.call_later(0.05, task.cancel)

    task = asyncio.create_task(nanobatch.arun(["a fox", "a hen"], out="images", on_event=_when_sent(2, twice)))
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, HELD_SECONDS / 2)
    summary = json.loads(Path("images/run.json").read_text())
    assert (summary["unfinished"], summary["exit_code"]) == (2, 130)
    assert summary["maybe_cost_usd"] > 0.19


async def test_a_timeout_is_a_timeout(vendor: SandboxProcess) -> None:
    """The tools of asyncio work as with any coroutine."""
    vendor.plan(latency=0.3)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await nanobatch.arun([f"fox {n}" for n in range(9)], out="images")
    assert len(list(Path("images/manifest.jsonl").read_text().splitlines())) > 0


async def test_signals_are_the_programs_own(vendor: SandboxProcess) -> None:
    """Neither Ctrl-C nor SIGTERM has another handler during a run."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    during: list[Any] = []

    def look(event: Event) -> None:
        during.extend([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)])

    await nanobatch.arun(["a fox"], out="images", on_event=look)
    assert during[:2] == before == during[-2:]


def test_nothing_is_printed(vendor: SandboxProcess, capfd: pytest.CaptureFixture[str]) -> None:
    """Not even a warning: they go to standard logging."""
    vendor.plan(faults={"safety": 1.0})
    assert nanobatch.run(["a fox"], out="images").exit_code == 1
    assert capfd.readouterr() == ("", "")


def test_an_observer_that_fails_costs_nobody_an_image(vendor: SandboxProcess, caplog: pytest.LogCaptureFixture) -> None:
    """It is switched off, and the log says why."""

    def broken(event: Event) -> None:
        raise KeyError("sku")

    logging.getLogger("nanobatch").propagate = True  # the command's tests may have set up logging of their own
    with caplog.at_level(logging.WARNING, "nanobatch"):
        assert nanobatch.run(["a fox"], out="images", on_event=broken).exit_code == 0
    assert any("failed and is switched off: KeyError: 'sku'" in record.getMessage() for record in caplog.records)


def test_the_sandbox_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a program can be tried, and tested, before it costs anything."""
    monkeypatch.chdir(tmp_path)
    result = nanobatch.run(["a fox"], sandbox=True)
    assert (result.exit_code, result.summary["sandbox"]) == (0, True)


def test_names_are_looked_up_late() -> None:
    """All of them are there and listed; another name is an AttributeError."""
    assert set(nanobatch.__all__) <= set(dir(nanobatch))
    assert all(hasattr(nanobatch, name) for name in nanobatch.__all__)
    assert nanobatch.estimate is sys.modules["nanobatch.library"].estimate
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        nanobatch.runn  # type: ignore[attr-defined]  # noqa: B018
