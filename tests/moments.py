"""Moments of a run, ready-made: records, one event of each type, a summary, and texts that mean harm."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from nanobatch.model import Failure, Record, Status
from nanobatch.stopping import StopReason
from nanobatch.summary import Ledger, Totals, summarise

HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "colour": "\x1b[31mred\x1b[0m",
    "clear": "\x1b[2J\x1b[H",
    "c1": "\x9b31mred\x9d0;owned\x9c",
    "bell": "ding\x07ding",
    "markup": "[bold red]loud[/bold red] [/] [link=http://x]y[/link]",
    "right to left": "gnp\u202efdp.exe\u2066x\u061cy",
    "line breaks": "one\ntwo\rthree\r\nfour\u2028five\x0bsix\x85seven",
    "zero width": "a\u200bb\ufeffc",
    "invisible": "tags \U000e0041\U000e007f soft\xadhyphen \u180e \ufff9",
    "backspace": "visible\x08\x08\x08hidden\x7f",
    "surrogate": "half \ud83d of a pair",
    "nul": "a\x00b",
    "long": "x" * 30_000,
}
_OWN_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours and cursor moves, as rich writes them
_OBEYED = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(output: str) -> str:
    """Take the display's own colours and cursor moves out of what landed on a stream."""
    return _OWN_CODES.sub("", output)


def obeyed(output: str) -> list[str]:
    """List the characters that a terminal would obey instead of showing."""
    return _OBEYED.findall(output)


def ok(number: int = 1, **more: Any) -> Record:
    """Make the record of a job with an image."""
    given = {
        "job": f"job-{number}", "id": f"row-{number}", "variant": 0, "index": number, "status": Status.OK,
        "file": f"images/row-{number}.png", "provider": "first", "attempts": 1, "cost_usd": 0.134,
        "cost_basis": "price",
    }  # fmt: skip
    return Record(**{**given, **more})


def bad(number: int = 1, status: Status = Status.REFUSED, message: str = "no", code: str = "refused") -> Record:
    """Make the record of a job without an image."""
    return ok(number, status=status, file=None, cost_usd=0.0, cost_basis="none", error=Failure(code, message, 200))


def started(jobs: int = 10, **more: Any) -> RunStarted:
    """Make the first event of a run."""
    return RunStarted(**{
        "run_id": "run-1", "output": "out", "jobs": jobs, "already_done": 0, "providers": ("first",),
        "concurrency": {"first": 4}, **more,
    })  # fmt: skip


def sent(number: int = 1, provider: str = "first") -> AttemptStarted:
    """Make the event of a request that leaves."""
    return AttemptStarted(f"job-{number}", f"row-{number}", provider, 1)


def missed(number: int = 1, message: str = "503", provider: str = "first") -> AttemptFailed:
    """Make the event of an attempt that failed."""
    return AttemptFailed(f"job-{number}", f"row-{number}", provider, 1, "overloaded", message, 503, 2.0)


def summary(*records: Record, stop: StopReason | None = None, **more: Any) -> Mapping[str, Any]:
    """Make a run's summary out of its records, as the run itself does."""
    totals, final = Totals(), Ledger()
    for record in records:
        totals(JobFinished(record))
        final.add(record)
        if record.cost_usd and record.provider:
            totals.charge(record.provider, record.cost_usd, record.maybe_cost_usd)
    given = {
        "run_id": "run-1", "inputs": ["p.csv"], "output": "out", "sandbox": False, "started": 1_790_000_000.0,
        "finished": 1_790_000_125.0, "totals": totals, "final": final, "stop": stop, "resume_after": None,
    }  # fmt: skip
    return summarise(**{**given, **more})


def every_event() -> list[Event]:
    """Return one event of each type."""
    return [
        started(),
        sent(),
        missed(),
        LaneChanged("first", "parked", "quota spent", until=1_790_003_600.0),
        Warned("careful"),
        JobFinished(ok()),
        Stopping("interrupted", 3, 30.0),
        RunFinished(summary(ok())),
    ]
