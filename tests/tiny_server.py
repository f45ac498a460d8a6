"""A provider of paper on loopback, and the command line as a process of its own that talks to it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.harness import png

ROOT = Path(__file__).resolve().parent.parent
KEY = "SECRET-0123456789-KEY"
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Reply:
    """What the provider answers."""

    status: int = 200
    body: Any = None
    hang: bool = False  # answer only when the server closes


def image() -> Reply:
    """Answer with a picture."""
    data = base64.b64encode(png()).decode()
    parts = [{"inlineData": {"mimeType": "image/png", "data": data}}]
    return Reply(body={"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]})


def refusal() -> Reply:
    """Refuse a prompt."""
    return Reply(body={"candidates": [{"finishReason": "IMAGE_SAFETY"}]})


def fault(status: int, message: str = "no", **error: Any) -> Reply:
    """Fail in Gemini's envelope."""
    return Reply(status, {"error": {"code": status, "message": message, **error}})


def spent_day() -> Reply:
    """Say that the day's quota is spent."""
    violations = [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]
    return fault(429, "quota", details=[{"@type": "x/google.rpc.QuotaFailure", "violations": violations}])


Script = Callable[[str], Reply]  # the prompt's words: the answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that died: tests kill them."""


class TinyServer:
    """Answers as a script says, and remembers the prompts that came."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or (lambda _: image())
        self.prompts: list[str] = []
        self.arrived = threading.Semaphore(0)
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1beta"

    def wait_for_requests(self, number: int) -> None:
        for _ in range(number):
            assert self.arrived.acquire(timeout=PATIENCE_SECONDS), "no request came"

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, prompt: str) -> Reply:
        self.prompts.append(prompt)
        reply = self.script(prompt)
        self.arrived.release()
        if reply.hang:
            self._closing.wait(PATIENCE_SECONDS)
        return reply

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                wanted = json.loads(self.rfile.read(int(self.headers["content-length"])))
                reply = server.answer(wanted["contents"][0]["parts"][0]["text"])
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                try:
                    self.send_response(reply.status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True  # the client did not wait

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        return Handler


@dataclass
class Shell:
    """A folder with a config, and the command as a real process in it."""

    cwd: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cwd.mkdir(exist_ok=True)
        home = self.cwd.parent / "home"
        home.mkdir(exist_ok=True)
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error",
            "LC_ALL": "C.UTF-8", "COLUMNS": "100", **self.env,
        }  # fmt: skip

    def configure(self, url: str, **run: Any) -> None:
        """Write a config with one provider."""
        config = {
            "run": {"retries": 0, "grace_seconds": 1, **run},
            "providers": {
                "paper": {
                    "protocol": "gemini", "base_url": url, "api_key": KEY, "prices": {"1K": 0.1},
                    "limits": {"concurrency": 2},
                },
            },
        }  # fmt: skip
        self.write("nanobatch.yaml", json.dumps(config))  # JSON is YAML

    def prompts(self, *texts: str) -> None:
        """Write p.csv with a row for each text; ids are a, b, c ..."""
        rows = [f"{chr(97 + number)},{text}" for number, text in enumerate(texts)]
        self.write("p.csv", "\n".join(["id,prompt", *rows, ""]))

    def write(self, name: str, text: str) -> None:
        (self.cwd / name).write_text(text, "utf-8")

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.cwd)) for path in self.cwd.rglob("*") if path.is_file())

    def summary(self, folder: str = "p-images") -> Any:
        return json.loads((self.cwd / folder / "run.json").read_text())

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL, **more: Any) -> subprocess.Popen[str]:
        """Start `nanobatch` with arguments."""
        return subprocess.Popen(
            [sys.executable, "-m", "nanobatch", *arguments], cwd=self.cwd, env=self.env, text=True, stdin=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
        )  # fmt: skip

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run `nanobatch` with arguments to its end."""
        with self.start(*arguments, stdin=subprocess.PIPE) as process:
            return _ended(process, stdin)

    def bash(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell, in which `nanobatch` is the command."""
        prelude = f'set -o pipefail; nanobatch() {{ "{sys.executable}" -m nanobatch "$@"; }}; '
        return subprocess.run(
            ["bash", "-c", prelude + line], cwd=self.cwd, env=self.env, text=True, capture_output=True,
            timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip

    def interrupt(
        self, server: TinyServer, number: signal.Signals, *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        """Run until a request is on the wire, then send a signal."""
        with self.start(*arguments) as process:
            server.wait_for_requests(1)
            process.send_signal(number)
            return _ended(process)


def _ended(process: subprocess.Popen[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        out, err = process.communicate(stdin, timeout=PATIENCE_SECONDS)
    except BaseException:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
