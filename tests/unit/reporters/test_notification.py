"""`--notify`: posted with patience, to where it was told, and never more than a sentence when it fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from nanobatch.errors import ConfigError
from nanobatch.reporters.notification import PAUSES_SECONDS, checked_address, notify

SECRET = "/services/T0/very-secret"


@dataclass
class Listener:
    """Answers with a list of statuses, the last one for ever, and remembers what came."""

    statuses: list[int] = field(default_factory=lambda: [204])
    came: list[tuple[str, str, Any]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found.came.append((self.path, self.headers["content-type"], body))
            self.send_response(found.statuses.pop(0) if len(found.statuses) > 1 else found.statuses[0])
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}{SECRET}"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_summary_arrives_as_json(listener: Listener) -> None:
    """Once, whole, in any script."""
    assert notify(listener.url, {"output": "日本", "jobs": 3}, sleep=lambda _: None) is None
    assert listener.came == [(SECRET, "application/json", {"output": "日本", "jobs": 3})]


@pytest.mark.parametrize("first", [500, 503, 429])
def test_passing_failures_are_tried_again(listener: Listener, first: int) -> None:
    """With a pause that grows."""
    pauses: list[float] = []
    listener.statuses = [first, first, 200]
    assert notify(listener.url, {}, sleep=pauses.append) is None
    assert len(listener.came) == 3
    assert tuple(pauses) == PAUSES_SECONDS


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (401, 1), (302, 1), (307, 1), (500, 3)])
def test_a_failure_is_a_sentence_without_the_address(listener: Listener, status: int, tries: int) -> None:
    """What will not change is not tried again; nothing follows a redirection to somebody else."""
    listener.statuses = [status]
    reason = notify(listener.url, {}, sleep=lambda _: None)
    assert reason == f"the summary could not be posted to 127.0.0.1: HTTP {status}"
    assert len(listener.came) == tries
    assert {path for path, _, _ in listener.came} == {SECRET}


def test_nobody_there_is_a_sentence_too() -> None:
    """After three tries."""
    pauses: list[float] = []
    reason = notify(f"http://127.0.0.1:9{SECRET}", {}, sleep=pauses.append)
    assert reason is not None
    assert "127.0.0.1" in reason
    assert "secret" not in reason
    assert len(pauses) == len(PAUSES_SECONDS)


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example/x", "ftp://h/secret", "file:///etc/secret", "http://", "http://u:secret@h/", "http://h:nine/secret", "http://h/a secret", "http://h/secré"],
)  # fmt: skip
def test_only_web_addresses_will_do(url: str) -> None:
    """Refused before anything is sent, without showing it."""
    with pytest.raises(ConfigError, match="begins with http") as caught:
        checked_address(url)
    assert "secr" not in caught.value.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "https://hooks.example/a?b=c", "http://[::1]:80/"])
def test_web_addresses_pass_as_they_are(url: str) -> None:
    """With port, query and IPv6."""
    assert checked_address(url) == url
