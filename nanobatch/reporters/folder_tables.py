"""What `status`, `verify` and `gallery` show a person: a few lines, and tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from nanobatch.reporters.fitting import FittingTable
from nanobatch.reporters.wording import count, duration, images, money, rate, safe

PROBLEMS_SHOWN = 20
_STATUSES = ("ok", "cached", "refused", "failed", "unfinished")


def render_status(found: Mapping[str, Any]) -> RenderableType:
    """Draw how a run stands."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for title, text in _facts(found):
        if text:
            facts.add_row(title, text)
    parts: list[RenderableType] = [facts]
    if found["providers"]:
        parts += ["", _providers(found["providers"])]
    if found["failures"]:
        parts += ["", _reasons(found["failures"])]
        if found["other_failures"]:
            parts.append(f"... and {count(found['other_failures'])} more with other reasons, in manifest.jsonl")
    return Group(*parts)


def _facts(found: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "folder", safe(found["output"], 300)
    yield "state", _state(found)
    have = found["ok"] + found["cached"]
    yield "images", f"{count(have)} of {count(found['jobs'])}"
    yield "", ", ".join(f"{count(found[status])} {status}" for status in _STATUSES if found[status])
    yield "cost", _cost(found)
    yield "rate", _rate(found)
    yield "requests", _requests(found)


def _state(found: Mapping[str, Any]) -> str:
    match found["state"]:
        case "running":
            holder = found["holder"]
            who = f" (process {holder['pid']} on {safe(str(holder['host']), 60)})" if holder["pid"] is not None else ""
            return f"running since {found['started_at']}{who}"
        case "killed":
            return f"the run that began {found['started_at'] or 'earlier'} did not come to its end"
    reason = f": {safe(found['stop_reason'], 200)}" if found["stop_reason"] else ""
    return f"ended {found['finished_at']} with exit code {found['exit_code']}{reason}"


def _cost(found: Mapping[str, Any]) -> str:
    pretended = " (pretended: sandbox)" if found["sandbox"] else ""
    maybe = f", {money(found['maybe_cost_usd'])} possibly billed besides" if found["maybe_cost_usd"] else ""
    return f"{money(found['cost_usd'])} spent in all runs of this folder{pretended}{maybe}"


def _rate(found: Mapping[str, Any]) -> str:
    if not found["images_per_minute"]:
        return ""
    left = f", {duration(found['seconds_left'])} left" if found["seconds_left"] is not None else ""
    return f"{rate(found['images_per_minute'])} images per minute{left}"


def _requests(found: Mapping[str, Any]) -> str:
    if not found["open_requests"]:
        return ""
    number = count(found["open_requests"])
    worst = f"up to {money(found['open_worst_usd'])}"
    ordered = (
        f"; {count(found['open_tasks'])} of them ordered by a task, which is fetched" if found["open_tasks"] else ""
    )
    if found["running"]:
        return f"{number} on the wire, {worst}{ordered}"
    return f"{number} were on the wire when it ended: possibly billed, {worst}{ordered}"


def _providers(providers: Mapping[str, Mapping[str, Any]]) -> FittingTable:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("provider", overflow="fold", min_width=8)
    for title in ("images", "attempts", "cost"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("failed attempts", overflow="fold", min_width=15)
    for name, found in providers.items():
        errors = ", ".join(f"{safe(code, 40)} {count(number)}" for code, number in found["errors"].items())
        cost = money(found["cost_usd"])
        table.add_row(safe(name, 40), count(found["images"]), count(found["attempts"]), cost, errors)
    return FittingTable(table, ["attempts", "failed attempts"])


def _reasons(failures: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("prompts", justify="right", no_wrap=True)
    table.add_column("why there is no image", overflow="fold", ratio=3)
    table.add_column("for example", overflow="fold", ratio=1)
    for failure in failures:
        why = f"{failure['status']}: {safe(failure['message'], 200)}"
        table.add_row(count(failure["count"]), why, safe(failure["example"]["id"], 60))
    return table


def render_verification(found: Mapping[str, Any]) -> RenderableType:
    """Draw what a check of every file found."""
    parts: list[RenderableType] = [_verdict(found)]
    problems = found["problems"]
    if problems:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("what", no_wrap=True)
        table.add_column("file", overflow="fold", ratio=2)
        table.add_column("why", overflow="fold", ratio=3)
        for problem in problems[:PROBLEMS_SHOWN]:
            table.add_row(problem["kind"], safe(problem["file"], 120), safe(problem["why"], 200))
        parts += ["", table]
        if len(problems) > PROBLEMS_SHOWN:
            parts.append(f"... and {count(len(problems) - PROBLEMS_SHOWN)} more; -O json names them all")
    if found["unrecorded"]:
        parts.append(f"whole and not recorded yet, which the next run does: {images(found['unrecorded'])}")
    if (repair := found["repair"]) is not None:
        parts += ["", _repaired(repair)]
    return Group(*parts)


def _verdict(found: Mapping[str, Any]) -> str:
    where, size = safe(found["output"], 300), f"{found['bytes'] / 1e6:,.1f} MB"
    checked = f"{images(found['images'])} of {where} read again ({size}, {duration(found['seconds'])})"
    running = "; a run is at work in it" if found["running"] else ""
    if not found["problems"]:
        return f"{checked}: every byte is as it was recorded{running}"
    wrong = ", ".join(f"{count(number)} {kind}" for kind, number in found["counts"].items() if number)
    return f"{checked}: {wrong}{running}"


def _repaired(repair: Mapping[str, Any]) -> str:
    lines = []
    if repair["set_aside"]:
        lines.append(f"moved to {safe(repair['folder'], 300)}: {images(repair['set_aside'])}")
    if repair["put_back"]:
        lines.append(f"found under another name and put back: {images(repair['put_back'])}")
    lines.append(f"to be generated again by the next run: {images(repair['to_send'])}")
    return "\n".join(lines)


def render_gallery(found: Mapping[str, Any]) -> str:
    """Say what is on a page."""
    counts = ", ".join(f"{count(found[status])} {status}" for status in _STATUSES if found[status])
    running = "; a run is at work, and what comes now is not on it" if found["running"] else ""
    lines = [f"{safe(found['gallery'], 300)}: {counts or 'no images yet'}{running}"]
    if found["left_out"]:
        lines.append(f"{count(found['left_out'])} of {count(found['jobs'])} found no room on it: it shows the first")
    drawn = found["thumbnails"]
    if drawn["made"]:
        lines.append(f"small pictures made: {count(drawn['made'])}, in {duration(found['seconds'])}")
    if drawn["failed"]:
        lines.append(f"no small picture could be made of {images(drawn['failed'])}; `nanobatch verify` looks closer")
    return "\n".join(lines)
