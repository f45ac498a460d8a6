"""Paths, books and plans over HTTP; the sandbox's life in a process."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from nanobatch.sandbox.books import BooksError
from nanobatch.sandbox.plan import Plan, PlanError
from nanobatch.sandbox.server import Sandbox, serve

pytestmark = pytest.mark.anyio

GOOGLE = {"x-goog-api-key": "k"}
BEARER = {"Authorization": "Bearer k"}
CAT = {"contents": [{"parts": [{"text": "a cat"}]}]}


@asynccontextmanager
async def running(books: Path | None = None, **settings: Any) -> AsyncIterator[tuple[Sandbox, aiohttp.ClientSession]]:
    async with (
        serve(Plan(latency=(0.0, 0.0), **settings), books=books) as sandbox,
        aiohttp.ClientSession(sandbox.url) as session,
    ):
        yield sandbox, session


async def status_of(session: aiohttp.ClientSession, path: str, body: Any, headers: dict[str, str]) -> int:
    async with session.post(path, json=body, headers=headers) as answer:
        await answer.read()
        return answer.status


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("model", ["gemini-3-pro-image", "vendor/model:free", "gemini-3-pro-image%2Dx"])
async def test_gemini_answers_on_every_version(version: str, model: str) -> None:
    """Clients differ in the version they ask; names may hold slashes and colons."""
    async with running() as (_, session):
        assert await status_of(session, f"/{version}/models/{model}:generateContent", CAT, GOOGLE) == 200


async def test_v1_models_belongs_to_whoever_asks() -> None:
    """The same path lists Google's models to Google's key and OpenAI's to a Bearer token."""
    async with running() as (_, session):
        async with session.get("/v1/models", headers=GOOGLE) as answer:
            assert "models" in await answer.json()
        async with session.get("/v1/models", headers=BEARER) as answer:
            assert (await answer.json())["object"] == "list"
        async with session.get("/v1beta/models", headers=BEARER) as answer:
            assert "models" in await answer.json()
        async with session.get("/v1/models/gpt-image-2", headers=BEARER) as answer:
            assert (await answer.json())["id"] == "gpt-image-2"
        async with session.get("/v1beta/models/gemini-3-pro-image", headers=GOOGLE) as answer:
            assert (await answer.json())["name"] == "models/gemini-3-pro-image"


async def test_an_unknown_path_says_what_there_is() -> None:
    """A wrong base URL is found quickly."""
    async with running() as (sandbox, session):
        async with session.post("/v2/images", json={}) as answer:
            message = (await answer.json())["error"]["message"]
            assert answer.status == 404
        assert message.startswith("The sandbox has no POST /v2/images.")
        assert f"{sandbox.url}/v1beta" in message
        assert sandbox.totals()["requests"] == 0


async def test_books_are_shown_short_and_full() -> None:
    """The totals, and with full=1 every prompt and the log."""
    async with running(seed=4, rpm=9) as (sandbox, session):
        await status_of(session, "/v1beta/models/m:generateContent", CAT, GOOGLE)
        async with session.get("/__books") as answer:
            short = await answer.json()
        async with session.get("/__books?full=0") as answer:
            assert await answer.json() == short
        async with session.get("/__books?full=1") as answer:
            full = await answer.json()
    assert (short["images"], short["plan"]["seed"], short["plan"]["rpm"]) == (1, 4, 9)
    assert full["by_prompt"] == {"a cat": 1}
    assert set(full) - set(short) == {"by_prompt", "log"}
    assert sandbox.totals()["max_in_flight"] == 1


async def test_a_key_in_the_query_is_counted() -> None:
    """It works as at the vendor, and the books tell on the client."""
    async with running() as (sandbox, session):
        assert await status_of(session, "/v1beta/models/m:generateContent?key=k", CAT, {}) == 200
        async with session.get("/v1/models?key=k") as answer:
            assert "models" in await answer.json()
        assert sandbox.totals()["keys_in_query"] == 2


async def test_a_plan_changes_while_it_runs() -> None:
    """The new settings come back, with the seed that was drawn, and hold at once."""
    async with running() as (sandbox, session):
        async with session.post("/__plan", json={"rpm": 1, "faults": {"503": 1}}) as answer:
            shown = await answer.json()
            assert answer.status == 200
        assert (shown["rpm"], shown["faults"]) == (1, {"503": 1})
        assert isinstance(shown["seed"], int)
        assert sandbox.plan.rpm == 1
        assert await status_of(session, "/v1beta/models/m:generateContent", CAT, GOOGLE) == 503
        assert await status_of(session, "/v1beta/models/m:generateContent", CAT, GOOGLE) == 429
        await status_of(session, "/__plan", {"rpm": None, "faults": {}}, {})
        assert await status_of(session, "/v1beta/models/m:generateContent", CAT, GOOGLE) == 200


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"rpm": -1}', "rpm is a whole number"),
        (b'{"speed": 1}', "there is no setting 'speed'"),
        (b"{", "truncated"),
        (b"[]", "a plan is a JSON object"),
    ],
)
async def test_a_wrong_plan_changes_nothing(body: bytes, sentence: str) -> None:
    """A 400 with the sentence, and the old plan stays."""
    async with running(rpm=5) as (sandbox, session):
        async with session.post("/__plan", data=body) as answer:
            assert answer.status == 400
            assert sentence in (await answer.json())["error"]["message"]
        assert sandbox.plan.rpm == 5
        with pytest.raises(PlanError):
            sandbox.change({"rpm": 0})


async def test_links_lead_to_the_image_until_they_expire() -> None:
    """The bytes are those of the bill; an unknown link is a page, not an image."""
    async with running() as (sandbox, session):
        body = {"model": "url-x", "prompt": "a cat", "size": "320x160", "output_format": "webp"}
        async with session.post("/v1/images/generations", json=body, headers=BEARER) as answer:
            link = (await answer.json())["data"][0]["url"]
        assert link.startswith(sandbox.url + "/__images/")
        async with session.get(link) as answer:
            data = await answer.read()
            assert answer.content_type == "image/webp"
        assert Image.open(io.BytesIO(data)).size == (320, 160)
        async with session.get("/__images/unknown.png") as answer:
            assert (answer.status, answer.content_type) == (404, "text/html")
        assert sandbox.totals()["images"] == 1


async def test_links_expire_where_the_plan_says_so() -> None:
    """Those that were made before a change of the plan keep their time."""
    body = {"model": "url-x", "prompt": "a cat", "size": "64x64"}
    links, found = [], []
    async with running() as (sandbox, session):
        for seconds in (None, 0.0, 60.0):
            sandbox.change({"link_seconds": seconds})
            async with session.post(
                "/v1/images/generations", json=body | {"prompt": f"{seconds}"}, headers=BEARER
            ) as answer:
                links.append((await answer.json())["data"][0]["url"])
        for link in links:
            async with session.get(link) as answer:
                found.append((answer.status, answer.content_type))
        totals = sandbox.totals()
    assert found == [(200, "image/png"), (404, "text/html"), (200, "image/png")]
    assert (totals["downloads"], totals["images"]) == (3, 3)


@pytest.mark.parametrize(("fault", "status"), [("download403", 403), ("download500", 500)])
async def test_downloads_go_wrong_after_every_format(fault: str, status: int) -> None:
    """Also after those without tasks; a later download finds the image."""
    async with running(faults={fault: 1.0}) as (sandbox, session):
        body = {"model": "url-x", "prompt": "a cat", "size": "64x64"}
        async with session.post("/v1/images/generations", json=body, headers=BEARER) as answer:
            link = (await answer.json())["data"][0]["url"]
        async with session.get(link) as answer:
            assert (answer.status, answer.content_type) == (status, "text/html")
        sandbox.change({"faults": {}})
        async with session.get(link) as answer:
            assert answer.status == 200
        assert sandbox.totals()["faults"] == {fault: 1}


async def test_free_calls_tell_whether_a_key_is_good() -> None:
    """They are neither limited nor billed nor requests."""
    async with running(rpm=1) as (sandbox, session):
        for path in ("/kie/api/v1/chat/credit", "/replicate/account", "/xai/v1/models"):
            for _ in range(2):
                async with session.get(path, headers=BEARER) as answer:
                    assert answer.status == 200
        totals = sandbox.totals()
    assert (totals["requests"], totals["images"], totals["violations"]) == (0, 0, {})


async def test_a_request_may_be_large() -> None:
    """References of several megabytes pass."""
    part = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgoA" + "A" * 8_000_000}}
    body = io.BytesIO(json.dumps({"contents": [{"parts": [part, {"text": "bluer"}]}]}).encode())
    path = "/v1beta/models/m:generateContent"
    async with running() as (_, session), session.post(path, data=body, headers=GOOGLE) as answer:
        assert answer.status == 200


async def test_it_listens_on_loopback_only() -> None:
    """No other machine can reach it."""
    async with running() as (sandbox, _):
        assert sandbox.url.startswith("http://127.0.0.1:")


async def test_a_taken_port_is_an_error() -> None:
    """Two sandboxes do not share a port in silence."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="address already in use"):
            async with serve(Plan(), port=taken.getsockname()[1]):
                pass


async def test_books_that_cannot_be_kept_are_an_error(tmp_path: Path) -> None:
    """Before anything listens."""
    with pytest.raises(BooksError, match="cannot keep books"):
        async with serve(Plan(), books=tmp_path):
            pass


async def test_totals_go_on_with_the_file(tmp_path: Path) -> None:
    """A second sandbox on the same books knows what the first one billed."""
    path = tmp_path / "books.jsonl"
    for expected in (1, 2):
        async with running(path) as (sandbox, session):
            await status_of(session, "/v1beta/models/m:generateContent", CAT, GOOGLE)
            totals = sandbox.totals()
        assert (totals["images"], totals["twice"]) == (expected, expected - 1)
