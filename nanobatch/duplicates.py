"""`--dedupe`: rows that are equal to an earlier one get its images, once these are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from nanobatch.caches.base import entry_of
from nanobatch.caching import COPIES_AT_ONCE, Caching, Hit
from nanobatch.folder import Folder
from nanobatch.model import Job, Status


async def copy_duplicates(jobs: Iterable[Job], folder: Folder, caching: Caching) -> None:
    """Copy the image of each job's twin, or repeat why that has none; what the twin still waits for, its job does too.

    Args:
        jobs: All jobs of the run, in order; only those with a twin count.
        folder: Holds their records.
        caching: Stores, records and reports, as for every image that need not be sent.
    """
    source: Iterator[Job] = (job for job in jobs if job.twin is not None and folder.wants(job))
    first = next(source, None) if caching.stop.reason is None else None
    if first is None:
        return
    source, root = chain([first], source), folder.store.root.absolute()
    with folder.manifest.looking_up() as find:
        while caching.stop.reason is None and (some := list(islice(source, COPIES_AT_ONCE))):
            hits = []
            for job in some:
                record = find(job.twin or "")
                if record is None or record.status is Status.UNFINISHED:
                    continue
                if record.has_image:
                    entry = entry_of(record, root, made_at=0.0, embedded=caching.asking.embeds)
                    hits.append(Hit(job, entry, (f"a copy of {record.id}",), is_cached=False))
                else:
                    caching.repeat(job, record)
            await caching.deliver(hits)
