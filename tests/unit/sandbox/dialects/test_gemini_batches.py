"""Gemini's words about batches."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nanobatch.sandbox.dialects import gemini_batches
from nanobatch.sandbox.dialects.base import Answer, Asked
from nanobatch.sandbox.dialects.batch_base import BatchOrder, RowError

FILE = {"fileName": "files/a"}


def asked(batch: Any, key: str = "k") -> Asked:
    body = json.dumps({"batch": batch}).encode()
    return Asked({"x-goog-api-key": key}, path={"model": "m", "version": "v1beta"}, body=body)


def test_both_spellings_are_read() -> None:
    """CamelCase and snake_case."""
    for batch in (
        {"displayName": "t", "inputConfig": FILE},
        {"display_name": "t", "input_config": {"file_name": "files/a"}},
    ):
        assert gemini_batches.order(asked(batch)) == BatchOrder("t", source="files/a", model="m")


@pytest.mark.parametrize(
    "batch",
    [
        {"inputConfig": FILE},
        {"displayName": "t", "inputConfig": {}},
        {"displayName": "t" * 513, "inputConfig": FILE},
        {"displayName": "t", "inputConfig": {"fileName": "a"}},
        {"displayName": "t", "inputConfig": {"requests": {"requests": []}}},
        {"displayName": "t", "inputConfig": FILE, "colour": "red"},
        7,
    ],
)
def test_a_wrong_order_is_a_400(batch: Any) -> None:
    """Without a title, without rows or with unknown fields."""
    found = gemini_batches.order(asked(batch))
    assert isinstance(found, Answer)
    assert found.status == 400


def test_an_error_has_the_number_of_a_grpc_status() -> None:
    """And stands where the answer would stand, beside the key."""
    failed = Answer(503, {"error": {"code": 503, "message": "busy"}})
    line = gemini_batches.line("a", failed, 0)
    assert line.content == {"error": {"code": 14, "message": "busy"}, "key": "a"}
    assert line.is_bad


def test_a_row_is_an_object_with_a_request() -> None:
    """Anything else spoils the file."""
    for line in (None, [], {"key": "a"}, {"key": "a", "request": 1}):
        with pytest.raises(RowError):
            gemini_batches.row(line, BatchOrder("t", model="m"))
