"""What is remembered of files and batches."""

from __future__ import annotations

import msgspec
import pytest

from nanobatch.sandbox.batches.records import Batch, State


def batch(name: str) -> Batch:
    return Batch(
        name=name, vendor="gemini", title="t", model="m", source="files/a", created=1.0, wait=0, run=0, expires=9.0
    )


@pytest.mark.parametrize("name", ["batches/abc", "batch_abc"])
def test_a_batch_survives_the_disk(name: str) -> None:
    """What is read is what was written; files of results are named after the part that no other batch has."""
    one = batch(name)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Batch) == one
    assert one.id == "abc"


def test_what_has_ended_is_not_open() -> None:
    """Only those which wait, run or are being cancelled may still change."""
    assert {state for state in State if state.is_open} == {State.WAITING, State.RUNNING, State.CANCELLING}
