"""Every misfortune at once: thousands of images through the sandbox's batches, and a kill -9 in each phase.

    python benchmarks/batch_kills.py [--prompts 5000] [--rows 400] [--provider google|openai] [--folder DIR]

Results are shuffled, one row in twenty fails, two replies to orders are lost and three downloads are cut. `nanobatch run
--batch` is killed before its first upload is through, between an upload and its order, while it polls and while it
collects; after each kill the same command goes on. Then the folder is compared with the sandbox's books: every image
must carry the digest of its row's prompt, every batch must have been made once, and everything must be at half price.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PHASES = ("upload", "order", "poll", "download")
MODELS = {"google": "nano-banana-2", "openai": "gpt-image-2"}
ONE_IN_TWENTY = {"500": 0.02, "503": 0.02, "rowmissing": 0.01}
PATIENCE_SECONDS = 120.0


class Misfortune(SystemExit):
    """What did not hold."""


@contextmanager
def sandbox(folder: Path) -> Iterator[str]:
    """Run a sandbox that keeps its books; yield its address."""
    command = [sys.executable, "-m", "nanobatch.sandbox", "--stop-with-stdin", "--books", str(folder / "books.jsonl")]
    command += [text for kind, odds in ONE_IN_TWENTY.items() for text in ("--fault", f"{kind}={odds}")]
    command += ["--first", "orderlost=2", "--first", "downloadcut=3", "--seed", "7"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.communicate()


def environment() -> dict[str, str]:
    return dict(os.environ, PYTHONPATH=str(ROOT))


def ask(url: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=PATIENCE_SECONDS) as answer:
        return json.load(answer)


def run(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nanobatch", "run", "p.csv", "--batch", "-o", "out", "-y", "-q"]
    return subprocess.Popen(command, cwd=folder, env=environment(), stdin=subprocess.DEVNULL)


def kill_at(folder: Path, url: str, phase: str) -> None:
    """Kill a run while a request of a phase is on the wire; the sandbox then does what that request asks."""
    ask(url + "/__plan", {"hold": [phase]})
    process = run(folder)
    try:
        ask(f"{url}/__held?point={phase}")
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        ask(url + "/__plan", {"hold": []})
    sys.stdout.write(f"killed at {phase}; the sandbox has {len(ask(url + '/__batches')['batches'])} batches\n")


def check(folder: Path, url: str, prompts: int) -> list[str]:
    """Compare the folder with the books; return what there is to tell.

    Raises:
        Misfortune: Something does not hold.
    """
    out = folder / "out"
    records = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    missing = [record["id"] for record in records if record["status"] != "ok"]
    if len(records) != prompts or missing:
        raise Misfortune(f"{len(missing)} of {len(records)} rows have no image, such as {missing[:3]}")
    billed = {(line["prompt"], line["sha256"]) for line in map(json.loads, (folder / "books.jsonl").open())}
    for record in records:
        data = (out / record["file"]).read_bytes()
        mark = hashlib.sha256(record["prompt"].encode()).hexdigest().encode()
        if mark not in data or record["id"] != record["prompt"].replace(" ", "-"):
            raise Misfortune(f"{record['id']} has another row's image")
        if (record["prompt"], hashlib.sha256(data).hexdigest()) not in billed:
            raise Misfortune(f"{record['id']} has an image that the books do not know")
    books = ask(url + "/__books")
    spent = sum(record["cost_usd"] for record in records)
    maybe = sum(record["maybe_cost_usd"] for record in records)
    if books["batches_twice"] or books["images"] != books["half_price"]:
        raise Misfortune(f"{books['batches_twice']} batches were made twice; {books['half_price']} at half price")
    if books["faults"].get("orderlost") != 2 or books["faults"].get("downloadcut") != 3:
        raise Misfortune(f"not all misfortunes happened: {books['faults']}")
    return [
        f"{len(records)} of {prompts} images, each with the digest of its own prompt",
        f"{books['batches']} batches, {books['batches_twice']} of them made twice; misfortunes: {books['faults']}",
        f"{books['images']} images billed, {books['half_price']} at half price; {books['twice']} prompts billed twice",
        f"${spent:.2f} spent by the manifest, ${spent / prompts:.4f} an image, ${maybe:.2f} possibly billed besides",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=5000)
    parser.add_argument("--rows", type=int, default=400, help="of one batch")
    parser.add_argument("--provider", choices=tuple(MODELS), default="google")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    started = time.monotonic()
    try:
        with sandbox(folder) as url:
            version = "/v1" if options.provider == "openai" else "/v1beta"
            batch = {"rows": options.rows, "output_mb": 10**6, "poll_seconds": 0.2}
            provider = {"base_url": url + version, "api_key": "k", "batch": batch}
            defaults = {"model": MODELS[options.provider]}
            config = {"defaults": defaults, "providers": {options.provider: provider}}
            (folder / "nanobatch.yaml").write_text(json.dumps(config))
            with (folder / "p.csv").open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(["id", "prompt"])
                rows.writerows(
                    [f"a-fox-number-{number}", f"a fox number {number}"] for number in range(options.prompts)
                )
            for phase in PHASES:
                kill_at(folder, url, phase)
            if code := run(folder).wait():
                raise Misfortune(f"the last run ended with {code}")
            sys.stdout.write("\n".join(check(folder, url, options.prompts)) + "\n")
            sys.stdout.write(f"{time.monotonic() - started:.0f} s in all\n")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
