"""Finds images of prompts that say the same in other words, in the database of this machine.

What may stand in for what, the guard decides: each prompt has a reading, and equal readings with equal parameters have
the same likeness, by which the database finds them. Among those the embedding finds the nearest, and says how near.
The entries themselves, their time to live and their places are the exact cache's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from nanobatch.caches.base import Cache, Entry, Match
from nanobatch.caches.database import Database, peeking
from nanobatch.errors import CacheError
from nanobatch.meaning.embedding import DIMENSIONS, Embedding, Vectors
from nanobatch.meaning.guard import Reading, read
from nanobatch.model import Job, Record

__all__ = ["Alike", "Embedding", "Likenesses", "SemanticLookup", "peek_alike"]
_AT_ONCE = 400  # likenesses in one question
_MOST_CANDIDATES = 16  # for one job: the newest
_PERSON = b"nanobatch alike"
_STORED = np.dtype("<f2")
_LEARN = """
INSERT INTO meanings (job, likeness, made, expires, prompt, vector) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (job) DO UPDATE SET likeness = excluded.likeness, made = excluded.made, expires = excluded.expires,
    prompt = excluded.prompt, vector = excluded.vector
"""
_encode = msgspec.json.Encoder(order="sorted").encode


class Embed(Protocol):
    """Puts texts into rows of length one."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return a row for each text."""
        ...


@dataclass(frozen=True, slots=True)
class Alike:
    """A prompt of an earlier run that says the same as a job's, and how near the two are."""

    job: Job
    other: str  # the id of its job
    prompt: str  # of the other
    score: float  # cosine, -1 to 1

    @property
    def warning(self) -> str:
        """What the record of the job says of it."""
        return f"semantic:{self.score:.2f} of {self.other}"


@dataclass(frozen=True, slots=True)
class _Candidate:
    job: str
    prompt: str
    vector: bytes


@dataclass(slots=True)
class Likenesses:
    """Reads jobs, and ranks what the database has for them."""

    load: Callable[[], Embed]
    realm: str
    ttl_seconds: float
    _embedding: Embed | None = None

    def find(self, connection: sqlite3.Connection, jobs: Sequence[Job], *, now: float) -> dict[str, list[Alike]]:
        """Return what says the same as some jobs do, the nearest first, by their ids."""
        if connection.execute("SELECT 1 FROM meanings LIMIT 1").fetchone() is None:
            return {}  # reading a thousand prompts takes a fifth of a second
        readings = {job.id: read(job.prompt.text) for job in jobs}
        wanted = {job.id: self.likeness(readings[job.id], job.params.as_dict(), job.variant) for job in jobs}
        candidates = self._candidates(connection, wanted.values(), now=now)
        meant = []
        for job in jobs:
            others = [one for one in candidates.get(wanted[job.id], ()) if self._is_meant(one, job, readings[job.id])]
            if others:
                meant.append((job, others))
        if not meant:
            return {}
        vectors = self.vectors([readings[job.id] for job, _ in meant])
        return {job.id: _ranked(job, vector, others) for (job, others), vector in zip(meant, vectors, strict=True)}

    def likeness(self, reading: Reading, params: Mapping[str, Any], variant: int) -> bytes:
        """Hash a reading with all that decides an image beside the words."""
        everything = _encode([reading.key, params, variant, self.realm])
        return blake2b(everything, digest_size=16, person=_PERSON).digest()

    def vectors(self, readings: Sequence[Reading]) -> Vectors:
        """Put readings into numbers; the model is loaded when it is needed first."""
        if self._embedding is None:
            try:
                self._embedding = self.load()
            except OSError as error:
                raise CacheError(f"the model of cache.semantic cannot be read: {error}") from error
        return self._embedding.embed([reading.words for reading in readings])

    def _candidates(
        self, connection: sqlite3.Connection, wanted: Iterable[bytes], *, now: float
    ) -> dict[bytes, list[_Candidate]]:
        youngest = now - self.ttl_seconds if self.ttl_seconds else float("-inf")
        keys = list(dict.fromkeys(wanted))
        found: dict[bytes, list[_Candidate]] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            rows = connection.execute(
                f"SELECT likeness, job, prompt, vector FROM meanings WHERE likeness IN ({','.join('?' * len(some))})"  # noqa: S608 - question marks alone
                " AND made > ? AND ifnull(expires > ?, 1) ORDER BY made DESC",
                (*some, youngest, now),
            )
            for likeness, job, prompt, vector in rows:
                if not isinstance(prompt, str) or len(vector) != DIMENSIONS * _STORED.itemsize:
                    raise sqlite3.DatabaseError("a row of the semantic cache is none")
                known = found.setdefault(likeness, [])
                if len(known) < _MOST_CANDIDATES:
                    known.append(_Candidate(job.hex(), prompt, vector))
        return found

    def _is_meant(self, candidate: _Candidate, job: Job, reading: Reading) -> bool:
        """Read what is stored again: it may have been read by the rules of another version."""
        return candidate.job != job.id and read(candidate.prompt).key == reading.key


def _ranked(job: Job, vector: Vectors, others: Sequence[_Candidate]) -> list[Alike]:
    """Sort by nearness, the nearest first."""
    matrix = np.frombuffer(b"".join(one.vector for one in others), dtype=_STORED).reshape(len(others), DIMENSIONS)
    pairs = zip(others, (matrix.astype(np.float32) @ vector).tolist(), strict=True)
    found = [Alike(job, one.job, one.prompt, round(min(score, 1.0), 4)) for one, score in pairs]
    return sorted(found, key=lambda one: -one.score)


class SemanticLookup:
    """The second lookup of a run.

    Args:
        folder: The user's cache folder, where the database is.
        cache: The exact cache, which has the entries.
        likenesses: Reads and ranks.
        threshold: What is less near than this is not taken.
    """

    def __init__(self, folder: Path, cache: Cache, likenesses: Likenesses, *, threshold: float) -> None:
        self._database = Database(folder)
        self._cache = cache
        self._likenesses = likenesses
        self._threshold = threshold

    def look_up(self, jobs: Sequence[Job], *, now: float) -> Mapping[str, Match]:
        """Return what may stand in for some jobs: the nearest whose image is known."""
        if not jobs:
            return {}
        with self._database.using() as connection:
            found = self._likenesses.find(connection, jobs, now=now)
        near = {job: [one for one in some if one.score >= self._threshold] for job, some in found.items()}
        entries = self._entries({one.other for some in near.values() for one in some}, now=now)
        return {
            job: Match(entries[one.other], one.warning)
            for job, some in near.items()
            if (one := next((one for one in some if one.other in entries), None)) is not None
        }

    def learn(self, found: Sequence[tuple[Record, Entry]]) -> None:
        """Note the readings and vectors of images that were drawn just now; what is too old goes."""
        records = [(record, entry) for record, entry in found if entry.has_image]
        if not records:
            return
        readings = [read(record.prompt) for record, _ in records]
        rows = list(self._rows(records, readings))
        with self._database.changing() as connection:
            connection.executemany(_LEARN, rows)
            connection.execute("DELETE FROM meanings WHERE expires <= ?", (records[0][1].made_at,))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _rows(self, records: Sequence[tuple[Record, Entry]], readings: Sequence[Reading]) -> Iterator[tuple[Any, ...]]:
        vectors = self._likenesses.vectors(readings).astype(_STORED)
        ttl = self._likenesses.ttl_seconds
        for (record, entry), reading, vector in zip(records, readings, vectors, strict=True):
            likeness = self._likenesses.likeness(reading, record.params, record.variant)
            expires = entry.made_at + ttl if ttl else None
            yield bytes.fromhex(record.job), likeness, entry.made_at, expires, record.prompt, vector.tobytes()

    def _entries(self, jobs: Iterable[str], *, now: float) -> dict[str, Entry]:
        known = self._cache.look_up(sorted(jobs), now=now)
        return {job: entry for job, entry in known.items() if entry.has_image}


def peek_alike(folder: Path, likenesses: Likenesses, jobs: Sequence[Job], *, now: float) -> dict[str, list[Alike]]:
    """Return what says the same as some jobs do, as far as a glance at the files tells. Nothing is changed.

    Raises:
        CacheError: The database cannot be read.
    """
    with peeking(folder) as connection:
        if connection is None or not _has_meanings(connection):
            return {}
        return likenesses.find(connection, jobs, now=now)


def _has_meanings(connection: sqlite3.Connection) -> bool:
    """Tell whether the database is of a version that has them."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meanings'").fetchone() is not None
