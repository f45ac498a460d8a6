"""`--exec`: words, placeholders, bounded work, failures that are counted, and an end that comes when it is asked for."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from nanobatch.clock import SystemClock
from nanobatch.errors import ConfigError
from nanobatch.events import JobFinished, RunStarted
from nanobatch.model import Record, Status
from nanobatch.reporters.hooks import AT_ONCE, FAILURES_TOLD, HookReport, Hooks, command_words, filled
from nanobatch.stopping import Stop, StopReason

pytestmark = pytest.mark.anyio
VALUES = {"file": "/out/images/a.png", "id": "a", "prompt": "a fox", "sha256": "00ff"}
HOSTILE = ["; rm -rf /", "$(id)", "`id`", "a b\tc", "'", '"', "--delete", "{file}", "line\nbreak", "*", "\\", "|& >x"]


def record(number: int, **more: Any) -> Record:
    facts: dict[str, Any] = {
        "job": f"{number:032x}",
        "id": f"row-{number}",
        "variant": 0,
        "index": number,
        "status": Status.OK,
    }
    return Record(**(facts | {"file": f"images/{number}.png", "sha256": "00ff", "prompt": f"prompt {number}"} | more))


def python(code: str, *words: str) -> str:
    """Return a command line that runs some Python."""
    return " ".join(
        [shlex.quote(sys.executable), "-c", shlex.quote(code.replace("{", "{{").replace("}", "}}")), *words]
    )


async def run(root: Path, command: str, *records: Record, stop: Stop | None = None) -> HookReport:
    hooks = Hooks(command, SystemClock())
    hooks(RunStarted("r", str(root), len(records), 0, ()))
    for each in records:
        hooks(JobFinished(each))
    return await hooks.settle(stop or Stop())


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_stays_within_its_word(value: str) -> None:
    """Whatever a prompt holds: no shell sees it, it splits nothing, and it is not replaced a second time."""
    words = command_words("echo x{prompt}y {id} {{file}}")
    assert filled(words, VALUES | {"prompt": value}) == ["echo", f"x{value}y", "a", "{file}"]


@pytest.mark.parametrize("value", HOSTILE)
async def test_the_command_receives_exactly_the_values(tmp_path: Path, value: str) -> None:
    """As arguments and in its environment."""
    code = (
        "import os, sys, json; open(sys.argv[1], 'w').write(json.dumps([sys.argv[2:],"
        " os.environ['IMAGE_PROMPT'], os.environ['IMAGE_FILE']]))"
    )
    target = tmp_path / "seen"
    report = await run(tmp_path, python(code, str(target), "{prompt}", "{file}"), record(1, prompt=value))
    assert report.counts == {"run": 1, "failed": 0, "skipped": 0}
    file = str(tmp_path / "images/1.png")
    assert json.loads(target.read_text()) == [[value, file], value, file]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "name a command"),
        ("  ", "name a command"),
        ("cp 'unclosed", "close what is open"),
        ("cp {fiel}", r"{fiel} is none of {file} {id} {prompt} {sha256}"),
        ("no-such-command-anywhere {file}", "there is no command 'no-such-command-anywhere'"),
    ],
)
def test_a_command_that_cannot_work_is_refused_before_the_run(command: str, words: str) -> None:
    """Nothing is paid for a typing error."""
    with pytest.raises(ConfigError, match=words):
        Hooks(command, SystemClock())


async def test_failures_are_counted_and_told(tmp_path: Path) -> None:
    """The first few in words, with the last line that the command printed; the others in number."""
    code = "import sys; print('noise'); print('no such ' + sys.argv[1], file=sys.stderr); sys.exit(3)"
    report = await run(tmp_path, python(code, "{id}"), *(record(number) for number in range(FAILURES_TOLD + 4)))
    assert report.counts == {"run": FAILURES_TOLD + 4, "failed": FAILURES_TOLD + 4, "skipped": 0}
    assert len(report.warnings) == FAILURES_TOLD + 1
    assert "--exec failed for row-0: exit code 3: no such row-0" in report.warnings
    assert report.warnings[-1].startswith(f"--exec failed for {FAILURES_TOLD + 4} images in all")


async def test_what_cannot_be_started_is_a_failure_too(tmp_path: Path) -> None:
    """An argument that is longer than the system takes; a NUL is replaced instead."""
    report = await run(tmp_path, "true {prompt}", record(1, prompt="x" * 4_000_000), record(2, prompt="a\0b"))
    assert report.counts == {"run": 1, "failed": 1, "skipped": 0}
    assert report.warnings[0].startswith("--exec failed for row-1: ")


async def test_only_images_are_handed_over(tmp_path: Path) -> None:
    """A refused row has no file."""
    refused = record(1, status=Status.REFUSED, file=None)
    assert (await run(tmp_path, "false", refused)).counts == {"run": 0, "failed": 0, "skipped": 0}


async def test_never_more_than_a_few_at_once(tmp_path: Path) -> None:
    """A burst of images must not become a burst of processes."""
    code = (
        "import os, sys, pathlib; here = pathlib.Path(sys.argv[1]); mine = here / str(os.getpid()); mine.touch();"
        "n = len(list(here.iterdir())); mine.unlink(); sys.exit(n)"
    )
    (tmp_path / "here").mkdir()
    limit = (
        f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {code!r}, sys.argv[1]]) > {AT_ONCE})"
    )
    report = await run(tmp_path, python(limit, str(tmp_path / "here")), *(record(number) for number in range(12)))
    assert report.counts == {"run": 12, "failed": 0, "skipped": 0}


async def test_a_talkative_command_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Megabytes of output are read, and only their end is kept."""
    code = "import sys; sys.stdout.write('x' * 20_000_000 + '\\nthe end\\n'); sys.exit(1)"
    (told,) = (await run(tmp_path, python(code), record(1))).warnings
    assert told == "--exec failed for row-1: exit code 1: the end"


async def test_an_interruption_ends_the_commands(tmp_path: Path) -> None:
    """Those at work are ended, those in line are not started; both are counted, and nobody waits for an hour."""
    ready = tmp_path / "ready"
    ready.mkdir()
    code = "import os, pathlib, sys, time; (pathlib.Path(sys.argv[1]) / str(os.getpid())).touch(); time.sleep(3600)"
    stop = Stop()
    hooks = Hooks(python(code, str(ready)), SystemClock())
    hooks(RunStarted("r", str(tmp_path), 9, 0, ()))
    for number in range(9):
        hooks(JobFinished(record(number)))
    async with asyncio.TaskGroup() as group:
        settled = group.create_task(hooks.settle(stop))
        while len(list(ready.iterdir())) < AT_ONCE:  # noqa: ASYNC110 - other processes make these files
            await asyncio.sleep(0)
        stop.ask(StopReason("interrupted", "interrupted", 130))
    report = settled.result()
    assert report.counts == {"run": AT_ONCE, "failed": AT_ONCE, "skipped": 9 - AT_ONCE}
    assert any("was not started for 5 images" in warning for warning in report.warnings)


class HastyClock(SystemClock):
    """A clock on which every wait is over at once."""

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        await asyncio.sleep(0)


async def test_a_command_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """After a few seconds of grace."""
    code = "import signal, pathlib, sys, time; signal.signal(15, signal.SIG_IGN); pathlib.Path(sys.argv[1]).touch(); time.sleep(3600)"
    stop = Stop()
    hooks = Hooks(python(code, str(tmp_path / "ready")), HastyClock())
    hooks(JobFinished(record(1)))
    async with asyncio.TaskGroup() as group:
        settled = group.create_task(hooks.settle(stop))
        while not (tmp_path / "ready").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0)
        stop.ask(StopReason("interrupted", "interrupted", 130))
    assert settled.result().warnings == ["--exec failed for row-1: exit code -9"]


async def test_a_run_that_ends_by_itself_waits_for_its_commands(tmp_path: Path) -> None:
    """A spent quota is no reason to leave images that are there without their command."""
    stop = Stop()
    stop.ask(StopReason("quota", "spent", 5))
    report = await run(tmp_path, "true", *(record(number) for number in range(6)), stop=stop)
    assert report.counts == {"run": 6, "failed": 0, "skipped": 0}
