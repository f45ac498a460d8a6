"""What `nanobatch cache` does once its options are read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer
from rich.table import Table

from nanobatch.cache_assembly import upkeep_of
from nanobatch.caches.base import Upkeep
from nanobatch.cli.reporting import answer
from nanobatch.cli.running import complain
from nanobatch.clock import SystemClock, iso
from nanobatch.errors import NanobatchError
from nanobatch.reporters.wording import count, images, money, safe
from nanobatch.schema import duration_seconds
from nanobatch.starting import load_from_surroundings

MEGABYTE = 10**6


def tell(config: str | None, *, as_json: bool) -> int:
    """Show what is in the cache; return the exit code."""
    return _perform(config, lambda upkeep: upkeep.stats(now=SystemClock().wall()), as_json=as_json, render=_stats)


def drop_useless(config: str | None, *, older_than: str | None, as_json: bool) -> int:
    """Prune the cache; return the exit code.

    Raises:
        typer.BadParameter: The age is none.
    """
    try:
        seconds = None if older_than is None else duration_seconds(older_than)
    except ValueError as error:
        raise typer.BadParameter(f"--older-than {error}") from None

    def prune(upkeep: Upkeep) -> dict[str, Any]:
        return upkeep.prune(now=SystemClock().wall(), older_than_seconds=seconds)

    return _perform(config, prune, as_json=as_json, render=_pruned)


def drop_all(config: str | None, *, yes: bool, as_json: bool) -> int:
    """Clear the cache, after asking a person; return the exit code."""
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        try:
            if not typer.confirm("Forget all images and refusals? Output folders stay as they are.", err=True):
                return 2
        except typer.Abort:  # Ctrl-C or Ctrl-D
            return 2
    return _perform(config, lambda upkeep: upkeep.clear(), as_json=as_json, render=_cleared)


def _perform(
    config: str | None,
    work: Callable[[Upkeep], dict[str, Any]],
    *,
    as_json: bool,
    render: Callable[[Mapping[str, Any]], Any],
) -> int:
    try:
        settings = load_from_surroundings({}, config, None, without_keys=True)
        upkeep = upkeep_of(settings.cache)
        try:
            found = work(upkeep)
        finally:
            upkeep.close()
    except NanobatchError as error:
        complain(error)
        return error.exit_code
    answer(found, as_json=as_json, render=render)
    return 0


def _stats(found: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, words in _facts(found):
        table.add_row(title, words)
    return table


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "cache", safe(found["where"], 300)
    yield "images", f"{count(found['images'])}, {_size(found['image_bytes'])}, worth {money(found['worth_usd'])}"
    yield "refusals", count(found["refusals"])
    yield "expired", count(found["expired"])
    yield "oldest", iso(found["oldest"]) if found["oldest"] is not None else "–"
    yield "own copies", f"{images(found['kept_images'])}, {_size(found['kept_bytes'])}"
    if found["meanings"]:
        yield "by meaning", f"{images(found['meanings'])} can be found in other words"
    yield "of use", f"{count(found['hits'])} times, {money(found['saved_usd'])} saved"


def _pruned(found: Mapping[str, Any]) -> str:
    return (
        f"dropped {count(found['expired'])} too old, {count(found['gone'])} whose image is gone; "
        f"{_size(found['freed_bytes'])} freed"
    )


def _cleared(found: Mapping[str, Any]) -> str:
    return f"dropped {count(found['dropped'])}; {_size(found['freed_bytes'])} freed"


def _size(size: int) -> str:
    return f"{size / MEGABYTE:,.1f} MB"
