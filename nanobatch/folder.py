"""Holds an output folder for one run at a time, and takes stock of what earlier runs left in it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanobatch.attempts import AttemptsLedger, Landed, OpenTask, Past, read_past
from nanobatch.clock import Clock, iso
from nanobatch.errors import ConfigError
from nanobatch.journal import as_store_error
from nanobatch.manifest import Manifest, Sorted64, fingerprint
from nanobatch.model import Job, Record
from nanobatch.stores.local import STATE_FOLDER, LocalStore

ATTEMPTS = f"{STATE_FOLDER}/attempts.jsonl"
LOCK = f"{STATE_FOLDER}/lock"
ASKED_TIMES = 20  # a tenth of a second in all: `status` may be asking at the very moment when a run starts
ASKED_AGAIN_SECONDS = 0.005


@contextlib.contextmanager
def locked(root: Path, clock: Clock) -> Iterator[None]:
    """Keep other runs off a folder; the system lets go of it when this process dies, however it dies.

    Raises:
        ConfigError: Another run holds it; the message says which.
        StoreError: The folder cannot be written.
    """
    path = root / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise as_store_error(error, path) from error
    try:
        if not _taken(fd):
            raise ConfigError(
                f"{root} is in use by another run{_told(holder_of(fd))}; wait for it or choose another --out"
            )
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": iso(clock.wall())}
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(holder).encode(), 0)
        yield
    finally:
        os.close(fd)


def _taken(fd: int) -> bool:
    """Take the lock, unless another run has it. Whoever only asks (`who_holds`) has it for no more than a moment."""
    for _ in range(ASKED_TIMES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(ASKED_AGAIN_SECONDS)
        else:
            return True
    return False


def who_holds(root: Path) -> dict[str, Any] | None:
    """Tell which run holds a folder now, as `{"pid", "host", "since"}`; None when nobody does. Changes nothing."""
    try:
        fd = os.open(root / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # others that only ask do not stand in the way
    except BlockingIOError:
        return holder_of(fd)
    finally:
        os.close(fd)
    return None


def holder_of(fd: int) -> dict[str, Any]:
    """Read who wrote an open lock file; what is not known is None."""
    try:
        holder = json.loads(os.pread(fd, 1000, 0))
        return {key: holder[key] for key in ("pid", "host", "since")}
    except (ValueError, KeyError, TypeError):
        return dict.fromkeys(("pid", "host", "since"))


def _told(holder: Mapping[str, Any]) -> str:
    if holder["pid"] is None:
        return ""
    return f" (process {holder['pid']} on {holder['host']}, since {holder['since']})"


@dataclass(slots=True)
class Folder:
    """What is in the folder, ready for a new run."""

    store: LocalStore
    manifest: Manifest
    ledger: AttemptsLedger
    past: Past
    done: set[int]  # fingerprints of jobs that need nothing more
    possibly_billed_usd: float  # for requests that an earlier process left on the wire

    def wants(self, job: Job) -> bool:
        """Whether a job is still to be done."""
        return fingerprint(job.id) not in self.done

    def left(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Yield the jobs that are still to be done by somebody; those of equal rows are copied afterwards."""
        return (job for job in jobs if job.twin is None and self.wants(job))

    def sync(self) -> None:
        """Flush everything to the disk itself; blocks."""
        self.ledger.sync()
        self.store.sync()
        self.manifest.sync()


def open_folder(
    root: Path,
    clock: Clock,
    *,
    wanted: Callable[[], Iterable[int]],
    can_fetch: Callable[[OpenTask], bool] = lambda _: False,
    retry_failed: bool = False,
    fresh: bool = False,
    chosen: Callable[[], Iterable[int]] | None = None,
) -> Folder:
    """Read what earlier runs did, close what they left open, and recover images that were not recorded yet.

    Args:
        root: The output folder, locked.
        clock: For the times of the lines written here.
        wanted: Gives the fingerprints of all jobs of the input.
        can_fetch: Whether this run can fetch what an earlier one ordered; what nobody can counts as possibly billed.
        retry_failed: Send refused and failed jobs again.
        fresh: Send everything again.
        chosen: Gives the fingerprints of the jobs that `fresh` is about, where a part of the input is chosen: what
            was paid for the others stays known.

    Raises:
        ConfigError: The manifest or the ledger is damaged.
        StoreError: The folder cannot be written.
    """
    store = LocalStore(root)
    manifest = Manifest(store)
    part = Sorted64(chosen()) if fresh and chosen is not None else None
    again = frozenset[int]() if part is None else part
    done = manifest.resume(wanted(), retry_failed=retry_failed, fresh=fresh and part is None, again=again)

    def is_wanted_again(job: str) -> bool:
        return fresh and (part is None or fingerprint(job) in part)

    past = read_past(root / ATTEMPTS, now=clock.wall(), recorded=lambda job: fingerprint(job) in done)
    for known in (past.landed, past.tallies):
        for job in list(filter(is_wanted_again, known)):
            del known[job]
    store.clean_parts(keep={landed.part for _, landed in past.landed.values()})
    ledger = AttemptsLedger(root / ATTEMPTS)
    ledger.give_up_tasks(past, lambda job, task: not is_wanted_again(job) and can_fetch(task))
    maybe = ledger.close_interrupted(past, at=clock.wall())
    return Folder(store, manifest, ledger, past, done, sum(maybe.values()))


def recover(folder: Folder, jobs: Iterable[Job], record_of: Callable[[Job, str, Landed], Record]) -> int:
    """Record the images that were whole on disk when an earlier process died; return how many.

    Args:
        folder: The folder.
        jobs: All jobs of the input; read only when there is something to recover.
        record_of: Writes the record of a job whose image is in its place.
    """
    if not folder.past.landed:
        return 0
    count = 0
    for job in jobs:
        provider, landed = folder.past.landed.get(job.id, ("", None))
        if landed is None or not folder.wants(job):
            continue
        part = folder.store.part(landed.part)
        if part.exists():
            folder.store.adopt(part, landed.file)
        elif folder.store.size(landed.file) != landed.bytes:
            continue  # it was recorded once and removed since
        folder.manifest.append(record_of(job, provider, landed))
        folder.done.add(fingerprint(job.id))
        count += 1
    return count


def input_digest(paths: Iterable[str], decisions: object) -> str | None:
    """Name the input and all that decides what a record says of it; None for what cannot be read twice.

    Args:
        paths: The prompt files.
        decisions: Settings whose repr tells whether the records would be the same.
    """
    digest = hashlib.sha256(repr(decisions).encode())
    for path in map(Path, paths):
        if not path.is_file():
            return None
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
