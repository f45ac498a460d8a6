"""What the semantic cache adds to a run: reading and learning prompts, and looking them up among many.

    python benchmarks/semantic.py [PROMPTS]

Prompts are made of parts that a shop would have, so most of them are near-misses of many others. A tenth of what is
looked up says the same as a prompt that is known. At the end, what the search would cost over all vectors instead.
Seconds are those of the processors, so that others at work on the machine do not count.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nanobatch.caches.base import Entry
from nanobatch.caches.embedded import EmbeddedCache
from nanobatch.caches.semantic import Embedding, Likenesses, SemanticLookup
from nanobatch.meaning.guard import read
from nanobatch.model import Job, Origin, Params, Prompt, Record, Status

PARAMS = Params("m", "1K", None, None)
CHUNK = 2000  # as a run looks them up
COLORS = ["red", "navy", "teal", "dark green", "white", "black", "gray", "crimson"]
THINGS = ["sneakers", "sofa", "bicycle", "backpack", "mug", "lamp", "jacket", "watch", "teapot", "chair"]
PLACES = ["on a wooden table", "in front of a window", "beside a plant", "under a tree", "on a white background"]
LIGHTS = ["soft light", "studio lighting", "4k, highly detailed", "golden hour", "top view"]


def prompts(count: int) -> Iterator[str]:
    for number in range(count):
        rng = random.Random(number)
        thing, color = rng.choice(THINGS), rng.choice(COLORS)
        yield f"a photo of a big {color} {thing}, SKU {number}, {rng.choice(PLACES)}, {rng.choice(LIGHTS)}"


def reworded(text: str) -> str:
    return text.replace("a photo of", "photograph of").replace("big", "large").replace("sofa", "couch")


def job(number: int, text: str) -> Job:
    prompt = Prompt(number + 1, text, Origin("p.csv", number + 1), id=f"r{number}", name=f"r{number}")
    return Job(f"{number:032x}", 0, f"images/r{number}", prompt, PARAMS)


def record(one: Job) -> Record:
    return Record(
        job=one.id, id=one.prompt.id, variant=0, index=one.prompt.index, status=Status.OK, prompt=one.prompt.text,
        params=one.params.as_dict(),
    )  # fmt: skip


def learn(lookup: SemanticLookup, cache: EmbeddedCache, known: list[Job]) -> float:
    now = time.time()
    seconds = 0.0
    for start in range(0, len(known), CHUNK):
        some = known[start : start + CHUNK]
        entries = [Entry(one.id, now, places=("/nowhere.png",), bytes=1) for one in some]
        cache.put(entries, now=now)
        began = time.process_time()
        lookup.learn([(record(one), entry) for one, entry in zip(some, entries, strict=True)])
        seconds += time.process_time() - began
    return seconds


def look_up(lookup: SemanticLookup, asked: list[Job]) -> tuple[float, int]:
    found, now = 0, time.time()
    began = time.process_time()
    for start in range(0, len(asked), CHUNK):
        found += len(lookup.look_up(asked[start : start + CHUNK], now=now))
    return time.process_time() - began, found


def scan(model: Embedding, texts: list[str]) -> float:
    """Compare one chunk with all vectors, as a search without the guard's index would."""
    vectors = model.embed(texts).astype(np.float16)
    asked = model.embed(texts[:CHUNK])
    began = time.process_time()
    for start in range(0, len(vectors), 10_000):
        (asked @ vectors[start : start + 10_000].astype(np.float32).T).max(axis=1)
    return time.process_time() - began


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    began = time.process_time()
    model = Embedding()
    read("a red fox")
    print(f"loading model and lexicon: {time.process_time() - began:.2f} s")
    texts = list(prompts(count))
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddedCache(Path(folder), ttl_seconds=0)
        lookup = SemanticLookup(Path(folder), cache, Likenesses(lambda: model, "", 0), threshold=0.7)
        seconds = learn(lookup, cache, [job(number, text) for number, text in enumerate(texts)])
        print(f"learning {count:,} prompts: {seconds:.1f} s, {1e6 * seconds / count:.0f} µs each")
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        print(f"database: {size / 1e6:.0f} MB, {size / count:.0f} bytes each")
        others = [
            reworded(text) if number % 10 == 0 else text.replace("SKU", "SKU 9") for number, text in enumerate(texts)
        ]
        asked = [job(count + number, text) for number, text in enumerate(others[: 10 * CHUNK])]
        seconds, found = look_up(lookup, asked)
        print(
            f"looking {len(asked):,} up among them, {found:,} found: {seconds:.1f} s, {1000 * seconds * CHUNK / len(asked):.0f} ms a chunk of {CHUNK:,}"
        )
        lookup.close()
        cache.close()
    print(f"a chunk against all vectors instead: {scan(model, texts):.1f} s; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
