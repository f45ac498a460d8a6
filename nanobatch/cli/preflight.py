"""Measures a run before its first request: against the price that a person agrees to, and the time that there is."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from nanobatch.errors import LimitReached
from nanobatch.journal import as_store_error
from nanobatch.mix_plan import too_late
from nanobatch.preparation import Prepared, dry_run
from nanobatch.reporters.plan import render_plan_text
from nanobatch.reporters.wording import money


def show_plan(prepared: Prepared, output: str) -> int:
    """Print the plan, for `--dry-run`.

    Raises:
        LimitReached: The run would not start, because it would be late.
    """
    plan = dry_run(prepared)
    as_json = output in ("json", "jsonl")
    indent = 2 if output == "json" else None
    try:
        typer.echo(json.dumps(plan, indent=indent, ensure_ascii=False) if as_json else render_plan_text(plan))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise as_store_error(error, Path("standard output")) from error
    _refuse_late(prepared, plan)
    return 0


def agreed(prepared: Prepared, *, yes: bool) -> bool:
    """Ask a person before an expensive run, and refuse a late one. Without a terminal nothing is ever asked.

    Raises:
        LimitReached: It would not be done before its deadline.
    """
    threshold = prepared.settings.run.confirm_above_usd
    on_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    is_asked = threshold is not None and not prepared.settings.sandbox and on_terminal
    if yes or not (is_asked or _has_deadline(prepared)):
        return True
    plan = dry_run(prepared)
    _refuse_late(prepared, plan)
    if threshold is None or not is_asked or plan["cost_usd"]["high"] <= threshold:
        return True
    typer.echo(render_plan_text(plan), err=True)
    try:
        return typer.confirm(f"Spend up to {money(plan['cost_usd']['high'])}?", err=True)
    except typer.Abort:  # Ctrl-C or Ctrl-D
        return False


def _has_deadline(prepared: Prepared) -> bool:
    """Tell whether a deadline decides whether to begin; with --batch it says when to cancel."""
    return prepared.request.deadline_seconds is not None and prepared.request.batch is None


def _refuse_late(prepared: Prepared, plan: Mapping[str, Any]) -> None:
    if _has_deadline(prepared) and (reason := too_late(plan["plan"])) is not None:
        raise LimitReached(reason)
