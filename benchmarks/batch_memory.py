"""Peak memory and CPU of collecting a large file of batch results, in a process of its own that does nothing else.

    python benchmarks/batch_memory.py [--vendor google|vertex] [--gigabytes 2] [--image-megabytes 16] [--folder DIR]

A vendor of paper serves one batch whose results have so many rows that the file reaches the size asked for; each row is
a whole image of the size asked for, and a signature as large as the image, or, from Vertex AI, the request with a
reference image as large. The client is `nanobatch batch collect`.
Images go to --folder, which needs about two and a half times the size.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def png(size: int) -> bytes:
    """Make a whole PNG of about `size` bytes, which cannot be compressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + os.urandom(192) for _ in range(64)))
    filler = chunk(b"prVt", os.urandom(size))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + filler + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class Vendor(ThreadingHTTPServer):
    """One batch, and its results, which are made while they are sent."""

    daemon_threads = True
    keys: list[str]
    title = ""
    row = b""
    bucket = ""  # of Vertex AI's results

    def state(self) -> dict[str, Any]:
        if self.bucket:
            target = {"gcsDestination": {"outputUriPrefix": f"{self.bucket}/results"}}
            job = {"name": "projects/1/locations/global/batchPredictionJobs/7", "displayName": self.title}
            return {**job, "state": "JOB_STATE_SUCCEEDED", "outputConfig": target}
        about = {"displayName": self.title, "state": "BATCH_STATE_SUCCEEDED"}
        return {"name": "batches/b", "metadata": about, "done": True, "response": {"responsesFile": "files/r"}}

    def lines(self) -> Iterator[bytes]:
        for key in reversed(self.keys):
            yield self.row.replace(b"@KEY@", key.encode(), 1)


class Handler(BaseHTTPRequestHandler):
    """Uploads, the order, looks, and the download."""

    server: Vendor
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        command = self.headers.get("x-goog-upload-command", "")
        if "/upload/storage/" in self.path:
            self.say({}, {"location": f"http://127.0.0.1:{self.server.server_port}/upload/storage/v1/b/bucket/o"})
        elif "batchPredictionJobs" in self.path:
            self.server.title = json.loads(body)["displayName"]
            self.say(self.server.state())
        elif command == "start":
            here = f"http://127.0.0.1:{self.server.server_port}/upload/v1beta/files?upload_id=1"
            self.say({}, {"x-goog-upload-url": here})
        elif command:
            self.server.keys = [json.loads(line)["key"] for line in body.splitlines()]
            self.say({"file": {"name": "files/in"}}, {"x-goog-upload-status": "final"})
        else:
            self.server.title = json.loads(body)["batch"]["displayName"]
            self.say(self.server.state())

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.keys = [json.loads(line)["request"]["labels"]["nanobatch_job"] for line in body.splitlines()]
        self.say({})

    def do_GET(self) -> None:
        if "/o?prefix=" in self.path:
            self.say({"items": [{"name": "f/results/predictions.jsonl", "generation": "1"}]})
            return
        if ":download" not in self.path and "alt=media" not in self.path:
            self.say(self.server.state())
            return
        self.send_response(200)
        self.send_header("content-length", str(sum(len(line) for line in self.server.lines())))
        self.end_headers()
        for line in self.server.lines():
            self.wfile.write(line)

    def do_DELETE(self) -> None:
        self.say({})

    def say(self, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        for name, value in {"content-length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


# A child's greatest size counts that of the process which forked it. This one is small; the vendor's is not.
MEASURED = """
import json, os, resource, sys, time
started = time.perf_counter()
child = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-m", "nanobatch", *sys.argv[1:]])
_, status, usage = os.wait4(child, 0)
figures = [usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, time.perf_counter() - started]
print(json.dumps([os.waitstatus_to_exitcode(status), figures]))
"""


def nanobatch(folder: Path, *arguments: str) -> list[float]:
    """Run a command to its end; return its peak memory in MB, its CPU and its wall time in seconds."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-c", MEASURED, *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
    code, figures = json.loads(ended.stdout.splitlines()[-1])
    if code:
        raise SystemExit(f"nanobatch {' '.join(arguments)} ended with {code}")
    return list(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vendor", choices=["google", "vertex"], default="google")
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--image-megabytes", type=float, default=16.0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    image = png(round(options.image_megabytes * 1e6))
    part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(image).decode()}}
    answer = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
    vendor = Vendor(("127.0.0.1", 0), Handler)
    if options.vendor == "vertex":
        vendor.bucket = "gs://bucket/f"
        request = {"labels": {"nanobatch_job": "@KEY@"}, "contents": [{"role": "user", "parts": [part]}]}
        row = {"request": request, "status": "", "response": answer}
    else:
        part["thoughtSignature"] = part["inlineData"]["data"]
        row = {"response": answer, "key": "@KEY@"}
    vendor.row = json.dumps(row).encode() + b"\n"
    rows = max(1, round(options.gigabytes * 1e9 / len(vendor.row)))
    threading.Thread(target=vendor.serve_forever, daemon=True).start()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        here = f"http://127.0.0.1:{vendor.server_port}"
        provider: dict[str, Any] = {"base_url": f"{here}/v1beta", "api_key": "k", "batch": {"output_mb": 10**6}}
        if vendor.bucket:
            provider["auth"] = "bearer"
            provider["batch"] |= {"bucket": vendor.bucket, "storage_url": here}
        (folder / "nanobatch.yaml").write_text(json.dumps({"providers": {options.vendor: provider}}))
        (folder / "p.csv").write_text("prompt\n" + "".join(f"prompt {number}\n" for number in range(rows)))
        nanobatch(folder, "batch", "submit", "p.csv", "-o", "out", "-y", "-q")
        megabytes, cpu, seconds = nanobatch(folder, "batch", "collect", "out", "-q")
        images = [path.stat().st_size for path in (folder / "out/images").iterdir()]
        if images != [len(image)] * rows:
            raise SystemExit(f"only {len(images)} of {rows} images, or cut ones")
        print(
            f"{rows} rows of {len(vendor.row) / 1e6:.1f} MB, {rows * len(vendor.row) / 1e9:.2f} GB: peak memory "
            f"{megabytes:.0f} MB, CPU {cpu:.1f} s, {seconds:.1f} s in all"
        )
    finally:
        vendor.shutdown()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
