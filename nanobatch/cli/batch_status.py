"""What `nanobatch batch status` tells: every batch of a folder, from its journal alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from nanobatch.batch_assembly import ordered_batches
from nanobatch.batches.journal import Batch
from nanobatch.cli.reporting import answer
from nanobatch.cli.running import complain
from nanobatch.clock import iso
from nanobatch.errors import NanobatchError
from nanobatch.reporters.fitting import FittingTable
from nanobatch.reporters.wording import count, images, safe


def show(root: Path, *, as_json: bool) -> int:
    """Write what is known, and return the exit code."""
    try:
        found = standing(root)
    except NanobatchError as error:
        complain(error)
        return error.exit_code
    answer(found, as_json=as_json, render=_table)
    return 0


def standing(root: Path) -> Mapping[str, Any]:
    """Return how the batches of a folder stand.

    Raises:
        ConfigError: It is no output folder, or nothing was ordered in batches from it.
    """
    batches, _ = ordered_batches(root)
    return {
        "folder": str(root),
        "open": sum(batch.closed is None for batch in batches.values()),
        "open_images": sum(len(batch.jobs) for batch in batches.values() if batch.closed is None),
        "batches": [_described(batch) for batch in batches.values()],
    }


def _described(batch: Batch) -> Mapping[str, Any]:
    return {
        "title": batch.title,
        "name": batch.name,
        "provider": batch.provider,
        "model": batch.model,
        "images": len(batch.jobs),
        "done": batch.done,
        "failed": batch.failed,
        "state": batch.standing,
        "created_at": iso(batch.created_at) if batch.created_at is not None else None,
        "looked_at": iso(batch.looked_at) if batch.looked_at is not None else None,
        "message": batch.message or None,
    }


def _table(found: Mapping[str, Any]) -> Group:
    open_ = f"{count(found['open'])} open batch{'es' if found['open'] > 1 else ''}"
    closing = f"{images(found['open_images'])} in {open_}" if found["open"] else "nothing is open"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("images", "done"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", overflow="fold", min_width=9)
    table.add_column("ordered", no_wrap=True)
    table.add_column("model", overflow="fold")
    table.add_column("batch", overflow="fold")
    for batch in found["batches"]:
        done = count(batch["done"]) if batch["done"] is not None else "–"
        state = batch["state"] + (f": {safe(batch['message'], 200)}" if batch["message"] else "")
        ordered = (batch["created_at"] or "–").partition(".")[0]  # to the second; -O json has the rest
        row = (count(batch["images"]), done, state, ordered, safe(batch["model"], 60))
        table.add_row(*row, safe(batch["name"] or batch["title"], 120))
    return Group(f"{safe(found['folder'], 300)}: {closing}", "", FittingTable(table, ["model"]))
