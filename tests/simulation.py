"""Whole runs in no time: the real program against the sandbox's own rules, in one process and on virtual time.

What is real: sources, planning, routing, gates, ledgers, budget, retry, decoding, files, manifest, summary. What is
not: sockets, threads and the passing of time. A run is a function of its seed, its faults and kills included.

    found = simulate(tmp_path, Vendor(faults={"503": 0.2}), seed=7, prompts=30, budget=1.0)
    check(found)                      # what every run must keep, whatever happened
    assert found.summary["ok"] == 30

A vendor keeps its books over several runs, as a real one would. `kill_at` ends a run as kill -9 does, at that second.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from nanobatch.assembly import run
from nanobatch.blobs import BlobScanner
from nanobatch.catalog import Terms
from nanobatch.connections import Connections
from nanobatch.errors import Ambiguous
from nanobatch.events import Event
from nanobatch.google_credentials import GoogleCredential
from nanobatch.model import Blob, Request, Response
from nanobatch.preparation import Prepared, prepare
from nanobatch.preparation import Request as RunRequest
from nanobatch.sandbox.delivery import page
from nanobatch.sandbox.dialects import gemini
from nanobatch.sandbox.dialects.base import Answer, Asked, Made, Order
from nanobatch.sandbox.faults import FAULTS, Dice, Stage
from nanobatch.sandbox.limits import Limits as VendorLimits
from nanobatch.sandbox.limits import Moment
from nanobatch.sandbox.plan import Plan
from nanobatch.settings import (
    CacheSettings,
    Defaults,
    Limits,
    OutputSettings,
    ProviderSettings,
    RunSettings,
    Secret,
    Settings,
    UsageSettings,
)
from nanobatch.stopping import Stop
from tests.harness import png
from tests.virtual import MONOTONIC_START, VirtualClock, virtual_time

NOON = 1_795_521_600.0  # 2026-11-24 12:00 UTC
PRICE = 0.134
KILLED = 137
_BROKEN_ON_THE_WAY = ("reset", "reset-after", "truncate")


@dataclass
class Vendor:
    """A provider with the gemini format, that counts and bills by itself.

    Args:
        name: In the configuration.
        limits: What the user has written about it.
        priority: 1 is tried first.
        price: USD per image, for the user and in the books.
        plan: What it really allows, and what goes wrong; see the sandbox.
        terms: What the user knows of prices, instead of one price for all.
        more: Other settings of the provider, such as `flex`.
        tariff: What an answer costs, as the vendor's books have it; None is the price.
    """

    name: str = "paper"
    limits: Limits = field(default_factory=lambda: Limits(concurrency=8))
    priority: int = 1
    price: float = PRICE
    plan: Plan = field(default_factory=lambda: Plan(latency=(2.0, 10.0)))
    day_zone: str = "America/Los_Angeles"
    billed: Counter[str] = field(default_factory=Counter)  # images by prompt
    asked: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    days: Counter[str] = field(default_factory=Counter)  # requests let in, by day
    times: list[float] = field(default_factory=list)  # of the requests let in
    terms: Terms | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    tariff: Callable[[Mapping[str, Any]], float] | None = None
    by_tariff_usd: float = 0.0

    def __post_init__(self) -> None:
        self._limits = VendorLimits()
        self._dice = Dice(self.plan.seed or 0)
        self._picture = png()

    @property
    def settings(self) -> ProviderSettings:
        """How the user has written it down."""
        return ProviderSettings(
            name=self.name, protocol="gemini", base_url=f"http://127.0.0.1:1/{self.name}/v1beta",
            api_key=Secret(f"secret-of-{self.name}"), auth="bearer", priority=self.priority, limits=self.limits,
            terms=self.terms or Terms(self.name, None, {"1K": self.price, "2K": 2 * self.price}),
            day_zone=self.day_zone, **self.more,
        )  # fmt: skip

    async def answer(self, request: Request, clock: VirtualClock, day: Callable[[float], tuple[int, float]]) -> Answer:
        """Serve one request as the sandbox does.

        Raises:
            Ambiguous: The connection broke.
        """
        self.asked += 1
        action = request.path.rpartition("/")[2]
        model, _, verb = action.partition(":")
        asked = Asked(
            {"Authorization": f"Bearer {self.settings.api_key}"}, {}, {"model": model, "action": verb, "version": "v1beta"},
            msgspec.json.encode(request.json), clock.wall(),
        )  # fmt: skip
        order = gemini.read(asked)
        if isinstance(order, Answer):
            return order
        number, left = day(clock.wall())
        excess = self._limits.enter(self.plan, Moment(clock.monotonic(), number, left), 1)
        if excess is not None:
            self.violations[excess.kind] += 1
            return gemini.over_limit(order, excess)
        self.days[str(number)] += 1
        self.times.append(clock.monotonic() - MONOTONIC_START)
        try:
            return await self._make(order, clock)
        finally:
            self._limits.leave()

    async def _make(self, order: Order, clock: VirtualClock) -> Answer:
        prompt = order.drawing.prompt
        throw = self._dice.throw(prompt)
        fault = throw.pick(self.plan.faults, gemini.NAME)
        if fault is None or FAULTS[fault].stage is not Stage.DOOR:
            await clock.sleep(throw.within(*self.plan.latency))
        if fault == "hang":
            await clock.sleep(1e9)
        if fault is not None and fault.startswith("html"):
            return page(int(fault.removeprefix("html")))
        if fault is not None and not FAULTS[fault].billed and fault not in _BROKEN_ON_THE_WAY:
            return gemini.failed(order, fault, 1.0)
        if fault is None or FAULTS[fault].billed:
            self.billed[prompt] += order.images * (FAULTS[fault].bills if fault else 1)
        if fault in _BROKEN_ON_THE_WAY:
            raise Ambiguous("the connection was reset")
        drawn = [Made(self._picture, "")] * (FAULTS[fault].draws if fault else 1)
        answer = gemini.answer(order, drawn, fault)
        if self.tariff is not None:
            self.by_tariff_usd += self.tariff(answer.body)
        return answer

    @property
    def spent_usd(self) -> float:
        """What its bill says."""
        return self.by_tariff_usd if self.tariff is not None else self.billed.total() * self.price


@dataclass
class _Door:
    """What sends to a vendor, with the real decoding of what comes back."""

    vendor: Vendor
    clock: VirtualClock
    new_part: Callable[[], Path]
    timeout_seconds: float
    day: Callable[[float], tuple[int, float]]

    async def send(self, request: Request) -> Response:
        """Send one request."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                answer = await self.vendor.answer(request, self.clock, self.day)
        except TimeoutError:
            raise Ambiguous("no answer in time") from None
        if request.download:
            path = self.new_part()
            path.write_bytes(answer.encoded())
            digest = hashlib.sha256(answer.encoded()).hexdigest()
            return Response(200, {}, blob=Blob(path, path.stat().st_size, digest))
        body = answer.encoded()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        if answer.status != 200:
            if body.startswith((b"{", b"[")):
                return Response(answer.status, headers, json=json.loads(body))
            return Response(answer.status, headers, text=body.decode())
        scanner = BlobScanner(self.new_part)
        scanner.feed(bytearray(body), 0, len(body))
        return Response(200, headers, json=scanner.finish(), text=scanner.text)


@dataclass
class Found:
    """How a run went."""

    root: Path
    vendors: Sequence[Vendor]
    seed: int
    code: int
    summary: Mapping[str, Any]
    events: list[Event]
    seconds: float
    plan: Mapping[str, Any] = field(default_factory=dict)  # what was foretold

    @property
    def records(self) -> list[dict[str, Any]]:
        """The manifest."""
        return [json.loads(line) for line in (self.root / "manifest.jsonl").read_text().splitlines()]


def simulate(  # noqa: PLR0913 - a run has many sides
    root: Path,
    *vendors: Vendor,
    seed: int,
    prompts: int | Sequence[str] = 10,
    start: float = NOON,
    budget: float | None = None,
    a_day: float | None = None,
    kill_at: float | None = None,
    watch: Callable[[Event], None] | None = None,
    day: Callable[[float], tuple[int, float]] = lambda wall: (int(wall // 86_400), 86_400 - wall % 86_400),
    name: str = "p",
    file: str | None = None,
    defaults: Defaults = Defaults(size="1K"),  # noqa: B008 - frozen
    caching: bool = False,
    foretell: Callable[[Prepared], Mapping[str, Any]] | None = None,
    **run_settings: Any,
) -> Found:
    """Run to the end, or to the kill.

    Args:
        root: A folder for everything: input, output, and the user's state.
        vendors: Keep their books from run to run.
        seed: Of faults, latencies and jitter.
        prompts: How many, or which.
        start: Of the clock, in seconds since 1970.
        budget: Of the run, in USD.
        a_day: Of all runs of a day, in USD.
        kill_at: Seconds after the start.
        watch: Told of every event.
        day: Tells the vendor's day, and the seconds that are left of it.
        name: Of the prompt file; another one is another folder.
        file: A prompt file that is there, instead of `prompts`.
        defaults: Of the prompts.
        caching: Two runs with the same prompts share images.
        foretell: Plans the run before it starts.
        run_settings: Such as `retries`, `on_quota`, `strategy`.
    """
    if file is None:
        texts = [f"prompt {number}" for number in range(prompts)] if isinstance(prompts, int) else prompts
        file = f"{name}.txt"
        (root / file).write_text("\n".join(texts) + "\n")
    settings = Settings(
        defaults,
        RunSettings(budget_usd=budget, **{"timeout_seconds": 60.0, **run_settings}),
        OutputSettings(dir=str(root / f"{name}-images")),
        tuple(vendor.settings for vendor in vendors),
        usage=UsageSettings(a_day),
        cache=CacheSettings(enabled=caching),  # where it is off, two runs with the same prompts are two runs
    )
    os.environ["XDG_STATE_HOME"] = str(root / "state")
    work = _Work(root / f"{name}-images", vendors, seed, start, watch or (lambda _: None), day)
    prepared = prepare(RunRequest(inputs=(str(root / file),)), settings)
    plan = foretell(prepared) if foretell is not None else {}
    found = work.go(prepared) if kill_at is None else work.until_killed(prepared, kill_at)
    found.plan = plan
    return found


@dataclass
class _Work:
    root: Path
    vendors: Sequence[Vendor]
    seed: int
    start: float
    watch: Callable[[Event], None]
    day: Callable[[float], tuple[int, float]]
    events: list[Event] = field(default_factory=list)

    def go(self, prepared: Any, *, kill_at: float | None = None) -> Found:
        """Run on a loop of its own."""
        with virtual_time(start=self.start) as (loop, clock):

            def way_out(
                provider: ProviderSettings,
                connections: Connections,
                *,
                new_part: Callable[[], Path],
                timeout_seconds: float,
                credential: GoogleCredential | None,
            ) -> _Door:
                vendor = next(vendor for vendor in self.vendors if vendor.name == provider.name)
                return _Door(vendor, clock, new_part, timeout_seconds, self.day)

            if kill_at is not None:
                loop.call_later(kill_at, self._die)
            summary = loop.run_until_complete(
                run(
                    prepared, clock=clock, observe=self._observe, tick=lambda: None, stop=Stop(), way_out=way_out,
                    rng=random.Random(self.seed),
                )
            )  # fmt: skip
            seconds = loop.time()
        return Found(self.root, self.vendors, self.seed, summary["exit_code"], summary, self.events, seconds)

    def until_killed(self, prepared: Any, kill_at: float) -> Found:
        """Run in a process that dies; bring home what the vendors, who live on, have seen."""
        note = self.root.parent / "books.json"
        self._note = note
        child = os.fork()
        if child == 0:
            try:
                self.go(prepared, kill_at=kill_at)
                self._die(0)
            finally:
                os._exit(70)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        for vendor, seen in zip(self.vendors, json.loads(note.read_text()), strict=True):
            vendor.billed = Counter(seen["billed"])
            vendor.violations += Counter(seen["violations"])
            vendor.days = Counter(seen["days"])
        return Found(self.root, self.vendors, self.seed, code, {}, self.events, kill_at)

    def _die(self, code: int = KILLED) -> None:
        seen = [{"billed": v.billed, "violations": v.violations, "days": v.days} for v in self.vendors]
        self._note.write_text(json.dumps(seen))
        os._exit(code)

    def _observe(self, event: Event) -> None:
        self.events.append(event)
        self.watch(event)


def check(found: Found, *, billed_before_usd: float = 0.0) -> None:
    """Check what every run must keep. A failure names the seed, which replays it exactly.

    Args:
        found: The last run in a folder.
        billed_before_usd: By its vendors, for other folders.
    """
    told = f"seed {found.seed}"
    summary, records = found.summary, found.records
    statuses = Counter(record["status"] for record in records)
    assert sum(statuses.values()) == summary["jobs"], told
    for record in records:
        if record["status"] == "ok":
            data = (found.root / record["file"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == record["sha256"], told
        else:
            assert record["error"] is not None, told
            assert record["file"] is None, told
    on_disk = {path.relative_to(found.root).as_posix() for path in (found.root / "images").glob("*") if path.is_file()}
    assert on_disk == {record["file"] for record in records if record["status"] == "ok"}, told
    for vendor in found.vendors:
        assert not vendor.violations, f"{told}: {vendor.violations}"
    truth = sum(vendor.spent_usd for vendor in found.vendors) - billed_before_usd
    own = sum(record["cost_usd"] + record["maybe_cost_usd"] for record in records)
    assert truth <= own + 1e-6, f"{told}: {truth} was billed and {own} is in the manifest"
