"""A pipeline over a provider of paper: scripted answers, real gates, a real folder, and time that the test moves."""

from __future__ import annotations

import base64
import random
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanobatch.attempts import OpenTask, Tally
from nanobatch.budget import Budget
from nanobatch.catalog import Terms, load_catalog
from nanobatch.clock import Clock
from nanobatch.errors import ExchangeError, Refused, ServerFault
from nanobatch.folder import Folder, open_folder
from nanobatch.limits import Gate
from nanobatch.manifest import fingerprint
from nanobatch.model import FREE, Answer, Job, Order, Origin, Params, Picture, Prompt, Request, Response
from nanobatch.pipeline import Pipeline
from nanobatch.providers import load
from nanobatch.providers.base import Exchange, Provider, TaskProvider
from nanobatch.retry import RetryPolicy
from nanobatch.routing import Lane, Router, Seller
from nanobatch.settings import Limits, ProviderSettings, Secret
from nanobatch.stopping import Stop
from nanobatch.summary import Totals
from tests.fakes import RecordingObserver

Step = Response | ExchangeError | Callable[[Request], Response]


def png(width: int = 8, height: int = 8) -> bytes:
    """Draw the smallest honest PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x80" * width * 3 for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def success(data: bytes | None = None, **more: Any) -> Response:
    """Answer as Gemini does when it drew something."""
    encoded = base64.b64encode(data if data is not None else png()).decode()
    parts = [{"inlineData": {"mimeType": "image/png", "data": encoded}}]
    return Response(200, {}, json={"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], **more})


def finish(reason: str) -> Response:
    """Answer 200 without an image."""
    return Response(200, {}, json={"candidates": [{"finishReason": reason}]})


def failure(status: int, message: str = "no", **error: Any) -> Response:
    """Answer with an error in Gemini's envelope."""
    return Response(status, {}, json={"error": {"code": status, "message": message, **error}})


class PaperTasks:
    """A format with tasks: ordered once, polled, downloaded. The word of a poll decides."""

    def exchange(self, order: Order) -> Exchange:
        response = yield Request("POST", "/tasks", json={"prompt": order.prompt})
        if (error := self.fault(response)) is not None:
            raise error
        return (yield from self.resume(order, response.json["task"]))

    def resume(self, order: Order, task: str) -> Exchange:
        """Poll until it is done."""
        del order
        while True:
            poll = yield Request("GET", f"/tasks/{task}", cost=FREE, delay_seconds=2.0, repeatable=True, task=task)
            if (error := self.fault(poll)) is not None:
                raise error
            match poll.json["state"]:
                case "done":
                    found = yield Request(
                        "GET", "http://127.0.0.1/r.png", cost=FREE, repeatable=True, download=True, task=task
                    )
                    if found.status != 200:
                        raise ServerFault(f"HTTP {found.status}", http_status=found.status)
                    return Answer(Picture(found.json["data"]))
                case "refused":
                    raise Refused("not this one", http_status=200)
                case "failed":
                    raise ServerFault("the task failed", http_status=200)

    def fault(self, response: Response) -> ExchangeError | None:
        """Any status but 200."""
        if response.status == 200:
            return None
        return ServerFault(f"HTTP {response.status}", http_status=response.status)


def make_job(
    number: int = 1, *, provider: str | None = None, size: str | None = "1K", model: str = "nano-banana-pro"
) -> Job:
    """Make a job whose id follows from its number."""
    prompt = Prompt(
        index=number,
        text=f"prompt {number}",
        origin=Origin("p.csv", number + 1),
        id=f"row-{number}",
        name=f"row-{number}",
        provider=provider,
    )
    return Job(f"{number * 7919:016x}{number:016x}", 0, f"images/row-{number}", prompt, Params(model, size, None, None))


@dataclass
class ScriptedSender:
    """A transport that answers from a script; the last step repeats for ever."""

    script: list[Step]
    requests: list[Request] = field(default_factory=list)

    async def send(self, request: Request) -> Response:
        self.requests.append(request)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, ExchangeError):
            raise step
        return step(request) if callable(step) else step


def settings(name: str, *, prices: dict[str, float] | None = None, limits: Limits | None = None) -> ProviderSettings:
    """Make the settings of a provider that the catalog does not know."""
    return ProviderSettings(
        name=name,
        protocol="gemini",
        base_url="http://127.0.0.1:1/v1beta",
        api_key=Secret("secret-of-" + name),
        auth="x-goog-api-key",
        priority=1,
        limits=limits or Limits(concurrency=4),
        terms=Terms(name, None, prices or {"1K": 0.134, "2K": 0.2}),
    )


@dataclass
class Bench:
    """Everything a pipeline needs, on a folder."""

    root: Path
    clock: Clock
    scripts: dict[str, list[Step]]  # by lane, in priority order
    jobs: list[Job]
    budget_usd: float | None = None
    providers: dict[str, Provider] = field(default_factory=dict)  # other than gemini
    strategy: str = "priority"
    fallback_on_refusal: bool = False
    fresh: bool = False
    retries: int = 4
    on_unknown: str = "retry"
    wait_for_quota: bool = False
    limits: dict[str, Limits] = field(default_factory=dict)
    prices: dict[str, dict[str, float]] = field(default_factory=dict)
    seen: RecordingObserver = field(default_factory=RecordingObserver)
    totals: Totals = field(default_factory=Totals)
    stop: Stop = field(default_factory=Stop)
    past: dict[str, Tally] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.senders = {name: ScriptedSender(script) for name, script in self.scripts.items()}
        self.folder: Folder = open_folder(
            self.root, self.clock, wanted=self.fingerprints, can_fetch=self._can_fetch, fresh=self.fresh
        )
        self.budget = Budget(self.budget_usd)
        self.lanes = [self._lane(name) for name in self.scripts]
        self.pipeline = Pipeline(
            router=Router(self.lanes, self.strategy),
            retry=RetryPolicy(
                self.retries, on_unknown="hold" if self.on_unknown == "hold" else "retry", rng=random.Random(7)
            ),
            budget=self.budget,
            store=self.folder.store,
            manifest=self.folder.manifest,
            ledger=self.folder.ledger,
            clock=self.clock,
            observe=self._observe,
            stop=self.stop,
            rng=random.Random(7),
            past=self.past or self.folder.past.tallies,
            charge=self.totals.charge,
            wait_for_quota=self.wait_for_quota,
            fallback_on_refusal=self.fallback_on_refusal,
            tasks=self.folder.past.tasks,
        )

    def _can_fetch(self, task: OpenTask) -> bool:
        return isinstance(self.providers.get(task.provider), TaskProvider)

    def fingerprints(self) -> Iterable[int]:
        return [fingerprint(job.id) for job in self.jobs]

    def requests(self, name: str) -> int:
        return len(self.senders[name].requests)

    def events(self, kind: type) -> list[Any]:
        return [event for event in self.seen.events if isinstance(event, kind)]

    def _observe(self, event: Any) -> None:
        self.totals(event)
        self.seen(event)

    def _lane(self, name: str) -> Lane:
        provider = settings(name, limits=self.limits.get(name), prices=self.prices.get(name))
        gate = Gate(
            self.clock, name=name, concurrency=provider.limits.concurrency, rpm=provider.limits.rpm,
            rpd=provider.limits.rpd, observer=self._observe,
        )  # fmt: skip
        format_ = self.providers.get(name, load("gemini"))
        return Lane(Seller(provider, load_catalog()), format_, self.senders[name], gate)
