"""Starts the sandbox as a real process, for tests that need a provider.

    with sandbox(rpm=60, faults={"503": 0.1}) as vendor:
        ... vendor.url ... vendor.books()["images"] ...

Without options it has no limits, no faults and no latency.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

HTTP_TIMEOUT = 30.0  # seconds
END_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class SandboxProcess:
    """A running sandbox."""

    url: str
    pid: int
    process: subprocess.Popen[bytes]

    @property
    def gemini(self) -> str:
        """The base URL of a provider with the gemini protocol."""
        return self.url + "/v1beta"

    @property
    def openai(self) -> str:
        """The base URL of a provider with the openai protocol."""
        return self.url + "/v1"

    def books(self, *, full: bool = False) -> dict[str, Any]:
        """Return what was billed, refused and violated so far."""
        return self._ask("/__books?full=1" if full else "/__books")

    def plan(self, **changes: Any) -> dict[str, Any]:
        """Change limits, latency or faults while it runs; return all settings.

        Raises:
            ValueError: The sandbox does not take them; its sentence says why.
        """
        return self._ask("/__plan", changes)

    def kill(self) -> None:
        """Kill it as a crash would: nothing is answered, nothing is said."""
        self.process.kill()
        self.process.wait(END_TIMEOUT)

    def _ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data), timeout=HTTP_TIMEOUT) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["error"]["message"]) from error


@contextmanager
def sandbox(
    *,
    latency: str | float = 0,
    faults: Mapping[str, float] | None = None,
    books: Path | None = None,
    port: int = 0,
    **options: float | None,
) -> Iterator[SandboxProcess]:
    """Run a sandbox while the block runs. Other options as on its command line: rpm=60, retry_after=0.1 ..."""
    command = [sys.executable, "-m", "nanobatch.sandbox", "--stop-with-stdin"]
    named = {"port": port, "latency": latency, "books": books, **options}
    command += [text for name, value in named.items() if value is not None for text in _flag(name, value)]
    command += [text for kind, odds in (faults or {}).items() for text in ("--fault", f"{kind}={odds}")]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints)
        try:
            address = _first_line(process, complaints)
            yield SandboxProcess(address["url"], address["pid"], process)
        finally:
            _end(process)


def _flag(name: str, value: object) -> tuple[str, str]:
    return "--" + name.replace("_", "-"), str(value)


def _first_line(process: subprocess.Popen[bytes], complaints: IO[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(END_TIMEOUT)
        complaints.seek(0)
        raise RuntimeError(f"the sandbox did not start: {complaints.read().decode().strip()}")
    found: dict[str, Any] = json.loads(line)
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    process.terminate()
    try:
        process.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(END_TIMEOUT)
        raise


@pytest.fixture
def sandbox_process() -> Iterator[SandboxProcess]:
    """A sandbox without limits, faults or latency; `plan` changes that."""
    with sandbox() as running:
        yield running
