"""What `nanobatch run` does once its options are read: settings, checks, displays, the run, the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from nanobatch.assembly import Prepared, Request, dry_run, output_folder, prepare, run
from nanobatch.clock import Clock, SystemClock
from nanobatch.config import load_settings
from nanobatch.errors import ConfigError, InputError, NanobatchError
from nanobatch.events import Observer
from nanobatch.reporters import Observers
from nanobatch.reporters.events_file import EventsFile
from nanobatch.reporters.log_file import log_event, start_logging
from nanobatch.reporters.plain import PlainLines
from nanobatch.reporters.plan import render_plan_text
from nanobatch.reporters.stdout import DataStream
from nanobatch.reporters.wording import money, safe
from nanobatch.settings import Settings
from nanobatch.stopping import Stop, StopReason

INTERRUPTED = 130
SANDBOX_BOOKS = ".nanobatch/sandbox-books.jsonl"


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown where."""

    output: str
    progress: str
    events: Path | None
    log_file: Path | None
    quiet: bool
    verbose: bool
    yes: bool


def perform(
    request: Request,
    *,
    flags: Mapping[str, Any],
    config_path: str | None,
    screen: Screen,
    sandbox: bool,
    dry_run: bool,
) -> int:
    """Run, and return the exit code. A failure is said in a sentence on standard error."""
    try:
        with _sandbox_address(request, flags, wanted=sandbox, serve=not dry_run) as url:
            settings = _settings(flags, config_path, url)
            prepared = prepare(request, settings)
            if dry_run:
                return _show_plan(prepared, screen)
            if not _confirmed(prepared, screen):
                return 2
            return _run(prepared, screen)
    except KeyboardInterrupt:
        return INTERRUPTED
    except NanobatchError as error:
        complain(error)
        return error.exit_code


def complain(error: NanobatchError) -> None:
    """Say what went wrong, with every bad row that is known."""
    lines = [f"nanobatch: {safe(error.message, 2000)}"]
    if isinstance(error, InputError):
        lines += [f"  {safe(problem, 500)}" for problem in error.problems]
    sys.stderr.write("\n".join(lines) + "\n")


def _settings(flags: Mapping[str, Any], config_path: str | None, sandbox_url: str | None) -> Settings:
    folder = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return load_settings(
        config_path=config_path,
        flags=flags,
        environ=os.environ,
        cwd=Path(),
        user_folder=Path(folder) / "nanobatch",
        sandbox_url=sandbox_url,
    )


@contextlib.contextmanager
def _sandbox_address(request: Request, flags: Mapping[str, Any], *, wanted: bool, serve: bool) -> Iterator[str | None]:
    """Start the sandbox as a process of its own and yield its address; it ends with this process, however that ends."""
    if not wanted or not serve:
        yield "http://127.0.0.1:9" if wanted else None
        return
    root = output_folder(request, flags.get("output.dir"))
    books = root / SANDBOX_BOOKS
    books.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "nanobatch.sandbox", "--port", "0", "--stop-with-stdin", "--books", str(books)]
    # A session of its own: Ctrl-C is for the run, which still needs its provider while it finishes.
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ConfigError("the sandbox did not start; see the lines above")
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        process.wait()


def _show_plan(prepared: Prepared, screen: Screen) -> int:
    plan = dry_run(prepared)
    typer.echo(
        json.dumps(plan, indent=2, ensure_ascii=False) if screen.output in ("json", "jsonl") else render_plan_text(plan)
    )
    return 0


def _confirmed(prepared: Prepared, screen: Screen) -> bool:
    """Ask a person before an expensive run. Without a terminal nothing is ever asked."""
    threshold = prepared.settings.run.confirm_above_usd
    on_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if screen.yes or threshold is None or prepared.settings.sandbox or not on_terminal:
        return True
    plan = dry_run(prepared)
    if plan["cost_usd"]["high"] <= threshold:
        return True
    typer.echo(render_plan_text(plan), err=True)
    return typer.confirm(f"Spend up to {money(plan['cost_usd']['high'])}?", err=True)


def _run(prepared: Prepared, screen: Screen) -> int:
    clock = SystemClock()
    stop = Stop()
    handlers = start_logging(screen.log_file, to_stderr=screen.verbose)
    events = EventsFile(screen.events, clock) if screen.events is not None else None
    data = DataStream(
        sys.stdout,
        screen.output,
        on_broken=lambda: stop.ask(StopReason("broken_pipe", "nobody reads the output any more", 5)),
    )
    ticks: list[Callable[[], None]] = []
    observers = _display(screen, clock, ticks)
    if handlers:
        observers.append(log_event)
    if events is not None:
        observers.append(events)
    if not (screen.quiet and screen.output == "text"):
        observers.append(data)
    told = Observers(observers, ticks=ticks)
    try:
        summary = asyncio.run(run(prepared, clock=clock, observe=told, tick=told.tick, stop=stop))
    finally:
        for observer in observers:
            if (end := getattr(observer, "stop", None)) is not None:
                end()
        if events is not None:
            events.close()
    if stop.reason is not None and summary["exit_code"] not in (0, 1):
        sys.stderr.write(f"nanobatch: {safe(stop.reason.message, 500)}\n")
    if data.broken:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(summary["exit_code"])


def _display(screen: Screen, clock: Clock, ticks: list[Callable[[], None]]) -> list[Observer]:
    kind = screen.progress
    if kind == "auto":
        kind = "bar" if sys.stderr.isatty() and not screen.verbose else "plain"
    if screen.quiet or kind == "none":
        return []
    if kind == "bar":
        from nanobatch.reporters.progress import ProgressDisplay  # noqa: PLC0415 - rich is for terminals

        return [ProgressDisplay(clock)]
    plain = PlainLines(sys.stderr, clock)
    ticks.append(plain.tick)
    return [plain]
