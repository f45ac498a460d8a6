"""An output folder made by hand, for the tests of its page: records, images, the note of a run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from nanobatch.run_note import NOTE, RunNote, encoded

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>alert(2)",
    '<img src=x onerror="alert(3)">',
    "</style><style>*{display:none}</style>",
    "]]></title></textarea><svg onload=alert(4)>",
    "line\u2028separator\u2029 and \u202etext that runs backwards",
    "javascript:alert(5)",
    "${alert(6)} {{script}} `alert(7)` \\u003cscript\\u003e",
    '"); alert(8); ("',
    "&lt;script&gt; &amp; <b>bold</b>",
    "{{tiles}} {{facts}} {{title}}",
)


def image(width: int, height: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """Draw a picture of one colour."""
    file = io.BytesIO()
    Image.new(mode, (width, height), 60).save(file, kind)
    return file.getvalue()


class Desk:
    """The output of a run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / ".nanobatch").mkdir(parents=True)
        (root / "images").mkdir()
        self.count = 0

    def note(self, jobs: int, **more: Any) -> None:
        plain = RunNote(
            "r1", "2026-11-24T10:00:00.000Z", jobs, 0, sandbox=False, folder=str(self.root), cwd="/srv/shop",
            command=("run", "p.csv", "--limit", "9"),
        )  # fmt: skip
        (self.root / NOTE).write_bytes(encoded(msgspec.structs.replace(plain, **more)))

    def record(self, status: str = "ok", data: bytes | None = None, **more: Any) -> dict[str, Any]:
        """Add a job to the manifest, with its image where it has one."""
        self.count += 1
        number = self.count
        found: dict[str, Any] = {
            "job": f"{number:016x}{number:016x}", "id": f"row-{number}", "variant": 0, "index": number,
            "status": status, "prompt": f"prompt number {number}", "provider": "google", "cost_usd": 0.134,
            "latency_seconds": 1.5, "finished_at": "2026-11-24T10:00:00.000Z", "columns": {},
            "params": {"model": "nano-banana-pro", "size": "1K", "aspect_ratio": None, "seed": None},
        }  # fmt: skip
        if status in ("ok", "cached"):
            found |= {"file": f"images/row-{number}.png", "sha256": f"{number:064x}", "width": 64, "height": 48}
        else:
            found |= {
                "cost_usd": 0.0,
                "error": {"code": status, "message": f"{status} for a reason", "http_status": 200},
            }
        found |= more
        if data is None and status in ("ok", "cached"):
            data = image(64, 48)
        if data is not None and found.get("file"):
            (self.root / found["file"]).parent.mkdir(parents=True, exist_ok=True)
            (self.root / found["file"]).write_bytes(data)
        with (self.root / "manifest.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        return found
