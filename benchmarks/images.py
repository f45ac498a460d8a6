"""What one image costs nanobatch, its peers, and whoever does only what must be done: CPU, memory, images a second.

    python benchmarks/images.py [--sizes 100,1500,5000,16000] [--rounds 3] [--only bound,nanobatch] [--json FILE]

All clients talk to the same local server in one run, in turns. Each is measured as a whole process at two counts of
images: the difference of its CPU over the difference of the counts is the CPU of one image, so start-up, imports and the
opening of connections drop out for everybody alike. nanobatch is the whole command: it reads the prompts, keeps its
ledger and manifest, checks and hashes every image. benchmarks/README.md says more.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import itertools
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from processes import HERE, Figures, Server, environment, nanobatch_command, run, serving, warm, workplace, write_inputs

CLIENTS = ("bound", "digest", "nanobatch", "genai", "openai", "aiohttp")
MORE = {100: 1500, 1500: 300, 5000: 120, 16000: 60}  # kB: images that the long run fetches beyond the short one's
HELD = 4  # a peer holds up to so many times the image for each request in flight: body, text, object, bytes
LIBRARIES = ("aiohttp", "google-genai", "httpx", "openai", "pybase64")


@dataclass
class Measured:
    """All runs of one client at one size: one short and one long run in every round."""

    few: int
    more: int
    short: list[Figures] = field(default_factory=list)
    long: list[Figures] = field(default_factory=list)
    connections: list[float] = field(default_factory=list)  # most at once, as the server saw them
    server_busy: list[float] = field(default_factory=list)  # share of the long run's time

    @property
    def cpu_ms(self) -> float:
        """CPU of one image. Two medians rather than the median of differences: one disturbed run moves neither."""
        long, short = (median(one.cpu_seconds for one in runs) for runs in (self.long, self.short))
        return (long - short) / self.more * 1000

    @property
    def cpu_ms_by_round(self) -> list[float]:
        return [
            (long.cpu_seconds - short.cpu_seconds) / self.more * 1000
            for short, long in zip(self.short, self.long, strict=True)
        ]

    @property
    def images_per_second(self) -> float:
        long, short = (median(one.wall_seconds for one in runs) for runs in (self.long, self.short))
        return self.more / (long - short) if long > short else float("nan")

    @property
    def peak_mb(self) -> float:
        return median(one.peak_mb for one in self.long)

    def as_json(self) -> dict[str, object]:
        keys = ("cpu_ms", "cpu_ms_by_round", "images_per_second", "peak_mb")
        return {key: getattr(self, key) for key in keys} | asdict(self)


def fetch(
    name: str, server: Server, images: int, *, kilobytes: int, options: argparse.Namespace, work: Path
) -> Figures:
    """Fetch so many images with one client, and count them; their folder is new, and gone afterwards."""
    folder = work / name
    folder.mkdir()
    env = environment(folder, server.ca)
    if name == "nanobatch":
        write_inputs(folder, url=server.url, images=images, concurrency=options.concurrency)
        command, more = nanobatch_command(options.nanobatch)
        env |= more
        command += ["run", "prompts.csv", "-c", "nanobatch.yaml", "-o", "out", "--yes", "--progress", "none"]
    else:
        command = [sys.executable, str(HERE / "clients.py"), name, server.url, str(images)]
        command += [str(options.concurrency), str(folder)]
    warm((images + HELD * options.concurrency) * kilobytes * 1000)
    figures = run(command, folder=folder, env=env)
    sizes = [path.stat().st_size for path in folder.rglob("*.png")]
    shutil.rmtree(folder)
    if figures.status or sizes != [kilobytes * 1000] * images:
        raise SystemExit(
            f"{name} ended with {figures.status} after {len(sizes)} of {images} images: {figures.stderr[-800:]}"
        )
    return figures


def measure(kilobytes: int, *, tls: bool, options: argparse.Namespace) -> tuple[dict[str, Measured], str]:
    """Measure all clients at one size in turns; return their runs and the kind of server."""
    more = MORE.get(kilobytes) or max(40, 450_000 // kilobytes)
    found = {name: Measured(options.concurrency, more) for name in options.only.split(",")}
    needed = (2 * HELD * options.concurrency + more) * kilobytes * 1000
    with (
        workplace(needed, options.folder) as work,
        serving(
            kilobytes, work, tls=tls, latency=options.latency, spread=options.spread, c=not options.python_server
        ) as server,
    ):
        for _, (name, one) in itertools.product(range(options.rounds), found.items()):
            one.short.append(fetch(name, server, one.few, kilobytes=kilobytes, options=options, work=work))
            before = server.figures()
            one.long.append(fetch(name, server, one.few + more, kilobytes=kilobytes, options=options, work=work))
            after = server.figures()
            one.connections.append(after["most_connections"])
            one.server_busy.append((after["cpu_seconds"] - before["cpu_seconds"]) / one.long[-1].wall_seconds)
        return found, server.kind


def quotients(one: Measured, other: Measured) -> dict[str, float]:
    """Compare two clients."""
    keys = ("cpu_ms", "peak_mb", "images_per_second")
    return {key: getattr(one, key) / (getattr(other, key) or float("nan")) for key in keys}


def table(kilobytes: int, *, tls: bool, found: Mapping[str, Measured]) -> Iterator[str]:
    """Yield the lines of one size: every client, then each of them against nanobatch."""
    yield f"\n### {kilobytes} kB, {'TLS' if tls else 'plain'}\n"
    yield "| client | CPU ms per image (rounds) | × bound | × digest | images/s | peak MB | connections | server busy |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, one in found.items():
        spread = one.cpu_ms_by_round
        least = [f"{quotients(one, found[low])['cpu_ms']:.2f}" if low in found else "" for low in ("bound", "digest")]
        yield (
            f"| {name} | {one.cpu_ms:.2f} ({min(spread):.2f}–{max(spread):.2f}) | {' | '.join(least)} "
            f"| {one.images_per_second:.0f} | {one.peak_mb:.0f} | {median(one.connections):.0f} "
            f"| {median(one.server_busy):.0%} |"
        )
    if "nanobatch" not in found or len(found) == 1:
        return
    yield "\n| against nanobatch | CPU | memory | images/s |\n|---|---|---|---|"
    for name, one in found.items():
        if name != "nanobatch":
            cpu, peak, rate = quotients(one, found["nanobatch"]).values()
            yield f"| {name} | {cpu:.2f} × | {peak:.2f} × | {rate:.2f} × |"


def as_json(kilobytes: int, *, tls: bool, found: Mapping[str, Measured], server: str) -> dict[str, object]:
    ratios = {f"{one}/{other}": quotients(found[one], found[other]) for one, other in itertools.permutations(found, 2)}
    clients = {name: one.as_json() for name, one in found.items()}
    return {"kilobytes": kilobytes, "tls": tls, "server": server, "clients": clients, "ratios": ratios}


def machine() -> dict[str, object]:
    """Say where this was measured."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load at start": round(os.getloadavg()[0], 2),  # above 0.3, figures are disturbed
        "python": platform.python_version(),
        **versions,
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, MORE)), help="decoded kB, comma between")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved; medians are printed")
    parser.add_argument("--only", default=",".join(CLIENTS), help="clients, comma between")
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="before each answer")
    parser.add_argument("--spread", type=float, default=0.0, metavar="SECONDS", help="uniform in latency ± spread")
    parser.add_argument("--no-tls", action="store_true")
    parser.add_argument("--no-plain", action="store_true")
    parser.add_argument("--python-server", action="store_true", help="as where no C compiler is")
    parser.add_argument("--nanobatch", metavar="COMMAND", help="instead of this checkout's")
    parser.add_argument("--folder", type=Path, help="for the images, instead of memory")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(CLIENTS)
    if unknown or options.rounds < 1 or (options.no_tls and options.no_plain):
        parser.error(f"unknown clients: {', '.join(sorted(unknown))}" if unknown else "nothing to measure")
    return options


def main() -> None:
    options = parsed()
    where = machine()
    print(", ".join(f"{key} {value}" for key, value in where.items()), flush=True)
    settings = {key: value for key, value in vars(options).items() if not isinstance(value, Path)}
    results = []
    ways = [False] * (not options.no_plain) + [True] * (not options.no_tls)
    for tls, kilobytes in itertools.product(ways, map(int, options.sizes.split(","))):
        found, server = measure(kilobytes, tls=tls, options=options)
        print(*table(kilobytes, tls=tls, found=found), sep="\n", flush=True)
        results.append(as_json(kilobytes, tls=tls, found=found, server=server))
        if options.json:  # after each size: an interrupted run keeps what it has
            content = {"machine": where, "options": settings, "results": results}
            options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
