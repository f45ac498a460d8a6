"""What server and dialects say to each other."""

from __future__ import annotations

import base64
import json

import pytest

from nanobatch.sandbox.dialects.base import Answer, Asked, MalformedError, Order, Task, parsed, tokens
from nanobatch.sandbox.images import Drawing


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("BEARER abc", "abc"),
        ("Basic abc", ""),
        ("abc", ""),
        ("Bearer", ""),
        ("", ""),
    ],
)
def test_a_bearer_token_is_read(header: str, token: str) -> None:
    """The scheme's case does not matter; other schemes are no token."""
    assert Asked({"Authorization": header}).bearer == token
    assert Asked({}).bearer == ""


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nothing", b'{"a": "\xff"}', rb'{"a": "\ud800!!!!!!!!"}', b'{"a": NaN}', b"[" * 100_000]
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Cut bodies, wrong UTF-8, lone surrogates, NaN and bottomless nesting are one error."""
    with pytest.raises(MalformedError):
        parsed(body)


def test_json_is_read() -> None:
    """Escapes and raw letters are the same text."""
    assert parsed('{"a": ["\\ud83e\\udd8a", "🦊"]}'.encode()) == {"a": ["🦊", "🦊"]}


def test_bytes_inside_an_answer_become_base64() -> None:
    """An image goes into JSON as it is; a body of bytes stays what it is."""
    found = json.loads(Answer(200, {"data": b"\x00\xff" * 50}).encoded())
    assert base64.b64decode(found["data"], validate=True) == b"\x00\xff" * 50
    assert Answer(200, b"<html>").encoded() == b"<html>"


@pytest.mark.parametrize(("text", "count"), [("", 1), ("abcd", 1), ("abcde", 2), ("x" * 400, 100)])
def test_tokens_are_estimated(text: str, count: int) -> None:
    """Four characters each, and never none."""
    assert tokens(text) == count


@pytest.mark.parametrize(
    ("now", "progress"), [(5.0, 0.0), (10.0, 0.0), (12.5, 0.25), (19.0, 0.9), (20.0, 1.0), (1e9, 1.0)]
)
def test_a_task_s_progress_is_a_share_of_its_time(now: float, progress: float) -> None:
    """Never below 0, where a clock was set back, and 1 only when it has ended."""
    assert Task("t", Order("m", Drawing("a cat", 8, 8)), 10.0, 20.0).progress(now) == pytest.approx(progress)


def test_a_task_without_latency_has_ended_when_it_begins() -> None:
    """Nothing is divided by no time."""
    assert Task("t", Order("m", Drawing("a cat", 8, 8)), 10.0, 10.0).progress(10.0) == 1.0
