"""Looks at what came: is it an image, and whole? Then it is made safe on disk, with the prompt in it where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from nanobatch.errors import DecodeError, ExchangeError
from nanobatch.images import inspect, materialise
from nanobatch.inscriptions import Inscription, inscribe
from nanobatch.model import Answer, Blob, Job
from nanobatch.parts import discard
from nanobatch.quests import Attempt, Landing
from nanobatch.stores.local import LocalStore
from nanobatch.stores.offload import Offload

Embed: TypeAlias = Callable[[Landing, Attempt], Landing]
"""Returns a landing whose file has the words in it, or the same landing with a warning; blocks."""


async def examine(
    answer: Answer, attempt: Attempt, *, store: LocalStore, offload: Offload, embed: Embed | None
) -> Landing:
    """Check that the image is one, and whole; drop drafts.

    Raises:
        DecodeError: It is not.
        StoreError: It cannot be made safe.
    """
    blob = materialise(answer.picture, store.new_part)
    for draft in answer.drafts:
        if isinstance(draft.data, Blob):
            discard(draft.data.path)

    def look_and_flush() -> Landing:
        landing = Landing(answer, blob, inspect(blob.path))
        if embed is not None:
            landing = embed(landing, attempt)
        store.flush(landing.blob.path)
        return landing

    try:
        return await offload(look_and_flush)
    except ExchangeError:
        discard(blob.path)
        raise


def embedding(parts: Iterable[str], new_part: Callable[[], Path]) -> Embed | None:
    """Return what embeds these parts ("prompt", "params"), or None where nothing is asked for.

    The copy takes the place of the part before anything is recorded, so that length and digest in the ledger and the
    manifest are those of the file as it is stored. Where there can be no copy the image is kept as it came: it is paid.
    """
    asked = frozenset(parts)
    if not asked:
        return None

    def embed(landing: Landing, attempt: Attempt) -> Landing:
        model = landing.answer.model or attempt.order.model
        words = words_of(asked, attempt.job, provider=attempt.lane.name, provider_model=model)
        copy, warnings = inscribe(landing.blob, landing.facts.mime, words, new_part)
        if copy is not None and not _is_same_image(copy, landing):
            discard(copy.path)
            copy, warnings = None, ("nothing could be embedded, the image is as it came: it is of an unusual form",)
        if copy is None:
            return replace(landing, warnings=warnings)
        discard(landing.blob.path)
        return replace(landing, blob=copy, warnings=warnings)

    return embed


def words_of(asked: Iterable[str], job: Job, *, provider: str, provider_model: str | None) -> Inscription:
    """Return what is written into the image of a job, of what is asked for."""
    params = {
        **{name: value for name, value in job.params.as_dict().items() if value not in (None, [])},
        "provider": provider,
        "provider_model": provider_model,
        "job": job.id,
    }
    return Inscription(
        prompt=job.prompt.text if "prompt" in asked else None, params=params if "params" in asked else None
    )


def _is_same_image(copy: Blob, landing: Landing) -> bool:
    """Look at the copy as at anything that comes: what is recorded must be whole."""
    try:
        return inspect(copy.path) == landing.facts
    except DecodeError:
        return False
