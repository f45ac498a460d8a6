"""Writes gallery.html into a folder: at the end of a run, and whenever somebody asks, also beside a run at work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanobatch.clock import Clock, iso
from nanobatch.errors import ConfigError, NanobatchError
from nanobatch.folder import who_holds
from nanobatch.journal import as_store_error
from nanobatch.manifest import MANIFEST
from nanobatch.manifest_reader import require_run
from nanobatch.model import Status
from nanobatch.reporters.gallery.page import pieces, written_from
from nanobatch.reporters.gallery.thumbnails import make_all
from nanobatch.reporters.gallery.tiles import Tiles
from nanobatch.run_note import command_to_go_on, read_note, read_summary
from nanobatch.stores.local import PARTS

GALLERY = "gallery.html"
TRIES = 3  # of writing it: runs clear the folder of parts
_HEAD_BYTES = 4096  # of a page, in which it says who made it


@dataclass(frozen=True, slots=True)
class Gallery:
    """A page that was written."""

    path: Path
    tiles: Tiles
    jobs: int
    size: int  # bytes
    running: bool


def gallery_of(root: Path, clock: Clock, *, told: Callable[[int, int], None]) -> dict[str, Any]:
    """Write a folder's page, make the small pictures that it lacks, and return what `gallery -O json` shows.

    Args:
        root: The output folder of a run.
        clock: The time.
        told: Called with how many small pictures are done, and how many there are to make.

    Raises:
        ConfigError: The folder holds no run, or its manifest is damaged, or gallery.html is somebody else's.
        StoreError: The page could not be written.
    """
    began = clock.monotonic()
    made = write_gallery(root, clock, running=who_holds(root) is not None)
    wanted = made.tiles.wanted
    drawn = 0
    if wanted:
        try:
            drawn = make_all(root, wanted, told=lambda done: told(done, len(wanted)))
        except OSError as error:
            raise as_store_error(error, root) from error
        made = write_gallery(root, clock, running=made.running)
    return {
        "output": str(root),
        "gallery": str(made.path),
        "url": made.path.absolute().as_uri(),
        "running": made.running,
        "jobs": made.jobs,
        **{status.value: made.tiles.statuses[status] for status in Status},
        "tiles": made.tiles.images + made.tiles.others,
        "left_out": made.tiles.left_out,
        "bytes": made.size,
        "thumbnails": {"made": drawn, "failed": len(wanted) - drawn},
        "seconds": round(clock.monotonic() - began, 3),
    }


def leave_gallery(root: Path, clock: Clock, *, warn: Callable[[str], None]) -> str | None:
    """Write the page at the end of a run, and return where it is. What goes wrong is a warning: the images count.

    A page that was made from this very manifest stays: a run that finds everything done has nothing to add to it.
    """
    path = root / GALLERY
    try:
        if _origin(path) != _identity(root):
            write_gallery(root, clock, running=False)
    except NanobatchError as error:
        warn(f"there is no gallery of this run: {error.message}")
        return None
    return str(path)


def write_gallery(root: Path, clock: Clock, *, running: bool) -> Gallery:
    """Write the page aside, then rename it into place.

    Raises:
        ConfigError: The folder holds no run, or its manifest is damaged, or gallery.html is somebody else's.
        StoreError: It could not be written.
    """
    require_run(root)
    path = root / GALLERY
    if _origin(path) == "":
        raise ConfigError(f"{path} is not a page of nanobatch; move it elsewhere, it would be overwritten")
    tries = TRIES
    while True:
        tries -= 1
        try:
            return _written(root, path, clock, running=running)
        except OSError as error:
            if tries == 0 or not isinstance(error, FileNotFoundError):
                raise as_store_error(error, path) from error
            # A run that began or ended in this moment has cleared away what it took for somebody's remains.


def _written(root: Path, path: Path, clock: Clock, *, running: bool) -> Gallery:
    tiles, size = Tiles(root), 0

    def facts() -> Mapping[str, Any]:
        return _facts(root, tiles, clock, running=running)

    part = root / PARTS / f"gallery-{os.getpid()}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            for piece in pieces(_name(root), tiles, facts, source=_identity(root)):
                size += file.write(piece)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return Gallery(path, tiles, _jobs(root, tiles), size, running)


def _facts(root: Path, tiles: Tiles, clock: Clock, *, running: bool) -> Mapping[str, Any]:
    """Return what the page says of the run as a whole."""
    note = read_note(root)
    return {
        "folder": _name(root),
        "made_at": iso(clock.wall()),
        "running": running,
        "sandbox": note.sandbox if note is not None else bool(read_summary(root).get("sandbox")),
        "jobs": _jobs(root, tiles),
        "statuses": {name: tiles.statuses[name] for name in [*Status, *tiles.statuses] if tiles.statuses[name]},
        "left_out": tiles.left_out,
        "go_on": command_to_go_on(root, anywhere=True),
        "retry": command_to_go_on(root, extra="--retry-failed", anywhere=True),
        "go_on_row": command_to_go_on(root, only_missing=True, anywhere=True),
        "retry_row": command_to_go_on(root, extra="--retry-failed", only_missing=True, anywhere=True),
    }


def _jobs(root: Path, tiles: Tiles) -> int:
    """Return how many jobs there are, those that nobody has come to yet included."""
    note = read_note(root)
    told = note.jobs if note is not None else int(read_summary(root).get("jobs") or 0)
    return max(tiles.statuses.total(), told)


def _name(root: Path) -> str:
    """Return what the folder is called, also when it was named as `.`."""
    return root.absolute().name.encode("utf-8", "replace").decode() or str(root)


def _identity(root: Path) -> str:
    """Name the manifest as it is now."""
    try:
        facts = (root / MANIFEST).stat()
    except OSError:
        return "none"
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def _origin(path: Path) -> str | None:
    """Tell from which manifest a page was made; None where there is none, "" where it is not ours."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise as_store_error(error, path) from error
    return written_from(head.decode("utf-8", "replace"))
