"""`--exec 'command {file}'`: a command for every image as it lands, a few at a time, without a shell.

The command line is split into words once, and then each placeholder is replaced within its word: what stands in a
prompt or an id can neither become another word nor reach a shell. The same values are in the command's environment
(IMAGE_FILE, IMAGE_ID, IMAGE_PROMPT, IMAGE_SHA256), for those who do want a shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from nanobatch.clock import Clock
from nanobatch.errors import ConfigError
from nanobatch.events import Event, JobFinished, RunStarted
from nanobatch.model import Record
from nanobatch.reporters.wording import safe
from nanobatch.stopping import Stop

logger = logging.getLogger("nanobatch.hooks")

PLACEHOLDERS = ("file", "id", "prompt", "sha256")
AT_ONCE = 4
FAILURES_TOLD = 5  # in words; all of them are counted
GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_TAIL_BYTES = 4096


@dataclass(slots=True)
class HookReport:
    """How the commands ended."""

    run: int = 0
    failed: int = 0
    skipped: int = 0  # not started, because the run was interrupted
    told: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Return what run.json holds."""
        return {"run": self.run, "failed": self.failed, "skipped": self.skipped}

    @property
    def warnings(self) -> list[str]:
        """Return what a person should know."""
        found = list(self.told)
        if self.failed > len(self.told):
            found.append(f"--exec failed for {self.failed:,} images in all; the log tells each")
        if self.skipped:
            found.append(f"--exec was not started for {self.skipped:,} images, because the run was interrupted")
        return found


def command_words(text: str) -> list[str]:
    """Split a command into words, and check it.

    Raises:
        ConfigError: It is empty, or has unknown placeholders, or there is no such command.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--exec: {str(error).lower()}; close what is open") from error
    if not words:
        raise ConfigError("--exec: name a command, such as 'cp {file} /srv/images'")
    known = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    for found in _PLACEHOLDER.finditer(text):
        if found[1] is not None and found[1] not in PLACEHOLDERS:
            raise ConfigError(f"--exec: {found[0]} is none of {known}; write {{{{ and }}}} for braces themselves")
    if not _PLACEHOLDER.search(words[0]) and shutil.which(words[0]) is None:
        raise ConfigError(f"--exec: there is no command {words[0]!r}; install it, or give its whole path")
    return words


def filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Put the values of an image into the words of a command; a value stays within its word, whatever it holds."""

    def value(found: re.Match[str]) -> str:
        return values[found[1]] if found[1] is not None else found[0][0]

    return [_PLACEHOLDER.sub(value, word) for word in words]


class Hooks:
    """An observer that starts the command for each image. `settle` waits for all of them at the end of the run."""

    def __init__(self, command: str, clock: Clock) -> None:
        self._words = command_words(command)
        self._clock = clock
        self._root = Path()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="nanobatch-exec")
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ending = False
        self._report = HookReport()

    def __call__(self, event: Event) -> None:
        """Put an image in line."""
        match event:
            case RunStarted(output=output):
                self._root = Path(output).absolute()
            case JobFinished(record=record) if record.has_image and record.file is not None:
                self._pool.submit(self._perform, record)
            case _:
                pass

    async def settle(self, stop: Stop) -> HookReport:
        """Wait until every command has ended; an interruption ends them."""
        ended = asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._end_on_interruption(stop))
            await ended
            watcher.cancel()
        return self._report

    async def _end_on_interruption(self, stop: Stop) -> None:
        await stop.asked.wait()
        if stop.reason is not None and stop.reason.kind != "interrupted":
            await stop.at_once.wait()  # the run is ending by itself: only a person ends the commands
        self._end(signal.SIGTERM)
        await self._clock.sleep(GRACE_SECONDS)
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        with self._lock:
            self._ending = True
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)

    def _perform(self, record: Record) -> None:
        """Run the command for one image, in a thread."""
        values = {
            "file": str(self._root / (record.file or "")),
            "id": record.id,
            "prompt": record.prompt.replace("\0", " "),
            "sha256": record.sha256 or "",
        }
        try:
            process = self._start(values)
        except (OSError, ValueError) as error:
            self._failed(record, str(error))
            return
        if process is None:
            return
        assert process.stdout is not None
        with process:
            output = _tail(process.stdout)
            code = process.wait()
        with self._lock:
            self._running.discard(process)
            self._report.run += 1
        logger.info("exec id=%s exit_code=%s output=%s", safe(record.id), code, safe(output, _TAIL_BYTES))
        if code != 0:
            last = output.strip().rpartition("\n")[2]
            self._failed(record, f"exit code {code}" + (f": {safe(last)}" if last else ""))

    def _start(self, values: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
        environment = os.environ | {f"IMAGE_{name.upper()}": value for name, value in values.items()}
        with self._lock:  # whoever ends all commands must see this one, or keep it from starting
            if self._ending:
                self._report.skipped += 1
                return None
            process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
                filled(self._words, values),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the run, which ends what it has started
            )
            self._running.add(process)
            return process

    def _failed(self, record: Record, why: str) -> None:
        logger.warning("exec failed id=%s %s", safe(record.id), why)
        with self._lock:
            self._report.failed += 1
            if len(self._report.told) < FAILURES_TOLD:
                self._report.told.append(f"--exec failed for {safe(record.id)}: {why}")


def _tail(stream: IO[bytes]) -> str:
    """Read to the end and keep the last of it: a talkative command must not fill the memory."""
    kept = b""
    while chunk := stream.read(65_536):
        kept = (kept + chunk)[-_TAIL_BYTES:]
    return kept.decode("utf-8", "replace")
