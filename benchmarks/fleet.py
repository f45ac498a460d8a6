"""Several providers of different formats and quotas at once: is every quota used, and does an outage cost anything?

    python benchmarks/fleet.py fastest     three providers, one queue: 3,000 prompts against the sum of the quotas
    python benchmarks/fleet.py outage      the same, and the second provider dies half-way and comes back
    python benchmarks/fleet.py fallback    the first of two answers 503 for a while
    python benchmarks/fleet.py faults      tasks whose polls and downloads fail one time in four
    python benchmarks/fleet.py kill        kill -9 while fifty tasks are pending, then the same command again

Every provider is a sandbox in a process of its own, which enforces its limits and keeps books.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SUFFIX = {"gemini": "/v1beta", "openai": "/v1", "kie": "/kie"}


@dataclass
class Vendor:
    """A sandbox process, restartable on its port."""

    protocol: str
    flags: list[str]
    port: int = 0
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start, on the same port as before."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nanobatch", "sandbox", "--port", str(self.port), *self.flags],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.port = urlsplit(json.loads(self.process.stdout.readline())["url"]).port or 0

    def stop(self) -> None:
        """Kill it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def books(self, *, full: bool = False) -> dict[str, Any]:
        """Return what it billed."""
        with urllib.request.urlopen(f"{self.url}/__books{'?full=1' if full else ''}") as answer:
            return dict(json.load(answer))

    def plan(self, **changes: Any) -> None:
        """Change its limits and faults while it runs."""
        urllib.request.urlopen(f"{self.url}/__plan", json.dumps(changes).encode()).close()


@contextlib.contextmanager
def vendors(*wanted: Vendor) -> Iterator[tuple[Vendor, ...]]:
    """Run sandboxes until the block ends."""
    try:
        for vendor in wanted:
            vendor.start()
        yield wanted
    finally:
        for vendor in wanted:
            vendor.stop()


def config(root: Path, fleet: tuple[Vendor, ...], limits: list[dict[str, int]], **run: Any) -> Path:
    """Write a configuration; JSON is YAML."""
    providers = {
        f"{number}-{vendor.protocol}": {
            "protocol": vendor.protocol, "base_url": vendor.url + SUFFIX[vendor.protocol], "api_key": "k",
            "priority": number, "prices": {"1K": 0.05}, "limits": limit, "cooldown_seconds": 5,
        }
        for number, (vendor, limit) in enumerate(zip(fleet, limits, strict=True), 1)
    }  # fmt: skip
    path = root / "nanobatch.yaml"
    path.write_text(json.dumps({"providers": providers, "run": run}))
    return path


def prompts(root: Path, count: int) -> Path:
    """Write a file of different prompts."""
    path = root / "prompts.csv"
    path.write_text("prompt\n" + "".join(f"a red fox number {number}\n" for number in range(count)))
    return path


def command(root: Path, *more: str) -> list[str]:
    """Return the command of a run."""
    return [
        sys.executable, "-m", "nanobatch", "run", str(root / "prompts.csv"), "--config", str(root / "nanobatch.yaml"),
        "--out", str(root / "out"), "--yes", "--progress", "none", "-O", "json", *more,
    ]  # fmt: skip


def summary(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a run and return its summary."""
    out, _ = process.communicate()
    return dict(json.loads(out))


def tell(found: dict[str, Any], fleet: tuple[Vendor, ...]) -> None:
    """Print what the run says beside what the vendors say."""
    print(f"  {found['ok']} of {found['jobs']} images, exit {found['exit_code']}, {found['duration_seconds']:.1f} s")
    for name, part in found["providers"].items():
        print(f"  {name}: {part['images']} images, {part['attempts']} attempts, errors {part['errors']}")
    for vendor in fleet:
        books = vendor.books()
        print(f"  books of {vendor.protocol}: {books['images']} billed, violations {books['violations'] or 0}")


def start(root: Path, *more: str) -> subprocess.Popen[str]:
    """Start a run."""
    return subprocess.Popen(command(root, *more), stdout=subprocess.PIPE, text=True)


RPM = [200, 250, 60]
COUNT = 3000


def three() -> tuple[Vendor, ...]:
    """A gemini, an openai and a kie provider with quotas of their own."""
    return (
        Vendor("gemini", ["--rpm", "200", "--latency", "0.05-0.1"]),
        Vendor("openai", ["--rpm", "250", "--latency", "0.05-0.1"]),
        Vendor("kie", ["--rpm", "60", "--latency", "0.5-1"]),
    )


def fastest(root: Path) -> None:
    """Compare the makespan with what the quotas allow in whole windows."""
    with vendors(*three()) as fleet:
        config(root, fleet, [{"rpm": rpm, "concurrency": 64} for rpm in RPM], strategy="fastest")
        prompts(root, COUNT)
        found = summary(start(root))
        ideal = (-(-COUNT // sum(RPM)) - 1) * 60.0
        print(f"fastest: {found['duration_seconds']:.1f} s; the quotas allow {ideal:.0f} s", end=" ")
        print(f"({found['duration_seconds'] / ideal:.3f} of it)")
        tell(found, fleet)


def outage(root: Path) -> None:
    """Kill the second provider after some seconds and bring it back."""
    with vendors(*three()) as fleet:
        config(root, fleet, [{"rpm": rpm, "concurrency": 64} for rpm in RPM], strategy="fastest")
        prompts(root, COUNT)
        run = start(root)
        time.sleep(30)
        billed = fleet[1].books()["images"]
        fleet[1].stop()
        time.sleep(60)
        fleet[1].start()
        found = summary(run)
        print(f"outage: the second had billed {billed} before, {fleet[1].books()['images']} after it came back")
        tell(found, fleet)


def fallback(root: Path) -> None:
    """Let the first provider answer 503 from the first second to the tenth."""
    fleet = (
        Vendor("gemini", ["--latency", "0.2"]),
        Vendor("openai", ["--latency", "0.2"]),
    )
    with vendors(*fleet):
        config(root, fleet, [{"concurrency": 16}] * 2)
        prompts(root, 2000)
        run = start(root)
        time.sleep(4)
        fleet[0].plan(faults={"503": 1.0})
        at = fleet[0].books()["images"]
        time.sleep(6)
        fleet[0].plan(faults={})
        found = summary(run)
        by_prompt = [vendor.books(full=True)["by_prompt"] for vendor in fleet]
        twice = sum(
            by_prompt[0].get(prompt, 0) + by_prompt[1].get(prompt, 0) > 1 for prompt in {**by_prompt[0], **by_prompt[1]}
        )
        print(f"fallback: the first had {at} when it began to fail; {twice} prompts were billed twice")
        tell(found, fleet)


def faults(root: Path) -> None:
    """One poll or download in four fails; each task must be created once."""
    fleet = (Vendor("kie", ["--latency", "0.5-2"]),)
    with vendors(*fleet):
        fleet[0].plan(faults={"poll500": 0.1, "pollreset": 0.05, "poll429": 0.05, "download500": 0.05})
        config(root, fleet, [{"concurrency": 64}])
        prompts(root, 500)
        found = summary(start(root))
        books = fleet[0].books()
        print(f"faults: {books['creations']} tasks created for 500 prompts, {books['twice']} of them twice,", end=" ")
        print(f"{books['polls']} polls, met {books['faults']}")
        tell(found, fleet)


def kill(root: Path) -> None:
    """Kill the run while its tasks are pending; the rerun must fetch the same tasks."""
    fleet = (Vendor("kie", ["--latency", "12"]),)
    with vendors(*fleet):
        config(root, fleet, [{"concurrency": 64}])
        prompts(root, 50)
        run = start(root)
        while fleet[0].books()["images"] < 50:
            time.sleep(0.2)
        time.sleep(2)
        run.send_signal(signal.SIGKILL)
        run.wait()
        found = summary(start(root))
        print(f"kill: {fleet[0].books()['images']} tasks created for 50 prompts after kill -9 and a rerun")
        tell(found, fleet)


def main() -> None:
    """Run the named scenarios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scenarios = {scenario.__name__: scenario for scenario in (fastest, outage, fallback, faults, kill)}
    parser.add_argument("scenario", nargs="+", choices=scenarios)
    for name in parser.parse_args().scenario:
        with tempfile.TemporaryDirectory() as root:
            scenarios[name](Path(root))


if __name__ == "__main__":
    main()
