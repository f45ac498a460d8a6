"""What `run --dry-run` foretells against what the run then takes: the clock, and the books of real sandboxes.

    python benchmarks/plan.py                       all configurations, about ten minutes
    python benchmarks/plan.py fastest tasks --json plan.json

Each provider is a sandbox in a process of its own. Plan and run are the command itself; start-up, files and real HTTP
are in the run's time. The test beside it (tests/integration/test_plan_against_books.py) does the same on virtual time.
Books count images; what they cost is written here, and for tokens told by the run, which reads them from each answer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet import SUFFIX, Vendor, vendors

LITE = "2.25-3.75"  # seconds: what is typical of the model in the catalog, give or take a quarter
MODEL = "nano-banana-2-lite"


@dataclass
class Wanted:
    """One provider of a configuration."""

    limits: dict[str, int]
    price: float | None = 0.02  # USD per image; None: by tokens, as Google
    protocol: str = "gemini"
    priority: int = 1
    latency: str = LITE

    @property
    def flags(self) -> list[str]:
        """How its sandbox is started."""
        enforced = ("rpm", "ipm", "rpd") if "window_seconds" not in self.limits else ()
        given = [(f"--{name}", str(self.limits[name])) for name in enforced if name in self.limits]
        return ["--latency", self.latency, "--seed", "1", *(word for pair in given for word in pair)]


@dataclass
class Configuration:
    """What is planned and run."""

    providers: dict[str, Wanted]
    prompts: int
    flags: list[str] = field(default_factory=list)
    cached: int = 0  # so many of the prompts are drawn before, into another folder
    resumed: int = 0  # so many are drawn before, into the same folder


CONFIGURATIONS = {
    "slots": Configuration({"google": Wanted({"concurrency": 10}, price=None)}, 200),
    "minutes": Configuration({"a": Wanted({"concurrency": 64, "rpm": 120})}, 300),
    "few-slots": Configuration({"a": Wanted({"concurrency": 4, "rpm": 60})}, 150),
    "images": Configuration({"a": Wanted({"concurrency": 20, "ipm": 40})}, 110, ["-n", "1"]),
    "fastest": Configuration(
        {"a": Wanted({"concurrency": 64, "rpm": 60}), "b": Wanted({"concurrency": 3}, 0.05, priority=2)},
        250,
        ["--strategy", "fastest"],
    ),
    "cheapest": Configuration(
        {"a": Wanted({"concurrency": 10}, 0.09), "b": Wanted({"concurrency": 6}, 0.03, priority=2)},
        150,
        ["--strategy", "cheapest"],
    ),
    "spent-day": Configuration(
        {"a": Wanted({"concurrency": 10, "rpd": 50}, 0.01), "b": Wanted({"concurrency": 5}, 0.05, priority=2)}, 150
    ),
    "tasks": Configuration({"a": Wanted({"concurrency": 10}, 0.025, "kie")}, 150),
    "cached": Configuration({"a": Wanted({"concurrency": 8})}, 200, cached=60),
    "resumed": Configuration({"a": Wanted({"concurrency": 8})}, 200, resumed=70),
}


def configured(providers: dict[str, Wanted], running: Sequence[Vendor]) -> dict[str, Any]:
    """Write the configuration of a run."""
    found: dict[str, Any] = {}
    for (name, wanted), vendor in zip(providers.items(), running, strict=True):
        more = {} if wanted.price is None else {"protocol": wanted.protocol, "auth": "bearer"}
        prices = {} if wanted.price is None else {"prices": {"1K": wanted.price}}
        found[name] = more | prices | {
            "base_url": vendor.url + SUFFIX[wanted.protocol], "api_key": f"key-of-{name}", "priority": wanted.priority,
            "limits": wanted.limits,
        }  # fmt: skip
    return {"defaults": {"model": MODEL}, "providers": found}


@dataclass
class Place:
    """A folder with a home of its own."""

    root: Path

    def run(self, prompts: int, out: str, flags: Sequence[str]) -> dict[str, Any]:
        """Run the command; return its JSON."""
        (self.root / "p.txt").write_text("".join(f"a hat, number {number}\n" for number in range(prompts)))
        home = {
            name: str(self.root / "home") for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
        }
        done = subprocess.run(
            [sys.executable, "-m", "nanobatch", "run", "p.txt", "-o", out, "-q", "-y", "-O", "json", *flags],
            cwd=self.root, env={**os.environ, **home}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"exit {done.returncode}: {done.stderr}")
        return dict(json.loads(done.stdout))


def measured(name: str, wanted: Configuration) -> dict[str, Any]:
    """Plan, run, and read the books."""
    started = [Vendor(provider.protocol, provider.flags) for provider in wanted.providers.values()]
    with vendors(*started) as running, tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        (place.root / "nanobatch.yaml").write_text(json.dumps(configured(wanted.providers, running)))
        if wanted.cached or wanted.resumed:
            place.run(wanted.cached or wanted.resumed, "out" if wanted.resumed else "earlier", wanted.flags)
        before = [vendor.books()["images"] for vendor in running]
        plan = place.run(wanted.prompts, "out", [*wanted.flags, "--dry-run"])
        summary = place.run(wanted.prompts, "out", wanted.flags)
        images = [vendor.books()["images"] - count for vendor, count in zip(running, before, strict=True)]
        violations = sum(sum(vendor.books()["violations"].values()) for vendor in running)
    prices = [provider.price for provider in wanted.providers.values()]
    billed = (
        summary["cost_usd"]
        if None in prices
        else sum(n * (price or 0) for n, price in zip(images, prices, strict=True))
    )
    return {
        "configuration": name, "images": images, "violations": violations,
        "planned_usd": plan["cost_usd"]["expected"], "billed_usd": round(billed, 4),
        "planned_seconds": plan["duration_seconds"], "seconds": summary["duration_seconds"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", choices=[*CONFIGURATIONS, []], metavar="NAME", help=", ".join(CONFIGURATIONS)
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    rows = []
    print(
        "| configuration | images | planned $ | billed $ | off | planned s | took s | off |\n|---|---|---|---|---|---|---|---|"
    )
    for name in given.names or CONFIGURATIONS:
        row = measured(name, CONFIGURATIONS[name])
        rows.append(row)
        dollars = row["planned_usd"] / row["billed_usd"] - 1
        seconds = row["planned_seconds"] / row["seconds"] - 1
        print(
            f"| {name} | {' + '.join(map(str, row['images']))} | {row['planned_usd']:.2f} | {row['billed_usd']:.2f} | {dollars:+.1%} "
            f"| {row['planned_seconds']:.1f} | {row['seconds']:.1f} | {seconds:+.1%} |",
            flush=True,
        )
        if row["violations"]:
            print(f"{row['violations']} requests were over a limit", file=sys.stderr)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
