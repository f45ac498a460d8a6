"""The manifest: one line per job, appended as jobs end, rewritten in input order when the run ends.

Resume reads it first. A job whose image is recorded and still on disk with the recorded length is done; so is a job
that a provider refused or rejected for good, until the user asks for `--retry-failed`. Lines of jobs that the input
no longer asks for move to `.nanobatch/history.jsonl`: their images were paid for, and the rows may come back.
"""

from __future__ import annotations

import contextlib
import dataclasses
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from nanobatch.journal import Journal, as_store_error, read_lines
from nanobatch.model import Job, Record, Status
from nanobatch.stores.local import STATE_FOLDER, LocalStore, size_of

MANIFEST = "manifest.jsonl"
FAILED = "failed.jsonl"
HISTORY = f"{STATE_FOLDER}/history.jsonl"
MARK = f"{STATE_FOLDER}/finished"
_encode = msgspec.json.Encoder().encode
_records = msgspec.json.Decoder(Record)


class _Head(msgspec.Struct, frozen=True):
    """The part of a line that resume needs. A line of the history may instead say that a file was set aside."""

    job: str = ""
    status: str = ""
    file: str | None = None
    bytes: int | None = None
    moved: str | None = None
    to: str | None = None


_heads = msgspec.json.Decoder(_Head)


def fingerprint(job_id: str) -> int:
    """Shorten a job id to 64 bits, for sets of a million."""
    return int(job_id[:16], 16)


class Sorted64:
    """A set of 64-bit numbers in 8 bytes each."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = array("Q", sorted(array("Q", numbers)))

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._numbers, number)
        return at < len(self._numbers) and self._numbers[at] == number


class Offsets:
    """Where each job's newest line begins: two flat arrays and a binary search, 16 bytes a line."""

    def __init__(self, lines: Iterable[tuple[int, int]]) -> None:
        keys, offsets = array("Q"), array("Q")
        for key, offset in lines:
            keys.append(key)
            offsets.append(offset)
        order = sorted(range(len(keys)), key=keys.__getitem__)  # stable: the newest of equal keys comes last
        self._keys = array("Q", (keys[i] for i in order))
        self._offsets = array("Q", (offsets[i] for i in order))

    def find(self, key: int) -> Iterator[int]:
        """Yield the offsets of a key's lines, newest first."""
        stop = at = bisect_left(self._keys, key)
        while stop < len(self._keys) and self._keys[stop] == key:
            stop += 1
        yield from (self._offsets[i] for i in range(stop - 1, at - 1, -1))


class Manifest:
    """The public result of a run, in the output folder. `resume` comes first, `finish` last."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._path = store.root / MANIFEST
        self._history_path = store.root / HISTORY
        self._journal: Journal
        self._history: Journal | None = None
        self._owned: frozenset[int] | Sorted64 = frozenset()  # hashes of the files of finished jobs of this plan
        self._changed = False  # since the manifest was last rewritten in input order

    def resume(
        self,
        wanted: Iterable[int],
        *,
        retry_failed: bool = False,
        fresh: bool = False,
        again: frozenset[int] | Sorted64 = frozenset(),
    ) -> set[int]:
        """Read what is done, and move the lines of jobs that are not wanted any more to the history.

        Args:
            wanted: Fingerprints of every job of the input; read only when there is something to resume.
            retry_failed: Send refused and failed jobs again.
            fresh: Send everything again; earlier images are set aside when a new one takes their name.
            again: Fingerprints of jobs to send again in the same way; all others stay as they are.

        Returns:
            The fingerprints of the jobs that need nothing more.

        Raises:
            ConfigError: A line in the middle of the manifest is damaged.
            StoreError: A line could not be moved to the history.
        """
        if fresh:
            self._start_over()
        earlier = self._path.exists() or self._history_path.exists()
        plan = Sorted64(wanted if earlier else ())
        done, owned, stale = self._take_stock(plan, retry_failed=retry_failed, again=again)
        self._retire(stale)
        self._journal = Journal(self._path)
        for record in self._recalled(plan, done, again):
            self.append(record)
            done.add(fingerprint(record.job))
            owned.append(_hash(record.file or ""))
        self._owned = Sorted64(owned)
        return done

    def _take_stock(
        self, plan: Sorted64, *, retry_failed: bool, again: frozenset[int] | Sorted64
    ) -> tuple[set[int], array[int], array[int]]:
        """Return what is done, the hashes of its files, and the offsets of images that nobody asks for any more."""
        done: set[int] = set()
        owned, stale = array("Q"), array("Q")
        for offset, head in read_lines(self._path, _heads):
            key = fingerprint(head.job)
            if key not in plan:
                if head.file is not None:
                    stale.append(offset)
                continue
            done.discard(key)  # the newest line decides
            if key not in again and is_done(head, self._store.size, retry_failed=retry_failed):
                done.add(key)
                if head.file is not None:
                    owned.append(_hash(head.file))
        return done, owned, stale

    def _start_over(self) -> None:
        for key in (MANIFEST, HISTORY):
            if self._store.size(key) is not None:
                self._store.set_aside(key)

    def _retire(self, offsets: Iterable[int]) -> None:
        """Copy lines to the history; `finish` leaves them out of the manifest."""
        if not offsets:
            return
        history = self._open_history()
        with self._path.open("rb") as source:
            for offset in offsets:
                source.seek(offset)
                history.append(_records.decode(source.readline()))
        history.sync()
        self._changed = True

    def _recalled(self, plan: Sorted64, done: set[int], again: frozenset[int] | Sorted64) -> list[Record]:
        """Find images of earlier inputs that this input asks for again, where they are now."""
        found: dict[int, Record] = {}
        by_file: dict[str, int] = {}
        for _, raw in read_lines(self._history_path, msgspec.json.Decoder(msgspec.Raw)):
            head = _heads.decode(raw)
            if head.moved is not None:
                key = by_file.pop(head.moved, None)
                if key is not None and head.to is not None:
                    found[key] = dataclasses.replace(found[key], file=head.to)
                    by_file[head.to] = key
            elif (key := fingerprint(head.job)) in plan and key not in done and key not in again:
                found[key] = _records.decode(raw)
                by_file[head.file or ""] = key
        return [record for record in found.values() if self._store.size(record.file or "") == record.bytes]

    def _open_history(self) -> Journal:
        if self._history is None:
            self._history = Journal(self._history_path)
        return self._history

    def free_name(self, key: str, extension: str) -> str:
        """Choose the file for a new image.

        A file that belongs to a finished job of this input is left alone and the new one gets `~2`; anything else
        in the way is set aside first, and the history remembers where it went.

        Raises:
            StoreError: What stands there could not be moved.
        """
        file = key + extension
        number = 1
        while _hash(file) in self._owned and self._store.size(file) is not None:
            number += 1
            file = f"{key}~{number}{extension}"
        if self._store.size(file) is not None:
            try:
                aside = self._store.set_aside(file)
            except OSError as error:
                raise as_store_error(error, self._store.root / file) from error
            self._open_history().append({"moved": file, "to": aside})
        return file

    def append(self, record: Record) -> None:
        """Record how a job ended; the line is safe from the death of the process at once."""
        self._changed = True
        self._journal.append(record)

    @contextlib.contextmanager
    def looking_up(self) -> Iterator[Callable[[str], Record | None]]:
        """Yield what finds a job's newest record, as the manifest stands now, by the job's id."""
        lines = Offsets((fingerprint(head.job), offset) for offset, head in read_lines(self._path, _heads))
        with self._path.open("rb") as source:
            yield lambda job_id: _newest(job_id, lines, source)

    def sync(self) -> None:
        """Flush to the disk itself; blocks."""
        self._journal.sync()
        if self._history is not None:
            self._history.sync()

    def finish(
        self,
        jobs: Iterable[Job],
        missing: Callable[[Job], Record | None],
        seen: Callable[[Record], None] = lambda _: None,
        *,
        input_digest: str | None = None,
    ) -> None:
        """Rewrite the manifest in input order, with every job in it, and write failed.jsonl. Blocks.

        Args:
            jobs: Every job of the input, in order.
            missing: The record for a job without a line, or None to leave it out.
            seen: Shown every record as it is written.
            input_digest: Names the input with everything that decides the records. A manifest that was finished for
                the same input, and to which nothing was added since, is left as it is.

        Raises:
            StoreError: The manifest as it was appended is still there.
        """
        self._journal.close()
        if self._history is not None:
            self._history.close()
        if not self._changed and input_digest is not None and self._mark(input_digest) == self._last_mark():
            for _, record in read_lines(self._path, _records):
                seen(record)
            return
        self._rewrite(jobs, missing, seen)
        if input_digest is not None:
            self._store.write(MARK, self._mark(input_digest).encode())

    def _mark(self, input_digest: str) -> str:
        return f"{input_digest} {self._store.size(MANIFEST)}"

    def _last_mark(self) -> str:
        try:
            return (self._store.root / MARK).read_text()
        except (OSError, UnicodeDecodeError):
            return ""

    def _rewrite(
        self, jobs: Iterable[Job], missing: Callable[[Job], Record | None], seen: Callable[[Record], None]
    ) -> None:
        lines = Offsets((fingerprint(head.job), offset) for offset, head in read_lines(self._path, _heads))
        part, failed_part = self._store.new_part(), self._store.new_part()
        try:
            with self._path.open("rb") as source, part.open("wb") as target, failed_part.open("wb") as failed:
                records = _written(_in_order(jobs, lines, source, missing), target, seen)
                for row in _failed_rows(records):
                    failed.write(_encode(row) + b"\n")
            self._store.flush(part)
            self._store.flush(failed_part)
            part.replace(self._path)
            failed_part.replace(self._store.root / FAILED)
        except OSError as error:
            raise as_store_error(error, self._path) from error


def _in_order(
    jobs: Iterable[Job], lines: Offsets, source: BinaryIO, missing: Callable[[Job], Record | None]
) -> Iterator[tuple[Job, Record]]:
    for job in jobs:
        record = _look_up(job, lines, source) or missing(job)
        if record is not None:
            yield job, record


def _look_up(job: Job, lines: Offsets, source: BinaryIO) -> Record | None:
    """Return the job's newest record, with the place and the columns that its row has today."""
    record, prompt = _newest(job.id, lines, source), job.prompt
    if record is None or (record.index, record.id, record.columns) == (prompt.index, prompt.id, prompt.columns):
        return record
    return dataclasses.replace(record, index=prompt.index, id=prompt.id, columns=dict(prompt.columns))


def _newest(job_id: str, lines: Offsets, source: BinaryIO) -> Record | None:
    for offset in lines.find(fingerprint(job_id)):
        source.seek(offset)
        record = _records.decode(source.readline())
        if record.job == job_id:
            return record
    return None


def _written(
    records: Iterator[tuple[Job, Record]], target: BinaryIO, seen: Callable[[Record], None]
) -> Iterator[tuple[Job, Record]]:
    for job, record in records:
        target.write(_encode(record) + b"\n")
        seen(record)
        yield job, record


def _failed_rows(records: Iterator[tuple[Job, Record]]) -> Iterator[dict[str, Any]]:
    """Turn jobs without an image into rows that `run` accepts: one per prompt, `n` telling how many images."""
    for _, group in groupby(records, key=lambda pair: pair[0].prompt.index):
        lacking = [(job, record) for job, record in group if not record.has_image]
        if lacking:
            yield _row(lacking[0][0], lacking[0][1], n=len(lacking))


def _row(job: Job, record: Record, *, n: int) -> dict[str, Any]:
    row: dict[str, Any] = {"id": job.prompt.id, "prompt": job.prompt.text}
    wanted = {
        "model": job.params.model,
        "provider": job.prompt.provider,
        "size": job.params.size,
        "aspect_ratio": job.params.aspect_ratio,
        "seed": job.params.seed,
        "references": [_from_anywhere(reference) for reference in job.prompt.references] or None,
        "name": job.prompt.name if job.prompt.name != job.prompt.id else None,
        "n": n if n > 1 else None,
    }
    row.update({name: value for name, value in wanted.items() if value is not None})
    row.update({name: value for name, value in job.prompt.columns.items() if name not in row})
    if record.error is not None:
        row["error"] = record.error.message
    return row


def _from_anywhere(reference: str) -> str:
    """Name a file so that it is found from the output folder too."""
    return reference if "://" in reference else str(Path(reference).absolute())


def _hash(file: str) -> int:
    return hash(file) & 0xFFFF_FFFF_FFFF_FFFF


def peek(root: Path, *, retry_failed: bool = False) -> set[int]:
    """Find the fingerprints of finished jobs without changing anything: for `--dry-run`.

    Raises:
        ConfigError: The manifest is damaged.
    """
    done: set[int] = set()
    for _, head in read_lines(root / MANIFEST, _heads):
        key = fingerprint(head.job)
        done.discard(key)
        if is_done(head, lambda file: size_of(root / file), retry_failed=retry_failed):
            done.add(key)
    return done


def is_done(head: _Head, size: Callable[[str], int | None], *, retry_failed: bool) -> bool:
    """Whether a line's job needs nothing more: its image is on disk with the recorded length, or it ended for good."""
    if head.status in (Status.OK, Status.CACHED):
        return head.file is not None and size(head.file) == head.bytes
    return not retry_failed and head.status in (Status.REFUSED, Status.FAILED)
