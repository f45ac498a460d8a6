"""Writes the manifest's record of a job: with the image that came, or with the reason why none did."""

from __future__ import annotations

from nanobatch.attempts import Landed, Tally
from nanobatch.errors import (
    Ambiguous,
    DecodeError,
    ExchangeError,
    NanobatchError,
    NoImage,
    Refused,
    Rejected,
    Undelivered,
)
from nanobatch.model import Failure, Job, Record, Status


def record_of(job: Job, provider: str, landed: Landed, *, finished_at: str) -> Record:
    """Write the record of a job whose image is in its place."""
    return Record(
        job=job.id,
        id=job.prompt.id,
        variant=job.variant,
        index=job.prompt.index,
        prompt=job.prompt.text,
        params=job.params.as_dict(),
        columns=dict(job.prompt.columns),
        status=Status.OK,
        file=landed.file,
        sha256=landed.sha256,
        bytes=landed.bytes,
        mime=landed.mime,
        width=landed.width,
        height=landed.height,
        provider=provider,
        provider_model=landed.provider_model,
        attempts=landed.attempts,
        cost_usd=round(landed.cost_usd, 6),
        cost_basis=landed.cost_basis,
        maybe_cost_usd=round(landed.maybe_cost_usd, 6),
        warnings=landed.warnings,
        started_at=landed.started_at,
        finished_at=finished_at,
        latency_seconds=landed.latency_seconds,
    )


def record_without_image(
    job: Job,
    tally: Tally,
    error: NanobatchError,
    *,
    finished_at: str | None,
    open_usd: float = 0.0,
) -> Record:
    """Write the record of a job that ended without an image.

    Args:
        job: The job.
        tally: What is known of its attempts.
        error: Why there is no image.
        finished_at: When it ended; None for a job that the run did not come to.
        open_usd: What a task may cost that is ordered and not fetched yet.
    """
    match error:
        case Refused():
            status = Status.REFUSED
        case Ambiguous() | Rejected() | NoImage() | DecodeError() | Undelivered():
            status = Status.FAILED
        case _:
            status = Status.UNFINISHED
    provider = error.provider if isinstance(error, ExchangeError) else None
    http_status = error.http_status if isinstance(error, ExchangeError) else None
    return Record(
        job=job.id,
        id=job.prompt.id,
        variant=job.variant,
        index=job.prompt.index,
        prompt=job.prompt.text,
        params=job.params.as_dict(),
        columns=dict(job.prompt.columns),
        status=status,
        provider=provider,
        attempts=tally.attempts,
        cost_usd=round(tally.cost_usd, 6),
        cost_basis="price" if tally.cost_usd else "none",
        maybe_cost_usd=round(tally.maybe_usd + open_usd, 6),
        finished_at=finished_at,
        error=Failure(error.code, error.message, http_status),
    )
