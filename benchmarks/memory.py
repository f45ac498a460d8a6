"""Peak memory and worst event-loop stalls of `nanobatch run` with many answers in flight at once.

    python benchmarks/memory.py [--cases 50x16000,500x16000,2000x1500] [--rounds 1] [--tls] [--folder DIR] [--json FILE]

`500x16000` is 500 answers of 16 MB, all asked for at once: the server answers after 2 ± 1.5 s (20 ± 10 s from 2,000 on,
whose connections take longer to open) and says how many it had in flight. The images go to memory where that has twice
the room, else to a temporary folder on the disk; nothing is deleted before the end: 500 answers of 16 MB are 8 GB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from processes import HERE, ROOT, environment, run, serving, warm, workplace, write_inputs

OPTIONS = ("-c", "nanobatch.yaml", "-o", "out", "--yes", "--progress", "none")


def measure(in_flight: int, kilobytes: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run nanobatch once with so many prompts, all in flight."""
    latency, spread = (20.0, 10.0) if in_flight >= 2000 else (2.0, 1.5)
    images = in_flight * options.waves
    with (
        tempfile.TemporaryDirectory() as aside,
        workplace(images * kilobytes * 1000, options.folder) as folder,
        serving(kilobytes, Path(aside), tls=options.tls, latency=latency, spread=spread) as server,
    ):
        write_inputs(folder, url=server.url, images=images, concurrency=in_flight)
        env = environment(folder, server.ca) | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(HERE / "with_heartbeat.py"), "run", "prompts.csv", *OPTIONS]
        warm(images * kilobytes * 1000)
        ended = run(command, folder=folder, env=env)
        if ended.status:
            raise SystemExit(f"nanobatch ended with {ended.status}: {ended.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(ended.stderr.splitlines()[-1])
        sizes = [path.stat().st_size for path in (folder / "out/images").iterdir()]
        if sizes != [kilobytes * 1000] * images:
            raise SystemExit(f"only {len(sizes)} of {images} images, or cut ones")
        return found | {
            "in_flight": in_flight,
            "kilobytes": kilobytes,
            "images": images,
            "most_in_flight": server.figures()["most_in_flight"],
            "wall_seconds": ended.wall_seconds,
            "folder": str(folder.parent),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="50x16000,500x16000,2000x1500", help="in flight x decoded kB, comma between")
    parser.add_argument("--waves", type=int, default=1, help="prompts per request in flight")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--folder", type=Path, help="for the images")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    print(
        "| asked for at once | in flight | kB | peak MB | worst stall, CPU ms | worst stall, wall ms | wall s | CPU ms/image |"
    )
    print("|---|---|---|---|---|---|---|---|")
    results = []
    for case in options.cases.split(",") * options.rounds:
        in_flight, kilobytes = map(int, case.split("x"))
        found = measure(in_flight, kilobytes, options)
        results.append(found)
        print(
            f"| {found['in_flight']} | {found['most_in_flight']:.0f} | {found['kilobytes']} | {found['peak_mb']} "
            f"| {found['stalls_cpu'][0]['ms']:.0f} | {found['stalls_wall'][0]['ms']:.0f} | {found['wall_seconds']:.1f} "
            f"| {found['cpu_seconds'] / found['images'] * 1000:.1f} |",
            flush=True,
        )
        if options.json:
            options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
