"""What the cache adds to a run: looking jobs up that it does not know, and that it knows, and bringing their images.

    python benchmarks/cache.py [JOBS]

Look-ups go through the same calls as a run's, in chunks and in the cache's thread, against a database that knows as
many jobs as are asked for. Bringing is measured with images of 100 kB, up to the record in the manifest.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from nanobatch.caches.base import Entry
from nanobatch.caches.embedded import EmbeddedCache
from nanobatch.caching import Asking, Caching
from nanobatch.clock import SystemClock
from nanobatch.engines.local import SIFT_AT_ONCE
from nanobatch.folder import open_folder
from nanobatch.model import Job, Origin, Params, Prompt
from nanobatch.stopping import Stop

IMAGES = 2000
IMAGE_BYTES = 100_000
PARAMS = Params("m", "1K", None, None)


def job_id(number: int, *, known: bool) -> str:
    return hashlib.blake2b(f"{known} {number}".encode(), digest_size=16).hexdigest()


def jobs(count: int, *, known: bool) -> Iterator[Job]:
    for number in range(count):
        prompt = Prompt(number + 1, "a", Origin("p.csv", number + 1), id=f"r{number}", name=f"r{number}")
        yield Job(job_id(number, known=known), 0, f"images/r{number}", prompt, PARAMS)


def fill(cache: EmbeddedCache, count: int, place: str) -> None:
    now = time.time()
    for start in range(0, count, 10_000):
        some = range(start, min(count, start + 10_000))
        entries = [Entry(job_id(n, known=True), now, places=(f"{place}/{n}.png",), bytes=1) for n in some]
        cache.put(entries, now=now)


def open_caching(root: Path, folder: Path) -> Caching:
    clock = SystemClock()
    opened = open_folder(folder, clock, wanted=list)
    return Caching(EmbeddedCache(root, ttl_seconds=0), Asking({"a": False}), opened, clock, lambda _: None, Stop())


async def sift(caching: Caching, wanted: Iterator[Job]) -> tuple[float, float]:
    """Return the seconds of all look-ups, and of making the jobs alone."""
    looked_up = made = 0.0
    while True:
        began = time.perf_counter()
        some = list(islice(wanted, SIFT_AT_ONCE))
        made += time.perf_counter() - began
        if not some:
            return looked_up, made
        began = time.perf_counter()
        await caching.sift(some)
        looked_up += time.perf_counter() - began


async def bring(root: Path, source: Path, target: Path) -> float:
    """Return the seconds of bringing images from the lookup to the record."""
    caching = open_caching(root, target)
    entries: list[Entry] = []
    for job in jobs(IMAGES, known=True):
        data = os.urandom(IMAGE_BYTES)
        path = source / f"{job.id}.png"
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        entries.append(
            Entry(job.id, time.time(), places=(str(path),), sha256=digest, bytes=IMAGE_BYTES, extension=".png")
        )
    caching.cache.put(entries, now=time.time())
    wanted: Sequence[Job] = list(jobs(IMAGES, known=True))
    began = time.perf_counter()
    _, hits = await caching.sift(wanted)
    missed = await caching.deliver(hits)
    spent = time.perf_counter() - began
    assert len(hits) == IMAGES, "the cache is warm"
    assert not missed
    await caching.close()
    return spent


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        root = Path(name)
        cache = EmbeddedCache(root / "many", ttl_seconds=0)
        began = time.perf_counter()
        fill(cache, count, str(root))
        cache.close()
        print(f"keeping {count:,} entries: {time.perf_counter() - began:.1f} s")
        caching = open_caching(root / "many", root / "out")
        for known in (False, True):
            seconds, made = await sift(caching, jobs(count, known=known))
            what = "known" if known else "not known"
            print(
                f"looking {count:,} jobs up that are {what}: {seconds:.2f} s, {seconds / count * 1e6:.1f} us each"
                f" (making the jobs took {made:.1f} s)"
            )
        await caching.close()
        (root / "source").mkdir()
        seconds = await bring(root / "few", root / "source", root / "target")
        print(
            f"bringing {IMAGES:,} images of {IMAGE_BYTES:,} bytes: {seconds:.2f} s, {seconds / IMAGES * 1e3:.2f} ms each"
        )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
