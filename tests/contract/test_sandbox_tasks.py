"""Each format with tasks, driven over real HTTP as its vendor documents it: order, poll, download; and what goes wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest
from PIL import Image

from nanobatch.sandbox.plan import Plan
from nanobatch.sandbox.server import Sandbox, serve

pytestmark = pytest.mark.anyio

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
REFERENCES = [PNG, PNG + b"another", PNG + b"a third"]  # bytes behind the end of a PNG are skipped by every reader
DEADLINE = 20.0  # seconds


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer: its status and its JSON."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class State:
    """How a task stands: the vendor's word, and what has come of it.

    Args:
        word: Such as IN_QUEUE.
        links: The images of a task that has succeeded; None until then.
        failure: The vendor's words of a task that has failed; None otherwise.
    """

    word: str
    links: list[str] | None = None
    failure: str | None = None


class StumbledError(Exception):
    """A poll that says nothing of the task."""


class Wire(Protocol):
    """A client of one format, written from the vendor's documentation."""

    NAME: str
    WORDS: tuple[str, ...]  # in their order
    HEADERS: Mapping[str, str]

    def order(self, prompt: str, references: Sequence[str] = ()) -> tuple[str, dict[str, Any]]: ...
    def refusal(self, reply: Reply) -> int | None: ...
    def task(self, reply: Reply) -> str: ...
    async def ask(self, client: Client, task: str) -> State: ...


class Client:
    """Speaks one format to a sandbox."""

    def __init__(self, wire: Wire, sandbox: Sandbox, session: aiohttp.ClientSession, books: Path) -> None:
        self.wire, self.sandbox, self.session, self._books = wire, sandbox, session, books

    async def send(self, method: str, path: str, **fields: Any) -> Reply:
        fields.setdefault("headers", self.wire.HEADERS)
        async with self.session.request(method, self.sandbox.url + path, **fields) as answer:
            data = await answer.read()
        return Reply(answer.status, json.loads(data) if answer.content_type.endswith("json") else data)

    async def order(self, prompt: str, references: Sequence[str] = ()) -> Reply:
        path, body = self.wire.order(prompt, references)
        return await self.send("POST", path, json=body)

    async def ordered(self, prompt: str, references: Sequence[str] = ()) -> str:
        reply = await self.order(prompt, references)
        assert self.wire.refusal(reply) is None, reply
        return self.wire.task(reply)

    async def state(self, task: str) -> State:
        return await self.wire.ask(self, task)

    async def ended(self, task: str) -> State:
        async with asyncio.timeout(DEADLINE):
            while True:
                state = await self.state(task)
                if state.links is not None or state.failure is not None:
                    return state

    async def download(self, link: str) -> tuple[int, bytes]:
        async with self.session.get(link) as answer:
            return answer.status, await answer.read()

    def bills(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._books.read_bytes().splitlines()]


class Kie:
    """https://docs.kie.ai: a `code` inside HTTP 200 tells errors, `resultJson` is JSON in a string."""

    NAME = "kie"
    WORDS: tuple[str, ...] = ("waiting", "queuing", "generating", "success")
    HEADERS: Mapping[str, str] = {"Authorization": "Bearer k"}

    def __init__(self, base: str = "/kie") -> None:
        self.base = base

    def order(self, prompt: str, references: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
        inputs: dict[str, Any] = {"prompt": prompt, "aspect_ratio": "16:9", "resolution": "1K", "output_format": "png"}
        inputs |= {"image_input": list(references)} if references else {}
        return self.base + "/api/v1/jobs/createTask", {"model": "nano-banana-pro", "input": inputs}

    def refusal(self, reply: Reply) -> int | None:
        if reply.status != 200:
            return reply.status
        return None if reply.body["code"] == 200 else int(reply.body["code"])

    def task(self, reply: Reply) -> str:
        return str(reply.body["data"]["taskId"])

    async def ask(self, client: Client, task: str) -> State:
        reply = await client.send("GET", f"{self.base}/api/v1/jobs/recordInfo", params={"taskId": task})
        if self.refusal(reply) is not None:
            raise StumbledError(self.refusal(reply))
        found = reply.body["data"]
        assert found["taskId"] == task
        match found["state"]:
            case "success":
                return State("success", json.loads(found["resultJson"])["resultUrls"])
            case "fail":
                return State("fail", failure=found["failMsg"])
            case word:
                assert found["resultJson"] == ""
                return State(word)


class Fal:
    """https://docs.fal.ai: a queue; the state and the result have paths of their own, without the model's sub-path."""

    NAME = "fal"
    WORDS: tuple[str, ...] = ("IN_QUEUE", "IN_PROGRESS", "COMPLETED")
    HEADERS: Mapping[str, str] = {"Authorization": "Key k"}
    base = "/fal"

    def order(self, prompt: str, references: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
        body = {"prompt": prompt, "aspect_ratio": "16:9", "num_images": 1, "output_format": "png"}
        if references:
            return "/fal/fal-ai/nano-banana-pro/edit", body | {"image_urls": list(references)}
        return "/fal/fal-ai/nano-banana-pro", body

    def refusal(self, reply: Reply) -> int | None:
        return None if reply.status == 200 else reply.status

    def task(self, reply: Reply) -> str:
        assert set(reply.body) >= {"request_id", "status_url", "response_url", "cancel_url", "queue_position"}
        return str(reply.body["request_id"])

    async def ask(self, client: Client, task: str) -> State:
        path = f"/fal/fal-ai/nano-banana-pro/requests/{task}"
        reply = await client.send("GET", path + "/status")
        if reply.status not in (200, 202):
            raise StumbledError(reply.status)
        if reply.body["status"] != "COMPLETED":
            return State(reply.body["status"])
        reply = await client.send("GET", path)
        if reply.status == 422 or (reply.status == 500 and "poll500" not in client.sandbox.plan.faults):
            return State("COMPLETED", failure=str(reply.body["detail"]))
        if reply.status != 200:
            raise StumbledError(reply.status)
        return State("COMPLETED", [image["url"] for image in reply.body["images"]])


class Replicate:
    """https://replicate.com/docs/reference/http: predictions, with an `output` that is a link or a list of links."""

    NAME = "replicate"
    WORDS: tuple[str, ...] = ("starting", "processing", "succeeded")
    HEADERS: Mapping[str, str] = {"Authorization": "Bearer k"}

    def __init__(self, base: str = "/replicate") -> None:
        self.base = base

    def order(self, prompt: str, references: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
        inputs: dict[str, Any] = {"prompt": prompt, "aspect_ratio": "16:9", "output_format": "png"}
        inputs |= {"image_input": list(references)} if references else {}
        return self.base + "/models/google/nano-banana-pro/predictions", {"input": inputs}

    def refusal(self, reply: Reply) -> int | None:
        return None if reply.status == 201 else reply.status

    def task(self, reply: Reply) -> str:
        assert (reply.body["status"], reply.body["output"], reply.body["error"]) == ("starting", None, None)
        return str(reply.body["id"])

    async def ask(self, client: Client, task: str) -> State:
        reply = await client.send("GET", f"{self.base}/predictions/{task}")
        if reply.status != 200:
            raise StumbledError(reply.status)
        match reply.body["status"], reply.body["output"]:
            case "failed", _:
                return State("failed", failure=reply.body["error"])
            case "succeeded", output:
                return State("succeeded", [output] if isinstance(output, str) else output or [])
            case word, output:
                assert output is None
                return State(word)


WIRES = (Kie(), Fal(), Replicate())
each = pytest.mark.parametrize("wire", [pytest.param(wire, id=wire.NAME) for wire in WIRES])


@pytest.fixture
def books(tmp_path: Path) -> Path:
    path = tmp_path / "books.jsonl"
    path.touch()
    return path


@asynccontextmanager
async def client(wire: Wire, books: Path, **settings: Any) -> AsyncIterator[Client]:
    plan = Plan(**{"latency": (0.0, 0.0), "seed": 1, "drip": 0.04, **settings})
    timeout = aiohttp.ClientTimeout(total=DEADLINE)
    async with serve(plan, books=books) as sandbox, aiohttp.ClientSession(timeout=timeout) as session:
        yield Client(wire, sandbox, session, books)


def data_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


async def uploaded(kie: Client, data: bytes, name: str = "cat.png") -> str:
    form = aiohttp.FormData({"uploadPath": "nanobatch", "fileName": name})
    form.add_field("file", data, filename=name, content_type="image/png")
    reply = await kie.send("POST", "/kie/api/file-stream-upload", data=form)
    assert (reply.status, reply.body["code"], reply.body["success"]) == (200, 200, True)
    return str(reply.body["data"]["downloadUrl"])


async def links_of(there: Client) -> list[str]:
    """Make the references known in the way that the format asks for."""
    if there.wire.NAME == "kie":
        return [await uploaded(there, data, f"{number}.png") for number, data in enumerate(REFERENCES)]
    return [data_uri(data) for data in REFERENCES]


@each
async def test_an_order_becomes_a_task_and_the_task_an_image(wire: Wire, books: Path) -> None:
    """The bill names the task and the very bytes behind the link, which have the asked ratio and kind."""
    async with client(wire, books) as there:
        task = await there.ordered("a green tram")
        state = await there.ended(task)
        assert state.word == wire.WORDS[-1]
        assert state.links is not None
        (link,) = state.links
        status, data = await there.download(link)
        (bill,) = there.bills()
    assert (status, bill["sha256"]) == (200, hashlib.sha256(data).hexdigest())
    assert (bill["task"], bill["prompt"], bill["dialect"]) == (task, "a green tram", wire.NAME)
    assert (bill["references"], bill["fault"]) == ([], None)
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    assert image.width / image.height == pytest.approx(16 / 9, rel=0.02)


@each
async def test_a_task_walks_through_its_states_in_order(wire: Wire, books: Path) -> None:
    """Each of the vendor's words is heard, none twice apart, and the image is there no earlier than the latency."""
    async with client(wire, books, latency=(1.5, 1.5)) as there:
        loop = asyncio.get_running_loop()
        started = loop.time()
        task = await there.ordered("slow")
        assert loop.time() - started < 1.2, "an order is answered at once"
        heard = [(await there.state(task)).word]
        async with asyncio.timeout(DEADLINE):
            while heard[-1] != wire.WORDS[-1]:
                word = (await there.state(task)).word
                heard += [word] if word != heard[-1] else []
        assert loop.time() - started >= 1.5
    assert tuple(heard) == wire.WORDS


@each
async def test_a_task_is_billed_when_it_is_ordered(wire: Wire, books: Path) -> None:
    """Once, before anybody asks for it; asking is free, counted, and changes nothing."""
    async with client(wire, books, latency=(5.0, 5.0)) as there:
        task = await there.ordered("a cat")
        assert there.sandbox.totals()["images"] == 1
        for _ in range(3):
            await there.state(task)
        totals = there.sandbox.totals()
        assert (totals["images"], totals["creations"], totals["requests"], totals["polls"]) == (1, 1, 1, 3)
        assert len(there.bills()) == 1


@each
async def test_a_task_can_be_collected_again(wire: Wire, books: Path) -> None:
    """A client that comes back finds the same links, by connections of its own."""
    async with client(wire, books) as there:
        tasks = [await there.ordered(prompt) for prompt in ("one", "two")]
        first = [await there.ended(task) for task in tasks]
        async with aiohttp.ClientSession() as session:
            other = Client(wire, there.sandbox, session, books)
            assert [await other.ended(task) for task in tasks] == first
        assert len(set(tasks)) == 2
        assert first[0].links != first[1].links
        assert there.sandbox.totals()["images"] == 2


@each
async def test_an_unknown_task_is_unknown(wire: Wire, books: Path) -> None:
    """It neither waits nor fails: the vendor has no such task."""
    async with client(wire, books) as there:
        with pytest.raises(StumbledError, match=r"4(04|22)"):
            await there.state("f" * 32)


@each
async def test_without_a_good_key_nobody_passes(wire: Wire, books: Path) -> None:
    """Neither with an order nor with a poll; in Kie's format the 401 stands inside a 200."""
    async with client(wire, books) as there:
        task = await there.ordered("a cat")
        scheme = wire.HEADERS["Authorization"].split()[0]
        for headers in ({}, {"Authorization": f"{scheme} invalid"}, {"Authorization": "Basic k"}):
            path, body = wire.order("another")
            assert wire.refusal(await there.send("POST", path, json=body, headers=headers)) == 401
            stranger: Any = type(wire)()
            stranger.HEADERS = headers
            there.wire = stranger
            with pytest.raises(StumbledError, match="401"):
                await there.state(task)
            there.wire = wire
        assert there.sandbox.totals()["images"] == 1


@each
@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"model": "x", "input": 1}'])
async def test_what_is_no_order_is_refused(wire: Wire, books: Path, body: bytes) -> None:
    """And takes nothing from the limits."""
    async with client(wire, books, rpm=1) as there:
        refusal = wire.refusal(await there.send("POST", wire.order("x")[0], data=body))
        assert refusal in (400, 422)
        await there.ordered("a cat")


@each
async def test_polls_never_count_against_a_limit_and_orders_do(wire: Wire, books: Path) -> None:
    """Two orders pass, the third is a 429 that costs nothing, and the tasks can be asked as often as wanted."""
    async with client(wire, books, rpm=2, concurrency=2) as there:
        tasks = [await there.ordered(prompt) for prompt in ("one", "two")]
        assert wire.refusal(await there.order("three")) == 429
        for _ in range(5):
            assert all([(await there.state(task)).links for task in tasks])
        totals = there.sandbox.totals()
        assert (totals["violations"], totals["images"]) == ({"rpm": 1}, 2)


@each
async def test_concurrency_is_about_orders_and_not_about_tasks(wire: Wire, books: Path) -> None:
    """Many tasks run at once behind a limit of one request at a time."""
    async with client(wire, books, concurrency=1, latency=(30.0, 30.0)) as there:
        assert len({await there.ordered(f"prompt {number}") for number in range(5)}) == 5
        assert there.sandbox.totals()["violations"] == {}


ORDER_FAULTS = [
    ("429", {"kie": 429, "fal": 429, "replicate": 429}),
    ("429money", {"kie": 402, "fal": 403, "replicate": 402}),
    ("badkey", {"kie": 401, "fal": 401, "replicate": 401}),
    ("500", {"kie": 500, "fal": 500, "replicate": 500}),
    ("503", {"kie": 455, "fal": 503, "replicate": 503}),
    ("html502", {"kie": 502, "fal": 502, "replicate": 502}),
]


@each
@pytest.mark.parametrize(("fault", "codes"), ORDER_FAULTS, ids=[fault for fault, _ in ORDER_FAULTS])
async def test_an_order_that_goes_wrong_is_not_billed(
    wire: Wire, books: Path, fault: str, codes: dict[str, int]
) -> None:
    """The code is the vendor's own: Kie's stand inside HTTP 200, except where a gateway answers."""
    async with client(wire, books, faults={fault: 1}) as there:
        reply = await there.order("a cat")
        assert wire.refusal(reply) == codes[wire.NAME]
        assert reply.status == (200 if wire.NAME == "kie" and fault != "html502" else codes[wire.NAME])
        totals = there.sandbox.totals()
        assert (totals["images"], totals["faults"]) == (0, {fault: 1})


@each
async def test_a_page_instead_of_json_is_not_billed(wire: Wire, books: Path) -> None:
    """A gateway's HTML with status 200."""
    async with client(wire, books, faults={"html200": 1}) as there:
        reply = await there.order("a cat")
        assert (reply.status, reply.body[:9]) == (200, b"<!DOCTYPE")
        assert there.sandbox.totals()["images"] == 0


@each
@pytest.mark.parametrize(("fault", "images"), [("reset", 0), ("reset-after", 1), ("truncate", 1)])
async def test_a_lost_reply_is_billed_if_the_task_was_taken(wire: Wire, books: Path, fault: str, images: int) -> None:
    """Before the work a reset costs nothing; after it the task is paid, and nobody knows its name."""
    async with client(wire, books, faults={fault: 1}) as there:
        with pytest.raises(aiohttp.ClientError):
            await there.order("a cat")
        bills = there.bills()
        assert [bill["fault"] for bill in bills] == [fault] * images
        assert all(bill["task"] for bill in bills)


@each
async def test_a_dripping_reply_comes_whole(wire: Wire, books: Path) -> None:
    """It takes its time, and names the task."""
    async with client(wire, books, faults={"slowdrip": 1}) as there:
        assert (await there.ended(await there.ordered("a cat"))).links


@each
async def test_a_hanging_order_is_never_billed(wire: Wire, books: Path) -> None:
    """Until the client gives up."""
    async with client(wire, books, faults={"hang": 1}) as there:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(there.order("a cat"), 0.3)
        assert there.sandbox.totals()["images"] == 0


@each
@pytest.mark.parametrize("fault", ["taskfail", "blocked", "safety"])
async def test_a_task_can_fail_at_the_vendor(wire: Wire, books: Path, fault: str) -> None:
    """It is taken, ends after its time without an image, says why, and is never billed."""
    async with client(wire, books, faults={fault: 1}, latency=(0.6, 0.6)) as there:
        task = await there.ordered("a cat")
        before = await there.state(task)
        assert before == State(before.word)
        state = await there.ended(task)
        assert state.failure
        flagged = any(word in state.failure.lower() for word in ("sensitive", "flagged", "policy", "policies"))
        assert flagged == (fault != "taskfail")
        totals = there.sandbox.totals()
        assert (totals["images"], totals["faults"]) == (0, {fault: 1})


@each
async def test_a_task_can_end_without_an_image(wire: Wire, books: Path) -> None:
    """The vendor calls it a success, names no link, and bills nothing."""
    async with client(wire, books, faults={"noimage": 1}) as there:
        assert await there.ended(await there.ordered("a cat")) == State(wire.WORDS[-1], [])
        assert there.sandbox.totals()["images"] == 0


@each
@pytest.mark.parametrize(("fault", "code"), [("poll429", "429"), ("poll500", "500"), ("poll502", "502")])
async def test_a_poll_that_goes_wrong_says_nothing_of_the_task(wire: Wire, books: Path, fault: str, code: str) -> None:
    """The order passes untouched, the task goes on, and the next poll finds it."""
    async with client(wire, books, faults={fault: 1}) as there:
        task = await there.ordered("a cat")
        for _ in range(3):
            with pytest.raises(StumbledError, match=code):
                await there.state(task)
        there.sandbox.change({"faults": {}})
        assert (await there.ended(task)).links
        totals = there.sandbox.totals()
        assert (totals["images"], totals["faults"]) == (1, {fault: 3})


@each
async def test_a_poll_can_be_reset(wire: Wire, books: Path) -> None:
    """The connection breaks; the task does not."""
    async with client(wire, books, faults={"pollreset": 1}) as there:
        task = await there.ordered("a cat")
        with pytest.raises(aiohttp.ClientError):
            await there.state(task)
        there.sandbox.change({"faults": {}})
        assert (await there.ended(task)).links


async def test_kie_s_errors_of_a_poll_stand_inside_http_200(books: Path) -> None:
    """A client that looks at the status alone takes them for the task."""
    async with client(WIRES[0], books, faults={"poll429": 1}) as there:
        task = await there.ordered("a cat")
        reply = await there.send("GET", "/kie/api/v1/jobs/recordInfo", params={"taskId": task})
        assert (reply.status, reply.body["code"]) == (200, 429)
        there.sandbox.change({"faults": {"poll500": 1}})
        reply = await there.send("GET", "/kie/api/v1/jobs/recordInfo", params={"taskId": task})
        assert (reply.status, reply.body["code"]) == (200, 500)


@each
async def test_a_download_that_goes_wrong_can_be_repeated(wire: Wire, books: Path) -> None:
    """Forbidden, broken or cut, the image stays where it is, and is not billed again."""
    async with client(wire, books) as there:
        state = await there.ended(await there.ordered("a cat"))
        assert state.links is not None
        (link,) = state.links
        for fault, status in (("download403", 403), ("download500", 500)):
            there.sandbox.change({"faults": {fault: 1}})
            assert (await there.download(link))[0] == status
        there.sandbox.change({"faults": {"downloadcut": 1}})
        with pytest.raises(aiohttp.ClientError):
            await there.download(link)
        there.sandbox.change({"faults": {}})
        _, data = await there.download(link)
        assert [bill["sha256"] for bill in there.bills()] == [hashlib.sha256(data).hexdigest()]


@each
async def test_links_expire_where_the_plan_says_so(wire: Wire, books: Path) -> None:
    """Counted from when the task was ready; what comes then is a page, not an image."""
    async with client(wire, books, link_seconds=0.2) as there:
        state = await there.ended(await there.ordered("a cat"))
        assert state.links is not None
        (link,) = state.links
        async with asyncio.timeout(DEADLINE):
            while (found := await there.download(link))[0] == 200:
                assert found[1].startswith(b"\x89PNG")
        assert found[0] == 404
        assert found[1].startswith(b"<!DOCTYPE")


@each
async def test_one_failure_in_four_costs_no_image_twice(wire: Wire, books: Path) -> None:
    """A client that repeats polls and downloads, and never an order, has every image once and pays for it once."""
    odds = {
        "poll500": 0.1,
        "pollreset": 0.05,
        "poll429": 0.05,
        "poll502": 0.05,
        "download500": 0.15,
        "download403": 0.1,
    }
    async with client(wire, books, faults=odds) as there:

        async def collect(prompt: str) -> str:
            task = await there.ordered(prompt)
            while True:
                try:
                    state = await there.state(task)
                    for link in state.links or ():
                        status, data = await there.download(link)
                        if status == 200:
                            return hashlib.sha256(data).hexdigest()
                except (StumbledError, aiohttp.ClientError):
                    continue

        async with asyncio.timeout(DEADLINE):
            found = await asyncio.gather(*(collect(f"prompt {number}") for number in range(80)))
        totals = there.sandbox.totals()
        assert sorted(found) == sorted(bill["sha256"] for bill in there.bills())
        assert (totals["images"], totals["twice"], totals["prompts"]) == (80, 0, 80)
        assert set(totals["faults"]) == set(odds)
        assert totals["polls"] > 80


@each
async def test_the_books_prove_which_references_came(wire: Wire, books: Path) -> None:
    """In their order, by the hash of the bytes that were sent, whatever envelope they came in."""
    async with client(wire, books) as there:
        links = await links_of(there)
        await there.ordered("bluer", links)
        await there.ordered("redder", links[::-1][:2])
        hashes = [hashlib.sha256(data).hexdigest() for data in REFERENCES]
        assert [bill["references"] for bill in there.bills()] == [hashes, hashes[::-1][:2]]


@each
@pytest.mark.parametrize("link", ["https://example.com/cat.png", "data:image/png;base64,%%%", "cat.png", 5])
async def test_a_reference_that_cannot_be_read_is_a_422(wire: Wire, books: Path, link: Any) -> None:
    """A link that leads nowhere is not silently left out."""
    async with client(wire, books) as there:
        assert wire.refusal(await there.order("bluer", [link])) == 422
        assert there.sandbox.totals()["refusals"]
        assert there.sandbox.totals()["images"] == 0


@each
async def test_more_references_than_the_model_takes_are_refused(wire: Wire, books: Path) -> None:
    """Fifteen are too many for every model."""
    async with client(wire, books) as there:
        (first, *_) = await links_of(there)
        assert wire.refusal(await there.order("bluer", [first] * 15)) == 422


async def test_kie_takes_a_file_as_base64_too(books: Path) -> None:
    """Both ways of uploading lead to a link that an order may name, and are counted and free."""
    async with client(WIRES[0], books) as there:
        form = await uploaded(there, PNG)
        body = {"base64Data": data_uri(PNG + b"b"), "uploadPath": "nanobatch", "fileName": "b.png"}
        reply = await there.send("POST", "/kie/api/file-base64-upload", json=body)
        await there.ordered("bluer", [form, reply.body["data"]["downloadUrl"]])
        (bill,) = there.bills()
        totals = there.sandbox.totals()
    assert bill["references"] == [hashlib.sha256(data).hexdigest() for data in (PNG, PNG + b"b")]
    assert (totals["uploads"], totals["images"]) == (2, 1)


@pytest.mark.parametrize("path", ["/kie/api/file-stream-upload", "/kie/api/file-base64-upload"])
@pytest.mark.parametrize("key", ["", "Bearer invalid"])
async def test_an_upload_needs_a_key(books: Path, path: str, key: str) -> None:
    """The upload service is another host of the same vendor."""
    async with client(WIRES[0], books) as there:
        reply = await there.send("POST", path, json={"base64Data": data_uri(PNG)}, headers={"Authorization": key})
        assert 401 in (reply.status, reply.body["code"])
        assert there.sandbox.totals()["uploads"] == 0


@pytest.mark.parametrize("wire", [Kie(""), Replicate("/v1")], ids=["kie", "replicate"])
async def test_the_vendor_s_own_paths_work_without_its_name(wire: Wire, books: Path) -> None:
    """Where they clash with nothing."""
    async with client(wire, books) as there:
        assert (await there.ended(await there.ordered("a cat"))).links


async def test_fal_wants_the_state_without_the_sub_path(books: Path) -> None:
    """A model's sub-path belongs to the order alone; with it, the state is not to be had."""
    async with client(WIRES[1], books) as there:
        reply = await there.send("POST", "/fal/fal-ai/flux/dev", json={"prompt": "a cat"})
        path = f"requests/{reply.body['request_id']}/status"
        assert (await there.send("GET", f"/fal/fal-ai/flux/{path}")).status == 200
        assert (await there.send("GET", f"/fal/fal-ai/flux/dev/{path}")).status in (404, 405)


async def test_kie_tells_the_balance_for_free(books: Path) -> None:
    """The cheapest way to try a key."""
    async with client(WIRES[0], books) as there:
        reply = await there.send("GET", "/kie/api/v1/chat/credit")
        assert reply.body["code"] == 200
        assert reply.body["data"] > 0
        reply = await there.send("GET", "/kie/api/v1/chat/credit", headers={"Authorization": "Bearer invalid"})
        assert reply.body["code"] == 401


@each
async def test_the_books_go_on_after_a_restart(wire: Wire, books: Path) -> None:
    """Tasks are forgotten with the process; bills are not."""
    for expected in (1, 2):
        async with client(wire, books) as there:
            await there.ordered("a cat")
            assert there.sandbox.totals()["creations"] == expected
    assert len({json.loads(line)["task"] for line in books.read_bytes().splitlines()}) == 2
