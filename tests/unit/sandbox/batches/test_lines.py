"""Rows of a batch that go wrong one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nanobatch.sandbox.batches.lines import scan
from nanobatch.sandbox.dialects import gemini_batches, openai_batches
from nanobatch.sandbox.dialects.batch_base import BatchOrder
from tests.unit.sandbox.batches.test_desk import client, row

pytestmark = pytest.mark.anyio


async def test_a_row_fails_alone() -> None:
    """A fault, a refusal and a wrong field are lines with the row's key; the others have their images."""
    async with client(first={"500": 1, "safety": 1}) as vendor:
        rows = [*(row(number) for number in range(4)), row(4, generationConfig={"seed": "x"})]
        _, body = await vendor.order(await vendor.upload(rows))
        lines = {line["key"]: line for line in await vendor.lines(body["name"])}
        assert len(lines) == 5
        errors = [line["error"]["code"] for line in lines.values() if "error" in line]
        assert sorted(errors) == [3, 13]
        reasons = [line["response"]["candidates"][0]["finishReason"] for line in lines.values() if "response" in line]
        assert sorted(reasons) == ["IMAGE_SAFETY", "STOP", "STOP"]
        assert vendor.sandbox.totals()["images"] == 2


@pytest.mark.parametrize(("fault", "keys"), [("rowmissing", 3), ("rowtwice", 4), ("rowstray", 4)])
async def test_a_file_that_does_not_match(fault: str, keys: int) -> None:
    """A row is left out, comes twice, or has a key that nobody sent; all images are billed."""
    async with client(first={fault: 1}) as vendor:
        lines = await vendor.lines(await vendor.batch(4))
        assert len({line["key"] for line in lines}) == keys
        assert len(lines) == {"rowmissing": 3, "rowtwice": 5, "rowstray": 4}[fault]
        assert vendor.sandbox.totals()["images"] == 4


async def test_a_torn_line() -> None:
    """It ends in the middle, and the next one is whole."""
    async with client(first={"rowtorn": 1}) as vendor:
        name = await vendor.batch(2)
        with pytest.raises(json.JSONDecodeError):
            await vendor.lines(name)


async def test_faults_of_connections_leave_rows_alone() -> None:
    """A row has no connection that could be reset, and no key that could be wrong."""
    async with client(faults={"reset": 0.5, "badkey": 0.5}) as vendor:
        assert len(await vendor.lines(await vendor.batch(2))) == 2
        assert vendor.sandbox.totals()["faults"] == {}


def test_a_file_is_read_before_it_is_taken(tmp_path: Path) -> None:
    """Rows and tokens are counted; an empty file and a custom_id that is used twice are flaws."""
    path = tmp_path / "rows"
    path.write_text("".join(json.dumps(row(number)) + "\n\n" for number in range(3)))
    found = scan(path, gemini_batches, BatchOrder("t", model="gemini-3-pro-image"))
    assert (len(found.places), found.flaw) == (3, None)
    assert 3 * 1120 < found.tokens < 3 * 1130
    path.write_text("\n")
    assert scan(path, gemini_batches, BatchOrder("t", model="m")).flaw is not None
    url = "/v1/images/generations"
    line = {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "gpt-image-2", "prompt": "x"}}
    path.write_text((json.dumps(line) + "\n") * 2)
    found = scan(path, openai_batches, BatchOrder("t", endpoint=url))
    assert found.flaw is not None
    assert found.flaw[1] == "duplicate_custom_id"
