"""One creation's journey, over a real connection in one process: limits, every fault, the bill."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from nanobatch.sandbox.faults import CREATION, FAULTS, GEMINI, OPENAI
from nanobatch.sandbox.plan import Plan
from nanobatch.sandbox.server import Sandbox, serve

pytestmark = pytest.mark.anyio

INSTANT = (0.0, 0.0)
KEYS = {"x-goog-api-key": "k", "Authorization": "Bearer k"}
MODEL = "gemini-3.1-flash-lite-image"


class Client:
    """Asks a sandbox for images in either dialect."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def ask(self, dialect: str = GEMINI, prompt: str = "a cat", **fields: Any) -> tuple[int, Any, str]:
        """Return status, body (JSON where it is) and content type."""
        if dialect == GEMINI:
            url = f"{self.sandbox.url}/v1beta/models/{MODEL}:generateContent"
            body: dict[str, Any] = {"contents": [{"parts": [{"text": prompt}]}], **fields}
        else:
            url = f"{self.sandbox.url}/v1/images/generations"
            body = {"model": "gpt-image-2", "prompt": prompt, "size": "256x256", **fields}
        async with self.session.post(url, json=body, headers=KEYS) as answer:
            data = await answer.read()
            return answer.status, _json_or_bytes(data), answer.content_type


def _json_or_bytes(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


@asynccontextmanager
async def running(books: Path | None = None, **settings: Any) -> AsyncIterator[Client]:
    plan = Plan(**{"latency": INSTANT, "seed": 1, **settings})
    timeout = aiohttp.ClientTimeout(total=20)
    async with serve(plan, books=books) as sandbox, aiohttp.ClientSession(timeout=timeout) as session:
        yield Client(sandbox, session)


def gemini_parts(body: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body["candidates"][0]["content"]["parts"]
    return found


def kind_of(data: bytes) -> str:
    image = Image.open(io.BytesIO(data))
    image.load()
    return str(image.format)


def whole(encoded: str) -> str:
    return kind_of(base64.b64decode(encoded, validate=True))


Check = Callable[[int, Any], bool]


def raises(error: type[Exception], action: Callable[[], object]) -> bool:
    with pytest.raises(error):
        action()
    return True


def inline(body: Any) -> str:
    return str(gemini_parts(body)[-1]["inlineData"]["data"])


def refusal(body: Any) -> str:
    return str(body["error"]["code"])


GEMINI_SHOWS: dict[str, Check] = {
    "429": lambda status, body: status == 429 and "PerMinute" in str(body) and "PerDay" not in str(body),
    "429day": lambda status, body: status == 429 and "PerDay" in str(body),
    "429zero": lambda status, body: status == 429 and "limit: 0," in str(body),
    "429money": lambda status, body: status == 429 and "spending cap" in str(body),
    "badkey": lambda status, body: status == 400 and "API_KEY_INVALID" in str(body),
    "leaked": lambda status, body: status == 403 and "leaked" in str(body),
    "blocked": lambda status, body: status == 200 and "blockReason" in body["promptFeedback"],
    "500": lambda status, body: status == 500 and body["error"]["status"] == "INTERNAL",
    "503": lambda status, body: status == 503 and body["error"]["status"] == "UNAVAILABLE",
    "html502": lambda status, body: status == 502 and body.startswith(b"<!DOCTYPE html>"),
    "html200": lambda status, body: status == 200 and body.startswith(b"<!DOCTYPE html>"),
    "json200err": lambda status, body: status == 200 and body["error"]["code"] == 500,
    "listerror": lambda status, body: status == 503 and body[0]["error"]["code"] == 503,
    "noimage": lambda _, body: body["candidates"][0]["finishReason"] == "NO_IMAGE",
    "safety": lambda _, body: body["candidates"][0]["finishReason"] == "IMAGE_SAFETY",
    "textonly": lambda _, body: set(gemini_parts(body)[0]) == {"text"},
    "nullcandidates": lambda _, body: body["candidates"] is None,
    "badb64": lambda _, body: raises(binascii.Error, lambda: whole(inline(body))),
    "cutimage": lambda _, body: raises(OSError, lambda: whole(inline(body))),
    "urlsafe": lambda _, body: (
        kind_of(base64.urlsafe_b64decode(inline(body) + "===")) == "JPEG" and not set("+/=") & set(inline(body))
    ),
    "dataprefix": lambda _, body: whole(inline(body).removeprefix("data:image/jpeg;base64,")) == "JPEG",
    "wrongmime": lambda _, body: (
        (whole(inline(body)), gemini_parts(body)[0]["inlineData"]["mimeType"]) == ("PNG", "image/jpeg")
    ),
    "thought": lambda _, body: [part.get("thought") for part in gemini_parts(body)] == [True, None],
    "multi": lambda _, body: len({part["inlineData"]["data"] for part in gemini_parts(body)}) == 3,
    "snake": lambda _, body: whole(gemini_parts(body)[0]["inline_data"]["data"]) == "JPEG",
    "signature": lambda _, body: len(gemini_parts(body)[0]["thoughtSignature"]) == 3_000_000,
    "slowdrip": lambda _, body: whole(inline(body)) == "JPEG",
}
OPENAI_SHOWS: dict[str, Check] = {
    "429": lambda status, body: (status, refusal(body)) == (429, "rate_limit_exceeded"),
    "429day": lambda status, body: status == 429 and "per day" in str(body),
    "429zero": lambda status, body: status == 429 and "Limit: 0" in str(body),
    "429money": lambda status, body: (status, refusal(body)) == (429, "insufficient_quota"),
    "badkey": lambda status, body: (status, refusal(body)) == (401, "invalid_api_key"),
    "blocked": lambda status, body: (status, refusal(body)) == (400, "moderation_blocked"),
    "safety": lambda status, body: (status, refusal(body)) == (400, "moderation_blocked"),
    "500": lambda status, body: status == 500 and body["error"]["type"] == "server_error",
    "503": lambda status, body: status == 503 and body["error"]["type"] == "server_error",
    "html502": GEMINI_SHOWS["html502"],
    "html200": GEMINI_SHOWS["html200"],
    "json200err": lambda status, body: status == 200 and body["error"]["type"] == "server_error",
    "listerror": lambda status, body: status == 503 and body[0]["error"]["type"] == "server_error",
    "noimage": lambda status, body: status == 200 and body["data"] == [],
    "nullcandidates": lambda status, body: status == 200 and body["data"] is None,
    "badb64": lambda _, body: raises(binascii.Error, lambda: whole(body["data"][0]["b64_json"])),
    "cutimage": lambda _, body: raises(OSError, lambda: whole(body["data"][0]["b64_json"])),
    "urlsafe": lambda _, body: kind_of(base64.urlsafe_b64decode(body["data"][0]["b64_json"] + "===")) == "PNG",
    "dataprefix": lambda _, body: whole(body["data"][0]["b64_json"].removeprefix("data:image/png;base64,")) == "PNG",
    "wrongmime": lambda _, body: (whole(body["data"][0]["b64_json"]), body["output_format"]) == ("JPEG", "png"),
    "slowdrip": lambda _, body: whole(body["data"][0]["b64_json"]) == "PNG",
}
WITHOUT_ANSWER = {"reset", "reset-after", "truncate", "hang"}
SHOWS = {GEMINI: GEMINI_SHOWS, OPENAI: OPENAI_SHOWS}
CASES = [
    pytest.param(dialect, kind, id=f"{dialect}-{kind}")
    for dialect in (GEMINI, OPENAI)
    for kind, fault in FAULTS.items()
    if dialect in fault.dialects and fault.stage in CREATION
]


def test_every_fault_of_the_table_is_shown_here() -> None:
    """A new kind of fault needs a line in this file."""
    for dialect, shows in SHOWS.items():
        assert set(shows) | WITHOUT_ANSWER == {
            kind for kind, fault in FAULTS.items() if dialect in fault.dialects and fault.stage in CREATION
        }


@pytest.mark.parametrize(("dialect", "kind"), CASES)
async def test_a_fault_does_what_the_table_says(dialect: str, kind: str) -> None:
    """The answer, the count of the fault, and the bill, which exists exactly when the table says so."""
    async with running(faults={kind: 1}, drip=0.04) as client:
        if kind in WITHOUT_ANSWER:
            with pytest.raises((aiohttp.ClientError, TimeoutError)):
                await asyncio.wait_for(client.ask(dialect), 0.5 if kind == "hang" else 20)
        else:
            status, body, _ = await client.ask(dialect)
            assert SHOWS[dialect][kind](status, body)
        totals = client.sandbox.totals()
        assert totals["faults"] == {kind: 1}
        assert totals["images"] == (FAULTS[kind].bills if FAULTS[kind].billed else 0)
        assert totals["creations"] == int(FAULTS[kind].billed)


@pytest.mark.parametrize("dialect", [GEMINI, OPENAI])
async def test_an_image_is_made_billed_and_delivered(dialect: str, tmp_path: Path) -> None:
    """The bill names prompt, model and the very bytes that were sent."""
    path = tmp_path / "books.jsonl"
    async with running(path) as client:
        status, body, content_type = await client.ask(dialect, "a green tram")
        sent = base64.b64decode(inline(body) if dialect == GEMINI else body["data"][0]["b64_json"])
        (bill,) = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert (status, content_type) == (200, "application/json")
    assert bill["prompt"] == "a green tram"
    assert bill["model"] == (MODEL if dialect == GEMINI else "gpt-image-2")
    assert bill["sha256"] == hashlib.sha256(sent).hexdigest()
    assert (bill["connection_open"], bill["fault"], bill["request"], bill["dialect"]) == (True, None, 1, dialect)


async def test_several_images_are_several_lines_of_one_request(tmp_path: Path) -> None:
    """Each image that n asked for is billed; drafts that are thoughts are not, drafts that are images are."""
    path = tmp_path / "books.jsonl"
    async with running(path) as client:
        await client.ask(OPENAI, "n", n=3)
        client.sandbox.change({"faults": {"thought": 1}})
        await client.ask(GEMINI, "t")
        client.sandbox.change({"faults": {"multi": 1}})
        _, body, _ = await client.ask(GEMINI, "m")
    bills = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [bill["request"] for bill in bills] == [1, 1, 1, 2, 3, 3, 3]
    assert len({bill["sha256"] for bill in bills}) == 7
    final = hashlib.sha256(base64.b64decode(inline(body))).hexdigest()
    assert bills[-1]["sha256"] == final


async def test_a_client_that_leaves_is_billed_all_the_same(tmp_path: Path) -> None:
    """A disconnect stops nothing at the vendor; the bill says that nobody was there."""
    path = tmp_path / "books.jsonl"
    async with running(path, latency=(0.3, 0.3)) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.ask(), 0.1)
        async with asyncio.timeout(10):
            while client.sandbox.totals()["in_flight"]:
                await asyncio.to_thread(client.sandbox.totals)
        totals = client.sandbox.totals()
    assert (totals["images"], totals["undelivered"]) == (1, 1)
    assert json.loads(path.read_bytes())["connection_open"] is False


async def test_the_limit_of_requests_answers_429_and_counts_it() -> None:
    """Exactly rpm requests pass; the others are violations, and cost nothing."""
    async with running(rpm=3) as client:
        found = await asyncio.gather(*(client.ask(OPENAI, str(number)) for number in range(8)))
        totals = client.sandbox.totals()
    assert sorted(status for status, _, _ in found) == [200] * 3 + [429] * 5
    assert (totals["images"], totals["violations"]) == (3, {"rpm": 5})
    assert totals["faults"] == {}


async def test_the_limit_of_images_counts_n() -> None:
    """A request for four images does not fit behind three of five."""
    async with running(ipm=5) as client:
        assert (await client.ask(OPENAI, n=3))[0] == 200
        assert (await client.ask(OPENAI, n=4))[0] == 429
        assert (await client.ask(OPENAI, n=2))[0] == 200
        assert client.sandbox.totals()["violations"] == {"ipm": 1}


async def test_the_day_s_limit_looks_like_the_vendor_s() -> None:
    """Gemini names PerDay; OpenAI says it in words."""
    async with running(rpd=1) as client:
        assert (await client.ask())[0] == 200
        assert "PerDay" in str((await client.ask())[1])
        assert "per day" in str((await client.ask(OPENAI))[1])


async def test_too_many_at_once_are_refused_and_counted() -> None:
    """No more than the limit run at a time, and the books know the highest number."""
    async with running(concurrency=2, latency=(0.2, 0.2)) as client:
        found = await asyncio.gather(*(client.ask(OPENAI, str(number)) for number in range(5)))
        totals = client.sandbox.totals()
    assert sorted(status for status, _, _ in found) == [200, 200, 429, 429, 429]
    assert (totals["max_in_flight"], totals["in_flight"]) == (2, 0)
    assert totals["violations"] == {"concurrency": 3}


@pytest.mark.parametrize("kind", ["500", "reset", "reset-after", "truncate", "slowdrip", "badb64"])
async def test_every_way_out_gives_the_place_back(kind: str) -> None:
    """However a request ends, the next one finds room."""
    async with running(concurrency=1, faults={kind: 1}, drip=0.0) as client:
        for _ in range(3):
            try:
                await client.ask(OPENAI)
            except aiohttp.ClientError:
                continue
        totals = client.sandbox.totals()
    assert (totals["violations"], totals["faults"]) == ({}, {kind: 3})


async def test_the_plan_s_wish_replaces_the_truth() -> None:
    """With retry_after, every 429 says so."""
    async with running(rpm=1, retry_after=7.5) as client:
        await client.ask()
        assert "7.500s" in str((await client.ask())[1])
        client.sandbox.change({"rpm": None, "faults": {"429": 1}})
        assert "7.500s" in str((await client.ask())[1])


async def test_wrong_requests_take_nothing_from_the_limits() -> None:
    """The door comes before the counters, and the books tell refusals by status."""
    async with running(rpm=1) as client:
        assert (await client.ask(OPENAI, size="1x1"))[0] == 400
        assert (await client.ask(GEMINI, wrong=1))[0] == 400
        assert (await client.ask())[0] == 200
        totals = client.sandbox.totals()
    assert (totals["refusals"], totals["violations"], totals["requests"]) == ({"400": 2}, {}, 3)


async def test_the_log_tells_every_request() -> None:
    """In the order in which they ended: outcome, status, images."""
    async with running() as client:
        await client.ask(OPENAI, n=2)
        await client.ask(OPENAI, n=99)
        client.sandbox.change({"faults": {"503": 1}})
        await client.ask()
        client.sandbox.change({"faults": {}, "rpm": 1})
        await client.ask()
        log = client.sandbox.totals(full=True)["log"]
    assert [(line["outcome"], line["status"], line["images"]) for line in log] == [
        ("ok", 200, 2),
        ("refused", 400, 0),
        ("503", 503, 0),
        ("rpm", 429, 0),
    ]
    assert [line["request"] for line in log] == [1, 2, 3, 4]


async def test_images_are_padded_to_the_plan_s_size() -> None:
    """For measurements, an image weighs what is wanted, and stays one."""
    async with running(image_bytes=500_000) as client:
        _, body, _ = await client.ask()
        data = base64.b64decode(inline(body))
    assert 500_000 <= len(data) <= 500_012
    assert kind_of(data) == "JPEG"


async def test_words_alone_are_not_billed() -> None:
    """Who asks for text pays for no image."""
    async with running() as client:
        status, body, _ = await client.ask(GEMINI, generationConfig={"responseModalities": ["TEXT"]})
        assert (status, set(gemini_parts(body)[0])) == (200, {"text"})
        assert client.sandbox.totals()["images"] == 0


async def test_a_seed_repeats_a_run_in_any_order() -> None:
    """The same prompts meet the same faults, one after the other or all at once."""
    odds = {"500": 0.3, "503": 0.3}
    async with running(faults=odds, seed=9) as client:
        one = [(await client.ask(OPENAI, str(number)))[0] for number in range(20)]
    async with running(faults=odds, seed=9) as client:
        two = await asyncio.gather(*(client.ask(OPENAI, str(number)) for number in reversed(range(20))))
    assert one == [status for status, _, _ in reversed(two)]
    assert len(set(one)) == 3
