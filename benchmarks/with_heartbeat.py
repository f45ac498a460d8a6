"""Runs the nanobatch command in this process and tells, at its end, its peak memory and its worst event-loop stall.

    python benchmarks/with_heartbeat.py run prompts.csv ...

A heartbeat every 4 ms notes the largest gap between two beats, as wall time and as CPU time of the loop's thread. The
CPU gap is the program's own; the wall gap also holds what the machine did meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

BEAT_SECONDS = 0.004
gaps = {"wall": 0.0, "cpu": 0.0}


class Policy(asyncio.DefaultEventLoopPolicy):
    """Loops with a heart."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_event_loop()

        def beat(wall: float, cpu: float) -> None:
            now, used = time.perf_counter(), time.thread_time()
            gaps["wall"] = max(gaps["wall"], now - wall - BEAT_SECONDS)
            gaps["cpu"] = max(gaps["cpu"], used - cpu)
            loop.call_later(BEAT_SECONDS, beat, now, used)

        loop.call_soon(lambda: beat(time.perf_counter(), time.thread_time()))
        return loop


def main() -> None:
    asyncio.set_event_loop_policy(Policy())
    from nanobatch.cli.app import start

    code = start()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "exit_code": code,
                "peak_mb": round(usage.ru_maxrss / 1000),
                "stall_cpu_ms": round(gaps["cpu"] * 1000),
                "stall_wall_ms": round(gaps["wall"] * 1000),
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
            }
        ),
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
