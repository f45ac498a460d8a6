"""A million prompts: how long the check takes, how long a finished run takes to find that out, and in how much memory.

    python benchmarks/million.py [--rows 1000000] [--folder /dev/shm] [--json FILE]

The finished run is made by hand: a manifest with one line for each prompt and one file of one byte for each image, as
the real layout has it. A resume therefore reads the manifest and looks at every file. A million files take 4 GB of
blocks; on a disk, making them takes a minute or more, which is not measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import msgspec
from processes import ROOT, Figures, environment, nanobatch_command, run

sys.path.insert(0, str(ROOT))

from nanobatch.model import Params, Record, Status
from nanobatch.planning import job_id

TEXT = "A product photo of item number {}, on pale oak, in soft morning light, seamless background"


def nanobatch(folder: Path, *options: str) -> Figures:
    """Run nanobatch over the prompts in the folder."""
    command, more = nanobatch_command(None)
    command += ["run", "prompts.csv", "-c", "nanobatch.yaml", "-o", "out", "--yes", "--progress", "none", *options]
    ended = run(command, folder=folder, env=environment(folder) | more)
    if ended.status:
        raise SystemExit(f"nanobatch ended with {ended.status}: {ended.stderr[-800:]}")
    return ended


def write_prompts(folder: Path, rows: int) -> None:
    (folder / "nanobatch.yaml").write_text(
        "providers:\n  local: {protocol: gemini, base_url: 'http://127.0.0.1:9/v1beta', api_key: key, prices: {1K: 0.1}}\n"
    )
    with (folder / "prompts.csv").open("w") as file:
        file.write("id,prompt,sku\n")
        file.writelines(f'row-{number},"{TEXT.format(number)}",{number}\n' for number in range(rows))


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
    parser.add_argument("--folder", type=Path, help="a file system with room for so many small files")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}

    def show(what: str, ended: Figures) -> None:
        checked = results.get("check", {}).get("wall_seconds", 0.0)
        beyond = f" ({ended.wall_seconds - checked:.1f} beyond the check)" if checked else ""
        print(
            f"| {what} | {ended.wall_seconds:.1f}{beyond} | {ended.cpu_seconds:.1f} | {ended.peak_mb:.0f} |", flush=True
        )
        figures = ("wall_seconds", "cpu_seconds", "peak_mb")
        results["check" if not results else what] = {key: getattr(ended, key) for key in figures}

    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        write_prompts(folder, options.rows)
        print("| what | seconds | CPU seconds | peak MB |\n|---|---|---|---|")
        show(f"check {options.rows:,} rows (`--dry-run --limit 1`)", nanobatch(folder, "--dry-run", "--limit", "1"))
        show("plan and price all of them (`--dry-run`)", nanobatch(folder, "--dry-run"))
        finish_by_hand(folder, options.rows)
        for what in ("resume, manifest written anew", "resume, nothing to do"):
            ended = nanobatch(folder)
            assert f"{options.rows:,} from earlier runs" in ended.stdout, ended.stdout
            show(what, ended)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
