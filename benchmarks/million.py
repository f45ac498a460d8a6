"""A million prompts: how long the check takes, how long a finished run takes to find that out, and in how much memory.

    python benchmarks/million.py [--rows 1000000] [--folder /dev/shm]

The finished run is made by hand: a manifest with one line for each prompt and one file of one byte for each image, as
the real layout has it. A resume therefore reads the manifest and looks at every file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nanobatch.model import Params, Record, Status
from nanobatch.planning import job_id

TEXT = "A product photo of item number {}, on pale oak, in soft morning light, seamless background"


def command(folder: Path, *options: str) -> tuple[float, float, str]:
    """Run nanobatch in the folder; return wall seconds, peak MB and what it printed."""
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).resolve().parent.parent))
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "nanobatch", "run", "prompts.csv", "-o", "out", "--progress", "none", *options],
        cwd=folder, env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"nanobatch ended with {status}")
    return time.perf_counter() - began, usage.ru_maxrss / 1000, printed


def finish_by_hand(folder: Path, rows: int) -> None:
    """Write what a run of so many prompts leaves behind."""
    images = folder / "out/images"
    images.mkdir(parents=True)
    params = Params("nano-banana-pro", "1K", None, None)
    encode = msgspec.json.Encoder().encode
    with (folder / "out/manifest.jsonl").open("wb") as manifest:
        for number in range(rows):
            name = f"images/row-{number}.png"
            (folder / "out" / name).write_bytes(b"x")
            text = TEXT.format(number)
            record = Record(
                job=job_id(text, params, 0), id=f"row-{number}", variant=0, index=number + 1, status=Status.OK, file=name,
                sha256="0" * 64, bytes=1, mime="image/png", width=1024, height=1024, prompt=text, params=params.as_dict(),
                provider="local", provider_model="gemini-3-pro-image", attempts=1, cost_usd=0.1, cost_basis="price",
                started_at="2026-11-23T00:00:00.000Z", finished_at="2026-11-23T00:00:20.000Z", latency_seconds=20.0,
                columns={"sku": str(number)},
            )  # fmt: skip
            manifest.write(encode(record) + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        (folder / "nanobatch.yaml").write_text(
            "providers:\n  local: {protocol: gemini, base_url: 'http://127.0.0.1:9/v1beta', api_key: key, prices: {1K: 0.1}}\n"
        )
        with (folder / "prompts.csv").open("w") as file:
            file.write("id,prompt,sku\n")
            file.writelines(f'row-{number},"{TEXT.format(number)}",{number}\n' for number in range(options.rows))
        print("| what | seconds | peak MB |\n|---|---|---|")
        seconds, peak, _ = command(folder, "--dry-run", "--limit", "1")
        print(f"| check {options.rows:,} rows, plan one | {seconds:.1f} | {peak:.0f} |", flush=True)
        checked = seconds
        finish_by_hand(folder, options.rows)
        for what in ("first run over the finished folder (manifest written anew)", "the next run: nothing to do"):
            seconds, peak, printed = command(folder)
            assert f"{options.rows:,} from earlier runs" in printed, printed
            print(
                f"| {what} | {seconds:.1f}, of it {seconds - checked:.1f} beyond the check | {peak:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
