"""OpenAI's words about batches."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from nanobatch.sandbox.dialects import openai_batches
from nanobatch.sandbox.dialects.base import Answer, Asked
from nanobatch.sandbox.dialects.batch_base import BatchOrder, RowError
from tests.unit.sandbox.batches.test_desk import Client, client

BEARER = {"Authorization": "Bearer k"}
URL = "/v1/images/generations"
GOOD = {"input_file_id": "file-a", "endpoint": URL, "completion_window": "24h"}


def asked(body: Any) -> Asked:
    return Asked(BEARER, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"input_file_id": None},
        {"endpoint": "/v1/images/variations"},
        {"completion_window": "1h"},
        {"metadata": {"a": 1}},
        {"metadata": {str(number): "" for number in range(17)}},
        {"colour": "red"},
    ],
)
def test_a_wrong_order_is_a_400(change: dict[str, Any]) -> None:
    """Each field is checked; without a change it is taken."""
    assert openai_batches.order(asked(GOOD)) == BatchOrder("", source="file-a", endpoint=URL)
    found = openai_batches.order(asked({**GOOD, **change}))
    assert isinstance(found, Answer)
    assert found.status == 400


def test_all_rows_go_to_the_same_address() -> None:
    """A row for another one, or one that lacks something, spoils the file."""
    line = {"custom_id": "a", "method": "POST", "url": URL, "body": {"prompt": "x"}}
    order = BatchOrder("t", endpoint=URL)
    assert openai_batches.row(line, order).key == "a"
    for change in ({"url": "/v1/images/edits"}, {"method": "GET"}, {"custom_id": ""}, {"body": None}):
        with pytest.raises(RowError):
            openai_batches.row({**line, **change}, order)


async def ordered(vendor: Client, rows: list[dict[str, Any]]) -> dict[str, Any]:
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", "".join(json.dumps(row) + "\n" for row in rows).encode(), filename="in.jsonl")
    async with vendor.session.post("/v1/files", data=form, headers=BEARER) as answer:
        file = (await answer.json())["id"]
    body = {**GOOD, "input_file_id": file, "metadata": {"a": "t"}}
    async with vendor.session.post("/v1/batches", json=body, headers=BEARER) as answer:
        made = await answer.json()
    async with vendor.session.get(f"/v1/batches/{made['id']}", headers=BEARER) as answer:
        found: dict[str, Any] = await answer.json()
        return found


def row(number: int) -> dict[str, Any]:
    body = {"model": "gpt-image-2", "prompt": f"a fox {number}"}
    return {"custom_id": f"r{number}", "method": "POST", "url": URL, "body": body}


@pytest.mark.anyio
async def test_a_full_queue_lets_the_batch_fail() -> None:
    """The order is taken; the limit on tokens is met when it is validated, and nothing is billed."""
    async with client(enqueued_tokens=3) as vendor:
        found = await ordered(vendor, [row(1), row(2)])
        assert found["status"] == "failed"
        assert found["errors"]["data"][0]["code"] == "token_limit_exceeded"
        assert vendor.sandbox.totals()["images"] == 0


@pytest.mark.anyio
async def test_results_and_errors_have_files_of_their_own() -> None:
    """A batch without any error has no file of errors."""
    async with client() as vendor:
        found = await ordered(vendor, [row(1)])
        assert (found["status"], found["error_file_id"]) == ("completed", None)
        assert found["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
        assert found["metadata"] == {"a": "t"}
