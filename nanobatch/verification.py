"""Reads every image of a folder again and compares it with its record; and plans how what is wrong is made good.

    missing      the file is not there
    changed      it has other bytes than those that were recorded
    truncated    it is shorter than it was
    damaged      it is as it was recorded, but no whole image
    unreadable   it may not be read: a matter of rights, not of images
    foreign      it is in images/, and no record knows it

Nothing is changed unless a repair is asked for. A repair deletes nothing: files that are wrong move to
`.nanobatch/set-aside`, a foreign file that has the bytes of a lost image goes back to its place, and resume, which
sends what is recorded but not on disk, does the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import stat
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from nanobatch.attempts import read_past
from nanobatch.clock import Clock
from nanobatch.errors import DecodeError, StoreError
from nanobatch.folder import ATTEMPTS, locked, who_holds
from nanobatch.images import inspect
from nanobatch.journal import as_store_error, read_lines
from nanobatch.manifest import HISTORY, Sorted64, fingerprint
from nanobatch.manifest_reader import Line, is_below, newest_lines, require_run
from nanobatch.model import Status
from nanobatch.run_note import command_to_go_on
from nanobatch.stores.local import PARTS, STATE_FOLDER, size_of

IMAGES = "images"
SET_ASIDE = f"{STATE_FOLDER}/set-aside"
THREADS = min(8, (os.cpu_count() or 1) + 2)
WAITING = 4 * THREADS  # files in line: a manifest of a million lines must not become a million tasks
JUST_NOW_SECONDS = 60.0  # a file that a run under way has made so recently may have its record in a moment
KINDS = ("missing", "changed", "truncated", "damaged", "unreadable", "foreign")
LOST = ("missing", "changed", "truncated", "damaged")
LITTER = frozenset({"Thumbs.db", "desktop.ini"})  # file managers leave it, and names with a dot


@dataclass(slots=True)
class Problem:
    """One file that is not as it should be."""

    kind: str
    file: str  # below the output folder
    why: str
    line: Line | None = None  # its record
    found_at: str | None = None  # a foreign file that has the recorded bytes

    def as_dict(self) -> dict[str, Any]:
        """Return it as `-O json` shows it."""
        known = self.line
        return {
            "kind": self.kind,
            "file": self.file,
            "why": self.why,
            "job": known.job if known else None,
            "id": known.id if known else None,
            "index": known.index if known else None,
            "found_at": self.found_at,
        }


@dataclass(slots=True)
class Checked:
    """What a pass over all files found."""

    images: int = 0
    bytes: int = 0
    unrecorded: int = 0  # whole, and known to the attempts ledger only: the next run records them
    problems: list[Problem] = field(default_factory=list)


class _Entry(msgspec.Struct, frozen=True):
    """A line of the history: an image of an earlier input, or where one was moved."""

    file: str | None = None
    to: str | None = None


def verify(root: Path, clock: Clock, *, repair: bool = False) -> dict[str, Any]:
    """Read all images of a folder again; return what was found, as `verify -O json` shows it.

    Raises:
        ConfigError: The folder holds no run, or its manifest is damaged, or a repair met a run at work.
        StoreError: A file could not be moved.
    """
    require_run(root)
    began = clock.monotonic()
    running = not repair and who_holds(root) is not None
    with locked(root, clock) if repair else contextlib.nullcontext():
        checked = check(root, settled_before=clock.wall() - JUST_NOW_SECONDS if running else None)
        repaired = _repair(root, checked.problems) if repair else None
    found = {
        "output": str(root),
        "running": running,
        "images": checked.images,
        "bytes": checked.bytes,
        "seconds": round(clock.monotonic() - began, 3),
        "counts": {kind: sum(problem.kind == kind for problem in checked.problems) for kind in KINDS},
        "problems": [problem.as_dict() for problem in checked.problems],
        "unrecorded": checked.unrecorded,
        "repair": repaired,
        "exit_code": 1 if checked.problems else 0,
    }
    return found | {"next": _next(root, found)}


def check(root: Path, *, settled_before: float | None = None) -> Checked:
    """Compare all files with their records.

    Args:
        root: The output folder.
        settled_before: Foreign files that are newer are passed over, in wall-clock seconds: a run is at work.
    """
    found = Checked()
    names, images = array("Q"), array("Q")
    for line, problem in _checked_in_threads(root, _with_images(root, names, images)):
        found.images += 1
        if problem is None:
            found.bytes += line.bytes or 0
        else:
            found.problems.append(problem)
    found.unrecorded = _add_unrecorded(root, names, Sorted64(images))
    for _, entry in read_lines(root / HISTORY, msgspec.json.Decoder(_Entry)):
        names.extend(hash(name) & _MASK for name in (entry.file, entry.to) if name is not None)
    foreign = list(_foreign(root, Sorted64(names), settled_before))
    _recognise(root, found.problems, foreign)
    found.problems += foreign
    return found


_MASK = 0xFFFF_FFFF_FFFF_FFFF


def _with_images(root: Path, names: array[int], images: array[int]) -> Iterator[Line]:
    """Yield the records that have a file, noting file and job in 8 bytes each."""
    for _, line in newest_lines(root):
        if line.status in (Status.OK, Status.CACHED) and line.file is not None:
            names.append(hash(line.file) & _MASK)
            images.append(fingerprint(line.job))
            yield line


def _checked_in_threads(root: Path, lines: Iterable[Line]) -> Iterator[tuple[Line, Problem | None]]:
    """Check several files at once, in order: reading waits for the disk, and hashing lets other threads work."""
    waiting: deque[tuple[Line, Future[Problem | None]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for line in lines:
            waiting.append((line, pool.submit(check_file, root, line)))
            if len(waiting) > WAITING:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def check_file(root: Path, line: Line) -> Problem | None:
    """Compare one file with its record; None when it is as it was."""
    file = line.file or ""
    if not is_below(file):
        return Problem("missing", file, "the record names a place outside of the folder", line)
    path = root / file
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            return Problem("changed", file, "it is not a file any more", line)
        if line.bytes is not None and facts.st_size < line.bytes:
            return Problem("truncated", file, f"{facts.st_size:,} of {line.bytes:,} bytes are left", line)
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return Problem("missing", file, "it is not there", line)
    except (OSError, ValueError) as error:
        return Problem("unreadable", file, str(getattr(error, "strerror", None) or error).lower(), line)
    if line.sha256 is not None and digest != line.sha256:
        size = "as many" if facts.st_size == line.bytes else f"{facts.st_size:,} instead of {line.bytes or 0:,}"
        return Problem("changed", file, f"its bytes are others than those recorded ({size})", line)
    try:
        inspect(path)
    except DecodeError as error:
        return Problem("damaged", file, error.message, line)
    except StoreError as error:
        return Problem("unreadable", file, error.message, line)
    return None


def _add_unrecorded(root: Path, names: array[int], images: Sorted64) -> int:
    """Note the files of images that a killed run had no time to record, and count those that are whole on disk."""
    past = read_past(root / ATTEMPTS, now=float("inf"), recorded=lambda job: fingerprint(job) in images)
    whole = 0
    for _, landed in past.landed.values():
        names.append(hash(landed.file) & _MASK)
        part = root / PARTS / landed.part
        whole += landed.bytes in (size_of(part), size_of(root / landed.file))
    return whole


def _foreign(root: Path, known: Sorted64, settled_before: float | None) -> Iterator[Problem]:
    """Yield the files below images/ that nothing knows."""
    for folder, _, files in os.walk(root / IMAGES):
        for name in sorted(files):
            path = Path(folder) / name
            file = path.relative_to(root).as_posix()
            if name.startswith(".") or name in LITTER or hash(file) & _MASK in known:
                continue
            if settled_before is not None and _changed_at(path) >= settled_before:
                continue
            yield Problem("foreign", file, "no record knows it")


def _changed_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:  # gone meanwhile
        return float("inf")


def _recognise(root: Path, problems: Iterable[Problem], foreign: Iterable[Problem]) -> None:
    """Find lost images among the foreign files: somebody may have renamed them."""
    lost = {problem.line.sha256: problem for problem in problems if problem.kind in LOST and problem.line is not None}
    sizes = {problem.line.bytes for problem in lost.values() if problem.line is not None}
    for stranger in foreign:
        path = root / stranger.file
        if not lost or size_of(path) not in sizes:
            continue
        try:
            with path.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError:
            continue
        if (problem := lost.pop(digest, None)) is not None:
            problem.found_at = stranger.file
            stranger.why = f"it has the bytes of {problem.file}"


def _repair(root: Path, problems: Iterable[Problem]) -> dict[str, Any]:
    """Make the next run send the lost images again, and only those; bytes move, none are deleted."""
    aside, back, lost = 0, 0, 0
    for problem in problems:
        if problem.kind not in LOST:
            continue
        lost += 1
        path = root / problem.file
        inside = is_below(problem.file)
        try:
            if inside and os.path.lexists(path):
                _set_aside(root, problem.file)
                aside += 1
            if inside and problem.found_at is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                (root / problem.found_at).rename(path)
                back += 1
        except OSError as error:
            raise as_store_error(error, path) from error
    return {"set_aside": aside, "put_back": back, "to_send": lost - back, "folder": str(root / SET_ASIDE)}


def _set_aside(root: Path, file: str) -> None:
    """Move a file to the same place below the folder of what was set aside, with a number if there is one already."""
    wanted = root / SET_ASIDE / file
    wanted.parent.mkdir(parents=True, exist_ok=True)
    target, number = wanted, 1
    while os.path.lexists(target):
        number += 1
        target = wanted.with_name(f"{wanted.stem}~{number}{wanted.suffix}")
    (root / file).rename(target)


def _next(root: Path, found: dict[str, Any]) -> dict[str, str]:
    """Say what helps now, and the one command that does it."""
    again = f"nanobatch verify {shlex.quote(str(root))}"
    counts, repair = found["counts"], found["repair"]
    if repair is not None and repair["to_send"]:
        return {"why": "generate what is lost again", "command": command_to_go_on(root, only_missing=True)}
    if repair is None and any(counts[kind] for kind in LOST):
        if all(problem["kind"] == "missing" and problem["found_at"] is None for problem in _lost(found)):
            return {"why": "generate what is missing again", "command": command_to_go_on(root, only_missing=True)}
        why = "set wrong files aside, so that the next run sends what is lost"
        return {"why": why, "command": f"{again} --repair"}
    if counts["unreadable"]:
        return {"why": "let this user read the files, then look again", "command": again}
    if counts["foreign"] and not (repair and repair["put_back"]):
        return {"why": "move files that no record knows elsewhere; this names all", "command": f"{again} -O json"}
    return {"why": "see how the run stands", "command": f"nanobatch status {shlex.quote(str(root))}"}


def _lost(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [problem for problem in found["problems"] if problem["kind"] in LOST]
