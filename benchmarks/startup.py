"""Start-up of the installed command against bare Python.

    python benchmarks/startup.py [--rounds 15] [--clean] [--json FILE]

`--clean` installs this checkout into a new environment of the same Python first: packages of other people, whose .pth
files run at every start, would slow both sides down. Without it the environment that runs this script is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from processes import ROOT, pinned


@contextlib.contextmanager
def scripts(*, clean: bool) -> Iterator[Path]:
    """Yield the folder that holds python and nanobatch."""
    if not clean:
        yield Path(sys.executable).parent
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        found = Path(folder) / "bin"
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        install = [str(found / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", str(ROOT)]
        subprocess.run(install, check=True, env=env)
        yield found


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Start each command in turns; return wall seconds."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": tempfile.gettempdir()}
    for number in range(rounds + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=env, preexec_fn=pinned(-1))
            if number:  # the first round fills caches
                times[name].append(time.perf_counter() - began)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clean", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with scripts(clean=options.clean) as folder:
        python, nanobatch = str(folder / "python"), str(folder / "nanobatch")
        commands = {
            "python -c pass": [python, "-c", "pass"],
            "nanobatch --version": [nanobatch, "--version"],
            "nanobatch --help": [nanobatch, "--help"],
            "nanobatch run --help": [nanobatch, "run", "--help"],
        }
        if not Path(nanobatch).exists():
            parser.error(f"there is no {nanobatch}: install the checkout, or use --clean")
        times = measure(commands, options.rounds)
    bare = statistics.median(times["python -c pass"])
    print("| command | median ms (least) | × bare Python |\n|---|---|---|")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"| {name} | {median * 1000:.1f} ({min(found) * 1000:.1f}) | {median / bare:.2f} |")
    if options.json:
        options.json.write_text(json.dumps(times, indent=2) + "\n")


if __name__ == "__main__":
    main()
