"""Several runs at once on one account: do they stay within its quota together, use it up, and share it fairly?

    python benchmarks/shared_quota.py               four runs, 120 requests a minute, five minutes
    python benchmarks/shared_quota.py --kill        the same, and one of them is killed half-way
    python benchmarks/shared_quota.py --redis URL   the runs have no folder in common, only a Redis

The vendor is a sandbox in a process of its own, which counts requests in any rolling minute and answers 429 beyond.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from fleet import Vendor, config, vendors

RUNS = 4
RPM = 120


def main() -> None:
    """Start the runs, wait, and compare the vendor's books with the quota."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--latency", default="0.5-3")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--redis")
    asked = parser.parse_args()
    vendor = Vendor("openai", ["--rpm", str(RPM), "--latency", asked.latency, "--image-bytes", "20000"])
    with tempfile.TemporaryDirectory() as folder, vendors(vendor) as fleet:
        limits = [{"rpm": RPM, "concurrency": asked.concurrency}]
        path = config(Path(folder), fleet, limits)
        if asked.redis:
            path.write_text(json.dumps({**json.loads(path.read_text()), "usage": {"url": asked.redis}}))
        began = time.monotonic()
        runs = [start(Path(folder), path, number, apart=bool(asked.redis)) for number in range(RUNS)]
        time.sleep(asked.seconds / 2)
        if asked.kill:
            runs[0].kill()
        time.sleep(max(0.0, began + asked.seconds - time.monotonic()))
        books = vendor.books(full=True)
        for run in runs:
            run.send_signal(signal.SIGTERM)
        for run in runs:
            run.wait()
        tell(books, asked.seconds, vendor)


def start(root: Path, path: Path, number: int, *, apart: bool) -> subprocess.Popen[bytes]:
    """Start a run whose prompts begin with its number."""
    prompts = root / f"{number}.csv"
    prompts.write_text("prompt\n" + "".join(f"{number} a red fox number {count}\n" for count in range(2000)))
    state = root / (f"state-{number}" if apart else "state")
    return subprocess.Popen(
        [
            sys.executable, "-m", "nanobatch", "run", str(prompts), "--config", str(path),
            "--out", str(root / f"out-{number}"), "--yes", "--progress", "none", "-q",
        ],
        env={**os.environ, "XDG_STATE_HOME": str(state)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def tell(books: dict[str, Any], seconds: float, vendor: Vendor) -> None:
    """Print what the quota allowed and who used it."""
    by_prompt: dict[str, int] = books["by_prompt"]
    parts = [sum(count for prompt, count in by_prompt.items() if prompt.startswith(f"{n} ")) for n in range(RUNS)]
    allowed = RPM * -(-seconds // 60)
    violations = vendor.books()["violations"]
    print(
        f"{sum(parts)} of {allowed:.0f} images ({sum(parts) / allowed:.3f}), runs {parts}, violations {violations or 0}"
    )


if __name__ == "__main__":
    main()
