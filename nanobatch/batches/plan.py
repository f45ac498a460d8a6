"""Keeps the jobs of a folder in the folder, so that whoever has it can collect, without the file of prompts.

`.nanobatch/plan.jsonl` begins with a line about the input; then comes a line for each job, in the order of the input.
Jobs that are ordered and that a later input does not ask for any more stay in it until their images are here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import msgspec

from nanobatch.errors import ConfigError
from nanobatch.journal import as_store_error, read_lines
from nanobatch.manifest import Offsets, Sorted64, fingerprint
from nanobatch.model import Job

_encode = msgspec.json.Encoder().encode


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """The input that a plan was made of."""

    inputs: tuple[str, ...] = ()
    jobs: int = 0  # chosen ones
    limit: int | None = None  # --limit
    only: str | None = None  # --only
    sandbox: bool = False


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    job: Job
    chosen: bool = True


class Jobs(Protocol):
    """Whatever knows the jobs of a run: a planner, or a plan that was kept."""

    def jobs(self, *, everything: bool = False) -> Iterator[Job]:
        """Yield the jobs, in order."""
        ...

    def fingerprints(self, *, everything: bool = False) -> Iterator[int]:
        """Yield the first 64 bits of every job's id."""
        ...


class StoredPlan:
    """A plan on disk.

    Raises:
        ConfigError: There is none, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.about = self._read_about()
        self._offsets: Offsets | None = None

    def __repr__(self) -> str:
        return f"<StoredPlan {self._path}: {self.about.jobs} jobs>"

    def jobs(self, *, everything: bool = False) -> Iterator[Job]:
        """Yield the jobs in the order of the input: those that were chosen, or all of them."""
        return (line.job for line in self._lines() if everything or line.chosen)

    def fingerprints(self, *, everything: bool = False) -> Iterator[int]:
        """Yield the first 64 bits of every job's id, in the order of `jobs`."""
        return (fingerprint(line.job.id) for line in self._lines() if everything or line.chosen)

    def pick(self, ids: Iterable[str]) -> dict[str, Job]:
        """Return some jobs by their ids; those that are not in the plan are left out."""
        if self._offsets is None:
            lines = read_lines(self._path, msgspec.json.Decoder(msgspec.Raw))
            next(lines, None)
            heads = msgspec.json.Decoder(_Line)
            self._offsets = Offsets((fingerprint(heads.decode(raw).job.id), offset) for offset, raw in lines)
        decoder = msgspec.json.Decoder(_Line)
        found: dict[str, Job] = {}
        with self._path.open("rb") as file:
            for wanted in ids:
                for offset in self._offsets.find(fingerprint(wanted)):
                    file.seek(offset)
                    job = decoder.decode(file.readline()).job
                    if job.id == wanted:
                        found[wanted] = job
        return found

    def _lines(self) -> Iterator[_Line]:
        raws = read_lines(self._path, msgspec.json.Decoder(msgspec.Raw))
        next(raws, None)
        decoder = msgspec.json.Decoder(_Line)
        return (decoder.decode(raw) for _, raw in raws)

    def _read_about(self) -> About:
        try:
            for _, about in read_lines(self._path, msgspec.json.Decoder(About)):
                return about
        except ConfigError:
            pass
        raise ConfigError(f"{self._path}: there is no plan of batches here; submit one first")


def keep(path: Path, planner: Jobs, about: About, *, ordered: AbstractSet[str], earlier: Iterable[Job]) -> StoredPlan:
    """Write a plan in place of an earlier one.

    Args:
        path: Where it is kept.
        planner: Knows the jobs of the input.
        about: The input.
        ordered: Ids of jobs that are in an open batch.
        earlier: The jobs of the plan that was kept before; read where the input lacks some that are ordered.

    Raises:
        ConfigError: The earlier plan is needed and lost.
        StoreError: It could not be written; the earlier one is still there.
    """
    part = path.with_suffix(".part")
    chosen = Sorted64(planner.fingerprints())
    known: set[str] = set()
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(_encode(about) + b"\n")
            for job in planner.jobs(everything=True):
                if job.id in ordered:
                    known.add(job.id)
                file.write(_line(job, chosen=fingerprint(job.id) in chosen))
            for job in earlier if len(known) < len(ordered) else ():  # so that a lost plan is made again of its input
                if job.id in ordered and job.id not in known:
                    file.write(_line(job, chosen=True))
            file.flush()
            os.fsync(file.fileno())  # without it nobody could collect what is ordered next
        part.replace(path)
    except OSError as error:
        raise as_store_error(error, path) from error
    return StoredPlan(path)


def _line(job: Job, *, chosen: bool) -> bytes:
    plain = replace(job, prompt=replace(job.prompt, columns=dict(job.prompt.columns)))
    return _encode(_Line(plain, chosen)) + b"\n"
