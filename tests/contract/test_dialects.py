"""Every provider against its dialect: the client's half of each wire format speaks with the sandbox's half.

The two were written from the vendors' documentation without knowing each other. Over real HTTP, with the real
transport: an image comes, references land as they are, tasks are resumed, and every fault ends in a leaf of the tree.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nanobatch import providers
from nanobatch.catalog import Terms, load_catalog, offer_for
from nanobatch.clock import SystemClock
from nanobatch.connections import Connections
from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    ExchangeError,
    NoImage,
    Overloaded,
    QuotaSpent,
    RateLimited,
    Refused,
    ServerFault,
    TaskOpen,
    Undelivered,
)
from nanobatch.exchange import converse
from nanobatch.images import inspect, materialise
from nanobatch.model import Answer, Cost, Order, Reference
from nanobatch.providers.base import TaskProvider
from nanobatch.sandbox.faults import FAULTS, Stage
from nanobatch.sandbox.plan import Plan
from nanobatch.sandbox.server import Sandbox, serve
from nanobatch.settings import Secret
from nanobatch.transport import Auth, HttpTransport

pytestmark = pytest.mark.anyio

MODELS = {  # our name for what each vendor is asked for
    "gemini": "nano-banana-pro", "vertex": "nano-banana-pro", "openai": "gpt-image-2", "openai-chat": "nano-banana",
    "kie": "nano-banana-pro", "puter": "nano-banana-pro", "openrouter": "nano-banana-2-lite", "fal": "nano-banana-pro",
    "replicate": "nano-banana-pro", "together": "flux-1.1-pro", "xai": "grok-imagine-image",
}  # fmt: skip
AUTHS: dict[str, Auth] = {"gemini": "x-goog-api-key", "fal": "key"}
TASKS = [name for name in providers.PROTOCOLS if isinstance(providers.load(name), TaskProvider)]
WITH_REFERENCES = [name for name in providers.PROTOCOLS if name != "xai"]
CATALOG = load_catalog()


@dataclass
class Free:
    """A gate that lets everybody in at once."""

    async def spend(self, cost: Cost) -> None:
        del cost


class Impatient(SystemClock):
    """Real time, except that nobody waits for long."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.02))


@dataclass
class Wire:
    """One provider's way to one sandbox."""

    protocol: str
    sandbox: Sandbox
    transport: HttpTransport
    root: Path
    tasks: list[str] = field(default_factory=list)

    def order(self, **more: Any) -> Order:
        offer = offer_for(
            Terms("vendor", None, prices={"1K": 1.0}, protocol=self.protocol), MODELS[self.protocol], CATALOG
        )
        return Order(
            "a red fox", offer.wire_model, size="1K" if offer.takes_size else None,
            pixels=offer.pixels("1K", None), **more,
        )  # fmt: skip

    async def ask(self, order: Order | None = None, *, task: str | None = None) -> Answer:
        provider = providers.load(self.protocol)
        order = order or self.order()
        if task is not None:
            assert isinstance(provider, TaskProvider)
            exchange = provider.resume(order, task)
        else:
            exchange = provider.exchange(order)
        return await converse(
            exchange, self.transport, permit=Free(), clock=Impatient(), rng=random.Random(1),
            note_task=self.tasks.append, task=task,
        )  # fmt: skip

    def picture(self, answer: Answer) -> tuple[str, int, int]:
        blob = materialise(answer.picture, lambda: self.root / "short.part")
        facts = inspect(blob.path)
        return facts.mime, facts.width, facts.height


@asynccontextmanager
async def wired(protocol: str, root: Path, *, books: Path | None = None, **settings: Any) -> AsyncIterator[Wire]:
    plan = Plan(**{"latency": (0.0, 0.0), "seed": 3, "retry_after": 0.0, **settings})
    numbers = count()
    async with serve(plan, books=books) as sandbox, Connections(limit=8) as connections:
        transport = HttpTransport(
            connections,
            base_url=sandbox.url + CATALOG.protocols[protocol].suffix,
            auth=AUTHS.get(protocol, "bearer"),
            api_key=Secret("good-key-1"),
            new_part=lambda: root / f"{next(numbers)}.part",
            timeout_seconds=3.0,
        )
        yield Wire(protocol, sandbox, transport, root)


def photo(colour: str, kind: str = "PNG") -> Reference:
    data = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(data, kind)
    return Reference(data.getvalue(), f"image/{kind.lower()}", hashlib.sha256(data.getvalue()).hexdigest())


@pytest.mark.parametrize("protocol", providers.PROTOCOLS)
async def test_an_image_comes(protocol: str, tmp_path: Path) -> None:
    """One order, one bill, one whole image of about the asked size."""
    async with wired(protocol, tmp_path) as wire:
        mime, width, height = wire.picture(await wire.ask())
        assert mime in ("image/png", "image/jpeg")
        assert width * height > 500_000
        books = wire.sandbox.totals()
        assert (books["images"], books["creations"], books["refusals"], books["violations"]) == (1, 1, {}, {})


@pytest.mark.parametrize("protocol", WITH_REFERENCES)
async def test_references_land_as_they_are(protocol: str, tmp_path: Path) -> None:
    """Three images in their order, byte for byte, whatever the format makes of them on the way."""
    sent: tuple[Reference, ...] = (photo("red"), photo("green", "JPEG"), photo("blue"))
    if protocol == "together":
        sent = sent[:1]  # it takes one
    books = tmp_path / "books.jsonl"
    async with wired(protocol, tmp_path, books=books) as wire:
        wire.picture(await wire.ask(wire.order(references=sent)))
    [line] = books.read_text().splitlines()
    assert json.loads(line)["references"] == [reference.sha256 for reference in sent]


@pytest.mark.parametrize("protocol", providers.PROTOCOLS)
async def test_a_key_that_is_not_accepted_stops_the_account(protocol: str, tmp_path: Path) -> None:
    """Every vendor's way to say so means the same."""
    async with wired(protocol, tmp_path) as wire:
        wire.transport = replace_key(wire, "invalid-key-1")
        with pytest.raises(AccountStopped) as caught:
            await wire.ask()
        assert "invalid-key-1" not in str(caught.value)
        assert wire.sandbox.totals()["images"] == 0


def replace_key(wire: Wire, key: str) -> HttpTransport:
    return HttpTransport(
        wire.transport._connections,
        base_url=wire.sandbox.url + CATALOG.protocols[wire.protocol].suffix,
        auth=AUTHS.get(wire.protocol, "bearer"),
        api_key=Secret(key),
        new_part=lambda: wire.root / "other.part",
    )


@pytest.mark.parametrize("protocol", TASKS)
async def test_a_task_is_resumed_without_a_second_order(protocol: str, tmp_path: Path) -> None:
    """What the first conversation noted is enough for another one, in another process."""
    async with wired(protocol, tmp_path) as wire:
        first = wire.picture(await wire.ask())
        [task] = wire.tasks
        assert "good-key" not in task
        assert wire.picture(await wire.ask(task=task)) == first
        assert wire.sandbox.totals()["creations"] == 1


@pytest.mark.parametrize("protocol", TASKS)
async def test_a_task_that_the_vendor_forgot_is_given_up(protocol: str, tmp_path: Path) -> None:
    """It is not asked for again, and not bought again."""
    async with wired(protocol, tmp_path) as wire:
        await wire.ask()
        wire.sandbox._desk.tasks.clear()
        with pytest.raises(Undelivered):
            await wire.ask(task=wire.tasks[0])
        assert wire.sandbox.totals()["creations"] == 1


@pytest.mark.parametrize("protocol", TASKS)
@pytest.mark.parametrize("fault", ["poll500", "poll429", "pollreset", "download403", "download500", "downloadcut"])
async def test_fetching_that_always_fails_leaves_the_task_open(protocol: str, fault: str, tmp_path: Path) -> None:
    """However polls and downloads fail, the order stands; when they work again the image is there."""
    async with wired(protocol, tmp_path, faults={fault: 1.0}) as wire:
        with pytest.raises(TaskOpen):
            await wire.ask()
        wire.sandbox.change({"faults": {}})
        wire.picture(await wire.ask(task=wire.tasks[0]))
        assert wire.sandbox.totals()["creations"] == 1


MEANS: dict[str, tuple[type[ExchangeError], ...]] = {
    "429": (RateLimited,),
    "429day": (QuotaSpent, RateLimited),  # only Google and OpenAI say that it is the day's
    "429zero": (AccountStopped, RateLimited),
    "429money": (AccountStopped, RateLimited),  # Vertex never says why
    "badkey": (AccountStopped,),
    "leaked": (AccountStopped,),
    "blocked": (Refused,),
    "safety": (Refused,),
    "taskrefuse": (Refused,),
    "taskfail": (ServerFault,),
    "reset": (Ambiguous,),
    "reset-after": (Ambiguous,),
    "truncate": (Ambiguous,),
    "500": (ServerFault, Overloaded),
    "503": (Overloaded,),
    "html502": (ServerFault,),
    "html200": (ServerFault,),
    "json200err": (ServerFault,),
    "listerror": (Overloaded,),
    "noimage": (NoImage,),
    "textonly": (NoImage,),
    "nullcandidates": (NoImage,),
}
FAILING = [
    pytest.param(protocol, fault, id=f"{protocol}-{fault}")
    for protocol in providers.PROTOCOLS
    for fault in MEANS
    if protocol in FAULTS[fault].dialects
]


@pytest.mark.parametrize(("protocol", "fault"), FAILING)
async def test_a_fault_means_the_same_everywhere(protocol: str, fault: str, tmp_path: Path) -> None:
    """Each vendor has words of its own for the same trouble; what follows for money and lane is one thing."""
    async with wired(protocol, tmp_path, faults={fault: 1.0}) as wire:
        with pytest.raises(ExchangeError) as caught:
            await wire.ask()
        assert isinstance(caught.value, MEANS[fault]), repr(caught.value)
        billed = wire.sandbox.totals()["images"]
        assert billed == (1 if FAULTS[fault].stage in (Stage.MADE, Stage.WIRE) else 0)
        if billed:
            assert caught.value.billed is not False, "somebody paid for this"


BENDING = [
    pytest.param(protocol, fault, id=f"{protocol}-{fault}")
    for protocol in providers.PROTOCOLS
    for fault in ("urlsafe", "dataprefix", "slowdrip", "thought", "multi", "snake", "signature")
    if protocol in FAULTS[fault].dialects
]


@pytest.mark.parametrize(("protocol", "fault"), BENDING)
async def test_an_odd_answer_is_an_image_all_the_same(protocol: str, fault: str, tmp_path: Path) -> None:
    """What proxies and relays make of an answer does not lose it."""
    async with wired(protocol, tmp_path, faults={fault: 1.0}, drip=0.1) as wire:
        wire.picture(await wire.ask())


def test_every_fault_of_the_sandbox_is_met_here() -> None:
    """A new one needs a line in this file, or in the tests of what is on the wire."""
    elsewhere = {"badb64", "cutimage", "wrongmime", "hang"}  # tests of blobs, images and the transport
    later = (Stage.POLL, Stage.LINK, Stage.UPLOAD, Stage.ORDER, Stage.LIST, Stage.BATCH, Stage.ROW)
    polls = {kind for kind, fault in FAULTS.items() if fault.stage in later}  # tests of tasks and of batches
    bent = {"urlsafe", "dataprefix", "slowdrip", "thought", "multi", "snake", "signature"}
    assert set(FAULTS) == set(MEANS) | polls | bent | elsewhere


def test_every_protocol_has_a_dialect_and_a_model_here() -> None:
    """The client, the sandbox and the catalog know the same formats."""
    assert set(MODELS) == set(providers.PROTOCOLS) == set(CATALOG.protocols)
    assert replace(CATALOG.protocols["kie"]).suffix == "/kie"
