"""`--log-file` and `--verbose`: the events as lines of standard logging."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

from nanobatch.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    JobFinished,
    LaneChanged,
    RunFinished,
    RunStarted,
    Stopping,
    Warned,
)
from nanobatch.journal import as_store_error
from nanobatch.reporters.events_file import event_name
from nanobatch.reporters.wording import safe

logger = logging.getLogger("nanobatch.events")


class _Handler(logging.FileHandler):
    """A file that is given up when it cannot be written, instead of complaining about every line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's own signature
        """Say once what is wrong, and go on without the log."""
        logging.getLogger("nanobatch").removeHandler(self)
        reason = safe(str(sys.exc_info()[1]), 300)
        sys.stderr.write(f"nanobatch: the log ends here, {safe(self.baseFilename, 300)} cannot be written: {reason}\n")


_SHOWN = {
    RunStarted: (logging.INFO, ("run_id", "jobs", "already_done", "output")),
    AttemptStarted: (logging.DEBUG, ("id", "provider", "attempt")),
    AttemptFailed: (logging.INFO, ("id", "provider", "attempt", "code", "http_status", "retry_in_seconds", "message")),
    LaneChanged: (logging.INFO, ("provider", "state", "until", "message")),
    Warned: (logging.WARNING, ("message",)),
    Stopping: (logging.WARNING, ("reason", "in_flight")),
}


def start_logging(path: Path | None, *, to_stderr: bool) -> list[logging.Handler]:
    """Send log lines to a file and, with `--verbose`, to standard error.

    Raises:
        StoreError: The file cannot be written.
    """
    handlers: list[logging.Handler] = []
    try:
        if path is not None:
            handlers.append(_Handler(path, encoding="utf-8", errors="backslashreplace"))
    except OSError as error:
        raise as_store_error(error, path or Path()) from error
    if to_stderr:
        handlers.append(logging.StreamHandler())
    root = logging.getLogger("nanobatch")
    root.setLevel(logging.DEBUG)
    root.propagate = False
    root.addHandler(logging.NullHandler())  # without a log, logging would write warnings to standard error by itself
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    return handlers


def log_event(event: Event) -> None:
    """Write an event as one line; an observer."""
    match event:
        case JobFinished(record=record):
            level, fields = logging.INFO, {
                "id": record.id, "status": record.status, "file": record.file, "provider": record.provider,
                "attempts": record.attempts, "cost_usd": record.cost_usd,
            }  # fmt: skip
        case RunFinished(summary=summary):
            level, fields = logging.INFO, {name: summary[name] for name in ("exit_code", "ok", "cost_usd")}
        case _:
            level, names = _SHOWN[type(event)]
            fields = {name: getattr(event, name) for name in names}
    if logger.isEnabledFor(level):
        logger.log(level, "%s %s", event_name(event), _joined(fields))


def _joined(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={safe(str(value), 500)}" for name, value in fields.items() if value is not None)
