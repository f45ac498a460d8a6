"""Cuts jobs into batches: so much output, so much input, so many rows, so many tokens, and never two models in one.

The output counts most. A 4K image with its signature is 30 MB of JSON, and a vendor that has to put thousands of them
into one file fails or takes days; half a gigabyte is fetched in a minute and, when it is lost, little is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from nanobatch.model import Job

MEGABYTE = 2**20
THOUGHTS = 500  # tokens of thinking and text beside one image; recorded answers have 88 to 880
_ROW_BYTES = 700  # of JSON around the words
_BYTES_PER_CHARACTER = 4  # at most, in UTF-8
TOKENS_PER_REFERENCE = 1120
CHARACTERS_PER_TOKEN = 3  # fewer than English has: a limit is better kept than met
# One answer as JSON, image and signature in base64: recorded 4.2 MB at 1K; larger ones follow from their pixels.
OUTPUT_BYTES = {"512": 2 * MEGABYTE, "1K": 4 * MEGABYTE, "2K": 12 * MEGABYTE, "4K": 30 * MEGABYTE}


@dataclass(frozen=True, slots=True)
class Weight:
    """What one row, or a batch of them, is expected to take."""

    output_bytes: int = 0
    input_bytes: int = 0
    tokens: int = 0
    rows: int = 0

    def plus(self, other: Weight) -> Weight:
        """Add two weights."""
        return Weight(
            self.output_bytes + other.output_bytes,
            self.input_bytes + other.input_bytes,
            self.tokens + other.tokens,
            self.rows + other.rows,
        )

    def fits(self, limit: Weight) -> bool:
        """Tell whether no part of this is beyond a limit."""
        return (
            self.output_bytes <= limit.output_bytes
            and self.input_bytes <= limit.input_bytes
            and self.tokens <= limit.tokens
            and self.rows <= limit.rows
        )


@dataclass(frozen=True, slots=True)
class Lot:
    """What the rows of one batch have in common."""

    provider: str
    model: str  # the provider's own id
    group: str = ""  # whatever else the wire format wants to be the same


@dataclass(frozen=True, slots=True)
class Chunk:
    """Jobs that go into one batch."""

    lot: Lot
    jobs: tuple[Job, ...]
    weight: Weight


def weigh(job: Job, *, image_tokens: int, reference_bytes: int) -> Weight:
    """Estimate what a job takes as a row.

    Args:
        job: The job.
        image_tokens: Of one image of its size.
        reference_bytes: The most that one reference image may have.
    """
    text, references = job.prompt.text, len(job.params.references)
    return Weight(
        output_bytes=OUTPUT_BYTES.get(job.params.size or "1K", OUTPUT_BYTES["1K"]),
        input_bytes=_ROW_BYTES + _BYTES_PER_CHARACTER * len(text) + references * (reference_bytes * 4 // 3 + 100),
        tokens=len(text) // CHARACTERS_PER_TOKEN + 1 + references * TOKENS_PER_REFERENCE + image_tokens + THOUGHTS,
        rows=1,
    )


@dataclass(slots=True)
class _Open:
    jobs: list[Job] = field(default_factory=list)
    weight: Weight = Weight()


def cut(weighed: Iterable[tuple[Lot, Job, Weight]], limit: Callable[[Lot], Weight]) -> Iterator[Chunk]:
    """Yield chunks as they fill up, and at the end what is left. A row beyond the limit travels alone.

    Args:
        weighed: Jobs in the order of the input; read as far as the chunks are asked for.
        limit: What one chunk of a lot may weigh.
    """
    open_: dict[Lot, _Open] = {}
    for lot, job, weight in weighed:
        chunk = open_.setdefault(lot, _Open())
        if chunk.jobs and not chunk.weight.plus(weight).fits(limit(lot)):
            yield Chunk(lot, tuple(chunk.jobs), chunk.weight)
            chunk = open_[lot] = _Open()
        chunk.jobs.append(job)
        chunk.weight = chunk.weight.plus(weight)
    for lot, chunk in open_.items():
        if chunk.jobs:
            yield Chunk(lot, tuple(chunk.jobs), chunk.weight)
