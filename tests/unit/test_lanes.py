"""What one provider needs to work in a run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from nanobatch.catalog import Terms, load_catalog
from nanobatch.clock import SystemClock
from nanobatch.connections import Connections
from nanobatch.errors import NanobatchError
from nanobatch.lanes import breaker_for, check_credentials, open_lane, reference_for
from nanobatch.model import Form, FormFile, Request
from nanobatch.references import References
from nanobatch.routing import Lane, Seller
from nanobatch.settings import Limits, ProviderSettings, Secret
from tests.fakes import RecordingObserver
from tests.harness import png, settings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("configured", "alone", "expected"), [(None, False, 60.0), (None, True, 15.0), (5.0, False, 5.0), (5.0, True, 5.0)]
)
def test_the_cooldown_is_the_users_or_a_minute(configured: float | None, alone: bool, expected: float) -> None:
    """Where nobody else can take the work, the wait is shorter: idling helps nobody."""
    breaker = breaker_for(Limits(concurrency=1), cooldown_seconds=configured, is_alone=alone)
    for second in range(8):
        assert breaker.allows(float(second))
        breaker.on_fault(float(second), started_at=float(second))
    assert breaker.delay(7.0) == expected


@pytest.mark.parametrize(("concurrency", "threshold"), [(1, 8), (16, 8), (30, 15), (1000, 20)])
def test_the_breaker_needs_more_than_bad_luck(concurrency: int, threshold: int) -> None:
    """Of many requests in flight some fail in a row by chance."""
    breaker = breaker_for(Limits(concurrency=concurrency), cooldown_seconds=None, is_alone=False)
    for number in range(threshold):
        assert breaker.allows(float(number)), number
        breaker.on_fault(float(number), started_at=float(number))
    assert not breaker.allows(float(threshold))


@asynccontextmanager
async def server() -> AsyncIterator[tuple[str, list[web.Request]]]:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        seen.append(request)
        if request.path.endswith(".png"):
            return web.Response(body=png())
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    finally:
        await runner.cleanup()


def lane(provider: ProviderSettings, connections: Connections, root: Path, **more: Any) -> Lane:
    numbers = count()
    return open_lane(
        Seller(provider, load_catalog()), connections, clock=SystemClock(), observe=RecordingObserver(),
        new_part=lambda: root / f"{next(numbers)}.part", timeout_seconds=more.pop("timeout_seconds", 300.0),
        spends=(), credential=None, is_alone=more.pop("is_alone", True),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ("bearer", "Authorization", "Bearer secret-of-x"),
        ("key", "Authorization", "Key secret-of-x"),
        ("x-goog-api-key", "x-goog-api-key", "secret-of-x"),
    ],
)
async def test_the_key_goes_to_the_provider_and_nowhere_else(
    auth: str, header: str, value: str, tmp_path: Path
) -> None:
    """To its address and to its upload service, in the header that it wants; never along with a download."""
    async with server() as (base, seen), server() as (uploads, uploaded), Connections(limit=2) as connections:
        provider = replace(settings("x"), base_url=base, upload_url=uploads, auth=auth, api_key=Secret("secret-of-x"))
        one = lane(provider, connections, tmp_path)
        await one.sender.send(Request("POST", "/order", json={"a": 1}))
        form = Form((("name", "a.png"),), (FormFile("file", "a.png", "image/png", b"data"),))
        await one.sender.send(Request("POST", f"{uploads}/files", form=form, repeatable=True))
        await one.sender.send(Request("GET", f"{base}/a.png", repeatable=True, download=True))
        assert [request.headers.get(header) for request in seen] == [value, None]
        assert [request.headers.get(header) for request in uploaded] == [value]
        assert uploaded[0].content_type == "multipart/form-data"


async def test_a_lane_has_its_limits(tmp_path: Path) -> None:
    """What the settings say is what the gate keeps; those who wait are sent away only where others can serve."""
    limits = Limits(rpm=120, window_seconds=10, concurrency=3)
    async with Connections(limit=2) as connections:
        one = lane(replace(settings("x"), limits=limits), connections, tmp_path, is_alone=False)
        assert one.gate.snapshot().maximum == 3
        assert one.gate._sends_away
        assert not lane(settings("y"), connections, tmp_path).gate._sends_away


@pytest.mark.parametrize(("flex", "seconds"), [(False, 300.0), (True, 900.0)])
async def test_the_cheaper_tier_may_take_its_time(flex: bool, seconds: float, tmp_path: Path) -> None:
    """A queue of minutes is what it is cheap for."""
    async with Connections(limit=2) as connections:
        one = lane(replace(settings("x"), flex=flex), connections, tmp_path)
        assert one.sender._timeout_seconds == seconds  # type: ignore[attr-defined]


async def test_no_credentials_are_asked_for_where_keys_are() -> None:
    """Only a provider that signs with Google's credentials makes the run look for them."""
    assert await check_credentials([settings("x")]) is None


async def test_missing_credentials_are_told_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without them says so at once, in a sentence."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.fspath(tmp_path / "gone.json"))
    with pytest.raises(NanobatchError, match=r"gone\.json|credentials"):
        await check_credentials([replace(settings("x"), auth="google", api_key=None)])


def test_a_reference_is_made_to_fit_the_provider(tmp_path: Path) -> None:
    """Each wire format has types and sizes that it takes."""
    from PIL import Image  # noqa: PLC0415

    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.bmp")
    references = References(tmp_path / "cache")
    digest = references.digest(str(tmp_path / "a.bmp"), Path())
    provider = replace(settings("x"), terms=Terms("x", None, {"1K": 0.1}, protocol="openai"), protocol="openai")
    found = reference_for(references, digest, seller=Seller(provider, load_catalog()), model="gpt-image-2")
    assert found.mime in ("image/png", "image/jpeg", "image/webp")
    assert found.sha256 == digest
    references.close()
