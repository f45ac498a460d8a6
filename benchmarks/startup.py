"""Start-up of the installed command against bare Python, in the environment that runs this script.

python benchmarks/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    nanobatch = str(Path(sys.executable).parent / "nanobatch")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "nanobatch --version": [nanobatch, "--version"],
        "nanobatch --help": [nanobatch, "--help"],
        "nanobatch run --help": [nanobatch, "run", "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env={"PATH": os.environ["PATH"]})
            times[name].append(time.perf_counter() - began)
    bare = statistics.median(times["python -c pass"])
    print("| command | median ms | x bare Python |\n|---|---|---|")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"| {name} | {median * 1000:.1f} | {median / bare:.2f} |")


if __name__ == "__main__":
    main()
