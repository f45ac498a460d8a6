"""Starts the processes that are measured, each pinned to its core in a plain environment, and accounts for them.

The server gets the first core, the client the last; on a machine with one core both share it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Figures:
    """What one run of a process took, as the kernel accounts it."""

    status: int
    cpu_seconds: float  # user and system
    wall_seconds: float
    peak_mb: float  # greatest resident size; never below this script's own 20 MB, which the child begins as
    stdout: str
    stderr: str


def pinned(core: int) -> Callable[[], None]:
    """Return what a child does first: go to a core, counted from the first (0) or the last (-1)."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

    def pin() -> None:
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[core]})

    return pin


def environment(home: Path, ca: str | None = None) -> dict[str, str]:
    """Return an environment without proxies, keys and settings of the user's; `ca` is trusted."""
    found = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home)}
    return found | ({"SSL_CERT_FILE": ca} if ca else {})


def run(command: Sequence[str], *, folder: Path, env: Mapping[str, str], core: int | None = -1) -> Figures:
    """Run a process to its end and account for it."""
    with tempfile.TemporaryFile(dir=folder) as stdout, tempfile.TemporaryFile(dir=folder) as stderr:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=None if core is None else pinned(core),
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said = []
        for file in (stdout, stderr):
            file.seek(0)
            said.append(file.read().decode("utf-8", "replace"))
    peak = usage.ru_maxrss * (1024 if sys.platform == "linux" else 1) / 1e6
    return Figures(process.returncode, usage.ru_utime + usage.ru_stime, wall, peak, *said)


def warm(size: int) -> None:
    """Have so much memory at hand before a run.

    The host of a virtual machine takes free pages away within seconds and gives them back at ten times the price of a
    page that is there; a client would pay for that when it writes to memory or grows.
    """
    if not os.access(MEMORY, os.W_OK):
        return
    size = min(size, shutil.disk_usage(MEMORY).free // 2)
    block = bytes(2**20)
    with tempfile.TemporaryFile(dir=MEMORY, buffering=0) as file:
        for _ in range(size >> 20):
            file.write(block)


def nanobatch_command(told: str | None) -> tuple[list[str], dict[str, str]]:
    """Return how nanobatch is started and what its environment needs: as told, else this checkout's."""
    if told:
        return told.split(), {}
    return [sys.executable, "-m", "nanobatch"], {"PYTHONPATH": str(ROOT)}


def write_inputs(folder: Path, *, url: str, images: int, concurrency: int) -> None:
    """Write the prompts and the configuration of a nanobatch run against the server at `url`."""
    (folder / "prompts.csv").write_text("prompt\n" + "".join(f"A red fox, number {n}\n" for n in range(images)))
    (folder / "nanobatch.yaml").write_text(
        f"providers:\n  local: {{protocol: gemini, base_url: '{url}/v1beta', api_key: key, prices: {{1K: 0.1}}, "
        f"limits: {{concurrency: {concurrency}}}}}\n"
    )


@contextlib.contextmanager
def workplace(needed_bytes: int, told: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder: in memory if it takes what is needed twice over, else on the disk."""
    place = told
    if place is None and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2 * needed_bytes:
        place = MEMORY
    with tempfile.TemporaryDirectory(dir=place, prefix="nanobatch-bench-") as folder:
        yield Path(folder)


# ---------------------------------------------------------------------------------------------------------- server


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    kind: str  # "C" or "Python"
    ca: str | None

    def figures(self) -> dict[str, float]:
        """Ask for answers, cpu_seconds, and, since the last call, most_in_flight and most_connections."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        connection: http.client.HTTPConnection
        if self.ca:
            context = ssl.create_default_context(cafile=self.ca)
            connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=30, context=context)
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            found: dict[str, float] = json.load(connection.getresponse())
        return found


def certificate(folder: Path) -> tuple[str, str]:
    """Make a certificate for 127.0.0.1 that lives as long as the run."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def compiled(folder: Path, *, tls: bool) -> list[str] | None:
    """Compile server.c and return its command, or None where that does not work."""
    target = folder / ("server-tls" if tls else "server")
    command = [os.environ.get("CC", "cc"), "-O2", "-o", str(target), str(HERE / "server.c")]
    if tls:
        command += ["-DWITH_TLS", "-lssl", "-lcrypto"]
    if not target.exists():
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
    return [str(target)]


@contextlib.contextmanager
def serving(
    kilobytes: int, folder: Path, *, tls: bool = False, latency: float = 0.0, spread: float = 0.0, c: bool = True
) -> Iterator[Server]:
    """Start a server on the first core whose images have so many thousand bytes; stop it at the end."""
    # A process of its own, because a child's peak begins with its parent's size, and ours should stay small.
    subprocess.run([sys.executable, str(HERE / "answers.py"), str(kilobytes), str(folder)], check=True)
    files = [str(folder / "gemini.http"), str(folder / "openai.http")]
    pair = certificate(folder) if tls else ()
    program = compiled(folder, tls=tls) if c else None
    command = [*(program or [sys.executable, str(HERE / "server.py")]), *files, str(latency), str(spread), *pair]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(0))
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        scheme = "https" if tls else "http"
        yield Server(f"{scheme}://127.0.0.1:{port}", "C" if program else "Python", pair[0] if pair else None)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
