"""What `nanobatch run` does once its options are read: settings, checks, displays, the run, the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from nanobatch.assembly import run
from nanobatch.batch_assembly import is_of_sandbox, open_batches, ordered_batches, prepare_collection
from nanobatch.clock import Clock, SystemClock
from nanobatch.engines.batch import Mode
from nanobatch.errors import InputError, LimitReached, NanobatchError, NoProvider, StoreError
from nanobatch.events import Event, Observer, RunStarted
from nanobatch.journal import as_store_error
from nanobatch.preparation import Prepared, Request, dry_run, prepare
from nanobatch.reporters import Observers
from nanobatch.reporters.events_file import EventsFile
from nanobatch.reporters.hooks import Hooks
from nanobatch.reporters.log_file import log_event, start_logging
from nanobatch.reporters.metrics import MetricsFile
from nanobatch.reporters.notification import checked_address, notify
from nanobatch.reporters.plain import PlainLines
from nanobatch.reporters.plan import render_plan_text
from nanobatch.reporters.stdout import DataStream
from nanobatch.reporters.wording import money, safe
from nanobatch.run_note import read_summary
from nanobatch.schema import duration_seconds
from nanobatch.settings import Settings
from nanobatch.starting import check, load_from_surroundings, nothing_sent, sandbox_beside, served
from nanobatch.stopping import Stop, StopReason

INTERRUPTED = 130
UNFINISHED = 5


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown where."""

    output: str
    progress: str
    events: Path | None
    quiet: bool
    yes: bool
    verbose: bool = False
    log_file: Path | None = None
    exec_command: str | None = None
    notify: str | None = None
    metrics: Path | None = None


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
        ready = check(request, flags, config_path, sandbox=sandbox)
        with contextlib.closing(ready.prepared.references):
            if dry_run:
                return _show_plan(ready.prepared, screen)
            if not _confirmed(ready.prepared, screen):
                return 2
            with served(ready) as reachable:
                return _run_and_spill(reachable.prepared, screen, reachable.settings)
    except KeyboardInterrupt:
        return INTERRUPTED
    except NanobatchError as error:
        complain(error)
        return error.exit_code


def collect(root: Path, mode: Mode, *, flags: Mapping[str, Any], config_path: str | None, screen: Screen) -> int:
    """Collect or cancel what a folder has ordered in batches, and return the exit code."""
    try:
        _, is_finished = ordered_batches(root)
        open_ = open_batches(root)
        if not open_ and is_finished:
            _say(f"nanobatch: no batch of {root} is open")
            return _last_exit_code(root)
        names = list(dict.fromkeys(batch.provider for batch in open_))
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(sandbox_beside(root, with_batches=True)) if is_of_sandbox(root) else None
            settings = load_from_surroundings({**flags, "providers": names or None}, config_path, url)
            prepared = prepare_collection(root, settings, mode=mode)
            stack.enter_context(contextlib.closing(prepared.references))
            return _said_what_next(_run(prepared, screen), root)
    except KeyboardInterrupt:
        return INTERRUPTED
    except NanobatchError as error:
        complain(error)
        return error.exit_code


def _said_what_next(code: int, root: Path) -> int:
    if code == UNFINISHED and not open_batches(root):
        _say("nanobatch: what is missing is in no batch; order it again with `nanobatch batch submit`")
    return code


def _last_exit_code(root: Path) -> int:
    """Return how the last run of a folder ended."""
    code = read_summary(root).get("exit_code")
    return code if isinstance(code, int) else 0


def _run_and_spill(prepared: Prepared, screen: Screen, settings: Settings) -> int:
    """Run; then send one by one, at the usual price, what batches gave back, where the user has agreed to that."""
    code = _run(prepared, screen)
    if not prepared.request.spill or code not in (LimitReached.exit_code, UNFINISHED) or open_batches(prepared.root):
        return code
    left, before = settings, read_summary(prepared.root)
    if (budget := settings.run.budget_usd) is not None:
        rest = max(0.0, budget - before["cost_usd"] - before["maybe_cost_usd"])
        left = dataclasses.replace(settings, run=dataclasses.replace(settings.run, budget_usd=rest))
    _say("nanobatch: what the batches gave back is sent one by one, at the usual price")
    request = prepared.request
    again = dataclasses.replace(
        request, batch=None, spill=False, fresh=False, retry_failed=False, earlier=before or None
    )
    with contextlib.closing((spilled := prepare(again, left)).references):
        return _run(spilled, screen)


def complain(error: NanobatchError) -> None:
    """Say what went wrong, with every bad row that is known."""
    lines = [f"nanobatch: {safe(error.message, 2000)}"]
    if isinstance(error, InputError):
        lines += [f"  {safe(problem, 500)}" for problem in error.problems]
    _say("\n".join(lines))


def _say(text: str) -> None:
    """Write to standard error; a reader that went away must not change the exit code."""
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(text + "\n")


def settings_or_none(config_path: str | None) -> Settings | None:
    """Return the settings, or nothing where no provider has a key.

    Raises:
        ConfigError: Something in them is wrong.
    """
    try:
        return load_from_surroundings({}, config_path, None)
    except NoProvider:
        return None


def seconds_of(deadline: str | None) -> float | None:
    """Read a duration such as 26h.

    Raises:
        typer.BadParameter: It is none.
    """
    try:
        return None if deadline is None else duration_seconds(deadline)
    except ValueError as error:
        raise typer.BadParameter(f"--deadline {error}") from None


def _show_plan(prepared: Prepared, screen: Screen) -> int:
    plan = dry_run(prepared)
    as_json = screen.output in ("json", "jsonl")
    indent = 2 if screen.output == "json" else None
    try:
        typer.echo(json.dumps(plan, indent=indent, ensure_ascii=False) if as_json else render_plan_text(plan))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise as_store_error(error, Path("standard output")) from error
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
    try:
        return typer.confirm(f"Spend up to {money(plan['cost_usd']['high'])}?", err=True)
    except typer.Abort:  # Ctrl-C or Ctrl-D
        return False


def _run(prepared: Prepared, screen: Screen) -> int:
    clock = SystemClock()
    stop = Stop()
    ticks: list[Callable[[], None]] = []
    others = _other_programs(screen, clock, ticks)
    try:
        handlers = start_logging(screen.log_file, to_stderr=screen.verbose)
        events = EventsFile(screen.events, clock) if screen.events is not None else None
    except StoreError as error:
        raise nothing_sent(error) from error
    data = DataStream(
        sys.stdout,
        screen.output,
        on_broken=lambda: stop.ask(StopReason("broken_pipe", "standard output takes nothing more", 5)),
    )
    observers = _display(screen, clock, ticks)
    observers += others
    if handlers:
        observers.append(log_event)
    if events is not None:
        observers.append(events)
    if not (screen.quiet and screen.output == "text"):
        observers.append(data)
    told = Observers(observers, ticks=ticks)
    hooks = next((each for each in others if isinstance(each, Hooks)), None)
    started = False

    def observe(event: Event) -> None:
        nonlocal started
        started = started or isinstance(event, RunStarted)
        told(event)

    try:
        summary = asyncio.run(run(prepared, clock=clock, observe=observe, tick=told.tick, stop=stop, hooks=hooks))
    except StoreError as error:
        if started:
            raise
        raise nothing_sent(error) from error
    finally:
        ends = [getattr(observer, "stop", None) for observer in observers]
        ends += [handler.close for handler in handlers]
        ends.append(events.close if events is not None else None)
        for end in filter(None, ends):
            with contextlib.suppress(OSError):  # a terminal that is gone, a full disk: each has been told already
                end()
    _notify(screen.notify, summary)
    if stop.reason is not None and summary["exit_code"] not in (0, 1):
        _say(f"nanobatch: {safe(stop.reason.message, 500)}")
    return int(summary["exit_code"])


def _other_programs(screen: Screen, clock: Clock, ticks: list[Callable[[], None]]) -> list[Observer]:
    """Set up what other programs are told, and check it before anything is sent."""
    if screen.notify is not None:
        checked_address(screen.notify)
    found: list[Observer] = []
    if screen.exec_command is not None:
        found.append(Hooks(screen.exec_command, clock))
    if screen.metrics is not None:
        figures = MetricsFile(screen.metrics, clock)
        ticks.append(figures.tick)
        found.append(figures)
    return found


def _notify(address: str | None, summary: Mapping[str, Any]) -> None:
    """Post the summary; what goes wrong there is said, and changes nothing."""
    if address is None:
        return
    with contextlib.suppress(KeyboardInterrupt):
        reason = notify(address, summary, sleep=time.sleep)
        if reason is not None:
            _say(f"nanobatch: {safe(reason, 500)}")


def _display(screen: Screen, clock: Clock, ticks: list[Callable[[], None]]) -> list[Observer]:
    kind = screen.progress
    if kind == "auto":
        # Data lines on the same terminal would tear a bar that is drawn again and again.
        torn = screen.output in ("jsonl", "paths") and sys.stdout.isatty()
        able = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        kind = "bar" if able and not screen.verbose and not torn else "plain"
    if screen.quiet or kind == "none":
        return []
    if kind == "bar":
        from nanobatch.reporters.progress import ProgressDisplay  # noqa: PLC0415 - rich is for terminals

        return [ProgressDisplay(clock)]
    plain = PlainLines(sys.stderr, clock)
    ticks.append(plain.tick)
    return [plain]
