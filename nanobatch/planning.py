"""Planning turns prompts into jobs: one job for every image wanted, each with an id that says what it is.

A job's id does not depend on its place in the file, so a file may be sorted, cut or joined between two runs
and no image is bought twice. Equal rows are variants 0, 1, 2 ... of the same image.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from nanobatch.model import Job, Params, Prompt
from nanobatch.sources.base import Problem
from nanobatch.sources.files import PromptFiles, numbered
from nanobatch.sources.repeats import Repeats

IMAGES_FOLDER = "images"
REAL = ""
SANDBOX = "sandbox"
_ID_BYTES = 16
_PERSON = b"nanobatch job"  # no other hash of the same JSON is a job id


class _Identity(msgspec.Struct, omit_defaults=True, frozen=True):
    """What is hashed. Fields stand in the order of the alphabet."""

    model: str
    text: str
    aspect_ratio: str | None = None
    realm: str = REAL
    references: tuple[str, ...] = ()
    seed: int | None = None
    size: str | None = None


_encode = msgspec.json.Encoder(order="sorted").encode


def job_id(text: str, params: Params, variant: int, *, realm: str = REAL) -> str:
    """Hash everything that decides an image into 32 hex digits.

    Equal rows share a base: BLAKE2b (16 bytes, personalised with `nanobatch job`) over a JSON object in UTF-8,
    keys sorted, no blanks, nothing escaped without need. `model` and `text` are always in it; `aspect_ratio`,
    `realm`, `references`, `seed` and `size` only where they have a value, so that a parameter that is added one
    day leaves the ids of today as they are. The id is the same hash over the base and the variant (4 bytes,
    big-endian), so that the ids of all variants follow from 16 bytes per row.

    Args:
        text: The prompt.
        params: Model, size, ratio, seed, digests of the references.
        variant: 0, 1, 2 ... among equal prompts.
        realm: `SANDBOX` keeps a rehearsal's image from ever being taken for a real one.
    """
    return _variant(_base(text, params, realm=realm), variant).hex()


def _base(text: str, params: Params, *, realm: str) -> bytes:
    identity = _Identity(
        model=params.model,
        text=text,
        aspect_ratio=params.aspect_ratio,
        realm=realm,
        references=params.references,
        seed=params.seed,
        size=params.size,
    )
    return _hash(_encode(identity))


def _variant(base: bytes, variant: int) -> bytes:
    return _hash(base + variant.to_bytes(4))


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=_ID_BYTES, person=_PERSON).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a row gets that does not say otherwise. How many images is in `ReadOptions`, which names depend on."""

    model: str
    size: str | None = None
    aspect_ratio: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do, as the check found it."""

    prompts: int
    jobs: int
    skipped: tuple[Problem, ...] = ()  # the first few rows left out by --skip-invalid
    skipped_count: int = 0


class Planner:
    """Plans the jobs of a run: `check` once, then `jobs` as often as needed.

    Args:
        files: Where the prompts are.
        defaults: For what the rows leave open.
        realm: `REAL` or `SANDBOX`.
        digest: Hashes the content of a reference image, wherever it is; raises `InputError`.
        dedupe: The images of a row are also those of equal rows after it.
    """

    def __init__(
        self,
        files: PromptFiles,
        defaults: Defaults,
        *,
        digest: Callable[[str], str],
        realm: str = REAL,
        dedupe: bool = False,
    ) -> None:
        self._files = files
        self._defaults = defaults
        self._realm = realm
        self._digest = digest
        self._dedupe = dedupe
        self._ledger: _Ledger | None = None

    def check(self) -> Plan:
        """Read the whole input once; say what is in it and what is wrong with it.

        Raises:
            InputError: A file or a row cannot be used.
        """
        ledger = _Ledger()

        def note(prompt: Prompt, *, chosen: bool) -> None:
            base = _base(prompt.text, self._params(prompt), realm=self._realm)
            ledger.add(base, images=self._files.images(prompt), chosen=chosen)

        checked = self._files.check(note)
        ledger.close()
        self._ledger = ledger
        return Plan(checked.prompts, checked.images, checked.skipped, checked.skipped_count)

    def jobs(self, *, everything: bool = False) -> Iterator[Job]:
        """Read the input again and yield its jobs, in order. Checks first where nobody has.

        Args:
            everything: Also those that `--limit` and `--only` leave out.

        Raises:
            InputError: A file has changed since the check.
        """
        counts = self._checked().counts()
        for prompt, chosen in self._files.walk(everything=everything):
            params = self._params(prompt)
            base = _base(prompt.text, params, realm=self._realm)
            images = self._files.images(prompt)
            first = counts.take(base, images)
            twins = counts.twins(base, _Row(first, images, prompt.provider)) if self._dedupe and chosen else range(0)
            for number in range(1, images + 1 if chosen or everything else 1):
                variant = first + number - 1
                yield Job(
                    id=_variant(base, variant).hex(),
                    variant=variant,
                    key=f"{IMAGES_FOLDER}/{numbered(prompt.name, number)}",
                    prompt=prompt,
                    params=params,
                    twin=_variant(base, twins[number - 1]).hex() if number <= len(twins) else None,
                )

    def fingerprints(self, *, everything: bool = False) -> Iterator[int]:
        """Yield the first 64 bits of every job's id, in the order of `jobs`, without reading the input again.

        Args:
            everything: Also of those that `--limit` and `--only` leave out.
        """
        return self._checked().fingerprints(everything=everything)

    def _checked(self) -> _Ledger:
        if self._ledger is None:
            self.check()
        assert self._ledger is not None
        return self._ledger

    def _params(self, prompt: Prompt) -> Params:
        defaults = self._defaults
        return Params(
            model=prompt.model or defaults.model,
            size=prompt.size or defaults.size,
            aspect_ratio=prompt.aspect_ratio or defaults.aspect_ratio,
            seed=defaults.seed if prompt.seed is None else prompt.seed,
            references=tuple(map(self._digest, prompt.references)) if prompt.references else (),
        )


class _Ledger:
    """What the check keeps of each row: 26 bytes, from which the ids of all its jobs follow."""

    def __init__(self) -> None:
        self._bases = bytearray()
        self._images = array("h")  # negative: of a row that is not chosen
        self._repeats = Repeats()
        self._repeated: array[int] = array("Q")

    def add(self, base: bytes, *, images: int, chosen: bool) -> None:
        """Note one row."""
        self._bases += base
        self._images.append(images if chosen else -images)
        self._repeats.add(_key(base))

    def close(self) -> None:
        """Find the equal rows; no more rows come."""
        self._repeated = array("Q", sorted(set(self._repeats)))
        self._repeats = Repeats()

    def counts(self) -> _Counts:
        """Start counting variants anew."""
        return _Counts(self._repeated)

    def fingerprints(self, *, everything: bool) -> Iterator[int]:
        """Yield the first 64 bits of the ids of all chosen jobs, or of all jobs."""
        counts = self.counts()
        for row, images in enumerate(self._images):
            base = bytes(self._bases[row * _ID_BYTES : (row + 1) * _ID_BYTES])
            first = counts.take(base, abs(images))
            for variant in range(first, first + (abs(images) if everything else images)):  # none for a negative number
                yield _key(_variant(base, variant))


class _Row(NamedTuple):
    """What a row has of a repeated base."""

    first: int  # variant
    images: int
    provider: str | None


class _Counts:
    """How many variants each repeated row has had so far; rows that occur once are not in it.

    Two different rows whose bases begin with the same 64 bits would share a count. Their jobs keep ids of their own.
    """

    def __init__(self, repeated: array[int]) -> None:
        self._keys = repeated
        self._counts = array("L", bytes(array("L").itemsize * len(repeated)))
        self._originals: dict[int, _Row] = {}  # the first chosen row of each repeated base, where it is asked for

    def take(self, base: bytes, images: int) -> int:
        """Return the first of the next `images` variants of a row."""
        if not self._keys:
            return 0
        at = self._find(base)
        if at is None:
            return 0
        first = self._counts[at]
        self._counts[at] += images
        return first

    def twins(self, base: bytes, row: _Row) -> range:
        """Return the variants whose images a chosen row shares: those of the first chosen row that is equal to it."""
        at = self._find(base)
        if at is None:
            return range(0)
        original = self._originals.setdefault(at, row)
        if original is row or original.provider != row.provider:
            return range(0)
        return range(original.first, original.first + original.images)

    def _find(self, base: bytes) -> int | None:
        key = _key(base)
        at = bisect_left(self._keys, key)
        return at if at < len(self._keys) and self._keys[at] == key else None


def _key(digest_: bytes) -> int:
    return int.from_bytes(digest_[:8])
