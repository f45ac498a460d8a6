"""A vendor of batches on loopback, of paper: takes files, draws what their rows say, and misbehaves as it is told.

It keeps books: which batches were created under which title, and how many. What a row's image is follows from its
prompt alone (`drawn`), so a test can tell whether every image belongs to its row.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import re
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.harness import png

Row = Callable[[str, str], dict[str, Any] | None]  # key and prompt: the result's line, or None for no line
PIECE_MULTIPLE = 256 * 1024


def drawn(prompt: str) -> bytes:
    """Draw a PNG that no other prompt gives."""
    whole = png()
    body = b"Title\0" + hashlib.sha256(prompt.encode()).hexdigest().encode()
    chunk = struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(b"tEXt" + body))
    end = whole.index(b"IEND") - 4
    return whole[:end] + chunk + whole[end:]


def image_row(key: str, prompt: str) -> dict[str, Any]:
    """Answer a row with its image."""
    part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(drawn(prompt)).decode()}}
    usage = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 1120,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
    }
    answer = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}], "usageMetadata": usage}
    return {"response": answer, "key": key}


def error_row(key: str, code: int = 13, message: str = "an internal error") -> dict[str, Any]:
    """Answer a row with a status."""
    return {"key": key, "error": {"code": code, "message": message}}


def refused_row(key: str) -> dict[str, Any]:
    """Answer a row as the content rules have it."""
    return {"key": key, "response": {"candidates": [{"finishReason": "IMAGE_SAFETY"}]}}


@dataclass
class Job:
    """One batch at the vendor's."""

    name: str
    title: str
    rows: list[dict[str, Any]]
    looks: int = 0  # how often somebody asked
    state: str = "PENDING"
    url: str = ""
    tokens: int = 0


@dataclass
class Vendor:
    """What it does, and what it has seen. All of it may be changed while it runs."""

    row: Row = image_row
    looks: int = 1  # before a batch is over
    ends: str = "SUCCEEDED"
    shuffle: bool = True
    prefix: str = "BATCH_STATE_"
    lose_creates: int = 0  # replies to orders that are lost, though the batch is made
    empty_creates: int = 0  # replies to orders in which nothing stands, though the batch is made
    refuse_creates: list[tuple[int, Any]] = field(default_factory=list)  # answers in place of a batch
    cut_downloads: int = 0
    cut_uploads: int = 0
    refuse_uploads: bool = False
    lose_file: bool = False  # the results are gone
    downloads_elsewhere: bool = False  # results are at the documented address alone
    forget: bool = False  # batches are not known any more
    enqueued_limit: int | None = None
    tokens_of_a_row: int = 1500
    list_lag: int = 0  # lists from which the newest batch is missing still
    hold: threading.Event | None = None  # answers to `hold_path` wait for it
    hold_path: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    keys: set[str] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)  # method and path of every request
    ranges: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _uploads: dict[str, bytearray] = field(default_factory=dict)

    def open_tokens(self) -> int:
        return sum(job.tokens for job in self.jobs.values() if job.state in ("PENDING", "RUNNING"))

    def number(self) -> int:
        return next(self._numbers)

    def advance(self, job: Job) -> None:
        """Let a batch come nearer to its end, because somebody looks."""
        if job.state not in ("PENDING", "RUNNING", "CANCELLING"):
            return
        if job.state == "CANCELLING":
            job.state = "CANCELLED"
        else:
            job.looks += 1
            job.state = self.ends if job.looks > self.looks else "RUNNING"
        if job.state in ("SUCCEEDED", "CANCELLED", "EXPIRED") and job.rows:
            self.files[f"files/{job.name.replace('/', '-')}"] = self.results(job)

    def results(self, job: Job) -> bytes:
        """Write the file of results."""
        lines = []
        for row in job.rows if job.state == "SUCCEEDED" else job.rows[: len(job.rows) // 2]:
            if (line := self.answer(row)) is not None:
                lines += line if isinstance(line, list) else [line]
        if self.shuffle:
            random.Random(len(lines)).shuffle(lines)
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    def answer(self, row: dict[str, Any]) -> Any:
        """Answer one row, of either vendor."""
        if "custom_id" in row:
            prompt = row["body"]["prompt"]
            line = self.row(row["custom_id"], prompt)
            if line is None or "error" not in line:
                body = {"data": [{"b64_json": base64.b64encode(drawn(prompt)).decode()}], "created": 1}
                answer = {"status_code": 200, "request_id": "r", "body": body}
                return (
                    None if line is None else {"id": "x", "custom_id": line["key"], "response": answer, "error": None}
                )
            error = {"status_code": 400, "request_id": "r", "body": {"error": line["error"]}}
            return {"id": "x", "custom_id": line["key"], "response": error, "error": None}
        return self.row(row["key"], row["request"]["contents"][0]["parts"][0]["text"])


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that died: tests kill them."""


class BatchServer:
    """The vendor, listening."""

    def __init__(self, vendor: Vendor | None = None) -> None:
        self.vendor = vendor or Vendor()
        self._server = _Server(("127.0.0.1", 0), _handler(self.vendor, lambda: self.root))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        if self.vendor.hold is not None:
            self.vendor.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(vendor: Vendor, root: Callable[[], str]) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - a whole vendor
    lock = threading.RLock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 2**16

        def do_POST(self) -> None:
            self.serve("POST")

        def do_GET(self) -> None:
            self.serve("GET")

        def do_DELETE(self) -> None:
            self.serve("DELETE")

        def serve(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = urlsplit(self.path).path
            vendor.keys.add(self.headers.get("x-goog-api-key") or self.headers.get("authorization") or "")
            vendor.seen.append(f"{method} {path}")
            vendor.arrived.release()
            if vendor.hold is not None and vendor.hold_path in f"{method} {path}":
                vendor.hold.wait(60)
            with lock:
                try:
                    self.route(method, path, body)
                except OSError:
                    self.close_connection = True

        def route(self, method: str, path: str, body: bytes) -> None:  # noqa: C901 - the table of paths
            query = parse_qs(urlsplit(self.path).query)
            if path.startswith("/upload/"):
                self.upload(query, body)
            elif path.endswith(":download"):
                if vendor.downloads_elsewhere and not path.startswith("/download/"):
                    self.say(404, {"error": {"code": 404, "message": "not here", "status": "NOT_FOUND"}})
                    return
                self.download("files/" + path.split("/files/")[1].removesuffix(":download"))
            elif re.fullmatch(r"/v1/files/[^/]+/content", path):
                self.download(path.split("/")[3])
            elif path == "/v1/files":
                self.form(body)
            elif path.endswith(":batchGenerateContent"):
                about = json.loads(body)["batch"]
                self.create(about["displayName"], about["inputConfig"]["fileName"], "")
            elif path.endswith(":generateContent"):
                vendor.calls["sync"] += 1
                self.say(200, image_row("", json.loads(body)["contents"][0]["parts"][0]["text"])["response"])
            elif path == "/v1/batches" and method == "POST":
                about = json.loads(body)
                self.create(about["metadata"]["nanobatch"], about["input_file_id"], about["endpoint"])
            elif path.endswith("/batches"):
                self.list_all(query)
            elif path.endswith((":cancel", "/cancel")):
                self.cancel(path)
            elif method == "DELETE":
                vendor.calls["delete"] += 1
                self.say(200, {})
            else:
                self.poll(path)

        def upload(self, query: dict[str, list[str]], body: bytes) -> None:
            command = self.headers["x-goog-upload-command"]
            if vendor.refuse_uploads:
                self.say(409, {"error": {"code": 409, "message": "not now", "status": "ABORTED"}})
            elif command == "start":
                vendor.calls["upload"] += 1
                name = f"u{vendor.number()}"
                vendor._uploads[name] = bytearray()
                self.say(200, {}, {"x-goog-upload-url": f"{root()}/upload/v1beta/files?upload_id={name}"})
            if command == "start" or vendor.refuse_uploads:
                return
            data = vendor._uploads[query["upload_id"][0]]
            if command == "query":
                more = {"x-goog-upload-status": "active", "x-goog-upload-size-received": str(len(data))}
                self.say(200, {}, more)
                return
            assert int(self.headers["x-goog-upload-offset"]) == len(data), "a piece of an upload is out of place"
            if vendor.cut_uploads:
                vendor.cut_uploads -= 1
                data += body[: len(body) // 2 // PIECE_MULTIPLE * PIECE_MULTIPLE]
                self.connection.close()
                raise OSError
            data += body
            if "finalize" not in command:
                self.say(200, {}, {"x-goog-upload-status": "active"})
                return
            name = f"files/in-{vendor.number()}"
            vendor.files[name] = bytes(data)
            self.say(200, {"file": {"name": name}}, {"x-goog-upload-status": "final"})

        def form(self, body: bytes) -> None:
            head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
            message = BytesParser().parsebytes(head + body)
            parts: Any = message.get_payload()
            name = f"file-{vendor.number()}"
            vendor.files[name] = parts[1].get_payload(decode=True)
            vendor.calls["upload"] += 1
            self.say(200, {"id": name, "object": "file"})

        def create(self, title: str, file: str, url: str) -> None:
            vendor.calls["create"] += 1
            if vendor.refuse_creates:
                self.say(*vendor.refuse_creates.pop(0))
                return
            rows = [json.loads(line) for line in vendor.files[file].splitlines()]
            tokens = len(rows) * vendor.tokens_of_a_row
            if vendor.enqueued_limit is not None and vendor.open_tokens() + tokens > vendor.enqueued_limit:
                self.say(429, {"error": {"code": 429, "message": "enqueued tokens", "status": "RESOURCE_EXHAUSTED"}})
                return
            number = vendor.number()
            name = f"batch_{number}" if url else f"batches/b{number}"
            job = vendor.jobs[name] = Job(name, title, rows, url=url, tokens=tokens)
            if vendor.lose_creates:
                vendor.lose_creates -= 1
                self.connection.close()
                raise OSError
            vendor.empty_creates -= 1
            self.say(200, {} if vendor.empty_creates >= 0 else self.described(job))

        def described(self, job: Job) -> dict[str, Any]:
            file = f"files/{job.name.replace('/', '-')}"
            has_file = file in vendor.files
            if job.url:
                states = {"PENDING": "validating", "RUNNING": "in_progress", "SUCCEEDED": "completed"}
                return {
                    "id": job.name, "object": "batch", "status": states.get(job.state, job.state.lower()),
                    "metadata": {"nanobatch": job.title}, "output_file_id": file.split("/")[1] if has_file else None,
                    "request_counts": {"total": len(job.rows), "completed": 0, "failed": 0},
                }  # fmt: skip
            about = {
                "displayName": job.title, "state": vendor.prefix + job.state, "name": job.name,
                "batchStats": {"requestCount": str(len(job.rows)), "successfulRequestCount": "0"},
            }  # fmt: skip
            if not has_file:
                return {"name": job.name, "metadata": about}
            about["output"] = {"responsesFile": file}  # the vendor tells it in both places
            return {"name": job.name, "metadata": about, "done": True, "response": {"responsesFile": file}}

        def list_all(self, query: dict[str, list[str]]) -> None:
            vendor.calls["list"] += 1
            jobs = list(vendor.jobs.values())[::-1]
            if vendor.list_lag:
                vendor.list_lag -= 1
                jobs = jobs[1:]
            if "/v1/" in self.path:
                self.say(200, {"data": [self.described(job) for job in jobs], "has_more": False})
                return
            start = int(query.get("pageToken", ["0"])[0])
            page = [self.described(job) for job in jobs[start : start + 2]]
            more = {"nextPageToken": str(start + 2)} if len(jobs) > start + 2 else {}
            self.say(200, {"operations": page, **more})

        def found(self, path: str) -> Job | None:
            match = re.search(r"(batches/b\d+|batch_\d+)", path)
            return vendor.jobs.get(match[0]) if match and not vendor.forget else None

        def poll(self, path: str) -> None:
            vendor.calls["poll"] += 1
            job = self.found(path)
            if job is None:
                self.say(404, {"error": {"code": 404, "message": "not found", "status": "NOT_FOUND"}})
                return
            vendor.advance(job)
            if job.url and (data := vendor.files.get(f"files/{job.name}")) is not None:
                vendor.files[job.name] = data
            self.say(200, self.described(job))

        def cancel(self, path: str) -> None:
            vendor.calls["cancel"] += 1
            if (job := self.found(path)) is not None:
                job.state = "CANCELLING"
            self.say(200, {})

        def download(self, name: str) -> None:
            vendor.calls["download"] += 1
            data = vendor.files.get(name)
            if data is None or vendor.lose_file:
                self.say(404, {"error": {"code": 404, "message": "no such file", "status": "NOT_FOUND"}})
                return
            asked = self.headers.get("range", "")
            vendor.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            piece = data[start:]
            self.send_response(206 if asked else 200)
            self.send_header("content-length", str(len(piece)))
            self.send_header("etag", '"' + hashlib.sha256(data).hexdigest()[:16] + '"')
            if asked:
                self.send_header("content-range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if vendor.cut_downloads:
                vendor.cut_downloads -= 1
                self.wfile.write(piece[: len(piece) // 2])
                self.wfile.flush()
                self.connection.close()
                raise OSError
            self.wfile.write(piece)

        def say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            vendor.statuses[status] += 1
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler
