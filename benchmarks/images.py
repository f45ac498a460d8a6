"""CPU per image, memory and speed of nanobatch against its peers and against the least that must be done.

    python benchmarks/images.py [--sizes 100,1500,5000,16000] [--rounds 3] [--only nanobatch,bound] [--no-tls] [--json FILE]

All clients talk to the same local server in one run, interleaved. Each cell runs its client as a whole process at two
counts of images; the difference of their CPU (user and system, as the kernel accounts it) over the difference of the
counts is the CPU of one image, so start-up and imports drop out for everybody alike. nanobatch is measured as the whole
command: reading the prompts, ledger, digest, manifest and all. The bound does not hash; nanobatch hashes with SHA-256.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENTS = ("bound", "nanobatch", "genai", "openai", "aiohttp")
IMAGES = {100: 1500, 1500: 300, 5000: 120, 16000: 60}  # how many beyond the first, by size in kB


@dataclass(frozen=True)
class Figures:
    """One run of one client."""

    cpu_seconds: float
    wall_seconds: float
    peak_megabytes: float


def start_server(
    kilobytes: int, tls: tuple[str, str] | None, latency: float = 0.0, spread: float = 0.0
) -> tuple[subprocess.Popen[str], str]:
    """Start the server on the first core and return it with its address."""
    command = [sys.executable, str(HERE / "server.py"), "--size", str(kilobytes * 1000), "--cpu", "0"]
    command += ["--latency", str(latency), "--spread", str(spread)]
    if tls:
        command += ["--tls", *tls]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    return process, f"{'https' if tls else 'http'}://127.0.0.1:{port}"


def certificate(folder: Path) -> tuple[str, str]:
    """Make a certificate for 127.0.0.1 that lives as long as the run."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def run(name: str, url: str, images: int, concurrency: int, folder: Path, ca: str | None) -> Figures:
    """Run one client as a process of its own on the last core, and account it when it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = dict(os.environ, PYTHONPATH=str(HERE.parent))
    if ca:
        environment |= {"SSL_CERT_FILE": ca, "REQUESTS_CA_BUNDLE": ca}
    if name == "nanobatch":
        (folder / "prompts.csv").write_text("prompt\n" + "".join(f"A red fox, number {n}\n" for n in range(images)))
        (folder / "nanobatch.yaml").write_text(
            f"providers:\n  local: {{protocol: gemini, base_url: '{url}/v1beta', api_key: key, prices: {{1K: 0.1}}, "
            f"limits: {{concurrency: {concurrency}}}}}\n"
        )
        command = [sys.executable, "-m", "nanobatch", "run", "prompts.csv", "-o", "out", "--yes", "--progress", "none"]
    else:
        command = [
            sys.executable,
            str(HERE / "clients.py"),
            name,
            url,
            str(images),
            str(concurrency),
            str(folder),
            *([ca] if ca else []),
        ]
    cores = sorted(os.sched_getaffinity(0))
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),
    )  # fmt: skip
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    written = sum(1 for _ in folder.rglob("*.png"))
    if status or written != images:
        raise SystemExit(f"{name} ended with {status} after {written} of {images} images: {complaint.decode()[-500:]}")
    shutil.rmtree(folder)
    return Figures(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1000)


def cell(
    name: str, url: str, kilobytes: int, options: argparse.Namespace, ca: str | None, folder: Path
) -> dict[str, float]:
    """Measure one client once at one size."""
    few = max(options.concurrency, 60)
    more = IMAGES.get(kilobytes, 100)
    small = run(name, url, few, options.concurrency, folder, ca)
    large = run(name, url, few + more, options.concurrency, folder, ca)
    return {
        "cpu_ms": (large.cpu_seconds - small.cpu_seconds) / more * 1000,
        "images_per_second": more / max(1e-9, large.wall_seconds - small.wall_seconds),
        "peak_mb": large.peak_megabytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1500,5000,16000", help="decoded kB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(CLIENTS))
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--no-tls", action="store_true")
    parser.add_argument("--no-plain", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = options.only.split(",")
    results: list[dict[str, object]] = []
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as temporary:
        for tls in [False] * (not options.no_plain) + [True] * (not options.no_tls):
            pair = certificate(Path(temporary)) if tls else None
            for kilobytes in map(int, options.sizes.split(",")):
                server, url = start_server(kilobytes, pair)
                try:
                    rounds = [
                        {
                            name: cell(
                                name, url, kilobytes, options, pair[0] if pair else None, Path(temporary) / "run"
                            )
                            for name in names
                        }
                        for _ in range(options.rounds)
                    ]
                finally:
                    server.kill()
                    server.wait()
                results += show(kilobytes, tls=tls, rounds=rounds)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def show(kilobytes: int, *, tls: bool, rounds: list[dict[str, dict[str, float]]]) -> list[dict[str, object]]:
    """Print one table: medians, and ratios round by round."""
    print(f"\n### {kilobytes} kB, {'TLS' if tls else 'plain'}\n")
    print(
        "| client | CPU ms per image | x bound | nanobatch is better by | images/s | peak MB |\n|---|---|---|---|---|---|"
    )
    rows = []
    for name in rounds[0]:
        figures = {key: statistics.median(one[name][key] for one in rounds) for key in rounds[0][name]}
        to_bound = ratio(rounds, name, "bound")
        to_us = ratio(rounds, name, "nanobatch")
        print(
            f"| {name} | {figures['cpu_ms']:.2f} | {to_bound:.2f} | {to_us:.2f} | {figures['images_per_second']:.0f} "
            f"| {figures['peak_mb']:.0f} |",
            flush=True,
        )
        rows.append(
            {"kilobytes": kilobytes, "tls": tls, "client": name, "x_bound": to_bound, "x_nanobatch": to_us, **figures}
        )
    return list(rows)


def ratio(rounds: list[dict[str, dict[str, float]]], name: str, other: str) -> float:
    pairs = [one[name]["cpu_ms"] / one[other]["cpu_ms"] for one in rounds if other in one and one[other]["cpu_ms"] > 0]
    return statistics.median(pairs) if pairs else float("nan")


if __name__ == "__main__":
    main()
