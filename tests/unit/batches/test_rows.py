"""Rows that pass for answers."""

from __future__ import annotations

import base64
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from nanobatch.batches.rows import Arrival, RowDesk, discard_blobs
from nanobatch.batches.wire_gemini import GeminiBatches
from nanobatch.errors import ExchangeError, NoImage, Refused, Rejected, RowFailed, Undelivered
from nanobatch.model import Answer, Blob, Order, Request, Response
from tests.harness import png

pytestmark = pytest.mark.anyio
ORDER = Order("a red fox", "m")


class Elsewhere:
    """A transport that says what it was asked for."""

    async def send(self, request: Request) -> Response:
        return Response(200, {"path": request.path}, json={})


def desk(tmp_path: Path) -> RowDesk:
    numbers = count()
    return RowDesk(GeminiBatches("http://127.0.0.1:1/v1beta"), Elsewhere(), lambda: tmp_path / f"{next(numbers)}.part")


def holding(data: bytes) -> Response:
    part = {"inlineData": {"data": base64.b64encode(data).decode(), "mimeType": "image/png"}}
    return Response(200, {}, json={"candidates": [{"content": {"parts": [part]}}]})


async def resumed(rows: RowDesk, arrival: Arrival) -> Answer:
    rows.put("j1", arrival)
    talk = rows.resume(ORDER, "j1")
    response = await rows.send(next(talk))
    with pytest.raises(StopIteration) as stop:
        talk.send(response)
    found: Answer = stop.value.value
    return found


async def test_a_row_is_an_answer(tmp_path: Path) -> None:
    """Its image is on the disk, looked at, and nothing of it stays behind."""
    answer = await resumed(desk(tmp_path), Arrival(holding(png())))
    assert isinstance(answer.picture.data, Blob)
    assert answer.picture.data.path.read_bytes() == png()


@pytest.mark.parametrize("error", [Rejected("a"), Undelivered("b"), RowFailed("c")])
async def test_reasons_are_passed_on(tmp_path: Path, error: ExchangeError) -> None:
    """A job without a row is told why."""
    rows = desk(tmp_path)
    rows.put("j1", Arrival(error=error))
    with pytest.raises(type(error)):
        next(rows.resume(ORDER, "j1"))


@pytest.mark.parametrize(
    ("body", "kind", "is_last"),
    [
        ({"candidates": [{"finishReason": "SAFETY"}]}, Refused, False),
        ({"error": {"code": 400, "message": "x"}}, Rejected, False),
        ({"error": {"code": 503, "message": "x"}}, RowFailed, False),
        ({"error": {"code": 401, "message": "x"}}, RowFailed, False),
        ({"error": {"code": 429, "message": "PerDay"}}, RowFailed, True),
        ({"candidates": [{"finishReason": "NO_IMAGE"}]}, RowFailed, False),
        ({"candidates": [{"finishReason": "NO_IMAGE"}]}, NoImage, True),
    ],
)
async def test_what_another_batch_may_do_better(
    tmp_path: Path, body: Any, kind: type[ExchangeError], is_last: bool
) -> None:
    """No row closes, parks or shrinks a lane; only refusals and rejections are final."""
    with pytest.raises(kind) as caught:
        await resumed(desk(tmp_path), Arrival(Response(200, {}, json=body), is_last=is_last))
    assert type(caught.value) is kind


async def test_a_broken_picture_was_paid(tmp_path: Path) -> None:
    """And its part is gone."""
    with pytest.raises(RowFailed) as caught:
        await resumed(desk(tmp_path), Arrival(holding(png()[:-9])))
    assert caught.value.billed is True
    assert list(tmp_path.iterdir()) == []


async def test_links_are_followed_through_the_transport(tmp_path: Path) -> None:
    """What is not here is fetched."""
    response = await desk(tmp_path).send(Request("GET", "http://x.example/1.png", download=True))
    assert response.headers["path"] == "http://x.example/1.png"


def test_rows_are_not_ordered_one_by_one(tmp_path: Path) -> None:
    """A bug that would cost money ends loudly; faults are the vendor's."""
    with pytest.raises(AssertionError):
        desk(tmp_path).exchange(ORDER)
    assert desk(tmp_path).fault(Response(200, {}, json={})) is None


def test_unwanted_images_are_deleted(tmp_path: Path) -> None:
    """Wherever in a line they are."""
    paths = [tmp_path / str(number) for number in range(3)]
    for path in paths:
        path.write_bytes(b"x")
    first, second, third = (Blob(path, 1, "") for path in paths)
    discard_blobs({"a": first, "b": [second, {"c": [third, "text", 7]}]})
    assert not any(path.exists() for path in paths)
