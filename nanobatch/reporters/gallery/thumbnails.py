"""Has small pictures made by processes of their own: a broken or hostile file can end one of those, never the command.

A process reads one job a line and answers with one line (`thumbnail_worker`). It ends when its input does, so it
outlives nobody who was killed. One that dies or takes too long is replaced, and its picture stays as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nanobatch.stores.local import STATE_FOLDER

THUMBNAILS = f"{STATE_FOLDER}/thumbs"
ABOVE_PIXELS = 1_600_000  # smaller images are drawn by a browser about as fast as their small pictures
ABOVE_BYTES = 600_000  # PNG of 1K, which takes long to decode
MOST_PIXELS = 100_000_000  # more are shown as a link alone
PATIENCE_SECONDS = 60.0  # for one picture
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A small picture that is not there yet; both names are below the output folder."""

    source: str
    target: str


def is_drawable(width: int | None, height: int | None) -> bool:
    """Whether a browser may be asked to draw an image of this size."""
    return (width or 0) * (height or 0) <= MOST_PIXELS


def thumbnail_of(sha256: str | None, *, width: int | None, height: int | None, size: int | None) -> str | None:
    """Return where the small picture of an image belongs, below the folder; None where it needs none.

    Args:
        sha256: Of the image, which names the small picture: the same bytes have the same one.
        width: In pixels.
        height: In pixels.
        size: In bytes.
    """
    pixels = (width or 0) * (height or 0)
    if pixels > MOST_PIXELS or (pixels <= ABOVE_PIXELS and (size or 0) <= ABOVE_BYTES):
        return None
    if sha256 is None or not _SHA256.fullmatch(sha256):
        return None
    return f"{THUMBNAILS}/{sha256}.webp"


class Worker:
    """One process that makes small pictures of the images in an output folder."""

    def __init__(self, root: Path) -> None:
        self._command = [sys.executable, "-P", "-m", f"{__package__}.thumbnail_worker", str(root)]
        self._process: subprocess.Popen[bytes] | None = None

    def make(self, wanted: Wanted) -> bool:
        """Make one small picture; False when the image gave none.

        Raises:
            OSError: No process could be started.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        line = json.dumps({"source": wanted.source, "target": wanted.target}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(line)
            process.stdin.flush()
            if select.select([process.stdout], [], [], PATIENCE_SECONDS)[0] and (said := process.stdout.readline()):
                return said == b"made\n"
        self.close()
        return False

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(OSError):
            process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C is for the one who asked for pictures, and the process ends with its input.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        return self._process


def make_all(root: Path, wanted: Sequence[Wanted], *, told: Callable[[int], None]) -> int:
    """Make small pictures in as many processes as there are processors; return how many could be made.

    Args:
        root: The output folder.
        wanted: What to make.
        told: Called with the number that is done, after each.

    Raises:
        OSError: No process could be started.
    """
    count = min(len(wanted), os.cpu_count() or 1)
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    workers = [Worker(root) for _ in range(count)]
    for worker in workers:
        idle.put(worker)

    def make(one: Wanted) -> bool:
        worker = idle.get()
        try:
            return worker.make(one)
        finally:
            idle.put(worker)

    made = 0
    threads = ThreadPoolExecutor(max(1, count))
    try:
        for number, has_one in enumerate(threads.map(make, wanted), 1):
            made += has_one
            told(number)
    finally:
        threads.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()
    return made
