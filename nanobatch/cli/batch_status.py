"""What `nanobatch batch status` tells: every batch of a folder, from its journal alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from nanobatch.batch_assembly import JOURNAL
from nanobatch.batches.journal import Batch, read_batches
from nanobatch.cli.reporting import answer
from nanobatch.cli.running import complain
from nanobatch.clock import iso
from nanobatch.errors import ConfigError, NanobatchError
from nanobatch.reporters.wording import count, images


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
        ConfigError: Nothing was ordered in batches from this folder.
    """
    batches, _ = read_batches(root / JOURNAL)
    if not batches:
        raise ConfigError(f"nothing was ordered in batches from {root}")
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


def _table(found: Mapping[str, Any]) -> Table:
    closing = f"{images(found['open_images'])} in {found['open']} open batches" if found["open"] else "nothing is open"
    table = Table(title=f"{found['folder']}: {closing}", title_justify="left")
    for name in ("batch", "model", "images", "done", "state", "ordered"):
        table.add_column(name, justify="right" if name in ("images", "done") else "left")
    for batch in found["batches"]:
        done = count(batch["done"]) if batch["done"] is not None else "–"
        state = batch["state"] + (f": {batch['message']}" if batch["message"] else "")
        row = (batch["name"] or batch["title"], batch["model"], count(batch["images"]), done, state)
        table.add_row(*row, batch["created_at"] or "–")
    return table
