"""How the run in a folder stands, asked from outside: while it goes on, after its end, after a kill. Changes nothing.

The manifest says what became of each job, the attempts ledger what was paid and what is still on the wire, the lock
whether anybody is at work, and run.json and the note of the start the rest.
"""

from __future__ import annotations

import datetime as dt
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from nanobatch.batches.journal import read_batches
from nanobatch.clock import Clock, iso
from nanobatch.errors import ConfigError
from nanobatch.folder import ATTEMPTS, who_holds
from nanobatch.journal import read_lines
from nanobatch.manifest_reader import Line, newest_lines, require_run
from nanobatch.model import Status
from nanobatch.run_note import RunNote, command_to_go_on, read_note, read_summary
from nanobatch.stores.local import STATE_FOLDER
from nanobatch.summary import ProviderTotals

BATCHES = f"{STATE_FOLDER}/batches.jsonl"
RATE_SECONDS = 300.0  # the rate is that of the last five minutes
REASONS = 20  # distinct ones that are counted; a report must not grow with the input
FINAL = (Status.OK, Status.CACHED, Status.REFUSED, Status.FAILED)


class _Attempt(msgspec.Struct, frozen=True):
    """What is needed of a line of the attempts ledger."""

    kind: str
    attempt: str = ""
    provider: str = ""
    worst_usd: float = 0.0
    code: str | None = None
    cost_usd: float = 0.0
    maybe_usd: float = 0.0


@dataclass(slots=True)
class Spent:
    """What the attempts ledger says, read line by line."""

    providers: dict[str, ProviderTotals] = field(default_factory=dict)
    open: dict[str, _Attempt] = field(default_factory=dict)  # intents without an outcome: never more than in flight
    tasks: set[str] = field(default_factory=set)  # those of them that are known to be ordered

    def take(self, line: _Attempt) -> None:
        """Count one line."""
        match line.kind:
            case "intent":
                self.open[line.attempt] = line
                self._provider(line).attempts += 1
            case "task":
                self.tasks.add(line.attempt)
            case "outcome":
                self.open.pop(line.attempt, None)
                self.tasks.discard(line.attempt)
                self._conclude(line)
            case _:
                pass

    def _provider(self, line: _Attempt) -> ProviderTotals:
        return self.providers.setdefault(line.provider, ProviderTotals())

    def _conclude(self, line: _Attempt) -> None:
        provider = self._provider(line)
        provider.cost_usd += line.cost_usd
        provider.maybe_cost_usd += line.maybe_usd
        if line.code == "ok":
            provider.images += 1
        elif line.code is not None:
            provider.errors[line.code] += 1


@dataclass(slots=True)
class Standing:
    """What the manifest says, read line by line."""

    since: str  # images that landed after this time count for the rate
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    other_reasons: int = 0
    landed: int = 0

    def take(self, line: Line) -> None:
        """Count one job's newest line."""
        self.statuses[line.status] += 1
        if line.status == Status.OK and (line.finished_at or "") >= self.since:
            self.landed += 1
        if line.error is None:
            return
        reason = (line.status, line.error.code, line.error.message)
        if reason in self.reasons:
            self.reasons[reason]["count"] += 1
        elif len(self.reasons) < REASONS:
            example = {"id": line.id, "index": line.index, "provider": line.provider}
            self.reasons[reason] = {
                "status": line.status, "code": line.error.code, "message": line.error.message, "count": 1,
                "http_status": line.error.http_status, "example": example,
            }  # fmt: skip
        else:
            self.other_reasons += 1


def status_of(root: Path, clock: Clock) -> dict[str, Any]:
    """Return how a folder's run stands, as `status -O json` shows it.

    Raises:
        ConfigError: The folder holds no run, or a file in it is damaged or cannot be read.
    """
    require_run(root)
    holder = who_holds(root)
    note, summary = read_note(root), read_summary(root)
    began = _seconds(note.started_at) if note is not None else None
    since = max(clock.wall() - RATE_SECONDS, began or 0.0)
    standing, spent = Standing(iso(since)), Spent()
    for _, line in newest_lines(root):
        standing.take(line)
    for _, attempt in read_lines(root / ATTEMPTS, msgspec.json.Decoder(_Attempt)):
        spent.take(attempt)
    found = {
        "output": str(root),
        "running": holder is not None,
        "holder": holder,
        **_times(note, summary, running=holder is not None),
        **_counts(standing, note, summary),
        **_pace(standing, clock.wall() - since, summary, running=holder is not None),
        **_money(spent),
        "failures": sorted(standing.reasons.values(), key=lambda reason: -reason["count"]),
        "other_failures": standing.other_reasons,
    }
    left = found["unfinished"]
    if found["images_per_minute"] and holder is not None:
        found["seconds_left"] = round(left / found["images_per_minute"] * 60, 1)
    return found | {"next": _next(root, found)}


def _times(note: RunNote | None, summary: Mapping[str, Any], *, running: bool) -> dict[str, Any]:
    """Tell which run is meant: the newest that has started, and how it ended if it did."""
    ended = bool(summary) and not running and (note is None or summary.get("run_id") == note.run_id)
    state = "running" if running else "ended" if ended else "killed"
    return {
        "state": state,
        "run_id": note.run_id if note is not None else summary.get("run_id"),
        "started_at": note.started_at if note is not None else summary.get("started_at"),
        "finished_at": summary.get("finished_at") if ended else None,
        "exit_code": summary.get("exit_code") if ended else None,
        "stop_reason": summary.get("stop_reason") if ended else None,
        "resume_after": summary.get("resume_after") if ended else None,
        "sandbox": note.sandbox if note is not None else bool(summary.get("sandbox")),
    }


def _counts(standing: Standing, note: RunNote | None, summary: Mapping[str, Any]) -> dict[str, int]:
    """Count jobs by status; what nobody has come to yet is unfinished, too."""
    told = note.jobs if note is not None else int(summary.get("jobs") or 0)
    jobs = max(told, standing.statuses.total())
    final = {status.value: standing.statuses[status] for status in FINAL}
    return {"jobs": jobs, **final, "unfinished": jobs - sum(final.values())}


def _pace(standing: Standing, seconds: float, summary: Mapping[str, Any], *, running: bool) -> dict[str, float | None]:
    rate = summary.get("images_per_minute") if not running else None
    if running and standing.landed > 1 and seconds > 0:
        rate = round(standing.landed / seconds * 60, 2)
    return {"images_per_minute": rate, "seconds_left": None}


def _money(spent: Spent) -> dict[str, Any]:
    return {
        "cost_usd": round(sum(found.cost_usd for found in spent.providers.values()), 6),
        "maybe_cost_usd": round(sum(found.maybe_cost_usd for found in spent.providers.values()), 6),
        "open_requests": len(spent.open),
        "open_tasks": len(spent.tasks & spent.open.keys()),
        "open_worst_usd": round(sum((line.worst_usd for line in spent.open.values()), 0.0), 6),
        "providers": {name: found.as_dict() for name, found in spent.providers.items()},
    }


def _has_open_batches(root: Path) -> bool:
    """Whether something is ordered that a usual run would buy a second time, and so refuses to."""
    try:
        batches, _ = read_batches(root / BATCHES)
    except ConfigError:  # a damaged journal is the next command's to tell
        return True
    return any(batch.closed is None for batch in batches.values())


def _next(root: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Say what helps now, and the one command that does it."""
    if found["running"]:
        return {"why": "it goes on by itself; ask again", "command": f"nanobatch status {_quoted(root)}"}
    if found["unfinished"]:
        if _has_open_batches(root):
            why = "images are ordered in batches; fetch those that are done"
            return {"why": why, "command": f"nanobatch batch collect {_quoted(root)}"}
        match found["exit_code"]:
            case 3:
                why, command = "no provider accepts the account: find out why", "nanobatch doctor --ping"
                return {"why": why, "command": command}
            case 4:
                why = "a limit of yours ended the run: raise it in this command"
            case _ if (found["resume_after"] or "") > (found["finished_at"] or ""):  # else it helps at once
                why = f"after {found['resume_after']} go on with what is missing"
            case _:
                why = "go on with what is missing"
        return {"why": why, "command": command_to_go_on(root)}
    if found["failed"] or found["refused"]:
        why = "edit the prompts in failed.jsonl, or send them as they are again"
        return {"why": why, "command": command_to_go_on(root, extra="--retry-failed")}
    return {"why": "all images are there; make sure of every byte", "command": f"nanobatch verify {_quoted(root)}"}


def _quoted(root: Path) -> str:
    return shlex.quote(str(root))


def _seconds(moment: str) -> float | None:
    try:
        return dt.datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return None
