"""Peak memory and worst event-loop stall of `nanobatch run` with many answers in flight at once.

    python benchmarks/memory.py [--cases 50x16000,500x16000,2000x1500] [--folder DIR] [--rounds 1]

The server answers after 2 ± 1.5 s (20 ± 10 s for the case of 2,000), so all requests are in flight together. The images
go to `--folder`, by default a temporary folder on the disk: 500 answers of 16 MB are 8 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from images import HERE, start_server


def case(concurrency: int, kilobytes: int, folder: Path) -> dict[str, float]:
    latency, spread = (20.0, 10.0) if concurrency >= 2000 else (2.0, 1.5)
    server, url = start_server(kilobytes, None, latency, spread)
    try:
        (folder / "prompts.csv").write_text(
            "prompt\n" + "".join(f"A red fox, number {n}\n" for n in range(concurrency))
        )
        (folder / "nanobatch.yaml").write_text(
            f"providers:\n  local: {{protocol: gemini, base_url: '{url}/v1beta', api_key: key, prices: {{1K: 0.1}}, "
            f"limits: {{concurrency: {concurrency}}}}}\n"
        )
        cores = sorted(os.sched_getaffinity(0))
        ended = subprocess.run(
            [sys.executable, str(HERE / "with_heartbeat.py"), "run", "prompts.csv", "-o", "out", "--yes", "--progress", "none"],
            cwd=folder, env=dict(os.environ, PYTHONPATH=str(HERE.parent)), capture_output=True, text=True, check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),
        )  # fmt: skip
    finally:
        server.kill()
        server.wait()
    summary = json.loads((folder / "out/run.json").read_text())
    found: dict[str, float] = json.loads(ended.stderr.splitlines()[-1])
    return found | {"images": summary["ok"], "wall_seconds": summary["duration_seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="50x16000,500x16000,2000x1500")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    print(
        "| in flight | kB | images | peak MB | worst stall, CPU ms | worst stall, wall ms | wall s | CPU ms per image |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for text in options.cases.split(",") * options.rounds:
        concurrency, kilobytes = map(int, text.split("x"))
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            found = case(concurrency, kilobytes, Path(folder))
        print(
            f"| {concurrency} | {kilobytes} | {found['images']:.0f} | {found['peak_mb']:.0f} | {found['stall_cpu_ms']:.0f} "
            f"| {found['stall_wall_ms']:.0f} | {found['wall_seconds']:.1f} | {found['cpu_seconds'] / concurrency * 1000:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
