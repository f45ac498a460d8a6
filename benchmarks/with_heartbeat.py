"""Runs the nanobatch command in this process and tells, as its last line on standard error, how its event loop fared.

    python benchmarks/with_heartbeat.py run prompts.csv ...

A heartbeat every 4 ms notes the largest gap between two beats: as CPU time of the loop's thread, which is the program's
own doing, and as wall time beyond the 4 ms, which also holds what the rest of the machine did meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

BEAT_SECONDS = 0.004
KEPT = 5  # worst gaps that are told


class Heart:
    """Beats on one loop, and remembers its worst gaps as (seconds, when they ended)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.beats = 0
        self.cpu: list[tuple[float, float]] = []
        self.wall: list[tuple[float, float]] = []
        self._born = time.perf_counter()
        loop.call_soon(lambda: self._beat(time.perf_counter(), time.thread_time()))

    def _beat(self, wall: float, cpu: float) -> None:
        now, used = time.perf_counter(), time.thread_time()
        self.beats += 1
        for worst, gap in ((self.wall, now - wall - BEAT_SECONDS), (self.cpu, used - cpu)):
            if len(worst) < KEPT or gap > worst[-1][0]:
                worst.append((gap, now - self._born))
                worst.sort(reverse=True)
                del worst[KEPT:]
        self._loop.call_later(BEAT_SECONDS, self._beat, now, used)


def peak_mb() -> float:
    """Return the greatest resident size of this process."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts bytes


def main() -> None:
    hearts = []
    make = asyncio.events.new_event_loop

    def with_heart() -> asyncio.AbstractEventLoop:
        loop = make()
        hearts.append(Heart(loop))
        return loop

    asyncio.events.new_event_loop = with_heart  # what asyncio.run asks for its loop
    from nanobatch.cli.app import start

    code = start()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    heart = max(hearts, key=lambda one: one.beats)
    in_ms = {
        name: [{"ms": round(gap * 1000, 1), "at_seconds": round(at, 2)} for gap, at in gaps]
        for name, gaps in (("stalls_cpu", heart.cpu), ("stalls_wall", heart.wall))
    }
    found = {"peak_mb": round(peak_mb()), "cpu_seconds": usage.ru_utime + usage.ru_stime, "beats": heart.beats} | in_ms
    print(json.dumps(found), file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
