"""Runs through batches in this process: a folder with prompts, a vendor of paper, and the real program in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanobatch.assembly import run
from nanobatch.batch_assembly import prepare_collection
from nanobatch.batches.terms import for_batches
from nanobatch.clock import SystemClock
from nanobatch.config import load_settings
from nanobatch.engines.batch import Mode
from nanobatch.events import Event, Warned
from nanobatch.preparation import Request, prepare
from nanobatch.settings import Settings
from nanobatch.spending import DaySpending, DayTotals, default_path
from nanobatch.stopping import Stop
from tests.batch_server import BatchServer, Vendor, drawn

KEY = "SECRET-0123456789-KEY"


@dataclass
class BatchBench:
    """One folder and one vendor."""

    cwd: Path
    server: BatchServer
    provider: str = "google"
    provider_name: str = ""  # another name for the same vendor
    batch: dict[str, Any] = field(default_factory=lambda: {"rows": 5, "poll_seconds": 0.01})
    run_keys: dict[str, Any] = field(default_factory=dict)
    usage_keys: dict[str, Any] = field(default_factory=dict)
    provider_keys: dict[str, Any] = field(default_factory=dict)
    more_providers: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def vendor(self) -> Vendor:
        return self.server.vendor

    @property
    def out(self) -> Path:
        return self.cwd / "out"

    def prompts(self, count: int, **columns: str) -> None:
        """Write p.csv with so many rows."""
        head = ",".join(["id", "prompt", *columns])
        rows = [",".join([f"r{number}", f"prompt {number}", *columns.values()]) for number in range(count)]
        (self.cwd / "p.csv").write_text("\n".join([head, *rows, ""]))

    def settings(self) -> Settings:
        version = "/v1" if self.provider == "openai" else "/v1beta"
        provider = {"base_url": self.server.root + version, "api_key": KEY, "batch": self.batch, **self.provider_keys}
        if self.provider_name not in ("", self.provider):
            prices = {"prices": {"1K": 0.067}, "batch": {"factor": 0.5, **self.batch}}
            provider |= {"protocol": "gemini", "models": {"nano-banana-pro": "gemini-3-pro-image-preview"}, **prices}
        model = "gpt-image-2" if self.provider == "openai" else "nano-banana-pro"
        config = {
            "defaults": {"model": model}, "run": self.run_keys, "usage": self.usage_keys, "output": {"dir": str(self.out)},
            "providers": {self.provider_name or self.provider: provider, **self.more_providers},
        }  # fmt: skip
        (self.cwd / "nanobatch.yaml").write_text(json.dumps(config))
        return load_settings(config_path=None, flags={}, environ={}, cwd=self.cwd, user_folder=self.cwd / "none")

    def as_another(self) -> dict[str, Any]:
        """Return the same vendor as the keys of one more provider, which is dearer."""
        models = {"nano-banana-pro": "gemini-3-pro-image-preview"}
        home = {"base_url": self.server.root + "/v1beta", "api_key": KEY, "protocol": "gemini", "models": models}
        return {**home, "prices": {"1K": 0.2}, "batch": {"factor": 0.5, **self.batch}}

    def order(self, mode: str = "run", **more: Any) -> Mapping[str, Any]:
        """Call `run --batch` or `batch submit`."""
        request = Request(inputs=(str(self.cwd / "p.csv"),), batch=mode, **more)
        return self._run(prepare(request, for_batches(self.settings())))

    def collect(self, mode: Mode = Mode.COLLECT) -> Mapping[str, Any]:
        """Call `batch collect` or `batch cancel`."""
        return self._run(prepare_collection(self.out, self.settings(), mode=mode))

    def _run(self, prepared: Any) -> Mapping[str, Any]:
        async def go() -> Mapping[str, Any]:
            return await run(prepared, clock=SystemClock(), observe=self.events.append, tick=lambda: None, stop=Stop())

        with contextlib.closing(prepared.references):
            return asyncio.run(go())

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the manifest, by row."""
        lines = (self.out / "manifest.jsonl").read_text().splitlines()
        return {record["id"]: record for record in map(json.loads, lines)}

    def warnings(self) -> str:
        return "\n".join(event.message for event in self.events if isinstance(event, Warned))

    def assert_everything_belongs(self, *ids: str) -> None:
        """Every image is the one that its row's prompt gives."""
        records = self.records()
        assert records
        for key in ids or records:
            record = records[key]
            assert record["status"] == "ok", record
            assert (self.out / record["file"]).read_bytes() == drawn(record["prompt"])

    def day(self) -> DayTotals:
        """Return what all runs have spent today."""
        path = default_path(os.environ, Path.home())
        with contextlib.closing(DaySpending(path, 1, run="reader", clock=SystemClock())) as day:
            return day.totals()

    def titles(self) -> list[str]:
        """Return the titles of the batches that the vendor made."""
        return [job.title for job in self.vendor.jobs.values()]


@contextlib.contextmanager
def bench(cwd: Path, **more: Any) -> Iterator[BatchBench]:
    """Set everything up, with 12 rows."""
    server = BatchServer()
    try:
        found = BatchBench(cwd, server, **more)
        found.prompts(12)
        yield found
    finally:
        server.close()
